//! Several jobs under one total limit.
//!
//! `rules` decides whose turn it is to make room, `table` is what the keepers of
//! all members see, `bell` wakes them. Each keeper decides for its own job: no
//! thread or process stands above them, and the total holds while the embedding
//! program is stopped.

pub(crate) mod bell;
pub(crate) mod pace;
pub(crate) mod rules;
mod table;

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use memcap_linux::{ByteSize, SizeSpec};

pub(crate) use self::table::{COMING_BACK, Table, Ticket};
use crate::keeper::{Home, Room, name_of_home};
use crate::wire::Seating;
use crate::{
    Handle, Limits, Mechanism, MechanismChoice, Outcome, Plan, Rejected, Request, Supervisor,
    SupervisorError,
};

/// How long the last member's group may take to be gone.
const REMOVAL_DEADLINE: Duration = Duration::from_secs(2);

/// A budget cannot be made, or has no place for a job.
#[derive(Debug, thiserror::Error)]
pub enum BudgetError {
    /// A limit that is not of memory.
    #[error("a budget has a memory limit and a swap allowance, and no other limit")]
    OtherLimits,
    /// A member asks for another mechanism than the budget's.
    #[error("the budget is held by {budget}, and `{member}` was asked for")]
    OtherMechanism {
        /// What the member asks for.
        member: Mechanism,
        /// What holds the total, or was asked for.
        budget: MechanismChoice,
    },
    /// So many members at a time.
    #[error("the budget has {SEATS} members already", SEATS = table::SEATS)]
    Full,
    /// This program was moved to another control group meanwhile.
    #[error("the budget's group is below `{}`, and this program is elsewhere now", .0.display())]
    Moved(PathBuf),
    /// What the keepers share could not be made or handed on.
    #[error("failed to make what the keepers of a budget share")]
    Shared(#[source] io::Error),
}

impl BudgetError {
    /// What to do instead.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            BudgetError::OtherLimits => Some("give the other limits to each member"),
            BudgetError::OtherMechanism { .. } => {
                Some("ask for a mechanism when the budget is made, and not for each member")
            }
            BudgetError::Full => Some("wait for a member to end before the next is started"),
            BudgetError::Moved(_) => Some("make a new budget"),
            BudgetError::Shared(_) => None,
        }
    }
}

/// Several jobs under one total limit, beside the limit that each has. Copies
/// mean the same budget; jobs may be started from any thread.
///
/// ```no_run
/// use memcap_supervisor::{Budget, Job, Limits, Request};
///
/// let budget = Budget::new(Limits::memory("2G".parse()?)?)?;
/// let request = || Ok::<_, Box<dyn std::error::Error>>(
///     Request::new(Job::new("convert"), Limits::memory("1500M".parse()?)?)
/// );
/// let (elder, younger) = (budget.spawn(request()?)?, budget.spawn(request()?)?);
/// let (elder, younger) = (elder.wait()?, younger.wait()?);
/// if younger.is_to_be_requeued() {
///     // There was no room for both. Now there is.
///     budget.run(request()?)?;
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// When the total is near, the youngest member whose end makes room is ended, and
/// its outcome says that it is to be started again
/// ([`Outcome::is_to_be_requeued`]); the eldest is not ended while another can act. Where
/// a control group holds the total, the kernel's choice of a victim is only what
/// remains for a tree that grows faster than the keepers look; then the outcome
/// names the budget too.
///
/// The total's group goes with the last of the copies and of the members' handles.
#[derive(Debug, Clone)]
pub struct Budget(Arc<Shared>);

/// What all members hold together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetSample {
    /// Now. Where the keepers look themselves, at their last looks.
    pub current: ByteSize,
    /// Largest so far.
    pub peak: ByteSize,
    /// How many members there are.
    pub members: usize,
}

#[derive(Debug)]
struct Shared {
    supervisor: Supervisor,
    mechanism: MechanismChoice,
    /// The plan for the total itself.
    plan: Plan,
    /// The name of the group.
    group: String,
    table: Table,
    /// Of the table and of the bell.
    descriptors: [OwnedFd; 2],
    /// The order of the next member.
    next: AtomicU64,
    /// What holds the total, once a member has been started under it.
    settled: Mutex<Option<Settled>>,
    /// Groups around all members that may have been made.
    homes: Mutex<Vec<Home>>,
    /// The process that made it: a forked copy removes nothing.
    owner: u32,
}

#[derive(Debug, Clone)]
struct Settled {
    mechanism: Mechanism,
    /// Where its group is made.
    base: Option<PathBuf>,
}

