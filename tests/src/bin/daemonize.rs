//! `daemonize [--bytes B] [--hold SECONDS] [--child] [--stay] [--exit CODE]
//! [--pidfile FILE]`: leaves descendants that process groups and sessions do
//! not reach.
//!
//! Starts a daemon (`setsid`, two forks) that touches B bytes (default none)
//! and holds for SECONDS (default 30); with `--child` also a plain child that
//! does the same. Then it exits with CODE (default 0), or holds too with
//! `--stay`. The pid file gets one pid a line: the daemon's, then the plain
//! child's; it is complete before the parent exits.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use integration_tests::job::{Appetite, Arguments, alarm, consume, detach, fork_job, hold};
use memcap_linux::ByteSize;

fn main() {
    alarm();
    let mut arguments = Arguments::of_process();
    let bytes = arguments.option("--bytes").unwrap_or(ByteSize::ZERO);
    let holding = Duration::from_secs_f64(arguments.option("--hold").unwrap_or(30.0));
    let with_child = arguments.flag("--child");
    let stay = arguments.flag("--stay");
    let code = arguments.option("--exit").unwrap_or(0);
    let pidfile: Option<PathBuf> = arguments.option("--pidfile");
    arguments.finish();

    let live = || {
        let refused = consume(Appetite::of(bytes), None, 0).is_err();
        hold(holding);
        i32::from(refused)
    };
    let mut pids = vec![detach(live)];
    if with_child {
        pids.push(fork_job(live));
    }
    let mut lines = String::new();
    for pid in pids {
        match pid {
            Ok(pid) => {
                let _ = writeln!(lines, "{pid}");
            }
            Err(error) => {
                eprintln!("daemonize: {error}");
                std::process::exit(1)
            }
        }
    }
    if let Some(path) = pidfile
        && let Err(error) = std::fs::write(&path, lines)
    {
        eprintln!("daemonize: {}: {error}", path.display());
        std::process::exit(1)
    }
    if stay {
        hold(holding);
    }
    std::process::exit(code)
}
