//! The parent's side of a trial's child: start, listen, let go, reap.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use memcap_linux::cgroup::Entrance;
use memcap_linux::spawn::{SpawnRequest, Spawned, spawn};
use memcap_linux::{ByteSize, PidFd, ProcessId, signals};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::deadline::Deadline;
use super::error::TrialError;
use super::hog;

/// The kernel's OOM killer takes the trial's child before anything else.
const FIRST_VICTIM: i32 = 1000;
/// How long a killed child may take to be gone before it is left to itself.
const DEATH: Duration = Duration::from_secs(2);

/// What the child is to do, and within what.
#[derive(Debug, Default)]
pub(super) struct Setup<'a> {
    /// Ways into groups, to be taken.
    pub(super) entrances: &'a [Entrance],
    /// A fixed RLIMIT_DATA.
    pub(super) data_limit: Option<ByteSize>,
    /// Memory to touch; `None` for a tree that touches next to nothing.
    pub(super) touch: Option<ByteSize>,
    /// It says that it is there, and is to be let go before it touches anything.
    pub(super) waits: bool,
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By itself, with this code.
    Exited(i32),
    /// By this signal.
    Signaled(i32),
    /// Not within its time; it was killed for that.
    TimedOut,
    /// Somebody else took its status: this process ignores SIGCHLD, say.
    Unseen,
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            End::Exited(code) => write!(f, "exit code {code}"),
            End::Signaled(number) => match Signal::try_from(*number) {
                Ok(signal) => f.write_str(signal.as_str()),
                Err(_) => write!(f, "signal {number}"),
            },
            End::TimedOut => f.write_str("no end within the time of a trial"),
            End::Unseen => f.write_str("an end that was not seen"),
        }
    }
}

/// What was heard from a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// It has touched everything and waits to be let go.
    AllDone,
    /// It has ended or is about to.
    Gone,
    /// Neither, within the time given.
    Nothing,
}

/// A running child. Dropped, it is killed and reaped.
#[derive(Debug)]
pub(super) struct Child {
    pid: i32,
    id: Option<ProcessId>,
    pidfd: Option<PidFd>,
    link: UnixStream,
    steps: u64,
    reaped: bool,
}

impl Child {
    /// Starts the program as a trial's child, in its place from the first
    /// instruction.
    pub(super) fn start(program: &Path, setup: &Setup<'_>) -> Result<Child, TrialError> {
        let (ours, theirs) = linked_pair().map_err(TrialError::Link)?;
        let args = arguments(setup, theirs.as_raw_fd());
        let spawned = spawn(&SpawnRequest {
            program: program.as_os_str(),
            args: &args,
            env: &[],
            current_dir: None,
            streams: [None; 3],
            closed_streams: [false; 3],
            process_group: None,
            entrances: setup.entrances,
            data_limit: setup.data_limit.map(memcap_linux::spawn::DataLimit::Fixed),
            oom_score_adj: Some(FIRST_VICTIM),
            owns_its_proc: false,
            signal_mask: signals::blocked(),
            ignored_signals: signals::ignored_at_start(),
        })?;
        Ok(Child::of(spawned, ours))
    }

    /// A child that has been started, and our end of the socket to it.
    pub(super) fn of(spawned: Spawned, link: UnixStream) -> Child {
        let Spawned { pid, pidfd } = spawned;
        Child {
            pid,
            id: ProcessId::of(pid),
            pidfd,
            link,
            steps: 0,
            reaped: false,
        }
    }