impl Budget {
    /// A total for jobs that are kept as [`Supervisor::new`] keeps them, with the
    /// strongest mechanism there is.
    ///
    /// # Errors
    /// As [`Supervisor::budget`].
    pub fn new(total: Limits) -> Result<Budget, SupervisorError> {
        Supervisor::new().budget(total, MechanismChoice::Auto)
    }

    pub(crate) fn of(
        supervisor: Supervisor,
        total: Limits,
        mechanism: MechanismChoice,
    ) -> Result<Budget, SupervisorError> {
        let bare =
            Limits::memory(total.memory).map(|bare| bare.swap(total.swap).grace(total.grace));
        if bare != Ok(total) {
            return Err(BudgetError::OtherLimits.into());
        }
        let plan = supervisor.plan_for(&total, mechanism, &refused())?;
        let (table, file) = Table::create().map_err(BudgetError::Shared)?;
        let bell = bell::cast().map_err(BudgetError::Shared)?;
        Ok(Budget(Arc::new(Shared {
            supervisor,
            mechanism,
            plan,
            group: name_of_home().map_err(BudgetError::Shared)?,
            table,
            descriptors: [file, bell],
            next: AtomicU64::new(0),
            settled: Mutex::default(),
            homes: Mutex::default(),
            owner: std::process::id(),
        })))
    }

    /// How the total will be held, with the total that was asked for and the one
    /// that fits. Each member has a plan of its own.
    pub fn plan(&self) -> &Plan {
        &self.0.plan
    }

    /// Starts a job as a member. Its own limit is never above the total; a
    /// percentage is one of the total.
    ///
    /// # Errors
    /// As [`Supervisor::spawn`]; when there are too many members.
    pub fn spawn(&self, request: Request) -> Result<Handle, SupervisorError> {
        let mut settled = lock(&self.0.settled);
        if let Some(settled) = settled.clone() {
            return self.0.start(request, Some(settled));
        }
        // Until one is started nobody knows what will hold the total, and all must
        // be held by the same.
        let handle = self.0.start(request, None)?;
        *settled = Some(Settled {
            mechanism: handle.plan().mechanism,
            base: handle.plan().place().map(PathBuf::from),
        });
        Ok(handle)
    }

    /// Runs a job as a member to its end.
    ///
    /// # Errors
    /// As [`Budget::spawn`].
    pub fn run(&self, request: Request) -> Result<Outcome, SupervisorError> {
        self.spawn(request)?.wait()
    }

    /// What all members hold together.
    pub fn sample(&self) -> BudgetSample {
        let mut members = Vec::new();
        self.0.table.read(&mut members);
        let told = members.iter().fold(ByteSize::ZERO, |sum, member| {
            sum.saturating_add(member.at_most)
        });
        let homes = lock(&self.0.homes);
        let current = homes.iter().find_map(Home::current).unwrap_or(told);
        let peak = homes.iter().find_map(Home::peak).unwrap_or_default();
        BudgetSample {
            current,
            peak: peak.max(self.0.table.peak()).max(current),
            members: members.len(),
        }
    }
}

impl Supervisor {
    /// A total for several jobs that are kept as this one keeps them, under one
    /// mechanism for all. `total` is a memory limit, with a swap allowance if there
    /// is to be one.
    ///
    /// systemd's scopes are not used, since each is around one keeper, nor
    /// RLIMIT_DATA, which is for one process.
    ///
    /// # Errors
    /// When no mechanism fits; when `total` has other limits.
    pub fn budget(
        &self,
        total: Limits,
        mechanism: MechanismChoice,
    ) -> Result<Budget, SupervisorError> {
        Budget::of(self.clone(), total, mechanism)
    }
}

/// What cannot hold a total.
fn refused() -> [Rejected; 2] {
    let rejected = |mechanism, reason: &str| Rejected {
        mechanism,
        reason: reason.to_owned(),
    };
    [
        rejected(
            Mechanism::Systemd,
            "a scope is around one keeper, and a budget needs a group around all",
        ),
        rejected(
            Mechanism::Rlimit,
            "it bounds each process for itself, and a budget is for all together",
        ),
    ]
}

