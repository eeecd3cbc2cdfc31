//! The eyes for the limits beside memory: CPU time and number of processes, and
//! what is available on the machine.

use std::path::Path;
use std::time::{Duration, Instant};

use memcap_linux::cgroup::V2Group;
use memcap_linux::proc::Stat;
use memcap_linux::{ByteSize, FileError, meminfo};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::unistd::{SysconfVar, sysconf};

use super::enclosure::Enclosure;
use super::tree::{self, Family};
use crate::governor::Input;
use crate::meters::{CpuMeter, ReserveMeter, TaskMeter};
use crate::wire::Spec;

/// What is limited beside memory.
#[derive(Debug)]
pub(super) struct Beside {
    cpu: Option<CpuMeter>,
    /// `None` too where `pids.max` holds the limit.
    tasks: Option<TaskMeter>,
    reserve: Option<ReserveMeter>,
    family: Family,
    main: i32,
}

impl Beside {
    pub(super) fn new(spec: &Spec, enclosure: &Enclosure, family: Family, main: i32) -> Beside {
        let is_counted = enclosure.task_signal().is_none();
        Beside {
            cpu: spec.cpu.map(|limit| CpuMeter::new(limit, processors())),
            tasks: spec.processes.filter(|_| is_counted).map(TaskMeter::new),
            reserve: (spec.keep_free > ByteSize::ZERO).then(|| ReserveMeter::new(spec.keep_free)),
            family,
            main,
        }
    }

    /// When [`Beside::look`] must be called, as time since the job's start.
    pub(super) fn next_look(&self) -> Option<Duration> {
        let cpu = self.cpu.as_ref().map(CpuMeter::next_look);
        let tasks = self.tasks.as_ref().map(TaskMeter::next_look);
        let reserve = self.reserve.as_ref().map(ReserveMeter::next_look);
        [cpu, tasks, reserve].into_iter().flatten().min()
    }

    /// Looks where that is due.
    pub(super) fn look(&mut self, enclosure: &Enclosure, now: Duration) -> Vec<Input> {
        let directory = enclosure.directory();
        let members = || tree::members(self.family, self.main);
        let reaped = match self.family {
            Family::Descendants => cpu_of_reaped(),
            // Of this whole process; the main process is not reaped yet.
            Family::OfMain => Duration::ZERO,
        };
        let mut inputs = Vec::new();
        if let Some(meter) = self.cpu.as_mut().filter(|meter| now >= meter.next_look()) {
            let (used, cost) = timed(|| cpu_used(directory, members, reaped));
            if meter.is_over(used, cost, now) {
                inputs.push(Input::CpuUsedUp);
            }
        }
        if let Some(meter) = self.tasks.as_mut().filter(|meter| now >= meter.next_look()) {
            let (count, cost) = timed(|| tasks(directory, members));
            if meter.is_over(count, cost, now) {
                inputs.push(Input::TooManyProcesses);
            }
        }
        if let Some(meter) = self
            .reserve
            .as_mut()
            .filter(|meter| now >= meter.next_look())
        {
            let (available, cost) = timed(|| meminfo::available(Path::new("/proc")).ok());
            inputs.extend(meter.shortage(available, cost, now).map(Input::Short));
        }
        inputs
    }
}

fn timed<T>(action: impl FnOnce() -> T) -> (T, Duration) {
    let begun = Instant::now();
    let result = action();
    (result, begun.elapsed())
}

/// What the tree has used: the directory's own account, else the living members
/// and what they and we have reaped. The latter misses children of a process
/// that ignores SIGCHLD, whose time the kernel adds to nobody's.
fn cpu_used(
    directory: Option<&V2Group>,
    members: impl Fn() -> Vec<Stat>,
    reaped: Duration,
) -> Duration {
    let of_directory = directory.and_then(|group| group.cpu_usage().ok());
    of_directory.unwrap_or_else(|| {
        let living = members().iter().fold(Duration::ZERO, |sum, stat| {
            sum.saturating_add(stat.cpu)
                .saturating_add(stat.cpu_of_children)
        });
        living.saturating_add(reaped)
    })
}

/// Processes and threads of the tree.
fn tasks(directory: Option<&V2Group>, members: impl Fn() -> Vec<Stat>) -> u64 {
    let in_directory = directory
        .map(V2Group::tasks)
        .and_then(Result::<u64, FileError>::ok);
    in_directory.unwrap_or_else(|| members().iter().map(|stat| stat.threads).sum())
}

/// User and system time of every child that was reaped, and theirs.
pub(super) fn cpu_of_reaped() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else {
        return Duration::ZERO;
    };
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

/// All that are online: a job may widen its own affinity again.
fn processors() -> u32 {
    let online = sysconf(SysconfVar::_NPROCESSORS_ONLN).ok().flatten();
    online
        .and_then(|count| u32::try_from(count).ok())
        .unwrap_or(1)
}
