//! `evade WAY [--count N] [--bytes B] [--hold SECONDS] [--ready FILE] [--end]`:
//! starts a daemon that is hard to end, and holds too.
//!
//! WAY is what the daemon does:
//! - `storm`: keeps N children of a few milliseconds alive, replacing each
//!   that ends;
//! - `chain`: N processes that each fork a successor and end, for ever: each is
//!   an orphan, and none lives long;
//! - `zombies`: N children that have ended and are never collected;
//! - `stopped`: N children that have stopped themselves;
//! - `crowd`: N children that hold;
//! - `threads`: its first thread ends, so that it looks like a zombie; the
//!   second touches B bytes and goes on;
//! - `vfork`: touches B bytes and waits for a child in the same memory.
//!
//! N is 20 and B is nothing by default. FILE appears, with the pid of the
//! daemon, once all of this is so. After SECONDS (default 40) the daemon ends.
//! With `--end` the program itself ends as soon as the daemon is ready.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use integration_tests::job::{
    Appetite, Arguments, alarm, consume, continue_in_child, detach, end_first_thread, end_of_any,
    fork_job, hold, share_memory_with_child,
};
use memcap_linux::ByteSize;
use nix::sys::signal::{Signal, raise};

/// How long a child of a storm lives.
const SHORT: Duration = Duration::from_millis(3);

fn main() {
    alarm();
    let mut arguments = Arguments::of_process();
    let count: usize = arguments.option("--count").unwrap_or(20);
    let bytes = arguments.option("--bytes").unwrap_or(ByteSize::ZERO);
    let holding = Duration::from_secs_f64(arguments.option("--hold").unwrap_or(40.0));
    let ready: Option<PathBuf> = arguments.option("--ready");
    let ends = arguments.flag("--end");
    let way: String = arguments.positional("WAY");
    let body = match way.as_str() {
        "storm" => storm,
        "chain" => chain,
        "zombies" => zombies,
        "stopped" => stopped,
        "crowd" => crowd,
        "threads" => threads,
        "vfork" => vfork,
        _ => arguments.fail(&format!("`{way}` is no way")),
    };
    arguments.finish();

    let daemon = Daemon {
        count,
        bytes,
        holding,
        ready,
    };
    if let Err(error) = detach(|| body(&daemon)) {
        eprintln!("evade: {error}");
        std::process::exit(1)
    }
    if ends {
        wait_for(daemon.ready.as_deref(), daemon.holding);
    } else {
        hold(holding);
    }
}

#[derive(Clone)]
struct Daemon {
    count: usize,
    bytes: ByteSize,
    holding: Duration,
    ready: Option<PathBuf>,
}

impl Daemon {
    /// By a rename, so that the file is never seen half written.
    fn announce(&self) {
        let Some(path) = &self.ready else { return };
        let aside = path.with_extension("aside");
        let written = std::fs::write(&aside, std::process::id().to_string())
            .and_then(|()| std::fs::rename(&aside, path));
        if let Err(error) = written {
            eprintln!("evade: {}: {error}", path.display());
        }
    }

    /// Forks `count` children; each a number.
    fn fork_all(&self, body: impl Fn(usize) -> i32) -> bool {
        (0..self.count).all(|number| fork_job(|| body(number)).is_ok())
    }
}

fn storm(daemon: &Daemon) -> i32 {
    let live = |_| {
        hold(SHORT);
        0
    };
    if !daemon.fork_all(live) {
        return 1;
    }
    daemon.announce();
    let deadline = Instant::now() + daemon.holding;
    while Instant::now() < deadline {
        if end_of_any().is_err() || fork_job(|| live(0)).is_err() {
            return 1;
        }
    }
    0
}

fn chain(daemon: &Daemon) -> i32 {
    let deadline = Instant::now() + daemon.holding;
    let link = |_| {
        // Each turn is another process: the parent leaves, the child goes on.
        while Instant::now() < deadline {
            if continue_in_child().is_err() {
                return 1;
            }
        }
        0
    };
    if !daemon.fork_all(link) {
        return 1;
    }
    daemon.announce();
    0
}

fn zombies(daemon: &Daemon) -> i32 {
    if !daemon.fork_all(|_| 0) {
        return 1;
    }
    daemon.announce();
    hold(daemon.holding);
    0
}

fn stopped(daemon: &Daemon) -> i32 {
    let stop = |_| {
        // Whoever continues it lets it end.
        let _ = raise(Signal::SIGSTOP);
        0
    };
    if !daemon.fork_all(stop) {
        return 1;
    }
    daemon.announce();
    hold(daemon.holding);
    0
}

fn crowd(daemon: &Daemon) -> i32 {
    let live = |_| {
        hold(daemon.holding);
        0
    };
    if !daemon.fork_all(live) {
        return 1;
    }
    daemon.announce();
    hold(daemon.holding);
    0
}

fn threads(daemon: &Daemon) -> i32 {
    let daemon = daemon.clone();
    let second = std::thread::Builder::new().spawn(move || {
        wait_for_a_dead_first_thread();
        if consume(Appetite::of(daemon.bytes), None, 0).is_err() {
            std::process::exit(1)
        }
        daemon.announce();
        hold(daemon.holding);
        std::process::exit(0)
    });
    match second {
        Ok(_) => end_first_thread(),
        Err(_) => 1,
    }
}

/// Until the whole process looks like a zombie.
fn wait_for_a_dead_first_thread() {
    let is_dead = || {
        std::fs::read_to_string("/proc/self/stat").is_ok_and(|stat| {
            stat.rsplit_once(") ")
                .is_some_and(|(_, rest)| rest.starts_with('Z'))
        })
    };
    while !is_dead() {
        hold(Duration::from_millis(1));
    }
}

fn vfork(daemon: &Daemon) -> i32 {
    if consume(Appetite::of(daemon.bytes), None, 0).is_err() {
        return 1;
    }
    let outcome = share_memory_with_child(|| {
        daemon.announce();
        hold(daemon.holding);
        0
    });
    i32::from(outcome.is_err())
}

fn wait_for(ready: Option<&Path>, longest: Duration) {
    let deadline = Instant::now() + longest;
    while ready.is_some_and(|path| !path.exists()) && Instant::now() < deadline {
        hold(Duration::from_millis(2));
    }
}
