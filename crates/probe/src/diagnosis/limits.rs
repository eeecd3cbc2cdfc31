//! C9 to C15: a limit is set, and does less, or other, than is expected of it.

use memcap_linux::ByteSize;
use memcap_linux::cgroup::Limit;

use super::known::Known;
use super::{Finding, Weight, finding};
use crate::Mechanism;
use crate::facts::{Era, GroupLimits, Platform};
use crate::trial::Verdict;

/// C9: what exceeds the limit goes to swap.
pub(super) fn swap_not_included(known: &Known<'_>) -> Option<Finding> {
    let absorbing = known
        .trials
        .mechanisms
        .iter()
        .find(|trial| trial.verdict == Verdict::SwapAbsorbs);
    let (seen, version) = match absorbing {
        Some(trial) => {
            let seen = format!(
                "under {} a child exceeded its limit by going to swap",
                trial.mechanism
            );
            let version = match trial.mechanism {
                Mechanism::CgroupV1 => 1,
                Mechanism::CgroupV2
                | Mechanism::Systemd
                | Mechanism::Watchdog
                | Mechanism::Rlimit => 2,
            };
            (seen, version)
        }
        None => open_to_swap(known)?,
    };
    let means = "the limit holds for memory, but not for memory and swap together: a job slows \
                 down and goes on, as if there were no limit";
    let fix: &[&str] = match (version, known.facts.platform) {
        (_, Platform::Wsl1 | Platform::Wsl2) => &[
            "beside MemoryMax= set MemorySwapMax=0 (docker: --memory-swap as --memory), or",
            "put `swap=0` under [wsl2] in %UserProfile%\\.wslconfig, then",
            "in Windows: wsl --shutdown",
        ],
        (1, Platform::Linux) => &[
            "set memory.memsw.limit_in_bytes beside memory.limit_in_bytes; where it is not",
            "there, boot with swapaccount=1; or turn swap off: swapoff -a",
        ],
        (_, Platform::Linux) => &[
            "beside MemoryMax= set MemorySwapMax=0 (docker: --memory-swap as --memory),",
            "or turn swap off: swapoff -a",
        ],
    };
    let found = finding(
        known,
        "C9",
        Weight::Weakens,
        (seen, means),
        fix.iter().copied(),
    )?;
    Some(match absorbing {
        Some(_) => found,
        None => found.meanwhile("memcap's own limits include swap"),
    })
}

/// A limit around us that leaves swap open, on a machine that has some.
fn open_to_swap(known: &Known<'_>) -> Option<(String, u8)> {
    let swap = known.facts.swap.value()?;
    let open = known.facts.limits_around.iter().find(|group| {
        // The limit that WSL puts around everything is for the whole machine.
        group.limit().is_some() && group.swap_max == Some(Limit::Unlimited) && !is_of_wsl(group)
    })?;
    let swapped = match open.swapped {
        Some(bytes) if bytes > ByteSize::ZERO => format!(", of which it uses {bytes}"),
        _ => String::new(),
    };
    let seen = format!(
        "{} is limited to {}, but not in swap, and there is {} of swap{swapped}",
        open.dir.display(),
        open.limit()?,
        swap.total,
    );
    Some((seen, open.version))
}

fn processes(count: u64) -> String {
    match count {
        1 => "1 process".to_owned(),
        _ => format!("{count} processes"),
    }
}

fn is_of_wsl(group: &GroupLimits) -> bool {
    group.dir.ends_with("wsl-user")
}

/// C10: the limit is on one group, we are in another.
pub(super) fn set_elsewhere(known: &Known<'_>) -> Option<Finding> {
    let elsewhere = known.facts.limits_elsewhere.first()?;
    let own = &known.host.cgroup_v2.value()?.own;
    let (what, bytes) = match (elsewhere.limit(), elsewhere.threshold()) {
        (Some(bytes), _) => ("memory.max", bytes),
        (None, Some(bytes)) => ("memory.high", bytes),
        (None, None) => return None,
    };
    let seen = format!(
        "{} has {what} = {bytes}, but we are in {}",
        elsewhere.dir.display(),
        own.display()
    );
    let means = "a limit holds for what is in its group, and this shell and what it starts are \
                 not in that one";
    let fix = [
        "start what is to be limited in a group with that limit: memcap run --memory ...,",
        "or systemd-run --user --scope -p MemoryMax=8G -p MemorySwapMax=0 COMMAND;",
        "compare with: cat /proc/PID/cgroup",
    ];
    let found = finding(known, "C10", Weight::Weakens, (seen, means), fix)?;
    Some(
        found.meanwhile(
            "memcap starts a job inside its group, and reports what left it for a daemon",
        ),
    )
}

