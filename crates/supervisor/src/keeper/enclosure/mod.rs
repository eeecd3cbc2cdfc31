//! What the keeper makes around a job: the group that holds the limit, and the
//! group that follows the tree. Made before the job, removed after it.

mod below;
mod limits;
mod v1;

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use memcap_linux::cgroup::{Entrance, FlatKeyed, Limit, V1Memory, V2Group};
use memcap_linux::{ByteSize, FileError, one_line, proc};
use nix::poll::PollFlags;

use super::home::Home;
use super::members::kill_listed;
use super::names::{self, Names};
use super::room::{self, Room};
use super::scope::{Scope, sweep_scopes};
use super::sweep::sweep;
use crate::evidence::GroupCounters;
use crate::plan::Placement;
use crate::wire::{Prepared, Spec, Surroundings};

use self::limits::{
    kill_as_a_whole, limit_softly, limit_tasks, make_directory, open_base, try_first,
};
pub(super) use self::limits::{limit_v1, limit_v2};
use self::v1::HeldByV1;

/// Who holds the limit.
#[derive(Debug)]
enum Enforcement {
    V2 {
        group: V2Group,
        events: File,
        room: Option<Room>,
    },
    V1(HeldByV1),
    /// The keeper's own sampling, or an rlimit on each process.
    Nobody,
}

/// Set up around one job.
#[derive(Debug)]
pub(crate) struct Enclosure {
    enforcement: Enforcement,
    /// The v2 directory that follows the tree, with or without a limit.
    directory: Option<V2Group>,
    /// `pids.events` of the directory, where `pids.max` holds the number of
    /// processes.
    task_events: Option<File>,
    /// The scope around keeper and job, which systemd removes.
    scope: Option<Scope>,
    /// The group around all members of a budget.
    home: Option<Home>,
}

/// Setting up failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnclosureError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Scope(#[from] memcap_probe::systemd::ScopeError),
    #[error("/proc shows another pid namespace than ours, so that the tree cannot be seen there")]
    ForeignProc,
    #[error("a trial in `{}`: {seen}", place.display())]
    Ignored { place: PathBuf, seen: String },
    #[error("failed to name a group")]
    Name(#[source] io::Error),
    #[error("`{file}` reads {found:?} after {wanted} was written")]
    ReadBack {
        file: String,
        found: Limit,
        wanted: ByteSize,
    },
    #[error("`{file}` reads {found:?} after {wanted} was written")]
    TasksReadBack {
        file: String,
        found: Option<u64>,
        wanted: u64,
    },
}

impl Enclosure {
    /// Makes everything and reads the limits back. What was made before a
    /// failure is removed again.
    pub(crate) fn prepare(spec: &Spec) -> Result<(Enclosure, Prepared), EnclosureError> {
        let mut enclosure = Enclosure {
            enforcement: Enforcement::Nobody,
            directory: None,
            task_events: None,
            scope: None,
            home: None,
        };
        let mut prepared = Prepared::default();
        match enclosure.build(spec, &mut prepared) {
            Ok(()) => Ok((enclosure, prepared)),
            Err(error) => {
                // The first failure is what counts; leftovers are swept later.
                let _ = enclosure.dispose().and_then(|()| enclosure.leave_room());
                Err(error)
            }
        }
    }

