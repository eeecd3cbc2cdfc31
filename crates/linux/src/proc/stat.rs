//! The line of a process in /proc/PID/stat: who it is, whose child, in what state.

use std::time::Duration;

use super::pid_file::{other_threads, pid_file};
use super::units::from_ticks;
use crate::ProcessId;
use crate::file::{self, FileError};

/// The part of /proc/PID/stat that matters here (proc_pid_stat(5)).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stat {
    /// The process.
    pub pid: i32,
    /// The command's name, at most 15 bytes.
    pub comm: String,
    /// `R`, `S`, `D`, `Z`, `T`, …
    pub state: char,
    /// Its parent.
    pub ppid: i32,
    /// Its process group.
    pub pgrp: i32,
    /// Flags of its first thread (PF_* of linux/sched.h).
    pub flags: u32,
    /// Minor page faults of all its threads since its birth. A page that was
    /// shared after `fork` and is written comes with one.
    pub minor_faults: u64,
    /// User and system time of its own threads.
    pub cpu: Duration,
    /// User and system time of the children it has waited for, and theirs.
    pub cpu_of_children: Duration,
    /// Threads, itself included.
    pub threads: u64,
    /// Start time in clock ticks since boot.
    pub start: u64,
}

impl Stat {
    /// Reads the line of a process.
    ///
    /// # Errors
    /// When the process is gone, hidden, or its line cannot be understood.
    pub fn read(pid: i32) -> Result<Stat, FileError> {
        let path = pid_file(pid, "stat");
        let mut buffer = Vec::new();
        let text = String::from_utf8_lossy(file::read_into(&path, &mut buffer)?).into_owned();
        Stat::parse(&text).ok_or_else(|| FileError::parse(&path, &text))
    }

    /// Understands one line; the command's name may hold blanks and brackets.
    pub fn parse(line: &str) -> Option<Stat> {
        let open = line.find('(')?;
        let close = line.rfind(')')?;
        let comm = line.get(open + 1..close)?.to_owned();
        let mut rest = line.get(close + 1..)?.split_ascii_whitespace();
        let state = rest.next()?.chars().next()?;
        let ppid = rest.next()?.parse().ok()?;
        let pgrp = rest.next()?.parse().ok()?;
        // Fields 9 and 10 of the line; 5 have been taken.
        let flags = rest.nth(3)?.parse().ok()?;
        let minor_faults = rest.next()?.parse().ok()?;
        // Field 14 and the three after it.
        let mut ticks = [0u64; 4];
        for (index, place) in ticks.iter_mut().enumerate() {
            let skipped = if index == 0 { 3 } else { 0 };
            *place = rest.nth(skipped)?.parse().ok()?;
        }
        let [user, system, user_below, system_below] = ticks;
        Some(Stat {
            pid: line.get(..open)?.trim().parse().ok()?,
            comm,
            state,
            ppid,
            pgrp,
            flags,
            minor_faults,
            cpu: from_ticks(user.saturating_add(system)),
            cpu_of_children: from_ticks(user_below.saturating_add(system_below)),
            // Fields 20 and 22.
            threads: rest.nth(2)?.parse().ok()?,
            start: rest.nth(1)?.parse().ok()?,
        })
    }

    /// The process this line is about.
    pub fn id(&self) -> ProcessId {
        ProcessId {
            pid: self.pid,
            start: self.start,
        }
    }

    /// Whether it has ended and waits to be reaped. A process whose first
    /// thread has ended looks the same, but its other threads go on.
    pub fn is_dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x') && self.threads <= 1
    }

    /// Whether nothing of its program runs any more: it is dead, or all its threads
    /// are on their way out of the kernel, where giving back memory can take a while.
    /// On Linux 7.3 a control group has not listed it for all that while.
    pub fn is_ending(&self) -> bool {
        self.is_dead()
            || self.is_leaving()
                && other_threads(self.pid, "stat").all(|path| {
                    let mut buffer = Vec::new();
                    let text = file::read_into(&path, &mut buffer).unwrap_or_default();
                    let stat = Stat::parse(&String::from_utf8_lossy(text));
                    stat.is_none_or(|stat| stat.is_leaving())
                })
    }

    /// Whether the thread that this line is about has begun to end.
    fn is_leaving(&self) -> bool {
        /// PF_EXITING of linux/sched.h.
        const EXITING: u32 = 0x4;
        self.flags & EXITING != 0
    }
}

/// [`Stat::minor_faults`] alone, by a buffer that is kept between calls.
///
/// # Errors
/// As [`Stat::read`].
pub fn minor_faults(pid: i32, buffer: &mut Vec<u8>) -> Result<u64, FileError> {
    let path = pid_file(pid, "stat");
    let line = file::read_into(&path, buffer)?;
    parse_minor_faults(line).ok_or_else(|| FileError::parse(&path, &String::from_utf8_lossy(line)))
}

/// The eighth field after the command's name, which may hold anything.
fn parse_minor_faults(line: &[u8]) -> Option<u64> {
    let close = line.iter().rposition(|byte| *byte == b')')?;
    let mut fields = line[close + 1..]
        .split(|byte| *byte == b' ')
        .filter(|field| !field.is_empty());
    std::str::from_utf8(fields.nth(7)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LINE: &str = "42 (a) b (c) S 7 42 40 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 98765 1 2 3";

    #[test]
    fn a_name_with_brackets_is_one_name() {
        let stat = Stat::parse(LINE).expect("parses");
        assert_eq!(
            (stat.pid, stat.ppid, stat.pgrp, stat.state),
            (42, 7, 42, 'S')
        );
        assert_eq!((stat.comm.as_str(), stat.start), ("a) b (c", 98765));
        assert_eq!(stat.minor_faults, 1);
        assert_eq!(parse_minor_faults(LINE.as_bytes()), Some(1));
        assert_eq!(parse_minor_faults(b"42 (a) S 7 42 40 0 -1"), None);
        assert_eq!(stat.threads, 1);
        assert_eq!(stat.cpu, from_ticks(5 + 6));
        assert_eq!(stat.cpu_of_children, from_ticks(7 + 8));
    }

    #[test]
    fn who_is_on_the_way_out_is_not_running() {
        let running = Stat::parse(LINE).expect("parses");
        assert!(!running.is_leaving());
        let leaving = LINE.replace(" 4194304 ", " 4194308 ");
        assert!(Stat::parse(&leaving).expect("parses").is_leaving());

        let ourselves = i32::try_from(std::process::id()).expect("a pid");
        assert!(!Stat::read(ourselves).expect("readable").is_ending());
        let mut child = std::process::Command::new("true").spawn().expect("starts");
        let pid = i32::try_from(child.id()).expect("a pid");
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        let ended = || Stat::read(pid).is_ok_and(|stat| stat.is_ending());
        while !ended() && std::time::Instant::now() < deadline {
            std::thread::yield_now();
        }
        assert!(ended());
        child.wait().expect("ends");
    }

    #[test]
    fn our_own_line_agrees_with_the_kernel() {
        let pid = i32::try_from(std::process::id()).expect("a pid");
        let stat = Stat::read(pid).expect("readable");
        assert_eq!(stat.pid, pid);
        assert_eq!(
            u32::try_from(stat.ppid),
            Ok(std::os::unix::process::parent_id())
        );
    }

    proptest! {
        #[test]
        fn no_line_panics(line in ".{0,120}") {
            let _ = Stat::parse(&line);
        }
    }
}
