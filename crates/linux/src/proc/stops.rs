//! Whether a process that was sent SIGSTOP is stopped, or will be.

use std::path::Path;

use super::Stat;
use super::pid_file::{other_threads, pid_file};
use crate::file::{self, FileError};

/// Whether a process is stopped, or has been sent SIGSTOP and is about to be. The
/// kernel takes that signal and stops the thread that took it in one step, and the
/// others follow: where it is not pending, and no thread stands still afterwards, the
/// process has been continued.
///
/// # Errors
/// When it is gone, or not to be seen.
pub fn is_stopped_or_about_to(pid: i32) -> Result<bool, FileError> {
    let mut buffer = Vec::new();
    let status = file::read_into(&pid_file(pid, "status"), &mut buffer)?;
    if is_pending(status, libc::SIGSTOP) {
        return Ok(true);
    }
    let stands_still = |stat: &Path| {
        // A thread that has ended meanwhile does not.
        std::fs::read_to_string(stat)
            .is_ok_and(|line| Stat::parse(&line).is_some_and(|stat| stat.state == 'T'))
    };
    let first = Stat::read(pid)?.state == 'T';
    Ok(first || other_threads(pid, "stat").any(|stat| stands_still(&stat)))
}

/// Whether /proc/PID/status shows `signal` as pending for the process, or for its
/// first thread.
fn is_pending(status: &[u8], signal: i32) -> bool {
    let bits = status.split(|byte| *byte == b'\n').filter_map(|line| {
        let bits = line
            .strip_prefix(b"SigPnd:")
            .or_else(|| line.strip_prefix(b"ShdPnd:"))?;
        let bits = std::str::from_utf8(bits).ok()?;
        u64::from_str_radix(bits.trim(), 16).ok()
    });
    bits.fold(0, |all, bits| all | bits) >> (signal - 1) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pending_signal_is_that_of_either_set() {
        let status = |own: &str, shared: &str| {
            format!("Name:\tx\nSigPnd:\t{own}\nShdPnd:\t{shared}\nSigBlk:\t0000000000040000\n")
        };
        let (none, stop) = ("0000000000000000", "0000000000040000");
        let cases = [
            (none, none, false),
            (stop, none, true),
            (none, stop, true),
            (none, "0000000000020000", false),
            ("what", "0000000000060000", true),
        ];
        for (own, shared, expected) in cases {
            let text = status(own, shared);
            assert_eq!(
                is_pending(text.as_bytes(), libc::SIGSTOP),
                expected,
                "{text}"
            );
        }
        assert!(!is_pending(b"", libc::SIGSTOP));
    }

    #[test]
    fn this_process_runs() {
        let pid = i32::try_from(std::process::id()).expect("a pid");
        assert!(!is_stopped_or_about_to(pid).expect("reads"));
        assert!(is_stopped_or_about_to(-1).is_err());
    }
}
