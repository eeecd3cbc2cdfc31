//! `besiege WAY --bytes B`: touches B bytes while it holds its keeper up, and exits 0.
//! It must be the main process of memcap, whose keeper is its parent.
//!
//! - `trace`: halts the keeper by ptrace(2). Where that is refused it touches nothing
//!   and exits 3;
//! - `stop`: sends the keeper SIGSTOP fifty times;
//! - `starve`: stops memcap, which would continue the keeper, then the keeper, both for
//!   two seconds;
//! - `exhaust`: has the kernel kill the keeper for its processor time (`RLIMIT_CPU`).

use std::time::Duration;

use integration_tests::job::{
    Appetite, Arguments, alarm, consume, forbid_processor_time, halt_by_ptrace, hold,
};
use memcap_linux::ByteSize;
use memcap_linux::proc::Stat;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getppid};

/// It may not trace its keeper.
const EXIT_REFUSED: i32 = 3;

fn main() {
    alarm();
    let mut arguments = Arguments::of_process();
    let bytes: ByteSize = arguments.option("--bytes").unwrap_or(ByteSize::ZERO);
    let way: String = arguments.positional("WAY");
    let besiege = match way.as_str() {
        "trace" => trace,
        "stop" => stop,
        "starve" => starve,
        "exhaust" => exhaust,
        _ => arguments.fail(&format!("`{way}` is no way")),
    };
    arguments.finish();
    match besiege(getppid(), bytes) {
        Ok(code) => std::process::exit(code),
        Err(error) => {
            eprintln!("besiege: {error}");
            std::process::exit(1)
        }
    }
}

fn trace(keeper: Pid, bytes: ByteSize) -> std::io::Result<i32> {
    match halt_by_ptrace(keeper) {
        Ok(()) => touch(bytes),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Ok(EXIT_REFUSED),
        Err(error) => Err(error),
    }
}

fn stop(keeper: Pid, bytes: ByteSize) -> std::io::Result<i32> {
    for _ in 0..50 {
        kill(keeper, Signal::SIGSTOP)?;
        hold(Duration::from_millis(2));
    }
    touch(bytes)
}

fn starve(keeper: Pid, bytes: ByteSize) -> std::io::Result<i32> {
    let memcap = Stat::read(keeper.as_raw()).map_err(std::io::Error::other)?;
    let memcap = Pid::from_raw(memcap.ppid);
    kill(memcap, Signal::SIGSTOP)?;
    while !Stat::read(memcap.as_raw()).is_ok_and(|stat| stat.state == 'T') {
        hold(Duration::from_millis(1));
    }
    kill(keeper, Signal::SIGSTOP)?;
    let code = touch(bytes)?;
    hold(Duration::from_secs(2));
    kill(keeper, Signal::SIGCONT)?;
    kill(memcap, Signal::SIGCONT)?;
    Ok(code)
}

fn exhaust(keeper: Pid, _bytes: ByteSize) -> std::io::Result<i32> {
    forbid_processor_time(keeper)?;
    // The keeper takes us along.
    hold(Duration::from_secs(30));
    Ok(0)
}

fn touch(bytes: ByteSize) -> std::io::Result<i32> {
    consume(Appetite::of(bytes), None, 0)
        .map(|()| 0)
        .map_err(|_| std::io::Error::other("no memory to be had"))
}
