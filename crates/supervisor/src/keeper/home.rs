//! The group around all members of a budget, which holds their total. The first
//! keeper of a member makes it, in the name of the embedding program; that
//! program removes it with the budget, or, when it is dead, the last keeper.

use std::path::Path;

use memcap_linux::cgroup::{V1Memory, V2Group};
use memcap_linux::{ByteSize, FileError};

use super::enclosure::{EnclosureError, limit_v1, limit_v2};
use super::names;
use crate::Mechanism;
use crate::wire::{Prepared, Seating, Spec, Surroundings};

/// A handle on it.
#[derive(Debug, Clone)]
pub(crate) enum Home {
    V2(V2Group),
    V1(V1Memory),
}

/// A new name for such a group of this process.
pub(crate) fn name() -> std::io::Result<String> {
    names::name(names::BUDGET).map_err(std::io::Error::other)
}

impl Home {
    /// The one that is there already, where a group holds the total.
    pub(crate) fn at(mechanism: Mechanism, path: &Path) -> Option<Home> {
        match mechanism {
            Mechanism::CgroupV2 => Some(Home::V2(V2Group::at(path))),
            Mechanism::CgroupV1 => Some(Home::V1(V1Memory::at(path))),
            Mechanism::Systemd | Mechanism::Watchdog | Mechanism::Rlimit => None,
        }
    }

    /// Finds it below a base that can take groups with limits, or makes it; for
    /// whoever holds the base's lock.
    pub(super) fn enter_v2(
        base: &Path,
        seating: &Seating,
        spec: &Spec,
        prepared: &mut Prepared,
    ) -> Result<Home, EnclosureError> {
        let (group, is_new) = match V2Group::create(base, &seating.group) {
            Err(error) if error.already_exists() => (V2Group::at(base.join(&seating.group)), false),
            created => (created?, true),
        };
        // Whom the kernel kills at the total is decided by the leaves, each of
        // which goes as a whole: no memory.oom.group here.
        let held = limit_v2(&group, seating.total, seating.swap).and_then(|proof| {
            prepared.prove(proof);
            if is_new {
                group.enable_for_children("memory")?;
            }
            Ok(())
        });
        if let Err(error) = held {
            if is_new {
                // As in `Enclosure::prepare`.
                let _ = group.remove();
            }
            return Err(error);
        }
        if spec.processes.is_some() {
            // Not granted: the keeper counts.
            let _ = group.enable_for_children("pids");
        }
        Ok(Home::V2(group))
    }

    /// As [`Home::enter_v2`].
    pub(super) fn enter_v1(
        base: &Path,
        seating: &Seating,
        prepared: &mut Prepared,
    ) -> Result<Home, EnclosureError> {
        let (group, is_new) = match V1Memory::create(base, &seating.group) {
            Err(error) if error.already_exists() => {
                (V1Memory::at(base.join(&seating.group)), false)
            }
            created => (created?, true),
        };
        let held = match is_new {
            true => group.make_hierarchical().map_err(EnclosureError::from),
            false => Ok(()),
        }
        .and_then(|()| limit_v1(&group, seating.total, seating.swap));
        match held {
            Ok(proof) => prepared.prove(proof),
            Err(error) => {
                if is_new {
                    // As above.
                    let _ = group.remove();
                }
                return Err(error);
            }
        }
        Ok(Home::V1(group))
    }

    pub(crate) fn path(&self) -> &Path {
        match self {
            Home::V2(group) => group.path(),
            Home::V1(group) => group.path(),
        }
    }

    /// The group as something around the job whose limit may be hit.
    pub(super) fn surroundings(&self) -> Surroundings {
        let path = vec![self.path().to_owned()];
        match self {
            Home::V2(_) => Surroundings {
                v2: path,
                v1: Vec::new(),
            },
            Home::V1(_) => Surroundings {
                v2: Vec::new(),
                v1: path,
            },
        }
    }

    /// What is charged to all members now.
    pub(crate) fn current(&self) -> Option<ByteSize> {
        match self {
            Home::V2(group) => group.current().ok(),
            Home::V1(group) => group.current().ok(),
        }
    }

    /// What of it the kernel cannot simply drop.
    pub(super) fn charged_for_good(&self) -> Option<ByteSize> {
        match self {
            Home::V2(group) => group.unreclaimable().ok(),
            Home::V1(group) => group.unreclaimable().ok(),
        }
    }

    /// The most there ever was; `None` where the kernel keeps no such count.
    pub(crate) fn peak(&self) -> Option<ByteSize> {
        match self {
            Home::V2(group) => group.peak().ok(),
            Home::V1(group) => group.peak().ok(),
        }
    }

    /// Whether the kernel has killed in another member's group than `own`: that
    /// one's keeper ends what is left of it, and room is being made.
    pub(super) fn makes_room_already(&self, own: &Path) -> bool {
        let others = V2Group::at(self.path()).children();
        let mut others = others.iter().filter(|group| group.path() != own);
        let kills = |group: &V2Group| match self {
            Home::V2(_) => group.local_events().ok()?.get("oom_kill"),
            Home::V1(_) => V1Memory::at(group.path()).oom_kills().ok()?,
        };
        others.any(|group| kills(group).is_some_and(|kills| kills > 0))
    }

    /// Removes it, once it holds no group of a member any more.
    ///
    /// # Errors
    /// EBUSY while it does.
    pub(crate) fn remove(&self) -> Result<(), FileError> {
        match self {
            Home::V2(group) => group.remove_alone(),
            Home::V1(group) => group.remove_alone(),
        }
    }
}