    fn build(&mut self, spec: &Spec, prepared: &mut Prepared) -> Result<(), EnclosureError> {
        let names = Names::default();
        match &spec.placement {
            Placement::CgroupV2(base) => {
                prepared.notes.extend(sweep(&base.dir));
                let _lock = room::lock(&V2Group::at(&base.dir));
                let room = open_base(base, spec, &names)?;
                prepared.room = room.as_ref().map(|room| room.path().to_owned());
                let tried = try_first(spec, &base.dir, prepared);
                let base = match tried.and_then(|()| self.enter_home_v2(&base.dir, spec, prepared))
                {
                    Ok(home) => home,
                    Err(error) => {
                        // As in `prepare`.
                        let _ = room.map(|room| room.close());
                        return Err(error);
                    }
                };
                self.hold_by_v2((&base, &names), room, spec, prepared)?;
            }
            Placement::Systemd(place) => {
                prepared.notes.extend(sweep_scopes(&place.parent));
                let scope = self.scope.insert(Scope::enter(place, spec, &names)?);
                let base = scope.path().to_owned();
                try_first(spec, &base, prepared)?;
                self.hold_by_v2((&base, &names), None, spec, prepared)?;
            }
            Placement::CgroupV1(base) => {
                prepared.notes.extend(sweep(base));
                try_first(spec, base, prepared)?;
                let _lock = spec.budget.as_ref().map(|_| room::lock(&V2Group::at(base)));
                if let Some(seating) = &spec.budget {
                    self.home = Some(Home::enter_v1(base, seating, prepared)?);
                }
                let base = self.home.as_ref().map_or(base.as_path(), Home::path);
                let group = V1Memory::create(base, &names.name(names::LIMIT)?)?;
                prepared.v1.push(group.path().to_owned());
                let mut held = HeldByV1::new(group, spec.limit, spec.swap);
                let limited = limit_v1(held.group(), spec.limit, spec.swap)
                    .and_then(|proof| held.listen().map(|()| proof).map_err(Into::into));
                // Whatever came of it, it is removed.
                self.enforcement = Enforcement::V1(held);
                prepared.prove(limited?);
            }
            Placement::Watchdog if !proc::is_ours() => return Err(EnclosureError::ForeignProc),
            Placement::Watchdog | Placement::Rlimit => {}
        }
        if let Some(base) = &spec.containment_base {
            prepared.notes.extend(sweep(base));
            match make_directory(base, &names) {
                Ok(group) => {
                    prepared.v2.push(group.path().to_owned());
                    self.directory = Some(group);
                }
                // Nothing else could be frozen.
                Err(error) if spec.soft.is_some() => return Err(error),
                Err(error) => prepared.notes.push(format!(
                    "{}; the keeper follows the tree instead",
                    one_line(&error)
                )),
            }
        }
        if let (Some(rules), Some(directory)) = (&spec.soft, &self.directory) {
            limit_softly(directory, rules, prepared)?;
        }
        if let (Some(limit), Some(directory)) = (spec.processes, &self.directory) {
            self.task_events = limit_tasks(directory, limit, prepared)?;
        }
        Ok(())
    }

    /// Where the leaf goes: into the group of the budget, for a member of one.
    fn enter_home_v2(
        &mut self,
        base: &Path,
        spec: &Spec,
        prepared: &mut Prepared,
    ) -> Result<PathBuf, EnclosureError> {
        let Some(seating) = &spec.budget else {
            return Ok(base.to_owned());
        };
        let home = Home::enter_v2(base, seating, spec, prepared)?;
        Ok(self.home.insert(home).path().to_owned())
    }

    /// A leaf with the limit, below a directory that can take one.
    fn hold_by_v2(
        &mut self,
        (base, names): (&Path, &Names),
        room: Option<Room>,
        spec: &Spec,
        prepared: &mut Prepared,
    ) -> Result<(), EnclosureError> {
        let group = V2Group::create(base, &names.name(names::LIMIT)?)?;
        let limits = limit_v2(&group, spec.limit, spec.swap).and_then(|proof| {
            prepared.prove(proof);
            kill_as_a_whole(&group)?;
            Ok(group.events_file()?)
        });
        match limits {
            Ok(events) => {
                prepared.v2.push(group.path().to_owned());
                self.directory = Some(group.clone());
                self.enforcement = Enforcement::V2 {
                    group,
                    events,
                    room,
                };
                Ok(())
            }
            Err(error) => {
                // As in `prepare`.
                let _ = group.remove();
                if let Some(room) = room {
                    let _ = room.close();
                }
                Err(error)
            }
        }
    }

    /// The groups around the job, where those are not the ones around the
    /// embedding program.
    pub(crate) fn surroundings(&self) -> Option<Surroundings> {
        self.scope.as_ref().map(|scope| Surroundings {
            v2: scope.lineage(),
            v1: Vec::new(),
        })
    }

