//! What the kernel's log tells of OOM kills, where this user may read it (root, mostly:
//! `kernel.dmesg_restrict`). Nothing depends on it.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;

use nix::libc::{EPIPE, O_NONBLOCK};

use crate::Roots;

const LOG: &str = "/dev/kmsg";

/// A record of the log is never longer (`CONSOLE_EXT_LOG_MAX`; Linux 3.5, 8 KiB).
const LONGEST_RECORD: usize = 8192;

/// More records than any log holds.
const MOST: usize = 1 << 18;

/// What such a record begins with (Linux 5.0), behind the log's own fields: the limit of
/// a group that was hit is `CONSTRAINT_MEMCG`, a memory node `CONSTRAINT_CPUSET` or
/// `CONSTRAINT_MEMORY_POLICY`.
const BY_THE_MACHINE: &str = "oom-kill:constraint=CONSTRAINT_NONE,";

/// How many processes the machine's own OOM killer took, as far back as the log goes.
/// `None` where it may not be read.
pub(super) fn machine_kills(roots: &Roots) -> Option<u64> {
    if let Some(observed) = roots.observed() {
        return observed.machine_kills;
    }
    let mut log = OpenOptions::new()
        .read(true)
        .custom_flags(O_NONBLOCK)
        .open(LOG)
        .ok()?;
    let mut kills = 0;
    let mut record = vec![0; LONGEST_RECORD];
    for _ in 0..MOST {
        match next(&mut log, &mut record)? {
            Some(text) => kills += u64::from(is_machine_kill(text)),
            None => break,
        }
    }
    Some(kills)
}

/// One read gives one record. `None` outside where reading fails, inside where there is
/// no more.
fn next<'r>(log: &mut File, record: &'r mut [u8]) -> Option<Option<&'r [u8]>> {
    loop {
        match log.read(record) {
            Ok(0) => return Some(None),
            Ok(length) => return Some(Some(&record[..length])),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Some(None),
            // Records were lost to newer ones; the next read goes on with those.
            Err(error) if error.raw_os_error() == Some(EPIPE) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
}

/// `priority,sequence,microseconds,flags;message`, of the kernel's own (facility 0):
/// whoever may write to the log may write such a message too.
fn is_machine_kill(record: &[u8]) -> bool {
    const PRIORITIES: u32 = 8;
    let text = String::from_utf8_lossy(record);
    let Some((fields, message)) = text.split_once(';') else {
        return false;
    };
    let priority = fields.split(',').next().and_then(|word| word.parse().ok());
    let is_kernels = priority.is_some_and(|priority: u32| priority < PRIORITIES);
    is_kernels && message.starts_with(BY_THE_MACHINE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_kernels_own_word_on_the_whole_machine_counts() {
        let cases = [
            (
                "6,912,81000,-;oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,\
                 mems_allowed=0,global_oom,task_memcg=/user.slice,task=hog,pid=77,uid=1000\n",
                true,
            ),
            (
                "6,18186,12670345187,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),\
                 cpuset=/,mems_allowed=0,oom_memcg=/a,task_memcg=/a/b,task=hog,pid=7,uid=0\n",
                false,
            ),
            (
                "3,18187,12670345212,-;Memory cgroup out of memory: Killed process 17780 (hog)\n",
                false,
            ),
            // Somebody wrote it there: facility 1.
            (
                "14,912,81000,-;oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null)\n",
                false,
            ),
            ("4,5,6,-;hog: oom-kill:constraint=CONSTRAINT_NONE,\n", false),
            ("oom-kill:constraint=CONSTRAINT_NONE,", false),
            ("", false),
        ];
        for (record, expected) in cases {
            assert_eq!(is_machine_kill(record.as_bytes()), expected, "{record}");
        }
        assert!(!is_machine_kill(b"6,1,1,-;\xff\xfe"));
    }
}
