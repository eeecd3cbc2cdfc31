//! What can go wrong before or beside the job.

use crate::{BudgetError, PlanError, Rejected};

/// A mechanism that looked usable and was refused when set up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the keeper could not set up {}: {}", .0.mechanism, .0.reason)]
pub struct KeeperRefusal(pub Rejected);

/// Why a run could not be supervised. A failing job is no error but an
/// [`crate::Outcome`].
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// No mechanism fits.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Where jobs are to be is no place for them.
    #[error(transparent)]
    Group(#[from] memcap_probe::NotAGroup),
    /// A budget cannot be made, or has no place for the job.
    #[error(transparent)]
    Budget(#[from] BudgetError),
    /// The keeper's executable did not start.
    #[error("failed to start the keeper `{}`", path.display())]
    StartKeeper {
        /// Its executable.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// No process could be made for the keeper.
    #[error("failed to make a process for the keeper")]
    ForkKeeper(#[source] std::io::Error),
    /// What was started as the keeper is none.
    #[error("the keeper's executable ended without a word")]
    NoKeeper,
    /// This process was started as a keeper by itself.
    #[error("this program was started as its own keeper and did not notice")]
    NoHook,
    /// No thread could be made.
    #[error("failed to start a thread for the job")]
    Thread(#[source] std::io::Error),
    /// A pipe of the job, or `/dev/null`.
    #[error("failed to open or read the job's streams")]
    Stream(#[source] std::io::Error),
    /// The channel to the keeper failed.
    #[error("failed to talk to the keeper")]
    Channel(#[source] std::io::Error),
    /// The keeper ended without a word.
    #[error("the keeper ended before the job could start")]
    KeeperGone,
    /// The one mechanism asked for was refused.
    #[error(transparent)]
    Refused(#[from] KeeperRefusal),
}

impl SupervisorError {
    /// What the user can do, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            SupervisorError::Plan(error) => Some(error.hint().to_owned()),
            SupervisorError::Group(_) => Some(
                "name the directory of a group in a mounted cgroup v2 hierarchy, or in v1's \
                 memory hierarchy"
                    .into(),
            ),
            SupervisorError::Budget(error) => error.hint().map(str::to_owned),
            SupervisorError::StartKeeper { .. } => Some(
                "the keeper is the `memcap` executable: install it on PATH, name it with \
                 `Supervisor::keeper`, or let this program be its own with \
                 `memcap_supervisor::keeper::hook()`"
                    .into(),
            ),
            SupervisorError::NoKeeper => Some(
                "name `memcap`, or a program that begins with \
                 `memcap_supervisor::keeper::hook()`, with `Supervisor::keeper`"
                    .into(),
            ),
            SupervisorError::NoHook => {
                Some("call `memcap_supervisor::keeper::hook()` first in `main`".into())
            }
            SupervisorError::Thread(_) => Some("the limit of threads may be reached".into()),
            SupervisorError::Refused(_) => {
                Some("`memcap doctor` shows what works on this host".into())
            }
            SupervisorError::ForkKeeper(_)
            | SupervisorError::Channel(_)
            | SupervisorError::Stream(_)
            | SupervisorError::KeeperGone => None,
        }
    }
}
