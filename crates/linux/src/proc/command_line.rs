//! What a process was started as, for people.

use std::time::Duration;

use super::Stat;
use super::pid_file::pid_file;

/// As [`command_line`], but not waited for longer than `patience`: the kernel
/// reads the line from the process's own memory, and a process that is stuck
/// there (at a limit, on a dead file server) holds its readers up. Then only
/// the short name is told. For a few processes: each call takes a thread.
pub fn command_line_within(pid: i32, patience: Duration) -> Option<String> {
    let (sender, answer) = std::sync::mpsc::channel();
    let read = move || {
        // Nobody waits any more: nobody is told.
        let _ = sender.send(command_line(pid));
    };
    let started = std::thread::Builder::new().spawn(read);
    match started.map(|_| answer.recv_timeout(patience)) {
        Ok(Ok(line)) => line,
        Ok(Err(_)) | Err(_) => short_name(pid),
    }
}

fn short_name(pid: i32) -> Option<String> {
    Stat::read(pid).ok().map(|stat| format!("[{}]", stat.comm))
}

/// A process's command line for people, at most 200 characters; its short name
/// where the line is empty or hidden. May wait as long as the process is stuck
/// in a page fault: never in a loop that has a limit to hold.
pub fn command_line(pid: i32) -> Option<String> {
    let bytes = std::fs::read(pid_file(pid, "cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&bytes).replace('\0', " ");
    let line = line.trim();
    if line.is_empty() {
        return short_name(pid);
    }
    Some(line.chars().take(200).collect())
}

#[cfg(test)]
mod tests {
    use super::super::is_ours;
    use super::*;

    #[test]
    fn a_command_line_is_told_in_time() {
        assert!(is_ours());
        let pid = i32::try_from(std::process::id()).expect("a pid");
        let line = command_line_within(pid, Duration::from_secs(5));
        assert_eq!(line, command_line(pid));
        assert_eq!(command_line_within(-1, Duration::from_secs(5)), None);
    }
}
