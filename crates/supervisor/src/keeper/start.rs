//! Starting a keeper: by fork where that is asked for and possible, else by
//! executing its program.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use memcap_linux::{fork_alone, keep_open};

use super::hook::SUBCOMMAND;
use super::run::{NAME, serve};
use crate::guardian::Guardian;
use crate::stream::JobEnds;

/// Variables to set, or to remove.
pub(crate) type EnvChanges = [(OsString, Option<OsString>)];

/// Forks it. `None`: this process has a second thread, or the job has streams
/// or an environment of its own, which only a program that is executed can be
/// given.
pub(crate) fn fork(
    env: &EnvChanges,
    streams: &JobEnds,
) -> io::Result<Option<(UnixStream, Guardian)>> {
    if !env.is_empty() || streams.iter().any(Option::is_some) {
        return Ok(None);
    }
    let forked = fork_alone(NAME, UnixStream::pair()?, |(near, far)| {
        // The end of the embedding program must be the only one left.
        drop(near);
        // Nobody is left to tell of a failure.
        u8::from(serve(far).is_err())
    })?;
    Ok(forked.map(|(pid, (near, _far))| (near, Guardian::process(pid))))
}

/// Executes it, with the job's streams and environment. `carried` it inherits
/// under the numbers they have here. Only in the child
/// itself does the channel stay open over `exec`, so that keepers started at
/// the same time never hold each other's.
pub(crate) fn execute(
    executable: &Path,
    env: &EnvChanges,
    streams: JobEnds,
    carried: &[OwnedFd],
) -> io::Result<(UnixStream, Guardian)> {
    let (near, far) = UnixStream::pair()?;
    let mut command = Command::new(executable);
    command
        .arg0(OsStr::from_bytes(NAME.to_bytes()))
        .arg(SUBCOMMAND)
        .arg(far.as_raw_fd().to_string());
    for (name, value) in env {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let [stdin, stdout, stderr] = streams;
    if let Some(stream) = stdin {
        command.stdin(Stdio::from(stream));
    }
    if let Some(stream) = stdout {
        command.stdout(Stdio::from(stream));
    }
    if let Some(stream) = stderr {
        command.stderr(Stdio::from(stream));
    }
    keep_open(&mut command, far.as_raw_fd());
    for descriptor in carried {
        keep_open(&mut command, descriptor.as_raw_fd());
    }
    let keeper = command.spawn()?;
    let pid = i32::try_from(keeper.id()).map_err(io::Error::other)?;
    Ok((near, Guardian::process(pid)))
}