/// C11: a threshold without a limit.
pub(super) fn only_slowed_down(known: &Known<'_>) -> Option<Finding> {
    let throttled = known
        .facts
        .limits_around
        .iter()
        .find(|group| group.threshold().is_some() && group.max == Some(Limit::Unlimited))?;
    let high = throttled.threshold()?;
    let hits = match throttled.high_hits {
        Some(hits) if hits > 0 => format!(", exceeded {hits} times"),
        _ => String::new(),
    };
    let seen = format!(
        "{} has memory.high = {high}{hits}, and memory.max = max",
        throttled.dir.display()
    );
    let means = "memory.high slows down and never kills: a job above it can stand still for \
                 hours, and still grow";
    let fix = ["set a limit as well: MemoryMax= a little above MemoryHigh=, MemorySwapMax=0"];
    let found = finding(known, "C11", Weight::Weakens, (seen, means), fix)?;
    Some(found.meanwhile(
        "memcap does not leave that group; its own limit inside ends a job in time only where \
         it is below the threshold",
    ))
}

/// C12: a group around us has less than the machine, or the machine has less than was
/// expected of it.
pub(super) fn less_than_expected(known: &Known<'_>) -> Option<Finding> {
    an_outer_limit(known).or_else(|| the_machine_ran_out(known))
}

fn an_outer_limit(known: &Known<'_>) -> Option<Finding> {
    let lowest = known.host.ceilings.lowest()?;
    let file = lowest.file.as_ref()?;
    let group = known
        .facts
        .limits_around
        .iter()
        .find(|group| Some(group.dir.as_path()) == file.parent());
    let kills = match group.and_then(|group| group.oom_kills) {
        Some(kills) if kills > 0 => format!("; an OOM killer took {} in it", processes(kills)),
        _ => String::new(),
    };
    let by_the_machine = match known.facts.machine_kills {
        Some(taken) if taken > 0 => format!("; {}", taken_by_the_machine(taken)),
        _ => String::new(),
    };
    let seen = format!(
        "{} is {}{kills}{by_the_machine}",
        file.display(),
        lowest.bytes
    );
    let is_wsl = known.era() == Some(Era::Isolated) && group.is_some_and(is_of_wsl);
    let (means, fix): (_, &[&str]) = if is_wsl {
        (
            "WSL keeps 32 MiB of its virtual machine for itself; where the machine runs out, \
             something is killed in this group",
            &[
                "more for the virtual machine: `memory=` under [wsl2] in",
                "%UserProfile%\\.wslconfig, then in Windows: wsl --shutdown",
            ],
        )
    } else if known.container().is_some() {
        (
            "everything in this container has at most that; larger limits are lowered to fit",
            &["have the container started with more memory"],
        )
    } else {
        (
            "everything started here has at most that; larger limits are lowered to fit",
            &["have the limit of that group raised, or start memcap outside it"],
        )
    };
    let found = finding(
        known,
        "C12",
        Weight::Note,
        (seen, means),
        fix.iter().copied(),
    )?;
    Some(found.meanwhile("memcap stays inside and a little below it, and says which limit was hit"))
}

fn taken_by_the_machine(count: u64) -> String {
    let taken = processes(count);
    format!("by the kernel's log the machine's own OOM killer took {taken}")
}

fn the_machine_ran_out(known: &Known<'_>) -> Option<Finding> {
    let taken = known.facts.machine_kills.filter(|taken| *taken > 0)?;
    let seen = taken_by_the_machine(taken);
    let means = "the whole machine was out of memory: what was killed then had hit no limit of \
                 its own";
    let fix: &[&str] = match known.facts.platform {
        Platform::Wsl1 | Platform::Wsl2 => &[
            "more for the virtual machine: `memory=` under [wsl2] in",
            "%UserProfile%\\.wslconfig, then in Windows: wsl --shutdown",
        ],
        Platform::Linux => &[
            "run what grows under a limit, and leave the rest of the machine its share:",
            "memcap run --memory 50% --keep-free 1G -- COMMAND",
        ],
    };
    let found = finding(
        known,
        "C12",
        Weight::Note,
        (seen, means),
        fix.iter().copied(),
    )?;
    Some(found.meanwhile("memcap tells such a kill from one by its own limit"))
}

