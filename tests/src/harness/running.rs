//! A memcap that runs, and one that has ended.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use super::processes::{Process, children_of};
use super::report::Report;
use super::scene::Scene;
use super::wait::{PATIENCE, poll_until};

/// Longer than any check lets memcap run.
const RUN_PATIENCE: Duration = Duration::from_secs(55);

/// A started command. Dropping it does nothing: the scene ends it.
#[derive(Debug)]
pub struct Running<'scene> {
    scene: &'scene Scene,
    child: Child,
    begin: Instant,
    stdout: Stream,
    stderr: Stream,
    report: Option<PathBuf>,
}

impl<'scene> Running<'scene> {
    pub(super) fn start(
        scene: &'scene Scene,
        mut command: Command,
        report: Option<PathBuf>,
    ) -> Running<'scene> {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let begin = Instant::now();
        let child = command.spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdout = Stream::collect(child.stdout.take());
        let stderr = Stream::collect(child.stderr.take());
        Running {
            scene,
            child,
            begin,
            stdout,
            stderr,
            report,
        }
    }

    /// The pid of memcap, which is also its process group.
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Sends `signal` to memcap alone.
    pub fn signal(&self, signal: Signal) {
        // It is our child and not yet collected, so the pid is its own.
        let _ = kill(Pid::from_raw(self.pid()), signal);
    }

    /// Sends `signal` to the whole process group, as a terminal does.
    pub fn signal_group(&self, signal: Signal) {
        let _ = killpg(Pid::from_raw(self.pid()), signal);
    }

    /// Whether memcap has ended.
    pub fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// The keeper: memcap's only child.
    ///
    /// # Panics
    /// Where it does not appear.
    pub fn keeper(&self) -> Process {
        let keeper = poll_until(PATIENCE, || self.note_keeper());
        keeper.unwrap_or_else(|| panic!("memcap {} has no keeper", self.pid()))
    }

    /// Kills memcap alone. Its keeper is looked for a moment before, so that it
    /// is known whose cgroups are left. (Stopping memcap first would be surer,
    /// and would give the keeper time that a kill does not give it.)
    pub fn kill(&self) {
        self.note_keeper();
        self.signal(Signal::SIGKILL);
    }

    fn note_keeper(&self) -> Option<Process> {
        let keeper = children_of(self.pid()).into_iter().next()?;
        self.scene.note_keeper(keeper.pid);
        Some(keeper)
    }

    /// Waits until it has ended and its output is complete.
    ///
    /// # Panics
    /// Where it does not end in time; everything of the scene is ended first.
    pub fn wait(mut self) -> Finished {
        let mut keeper = None;
        let status = poll_until(RUN_PATIENCE, || {
            keeper = keeper.take().or_else(|| self.note_keeper());
            self.child.try_wait().ok().flatten()
        });
        let wall = self.begin.elapsed();
        let Some(status) = status else { self.give_up() };
        Finished {
            status,
            wall,
            // Who still holds a pipe has outlived memcap; the suites look for
            // survivors by other means and get what was written.
            stdout: self.stdout.finish(Duration::from_secs(3)),
            stderr: self.stderr.finish(Duration::from_secs(3)),
            report: self.report.as_deref().and_then(Report::read),
        }
    }

    fn give_up(mut self) -> ! {
        let processes = self.scene.processes();
        processes
            .iter()
            .for_each(|process| process.signal(Signal::SIGKILL));
        let _ = self.child.kill();
        let _ = self.child.wait();
        let stderr = self.stderr.finish(Duration::from_secs(1));
        panic!(
            "no end after {RUN_PATIENCE:?}; stderr:\n{}\nprocesses: {processes:?}",
            String::from_utf8_lossy(&stderr)
        )
    }
}

/// What a command writes into one pipe, read by a thread so that it never
/// waits for us.
#[derive(Debug)]
struct Stream {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Stream {
    fn collect(pipe: Option<impl Read + Send + 'static>) -> Stream {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&bytes);
        let reader = std::thread::spawn(move || {
            let Some(mut pipe) = pipe else { return };
            let mut block = vec![0; 1 << 16];
            while let Ok(count @ 1..) = pipe.read(&mut block) {
                let mut sink = sink.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                sink.extend_from_slice(&block[..count]);
            }
        });
        Stream { bytes, reader }
    }

    /// Everything until the pipe's end, or until `patience` is over.
    fn finish(&mut self, patience: Duration) -> Vec<u8> {
        poll_until(patience, || self.reader.is_finished().then_some(()));
        std::mem::take(
            &mut *self
                .bytes
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner()),
        )
    }
}

/// How a run ended.
#[derive(Debug)]
pub struct Finished {
    /// memcap's own status.
    pub status: ExitStatus,
    /// From its start to its end.
    pub wall: Duration,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
    report: Option<Report>,
}

impl Finished {
    /// The exit code as a shell shows it: 128+n for a death by signal n.
    pub fn code(&self) -> i32 {
        match (self.status.code(), self.status.signal()) {
            (Some(code), _) => code,
            (None, Some(signal)) => 128 + signal,
            (None, None) => -1,
        }
    }

    /// Standard error as text.
    pub fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// The report.
    ///
    /// # Panics
    /// Where none was written.
    pub fn report(&self) -> &Report {
        match &self.report {
            Some(report) => report,
            None => panic!("no report\n{self}"),
        }
    }

    /// Whether a report was written.
    pub fn has_report(&self) -> bool {
        self.report.is_some()
    }

    /// Insists on the exit code (as [`Finished::code`]).
    ///
    /// # Panics
    /// With everything that is known of the run.
    #[track_caller]
    pub fn expect_code(&self, code: i32) -> &Self {
        assert_eq!(self.code(), code, "exit code\n{self}");
        self
    }

    /// Insists on the verdict (as [`Report::verdict`]) and on a report that
    /// repeats the exit code.
    ///
    /// # Panics
    /// With everything that is known of the run.
    #[track_caller]
    pub fn expect_verdict(&self, verdict: &str) -> &Self {
        assert_eq!(self.report().verdict(), verdict, "verdict\n{self}");
        let code = self
            .report()
            .get("/exit_code")
            .and_then(serde_json::Value::as_i64);
        assert_eq!(
            code,
            Some(i64::from(self.code())),
            "exit_code of the report\n{self}"
        );
        self
    }
}

impl std::fmt::Display for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{} after {:?}", self.status, self.wall)?;
        writeln!(f, "stderr:\n{}", self.stderr_text())?;
        match &self.report {
            Some(report) => writeln!(f, "report:\n{report}"),
            None => writeln!(f, "no report"),
        }
    }
}
