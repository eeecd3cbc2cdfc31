//! `stubborn [--catch] [--hold SECONDS] [--ready FILE] [--progress FILE]`:
//! does not end when asked.
//!
//! Ignores SIGTERM, SIGINT and SIGHUP and holds for SECONDS (default 30). With
//! `--catch` it waits for SIGTERM and then allocates at full speed for one
//! second before it exits 5: the job whose grace period is its largest
//! overshoot. FILE of `--ready` appears once the signals are set up.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use integration_tests::job::{Appetite, Arguments, Ledger, alarm, consume, hold, ignore_signals};
use memcap_linux::ByteSize;
use nix::poll::PollTimeout;
use nix::sys::signal::{SigSet, Signal};

/// It saw SIGTERM and went on for its second.
const EXIT_CAUGHT: i32 = 5;

fn main() {
    alarm();
    let mut arguments = Arguments::of_process();
    let catch = arguments.flag("--catch");
    let holding = Duration::from_secs_f64(arguments.option("--hold").unwrap_or(30.0));
    let ready: Option<PathBuf> = arguments.option("--ready");
    let progress: Option<PathBuf> = arguments.option("--progress");
    arguments.finish();

    let result = if catch {
        wait_for_term(ready, holding)
    } else {
        ignore_signals(&[Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP])
            .and_then(|()| announce(ready))
            .map(|()| hold(holding))
            .map(|()| false)
    };
    let code = match result {
        Ok(true) => {
            allocate_for(Duration::from_secs(1), progress);
            EXIT_CAUGHT
        }
        Ok(false) => 0,
        Err(error) => {
            eprintln!("stubborn: {error}");
            1
        }
    };
    std::process::exit(code)
}

fn announce(ready: Option<PathBuf>) -> std::io::Result<()> {
    ready.map_or(Ok(()), |path| std::fs::write(path, "ready\n"))
}

/// Whether SIGTERM came within `holding`. The signal is blocked, so it is
/// consumed here and no handler is needed.
fn wait_for_term(ready: Option<PathBuf>, holding: Duration) -> std::io::Result<bool> {
    let mut term = SigSet::empty();
    term.add(Signal::SIGTERM);
    term.thread_block()?;
    let descriptor = nix::sys::signalfd::SignalFd::new(&term)?;
    announce(ready)?;
    let polled = nix::poll::PollFd::new(
        std::os::fd::AsFd::as_fd(&descriptor),
        nix::poll::PollFlags::POLLIN,
    );
    let timeout = PollTimeout::try_from(holding).unwrap_or(PollTimeout::MAX);
    Ok(nix::poll::poll(&mut [polled], timeout)? > 0)
}

fn allocate_for(duration: Duration, progress: Option<PathBuf>) {
    let ledger = progress.and_then(|path| Ledger::open(&path).ok());
    let begin = Instant::now();
    let mut touched = 0;
    while begin.elapsed() < duration {
        if consume(Appetite::of(ByteSize::from_mib(1)), None, 0).is_err() {
            return;
        }
        touched += 1 << 20;
        if let Some(ledger) = &ledger {
            // A failed write leaves the slot too small, which the suite sees.
            let _ = ledger.write(0, touched);
        }
    }
}
