//! The limits of a plan beside memory, each with who holds it.

use std::time::Duration;

use memcap_linux::ByteSize;
use serde::{Serialize, Serializer};

use crate::plan::Placement;
use crate::throttle::{Rules, ThrottleBy};
use crate::{Containment, Limits};

/// A limit beside the memory limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "limit")]
pub enum OtherLimit {
    /// What may be in swap beside memory.
    Swap {
        /// So much.
        bytes: ByteSize,
    },
    /// From here on the tree is slowed down.
    Soft {
        /// So much.
        bytes: ByteSize,
    },
    /// Wall time.
    Time {
        /// So long.
        #[serde(serialize_with = "as_seconds")]
        seconds: Duration,
    },
    /// CPU time of the whole tree.
    Cpu {
        /// So long.
        #[serde(serialize_with = "as_seconds")]
        seconds: Duration,
    },
    /// Processes and threads at a time.
    Processes {
        /// So many.
        count: u64,
    },
    /// What stays available on the machine.
    KeepFree {
        /// So much.
        bytes: ByteSize,
    },
}

/// A limit and what holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Held {
    /// What is limited, and to what.
    #[serde(flatten)]
    pub limit: OtherLimit,
    /// What holds it: a control file, or what the keeper looks at.
    pub by: &'static str,
}

fn as_seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

/// Names what will hold each limit.
pub(crate) fn held(
    limits: &Limits,
    (swap, keep_free): (ByteSize, ByteSize),
    placement: &Placement,
    containment: Containment,
    throttle: Option<Rules>,
) -> Vec<Held> {
    let swap = swap_holder(placement).map(|by| (OtherLimit::Swap { bytes: swap }, by));
    let time = limits
        .time
        .map(|seconds| (OtherLimit::Time { seconds }, "the keeper's clock"));
    let cpu = limits
        .cpu
        .map(|seconds| (OtherLimit::Cpu { seconds }, cpu_holder(containment)));
    let processes = limits
        .processes
        .map(|count| (OtherLimit::Processes { count }, task_holder(containment)));
    let soft = throttle.map(|rules| {
        (
            OtherLimit::Soft { bytes: rules.soft },
            soft_holder(rules.by),
        )
    });
    let keep_free = (keep_free > ByteSize::ZERO).then_some((
        OtherLimit::KeepFree { bytes: keep_free },
        "the keeper's looks at /proc/meminfo",
    ));
    [swap, soft, time, cpu, processes, keep_free]
        .into_iter()
        .flatten()
        .map(|(limit, by)| Held { limit, by })
        .collect()
}

/// `None` where swapped and resident memory are not told apart.
fn swap_holder(placement: &Placement) -> Option<&'static str> {
    match placement {
        Placement::CgroupV2(_) | Placement::Systemd(_) => Some("memory.swap.max"),
        Placement::CgroupV1(_) => Some("memory.memsw.limit_in_bytes"),
        Placement::Watchdog => Some("the keeper's looks at /proc"),
        Placement::Rlimit => None,
    }
}

fn soft_holder(by: ThrottleBy) -> &'static str {
    match by {
        ThrottleBy::MemoryHigh => "memory.high",
        ThrottleBy::Freezes => "the keeper, by short freezes",
    }
}

fn cpu_holder(containment: Containment) -> &'static str {
    match containment {
        Containment::CgroupV2 => "the keeper's looks at cpu.stat",
        Containment::Keeper | Containment::InProcess => "the keeper's looks at /proc",
    }
}

fn task_holder(containment: Containment) -> &'static str {
    match containment {
        Containment::CgroupV2 => "pids.max where the directory has it, else the keeper's count",
        Containment::Keeper | Containment::InProcess => "the keeper's count",
    }
}
