//! Who can be seen in /proc, and who descends from whom.

use std::collections::BTreeMap;
use std::io;

use super::{PROC, Stat};

/// The pids that can be seen, in the order in which /proc lists them.
///
/// # Errors
/// When /proc cannot be listed.
pub fn pids() -> io::Result<Vec<i32>> {
    let entries = std::fs::read_dir(PROC)?;
    let pid = |entry: io::Result<std::fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    Ok(entries.filter_map(pid).collect())
}

/// The lines of every process that can be seen. Processes that end meanwhile
/// are left out.
///
/// # Errors
/// When /proc itself cannot be listed.
pub fn all() -> io::Result<Vec<Stat>> {
    Ok(pids()?
        .into_iter()
        .filter_map(|pid| Stat::read(pid).ok())
        .collect())
}

/// The descendants of `ancestor` among `processes`, it itself left out, parents
/// before their children.
pub fn descendants(processes: &[Stat], ancestor: i32) -> Vec<Stat> {
    let mut children: BTreeMap<i32, Vec<&Stat>> = BTreeMap::new();
    for stat in processes.iter().filter(|stat| stat.pid != ancestor) {
        children.entry(stat.ppid).or_default().push(stat);
    }
    let mut found: Vec<Stat> = Vec::new();
    let mut next = 0;
    let mut parent = ancestor;
    loop {
        // Taken out, so that a circle (a pid recycled while the list was read)
        // is walked once.
        let born = children.remove(&parent).unwrap_or_default();
        found.extend(born.into_iter().cloned());
        let Some(stat) = found.get(next) else {
            return found;
        };
        parent = stat.pid;
        next += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descendants_follow_parents_and_survive_circles() {
        let process = |pid, ppid| Stat {
            pid,
            ppid,
            state: 'S',
            ..Stat::default()
        };
        let all = [
            process(2, 1),
            process(3, 2),
            process(4, 9),
            process(5, 3),
            process(9, 4),
        ];
        let mut pids: Vec<i32> = descendants(&all, 1).iter().map(|stat| stat.pid).collect();
        pids.sort_unstable();
        assert_eq!(pids, [2, 3, 5]);
        assert_eq!(descendants(&all, 4).len(), 1);
    }
}
