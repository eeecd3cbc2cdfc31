//! Groups that a trial makes, and their removal on every way out.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use memcap_linux::cgroup::{GroupName, V1Memory, V2Group};
use memcap_linux::{FileError, PidFd, ProcessId};
use nix::sys::signal::Signal;

use super::deadline::Deadline;
use super::error::TrialError;

/// Trials number their groups from here, runs from 0: both may happen in one
/// process.
const FIRST_SERIAL: u32 = 1 << 20;
static NEXT_SERIAL: AtomicU32 = AtomicU32::new(FIRST_SERIAL);

/// How long members may take to be gone.
const EMPTYING: Duration = Duration::from_secs(2);

/// What both hierarchies' handles can do, as far as trials need it.
pub(super) trait Group: Sized {
    fn create(parent: &Path, name: &str) -> Result<Self, FileError>;
    fn processes(&self) -> Result<Vec<i32>, FileError>;
    fn remove(&self) -> Result<(), FileError>;
}

impl Group for V2Group {
    fn create(parent: &Path, name: &str) -> Result<Self, FileError> {
        V2Group::create(parent, name)
    }
    fn processes(&self) -> Result<Vec<i32>, FileError> {
        V2Group::processes(self)
    }
    fn remove(&self) -> Result<(), FileError> {
        V2Group::remove(self)
    }
}

impl Group for V1Memory {
    fn create(parent: &Path, name: &str) -> Result<Self, FileError> {
        V1Memory::create(parent, name)
    }
    fn processes(&self) -> Result<Vec<i32>, FileError> {
        V1Memory::processes(self)
    }
    fn remove(&self) -> Result<(), FileError> {
        V1Memory::remove(self)
    }
}

/// A group of a trial. Dropped, it is emptied and removed; [`Owned::dispose`]
/// does the same and says whether it worked.
#[derive(Debug)]
pub(super) struct Owned<G: Group> {
    group: G,
    disposed: bool,
}

impl<G: Group> Owned<G> {
    /// Makes a group below `parent`, named so that a later start can sweep it
    /// should this process be killed.
    pub(super) fn create(parent: &Path) -> Result<Owned<G>, TrialError> {
        let serial = NEXT_SERIAL.fetch_add(1, Ordering::Relaxed);
        let name = GroupName::for_this_process(serial).map_err(TrialError::Name)?;
        let group = G::create(parent, &name.to_string())?;
        Ok(Owned {
            group,
            disposed: false,
        })
    }

    /// The handle.
    pub(super) fn group(&self) -> &G {
        &self.group
    }

    /// Whether a child of ours really is in there.
    pub(super) fn holds(&self, pid: i32) -> Result<bool, TrialError> {
        Ok(self.group.processes()?.contains(&pid))
    }

    /// Ends what is left in the group and removes it.
    pub(super) fn dispose(mut self) -> Result<(), TrialError> {
        self.clear().map_err(TrialError::NotRemoved)
    }

    /// Leaves it where it is, for a later start to sweep.
    pub(super) fn keep(mut self) {
        self.disposed = true;
    }

    fn clear(&mut self) -> Result<(), FileError> {
        self.disposed = true;
        let mut outcome = self.group.remove();
        if outcome.is_ok() {
            return Ok(());
        }
        // Busy: something of ours is still alive, or dying.
        Deadline::after(EMPTYING).until(|| {
            kill_members(&self.group);
            outcome = self.group.remove();
            outcome.is_ok()
        });
        outcome
    }
}

impl<G: Group> Drop for Owned<G> {
    fn drop(&mut self) {
        if !self.disposed {
            // A failure leaves an empty group behind; its name lets a later
            // start sweep it.
            let _ = self.clear();
        }
    }
}

/// SIGKILL for every member but ourselves.
pub(super) fn kill_members(group: &impl Group) {
    let ourselves = i32::try_from(std::process::id()).unwrap_or(0);
    for pid in group.processes().unwrap_or_default() {
        if pid <= 0 || pid == ourselves {
            continue;
        }
        let Some(process) = ProcessId::of(pid) else {
            continue;
        };
        if let Ok(pidfd) = PidFd::open_verified(process) {
            // ESRCH: it was faster.
            let _ = pidfd.send(Signal::SIGKILL as i32);
        }
    }
}
