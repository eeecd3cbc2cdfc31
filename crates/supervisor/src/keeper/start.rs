//! Starting a keeper: by fork where that is asked for and possible, else by
//! executing its program.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};

use memcap_linux::{fork_alone, keep_open};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use super::run::{NAME, serve};
use crate::Job;

/// A keeper as its embedding program sees it: an unreaped child.
#[derive(Debug)]
pub(crate) enum Keeper {
    Executed(Child),
    Forked { pid: i32, reaped: bool },
}

impl Keeper {
    pub(crate) fn pid(&self) -> u32 {
        match self {
            Keeper::Executed(child) => child.id(),
            Keeper::Forked { pid, .. } => pid.unsigned_abs(),
        }
    }

    /// Ends it at once. Nothing happens when it was waited for.
    pub(crate) fn kill(&mut self) {
        // Gone is what we want.
        match self {
            Keeper::Executed(child) => drop(child.kill()),
            Keeper::Forked { reaped: true, .. } => {}
            Keeper::Forked { pid, .. } => drop(kill(Pid::from_raw(*pid), Signal::SIGKILL)),
        }
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) {
        match self {
            // Reaped by somebody else is ended too.
            Keeper::Executed(child) => drop(child.wait()),
            Keeper::Forked { reaped: true, .. } => {}
            Keeper::Forked { pid, reaped } => {
                while waitpid(Pid::from_raw(*pid), None) == Err(Errno::EINTR) {}
                *reaped = true;
            }
        }
    }
}

/// Forks it. `None`: this process has a second thread, or the job has streams,
/// a directory or an environment of its own, which only a program that is
/// executed can be given.
pub(crate) fn fork(job: &Job) -> io::Result<Option<(UnixStream, Keeper)>> {
    let Job {
        program: _,
        args: _,
        env,
        current_dir,
        stdin,
        stdout,
        stderr,
    } = job;
    let streams = [stdin, stdout, stderr];
    if !env.is_empty() || current_dir.is_some() || streams.into_iter().any(Option::is_some) {
        return Ok(None);
    }
    let forked = fork_alone(NAME, UnixStream::pair()?, |(near, far)| {
        // The end of the embedding program must be the only one left.
        drop(near);
        // Nobody is left to tell of a failure.
        u8::from(serve(far).is_err())
    })?;
    Ok(forked.map(|(pid, (near, _far))| (near, Keeper::Forked { pid, reaped: false })))
}

/// Executes it, with the job's streams, directory and environment.
pub(crate) fn execute(executable: &Path, job: Job) -> io::Result<(UnixStream, Keeper)> {
    let (near, far) = UnixStream::pair()?;
    let mut command = Command::new(executable);
    command
        .arg0(std::ffi::OsStr::from_bytes(NAME.to_bytes()))
        .arg("__keeper")
        .arg(far.as_raw_fd().to_string());
    for (name, value) in &job.env {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    if let Some(dir) = &job.current_dir {
        command.current_dir(dir);
    }
    if let Some(stream) = job.stdin {
        command.stdin(stream);
    }
    if let Some(stream) = job.stdout {
        command.stdout(stream);
    }
    if let Some(stream) = job.stderr {
        command.stderr(stream);
    }
    keep_open(&mut command, far.as_raw_fd());
    Ok((near, Keeper::Executed(command.spawn()?)))
}
