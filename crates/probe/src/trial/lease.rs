//! Trial of a lease: the soft RLIMIT_DATA of a child that runs already is set to
//! what it has mapped and 32 MiB, and what it maps beyond that must be refused.

use std::io;
use std::path::Path;

use memcap_linux::proc::Resident;
use memcap_linux::{ByteSize, data_limit};

use super::child::{Child, Heard, Setup};
use super::deadline::Deadline;
use super::error::TrialError;
use super::{End, LIMIT, TARGET, TIME};

/// What became of the child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) progress: ByteSize,
    pub(super) end: End,
}

/// Starts a child that waits, gives it the lease, and lets it go on.
pub(super) fn run(program: &Path) -> Result<Seen, TrialError> {
    let mut child = Child::start(
        program,
        &Setup {
            touch: Some(TARGET),
            waits: true,
            ..Setup::default()
        },
    )?;
    let deadline = Deadline::after(TIME);
    if child.listen(deadline) != Heard::AllDone {
        return Err(TrialError::Child(child.end(deadline).to_string()));
    }
    let mapped = Resident::read(child.pid(), &mut Vec::new())?.data;
    let lease = mapped.saturating_add(LIMIT).bytes();
    let handle = child.handle().ok_or_else(|| {
        let cause = "there is no handle on a process (Linux 5.3)";
        TrialError::Lease(io::Error::new(io::ErrorKind::Unsupported, cause))
    })?;
    // A lower limit that is in force already stays, as in a run.
    let given = data_limit::replace_soft(child.pid(), handle, lease, |own| own >= lease)
        .map_err(TrialError::Lease)?;
    if given != Some(lease) {
        let cause = "a lower RLIMIT_DATA is in force already";
        return Err(TrialError::Lease(io::Error::other(cause)));
    }
    child.let_go();
    child.listen(deadline);
    child.let_go();
    let end = child.end(deadline);
    Ok(Seen {
        progress: child.progress(),
        end,
    })
}