    /// The group around all members of the budget, where one holds the total.
    pub(crate) fn home(&self) -> Option<&Home> {
        self.home.as_ref()
    }

    /// The ways into the groups, for the child to take before `exec`.
    pub(crate) fn entrances(&self) -> Result<Vec<Entrance>, FileError> {
        let v1 = match &self.enforcement {
            Enforcement::V1(held) => Some(held.group().entrance()),
            Enforcement::V2 { .. } | Enforcement::Nobody => None,
        };
        let v2 = self.directory.as_ref().map(V2Group::entrance);
        v2.into_iter().chain(v1).collect()
    }

    /// The directory that follows the tree.
    pub(crate) fn directory(&self) -> Option<&V2Group> {
        self.directory.as_ref()
    }

    /// What to poll for an OOM in the group.
    pub(crate) fn oom_signal(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        match &self.enforcement {
            Enforcement::V2 { events, .. } => Some((events.as_fd(), PollFlags::POLLPRI)),
            Enforcement::V1(held) => Some((held.oom_signal()?, PollFlags::POLLIN)),
            Enforcement::Nobody => None,
        }
    }

    /// Takes note of the signal, so that the next one is seen.
    pub(crate) fn acknowledge_oom_signal(&self) {
        match &self.enforcement {
            Enforcement::V2 { events, .. } => {
                // An unread signal only wakes us again.
                let _ = events.read_at(&mut [0; 512], 0);
            }
            Enforcement::V1(held) => held.acknowledge(),
            Enforcement::Nobody => {}
        }
    }

    /// What to poll for a task refused by the directory's `pids.max`.
    pub(crate) fn task_signal(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        self.task_events
            .as_ref()
            .map(|events| (events.as_fd(), PollFlags::POLLPRI))
    }

    /// Whether the directory's `pids.max` has refused a task; the next one is
    /// signalled again. `None` where no `pids.max` holds.
    pub(crate) fn has_refused_a_task(&self) -> Option<bool> {
        let events = self.task_events.as_ref()?;
        // An unread signal only wakes us again.
        let _ = events.read_at(&mut [0; 64], 0);
        let refused = self.directory.as_ref()?.tasks_refused().ok()?;
        Some(refused > 0)
    }

    /// Whether the kernel has killed a member for memory.
    pub(crate) fn kernel_has_killed(&self) -> bool {
        // Whose limit it was is asked in the end.
        let kills = match &self.enforcement {
            Enforcement::V1(held) => held.kills(),
            Enforcement::V2 { .. } | Enforcement::Nobody => {
                self.counters(None).map(|counters| counters.oom_kills)
            }
        };
        kills.is_some_and(|kills| kills > 0)
    }

    /// Looks for kills in groups that the job has made below its own, where the kernel
    /// counts those in no other.
    pub(crate) fn look_below(&self) {
        if let Enforcement::V1(held) = &self.enforcement {
            held.look_below();
        }
    }

    /// When to do so next; `None` while there is no reason to.
    pub(crate) fn next_look_below(&self) -> Option<Instant> {
        match &self.enforcement {
            Enforcement::V1(held) => held.next_look_below(),
            Enforcement::V2 { .. } | Enforcement::Nobody => None,
        }
    }

    /// What is to be said beside the counters.
    pub(crate) fn notes(&self, counters: Option<GroupCounters>) -> Vec<String> {
        let Enforcement::V1(held) = &self.enforcement else {
            return Vec::new();
        };
        let uncounted = counters.and_then(|counters| held.uncounted(counters));
        uncounted
            .into_iter()
            .chain(held.was_made_to_wait())
            .collect()
    }

    /// The counters of the job's own group, where v1 groups around it were told of an OOM
    /// so often.
    pub(crate) fn counters(&self, around: Option<u64>) -> Option<GroupCounters> {
        match &self.enforcement {
            Enforcement::V2 { group, .. } => {
                let all = group.events().ok()?;
                let own = group.local_events().ok();
                v2_counters(&all, own.as_ref())
            }
            Enforcement::V1(held) => held.counters(around),
            Enforcement::Nobody => None,
        }
    }

