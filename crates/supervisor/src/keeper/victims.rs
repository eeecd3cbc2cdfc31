//! Whom the kernel's OOM killer takes first.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};

use super::enclosure::Enclosure;

/// Gives every process in the groups that has the score `from` the score `to`; one
/// that the job has set itself stays.
pub(super) fn set_preference(enclosure: &Enclosure, from: i32, to: i32) {
    let opened: Vec<(i32, File)> = enclosure
        .members()
        .into_iter()
        .filter_map(|pid| Some((pid, open(pid)?)))
        .collect();
    // Who is still listed after the file was opened is the one that is meant.
    let listed: BTreeSet<i32> = enclosure.members().into_iter().collect();
    for (_, mut file) in opened.into_iter().filter(|(pid, _)| listed.contains(pid)) {
        let mut text = String::new();
        if file.read_to_string(&mut text).is_ok() && text.trim() == from.to_string() {
            // Gone meanwhile, or not ours: the kernel chooses as it would have.
            let _ = file.write_all(to.to_string().as_bytes());
        }
    }
}

fn open(pid: i32) -> Option<File> {
    let path = format!("/proc/{pid}/oom_score_adj");
    OpenOptions::new().read(true).write(true).open(path).ok()
}
