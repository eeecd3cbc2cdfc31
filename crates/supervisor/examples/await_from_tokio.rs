//! Jobs that asynchronous code awaits: a thread for each listens to the job and
//! passes on what it hears. Two jobs race; the loser is ended by being dropped.
//!
//! ```console
//! $ cargo run --example await_from_tokio
//! ```
#![forbid(unsafe_code)]

use std::error::Error;
use std::thread;
use std::time::Duration;

use memcap_supervisor::{
    Control, Event, Handle, Job, Limits, Outcome, Request, Sample, Supervisor, SupervisorError,
    keeper,
};
use tokio::sync::{mpsc, oneshot};

/// A job that can be awaited. Dropping it ends the tree.
struct Running {
    samples: mpsc::UnboundedReceiver<Sample>,
    outcome: oneshot::Receiver<Result<Outcome, SupervisorError>>,
    control: Control,
}

impl Running {
    /// Starting takes some milliseconds; a job in between is one more task for
    /// [`tokio::task::spawn_blocking`] where that is too long.
    fn start(supervisor: &Supervisor, request: Request) -> Result<Running, SupervisorError> {
        let handle = supervisor.spawn(request)?;
        let control = handle.control();
        let (hear, samples) = mpsc::unbounded_channel();
        let (tell, outcome) = oneshot::channel();
        thread::spawn(move || {
            // Nobody listens any more once the job was dropped.
            let _ = tell.send(listen(handle, &hear));
        });
        Ok(Running {
            samples,
            outcome,
            control,
        })
    }

    /// The next measurement; `None` when the job is over.
    async fn sample(&mut self) -> Option<Sample> {
        self.samples.recv().await
    }

    /// What became of it.
    async fn outcome(mut self) -> Result<Outcome, Box<dyn Error>> {
        Ok((&mut self.outcome).await??)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Nothing happens to a job that is over.
        self.control.kill();
    }
}

fn listen(
    mut handle: Handle,
    hear: &mpsc::UnboundedSender<Sample>,
) -> Result<Outcome, SupervisorError> {
    while let Some(event) = handle.next_event()? {
        if let Event::Sample(sample) = event {
            // As above.
            let _ = hear.send(sample);
        }
    }
    handle.wait()
}

fn main() -> Result<(), Box<dyn Error>> {
    // Before the runtime: not in an `async fn main`.
    keeper::hook();
    tokio::runtime::Builder::new_current_thread()
        .build()?
        .block_on(race())
}

async fn race() -> Result<(), Box<dyn Error>> {
    let supervisor = Supervisor::new();
    let start = |seconds: &str| -> Result<Running, Box<dyn Error>> {
        let limits = Limits::memory("256M".parse()?)?;
        let request = Request::new(Job::new("sleep").arg(seconds), limits)
            .sample_every(Duration::from_millis(50));
        Ok(Running::start(&supervisor, request)?)
    };
    let mut hare = start("0.5")?;
    let tortoise = start("600")?;
    if let Some(sample) = hare.sample().await {
        println!("the hare uses memory: {}", sample.current.bytes() > 0);
    }
    let (winner, outcome) = tokio::select! {
        outcome = hare.outcome() => ("the hare", outcome?),
        outcome = tortoise.outcome() => ("the tortoise", outcome?),
    };
    println!("{winner}: {}", outcome.verdict.kind);
    Ok(())
}