/// C13: an OOM kill spares somebody.
pub(super) fn partial_kill(known: &Known<'_>) -> Option<Finding> {
    /// The kernel takes nobody with this, not even as part of a group.
    const EXEMPT: i32 = -1000;
    if known.facts.oom_score_adj.value() == Some(&EXEMPT) {
        let seen = "our own oom_score_adj is -1000, and what we start inherits it";
        let means = "no OOM killer takes such processes: a cgroup at its limit can only stall";
        let fix = [
            "start memcap from a shell that is not protected: as root,",
            "echo 0 > /proc/$$/oom_score_adj",
        ];
        let found = finding(known, "C13", Weight::Weakens, (seen, means), fix)?;
        return Some(found.meanwhile("memcap gives its jobs an oom_score_adj of at least 500"));
    }
    let partial = known.facts.limits_around.iter().find(|group| {
        group.limit().is_some()
            && group.kills_as_one == Some(false)
            && group.own_kills.is_some_and(|kills| kills > 0)
            && !is_of_wsl(group)
    })?;
    let seen = format!(
        "in {} an OOM killer took {} by itself (memory.oom.group = 0)",
        partial.dir.display(),
        processes(partial.own_kills?)
    );
    let means = "after such a kill the rest of a job goes on without a worker, and may hang or \
                 end as if nothing had happened";
    let fix = ["for a systemd unit set OOMPolicy=kill; for a group: echo 1 > memory.oom.group"];
    let found = finding(known, "C13", Weight::Weakens, (seen, means), fix)?;
    Some(found.meanwhile("memcap's own groups are killed as one, and a partial kill is reported"))
}

/// C14: two figures that are taken for one.
pub(super) fn resident_is_not_charged(known: &Known<'_>) -> Option<Finding> {
    let misread = known.facts.limits_around.iter().find(|group| {
        let limit = group.limit();
        group
            .current
            .is_some_and(|current| limit.is_some_and(|limit| current <= limit))
            && group
                .resident
                .is_some_and(|resident| limit.is_some_and(|limit| resident > limit))
    })?;
    let dir = misread.dir.display();
    let seen = format!(
        "the processes in {dir} add up to {} RES in top, above its limit of {}, with only {} charged",
        misread.resident?,
        misread.limit()?,
        misread.current?
    );
    let means = "the limit holds: RES counts shared pages once for each process, and pages that \
                 were charged to other groups";
    let fix = [format!(
        "look at memory.current, memory.peak and memory.stat in {dir}"
    )];
    let found = finding(known, "C14", Weight::Note, (seen, means), fix)?;
    Some(found.meanwhile("memcap reports what the kernel charged, not RES"))
}

/// C15: everything is as it should be, and the limit still does not hold.
pub(super) fn not_enforced(known: &Known<'_>) -> Option<Finding> {
    let control = known.trials.control.as_ref()?;
    if !control.passed {
        return None;
    }
    let ignored = known.trials.mechanisms.iter().find(|trial| {
        trial.verdict == Verdict::NotEnforced
            && match trial.mechanism {
                Mechanism::CgroupV2 | Mechanism::Systemd | Mechanism::CgroupV1 => true,
                Mechanism::Watchdog | Mechanism::Rlimit => false,
            }
    })?;
    let seen = format!(
        "under {} a child was in its group, the limit read back, swap was closed, and it took \
         three times the limit",
        ignored.mechanism
    );
    let means = format!(
        "this kernel ({}) does not enforce the limit",
        known.release()
    );
    let update = match known.is_wsl2() {
        true => "in Windows: wsl --update, then wsl --shutdown; where it stays so,",
        false => "use a newer kernel; where it stays so,",
    };
    let fix = [
        update,
        "report it with what this saves: memcap doctor --save FOLDER",
    ];
    finding(known, "C15", known.weight(), (seen, means), fix)
}