impl Shared {
    fn start(
        self: &Arc<Self>,
        request: Request,
        settled: Option<Settled>,
    ) -> Result<Handle, SupervisorError> {
        let mechanism = match &settled {
            Some(settled) => MechanismChoice::Only(settled.mechanism),
            None => self.mechanism,
        };
        if let MechanismChoice::Only(member) = request.mechanism
            && request.mechanism != mechanism
        {
            let budget = mechanism;
            return Err(BudgetError::OtherMechanism { member, budget }.into());
        }
        let order = self.next.fetch_add(1, Ordering::Relaxed);
        let ticket = self.table.claim(order, request.expected_peak);
        let place = Place {
            ticket: ticket.ok_or(BudgetError::Full)?,
            mechanism,
            base: settled.map(|settled| settled.base),
            shared: Arc::clone(self),
        };
        self.supervisor.launch(request, |_| {}, Some(place))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if std::process::id() != self.owner {
            return;
        }
        let homes = self.homes.get_mut().unwrap_or_else(PoisonError::into_inner);
        let deadline = Instant::now() + REMOVAL_DEADLINE;
        for home in homes {
            // What a dead process still holds goes in a moment; a group that stays
            // is swept when this program has ended.
            while home.remove().is_err() && Instant::now() < deadline {
                // No descriptors: a plain timeout.
                let _ = nix::poll::poll(&mut [], 1u8);
            }
            if let Some(room) = home.path().parent().and_then(Room::of_this_process) {
                // As above.
                let _ = room.close();
            }
        }
    }
}

/// What a member is expected to hold, which may change while it runs.
#[derive(Debug)]
pub(crate) struct Expectation {
    ticket: Ticket,
    shared: Arc<Shared>,
}

impl Expectation {
    /// From now on it is this.
    pub(crate) fn is_now(&self, bytes: ByteSize) {
        self.shared.table.expect(self.ticket, bytes);
        bell::ring(&self.shared.descriptors[1]);
    }
}

/// A member's place in its budget, from before its start until it is over.
#[derive(Debug)]
pub(crate) struct Place {
    ticket: Ticket,
    mechanism: MechanismChoice,
    /// Where the group of the total is, once that is settled.
    base: Option<Option<PathBuf>>,
    shared: Arc<Shared>,
}

impl Place {
    /// What its member is expected to hold.
    pub(crate) fn expectation(&self) -> Expectation {
        Expectation {
            ticket: self.ticket,
            shared: Arc::clone(&self.shared),
        }
    }

    /// What is to hold the job.
    pub(crate) fn mechanism(&self) -> MechanismChoice {
        self.mechanism
    }

    /// What is not to.
    pub(crate) fn refused(&self) -> [Rejected; 2] {
        refused()
    }

    /// The plan for a member with these limits.
    pub(crate) fn plan(
        &self,
        limits: &Limits,
        choose: impl FnOnce(&Limits) -> Result<Plan, SupervisorError>,
    ) -> Result<Plan, SupervisorError> {
        let total = self.shared.plan.limit;
        let own = Limits {
            memory: SizeSpec::Bytes(limits.memory.resolve(total).min(total)),
            swap: match limits.swap {
                SizeSpec::Percent(_) => SizeSpec::Bytes(limits.swap.resolve(total)),
                SizeSpec::Bytes(_) | SizeSpec::Max => limits.swap,
            },
            soft: limits.soft.map(|soft| SizeSpec::Bytes(soft.resolve(total))),
            ..*limits
        };
        let plan = choose(&own)?.within(total, limits.memory);
        if let Some(base) = &self.base
            && base.as_deref() != plan.place()
        {
            return Err(BudgetError::Moved(base.clone().unwrap_or_default()).into());
        }
        if let Some(home) = self.home(&plan) {
            let mut homes = lock(&self.shared.homes);
            if !homes.iter().any(|known| known.path() == home.path()) {
                homes.push(home);
            }
        }
        Ok(plan)
    }

    /// The group around all members, where the plan has one.
    pub(crate) fn home(&self, plan: &Plan) -> Option<Home> {
        Home::at(plan.mechanism, &plan.place()?.join(&self.shared.group))
    }

    /// Copies for the keeper, of the table's and the bell's.
    pub(crate) fn descriptors(&self) -> Result<[OwnedFd; 2], SupervisorError> {
        let [table, bell] = &self.shared.descriptors;
        let copy = |descriptor: &OwnedFd| descriptor.try_clone().map_err(BudgetError::Shared);
        Ok([copy(table)?, copy(bell)?])
    }

    /// What the keeper is told.
    pub(crate) fn seating(&self, descriptors: &[OwnedFd; 2]) -> Seating {
        Seating {
            ticket: self.ticket,
            total: self.shared.plan.limit,
            swap: self.shared.plan.swap,
            group: self.shared.group.clone(),
            descriptors: descriptors.each_ref().map(AsRawFd::as_raw_fd),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Its keeper has done so already, unless it was killed or never came.
        self.shared.table.leave(self.ticket);
        bell::ring(&self.shared.descriptors[1]);
    }
}

/// A thread that panicked has left nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