    /// The kernel's high-water mark of what counts against the limit; `None`
    /// where it keeps none.
    pub(crate) fn kernel_peak(&self) -> Option<ByteSize> {
        match &self.enforcement {
            Enforcement::V2 { group, .. } => group.peak().ok(),
            Enforcement::V1(held) => held.peak(),
            Enforcement::Nobody => None,
        }
    }

    /// Memory charged to the group now; `None` where there is no such group.
    pub(crate) fn charged(&self) -> Option<ByteSize> {
        match &self.enforcement {
            Enforcement::V2 { group, .. } => group.current().ok(),
            Enforcement::V1(held) => held.group().current().ok(),
            Enforcement::Nobody => None,
        }
    }

    /// What of it counts against the total of a budget, whose members must not
    /// go for what the kernel can simply drop.
    pub(crate) fn charged_to_budget(&self) -> Option<ByteSize> {
        match &self.enforcement {
            Enforcement::V2 { group, .. } => group.unreclaimable().ok(),
            Enforcement::V1(held) => held.group().unreclaimable().ok(),
            Enforcement::Nobody => None,
        }
    }

    /// What of it the kernel cannot simply drop, for a soft limit that it does
    /// not hold itself; `None` where there is no such group.
    pub(crate) fn charged_for_good(&self) -> Option<ByteSize> {
        match &self.enforcement {
            Enforcement::V2 { group, .. } => group.current().ok(),
            Enforcement::V1(held) => held.group().unreclaimable().ok(),
            Enforcement::Nobody => None,
        }
    }

    /// Pids in the groups.
    pub(crate) fn members(&self) -> Vec<i32> {
        let v1 = match &self.enforcement {
            Enforcement::V1(held) => held.group().processes().unwrap_or_default(),
            Enforcement::V2 { .. } | Enforcement::Nobody => Vec::new(),
        };
        let v2 = self
            .directory
            .as_ref()
            .and_then(|group| group.processes().ok());
        v2.into_iter().flatten().chain(v1).collect()
    }

    /// The group that holds the limit; `None` where no group does.
    pub(crate) fn limiting_group(&self) -> Option<&Path> {
        match &self.enforcement {
            Enforcement::V2 { group, .. } => Some(group.path()),
            Enforcement::V1(held) => Some(held.group().path()),
            Enforcement::Nobody => None,
        }
    }

    /// Whether the group that held the limit has been removed: nobody but us should.
    pub(crate) fn has_lost_its_limit(&self) -> bool {
        self.limiting_group().is_some_and(|group| {
            group
                .symlink_metadata()
                .is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        })
    }

    /// What somebody else has raised of the limits on memory and swap since they were
    /// read back, in words.
    pub(crate) fn raised(&self, limit: ByteSize, swap: ByteSize) -> Option<String> {
        let with_swap = limit.saturating_add(swap);
        let (group, now) = match &self.enforcement {
            Enforcement::V2 { group, .. } => (
                group.path(),
                [
                    ("memory.max", group.max(), limit),
                    ("memory.swap.max", group.swap_max(), swap),
                ],
            ),
            Enforcement::V1(held) => (
                held.group().path(),
                [
                    ("memory.limit_in_bytes", held.group().limit(), limit),
                    (
                        "memory.memsw.limit_in_bytes",
                        held.group().limit_with_swap(),
                        with_swap,
                    ),
                ],
            ),
            Enforcement::Nobody => return None,
        };
        now.into_iter().find_map(|(file, found, set)| {
            let now = match found.ok()? {
                Limit::At(bytes) if bytes <= set => return None,
                Limit::At(bytes) => bytes.to_string(),
                Limit::Unlimited => "no limit".to_owned(),
            };
            let file = group.join(file);
            Some(format!(
                "{} was raised from {set} to {now} by somebody else",
                file.display()
            ))
        })
    }

