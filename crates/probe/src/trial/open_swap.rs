//! Trial of a limit on memory alone, as most tools set it: where there is swap, the
//! excess goes there. The child goes 16 MiB above its limit and no further, to
//! spare the swap.

use std::path::Path;

use memcap_linux::ByteSize;
use memcap_linux::cgroup::V1Memory;

use super::aid::{AidVerdict, against};
use super::classify::judge_group;
use super::error::TrialError;
use super::group::Owned;
use super::room::Room;
use super::{LIMIT, Trial, v1, v2};
use crate::{Fact, Host};

const EXCESS: ByteSize = ByteSize::from_mib(16);

/// Why it cannot be tried.
pub(super) fn obstacle(host: &Host) -> Option<(AidVerdict, String)> {
    match host.memory.value().map(|memory| memory.swap_total) {
        None => {
            return Some((
                AidVerdict::NotTried,
                "whether there is swap is not known".into(),
            ));
        }
        Some(ByteSize::ZERO) => {
            return Some((AidVerdict::NotAvailable, "there is no swap".into()));
        }
        Some(swap) if swap < LIMIT => {
            return Some((
                AidVerdict::NotTried,
                format!("there is only {swap} of swap"),
            ));
        }
        Some(_) => {}
    }
    if v2_base(host).is_some() || v1_base(host).is_some() {
        return None;
    }
    match &host.cgroup_v2 {
        Fact::Present { value } => against(&value.memory_base),
        missing => against(missing),
    }
}

/// In a group below the place that a run would use.
pub(super) fn run(host: &Host, program: &Path) -> Result<Trial, TrialError> {
    let touch = LIMIT.saturating_add(EXCESS);
    if let Some(base) = v2_base(host) {
        let room = Room::make(base)?;
        let outcome = v2::exceed(program, &base.dir, touch, v2::Swap::Open);
        let left = room.leave();
        let mut trial = outcome?;
        trial.note(left?);
        return Ok(trial);
    }
    let Some(base) = v1_base(host) else {
        return Err(TrialError::NotPlaced);
    };
    let owned = Owned::<V1Memory>::create(base)?;
    // The machine's swap is no bound.
    let swap = ByteSize::from_gib(1 << 20);
    owned.group().set_limit(LIMIT, swap)?;
    let seen = v1::exceed(program, &owned, touch)?;
    owned.dispose()?;
    Ok(Trial::of_group(judge_group(&seen), &seen))
}

fn v2_base(host: &Host) -> Option<&crate::MemoryBase> {
    host.cgroup_v2.value()?.memory_base.value()
}

fn v1_base(host: &Host) -> Option<&Path> {
    let base = host.cgroup_v1.value()?.base.value()?;
    Some(base)
}