    /// A socket to a child: our end does not block.
    pub(super) fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        Ok((ours, theirs))
    }

    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    /// A handle on it; `None` before Linux 5.3.
    pub(super) fn handle(&self) -> Option<&PidFd> {
        self.pidfd.as_ref()
    }

    /// What it has reported to have touched.
    pub(super) fn progress(&self) -> ByteSize {
        ByteSize::from_mib(self.steps)
    }

    /// Listens until everything is touched or the child is gone.
    pub(super) fn listen(&mut self, deadline: Deadline) -> Heard {
        loop {
            match self.hear() {
                Heard::Nothing => {}
                heard => return heard,
            }
            if !deadline.wait_readable(self.link.as_fd(), DEATH) && deadline.has_passed() {
                return Heard::Nothing;
            }
        }
    }

    /// Takes in what has been sent, without waiting.
    pub(super) fn hear(&mut self) -> Heard {
        let mut bytes = [0; 256];
        loop {
            match self.link.read(&mut bytes) {
                Ok(0) => return Heard::Gone,
                Ok(count) => {
                    let sent = &bytes[..count];
                    self.steps += sent
                        .iter()
                        .map(|byte| u64::from(*byte == hog::STEP_DONE))
                        .sum::<u64>();
                    if sent.contains(&hog::ALL_DONE) {
                        return Heard::AllDone;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Heard::Nothing,
                // The child was killed with data of ours unread.
                Err(_) => return Heard::Gone,
            }
        }
    }

    /// Lets a child that is done end by itself.
    pub(super) fn let_go(&mut self) {
        // A child that is gone already has ended in a way that `end` tells.
        let _ = self.link.write_all(b".");
    }

    /// Kills it, if it is not gone yet.
    pub(super) fn kill(&self) {
        if self.reaped {
            return;
        }
        // An error means that it has ended already. An unreaped child of ours
        // cannot have lost its pid to another process.
        let _ = match &self.pidfd {
            Some(pidfd) => pidfd.send(Signal::SIGKILL as i32),
            None => kill(Pid::from_raw(self.pid), Signal::SIGKILL).map_err(io::Error::from),
        };
    }

    /// Waits for its end and reaps it; kills it when time is up.
    pub(super) fn end(&mut self, deadline: Deadline) -> End {
        if let Some(end) = self.reap_within(deadline) {
            return end;
        }
        self.kill();
        self.reap_within(Deadline::after(DEATH));
        End::TimedOut
    }

    /// Whether nothing of it remains, not even a zombie.
    pub(super) fn is_gone(&self) -> bool {
        self.reaped && !self.id.is_some_and(ProcessId::exists)
    }

    fn reap_within(&mut self, deadline: Deadline) -> Option<End> {
        if let Some(pidfd) = &self.pidfd {
            deadline.wait_readable(pidfd.as_fd(), Duration::MAX);
        }
        let mut end = None;
        deadline.until(|| {
            end = self.try_reap();
            end.is_some()
        });
        end
    }

    fn try_reap(&mut self) -> Option<End> {
        if self.reaped {
            return Some(End::Unseen);
        }
        let end = match waitpid(Pid::from_raw(self.pid), Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(_, code)) => End::Exited(code),
            Ok(WaitStatus::Signaled(_, signal, _)) => End::Signaled(signal as i32),
            Err(Errno::ECHILD) => End::Unseen,
            Ok(_) | Err(_) => return None,
        };
        self.reaped = true;
        Some(end)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.reaped {
            self.kill();
            self.end(Deadline::after(DEATH));
        }
    }
}

/// A socket pair of which the second end survives `exec`.
fn linked_pair() -> io::Result<(UnixStream, UnixStream)> {
    let (ours, theirs) = Child::pair()?;
    fcntl(&theirs, FcntlArg::F_SETFD(FdFlag::empty()))?;
    Ok((ours, theirs))
}

fn arguments(setup: &Setup<'_>, link: i32) -> Vec<OsString> {
    let mut words = vec![hog::HOG_ARGUMENT.to_owned()];
    let touch = match setup.waits {
        true => hog::WAIT_AND_TOUCH,
        false => hog::TOUCH,
    };
    match setup.touch {
        Some(bytes) => words.extend([touch.to_owned(), bytes.bytes().to_string()]),
        None => words.push(hog::TREE.to_owned()),
    }
    words.push(link.to_string());
    words.into_iter().map(OsString::from).collect()
}