    /// Pids in the group that holds the limit; `None` where no group does, or
    /// it cannot be read.
    pub(crate) fn limited(&self) -> Option<BTreeSet<i32>> {
        let pids = match &self.enforcement {
            Enforcement::V2 { group, .. } => group.processes().ok()?,
            Enforcement::V1(held) => held.group().processes().ok()?,
            Enforcement::Nobody => return None,
        };
        Some(pids.into_iter().collect())
    }

    /// Whether no living process is in the groups.
    pub(crate) fn is_empty(&self) -> bool {
        self.members().is_empty()
    }

    /// Kills what is in the groups: at once where the kernel can, else one by
    /// one.
    pub(crate) fn kill_members(&self) {
        if let Some(directory) = &self.directory
            && directory.kill().is_ok()
        {
            // A frozen group dies too, and stays empty.
            return;
        }
        kill_listed(|| self.members());
        if let Some(directory) = &self.directory {
            // Before Linux 5.14 a frozen process dies once it runs.
            let _ = directory.set_frozen(false);
        }
    }

    /// Removes what was made.
    ///
    /// # Errors
    /// EBUSY while a process is left; the group is swept at the next start.
    pub(crate) fn dispose(&self) -> Result<(), FileError> {
        let v2 = self.directory.as_ref().map_or(Ok(()), V2Group::remove);
        let v1 = match &self.enforcement {
            Enforcement::V1(held) => held.group().remove(),
            Enforcement::V2 { .. } | Enforcement::Nobody => Ok(()),
        };
        v2.and(v1)
    }

    /// Gives the embedding program its own group back, after [`dispose`].
    pub(crate) fn leave_room(&self) -> Result<(), FileError> {
        match &self.enforcement {
            Enforcement::V2 {
                room: Some(room), ..
            } => room.close(),
            _ => Ok(()),
        }
    }
}

/// `memory.events` counts what happened below too. A job may have groups with
/// limits of their own (a container, another memcap): a kill by those is the
/// job's affair, as long as our limit was not hit and no member of our own group
/// was killed.
fn v2_counters(all: &FlatKeyed, own: Option<&FlatKeyed>) -> Option<GroupCounters> {
    let kills = all.get("oom_kill")?;
    let own_ooms = own.and_then(|own| own.get("oom"));
    let limit_below_hit = matches!((all.get("oom"), own_ooms), (Some(all), Some(0)) if all > 0);
    let kills_here = own.and_then(|own| own.get("oom_kill"));
    Some(GroupCounters {
        oom_kills: match kills_here {
            Some(kills_here) if limit_below_hit => kills_here,
            _ => kills,
        },
        own_limit_hit: own_ooms.map(|count| count > 0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_by_limits_inside_the_job_are_not_ours() {
        let count = |all: &str, own: &str| {
            let own = FlatKeyed::parse(own);
            v2_counters(&FlatKeyed::parse(all), Some(&own))
                .map(|counters| (counters.oom_kills, counters.own_limit_hit))
        };
        let cases = [
            // Our limit, a member of our own group.
            ("oom 1\noom_kill 2", "oom 1\noom_kill 2", (2, true)),
            // Our limit, a member of a group below.
            ("oom 1\noom_kill 1", "oom 1\noom_kill 0", (1, true)),
            // A limit below us.
            ("oom 1\noom_kill 2", "oom 0\noom_kill 0", (0, false)),
            // A limit below us, and another around us.
            ("oom 1\noom_kill 3", "oom 0\noom_kill 1", (1, false)),
            // A limit around us took a member of a group below.
            ("oom 0\noom_kill 1", "oom 0\noom_kill 0", (1, false)),
        ];
        for (all, own, (kills, hit)) in cases {
            assert_eq!(count(all, own), Some((kills, Some(hit))), "{all} / {own}");
        }
        let old_kernel = v2_counters(&FlatKeyed::parse("oom 1\noom_kill 1"), None);
        assert_eq!(
            old_kernel.map(|c| (c.oom_kills, c.own_limit_hit)),
            Some((1, None))
        );
    }
}
