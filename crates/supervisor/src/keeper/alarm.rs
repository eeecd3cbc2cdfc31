//! Has somebody been moved into a group around the one of the limit? Whoever moves
//! writes to a file of the group that is moved into, and that much the kernel tells,
//! though not who wrote: another's move, and any other write there, rings as well.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

use memcap_linux::DirectoryWatch;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{AccessFlags, access};

/// The file by which a process is moved into a group.
const WAY_IN: &str = "cgroup.procs";
/// So many groups are watched, the nearest first; each takes a descriptor.
const MOST: usize = 128;
/// So many descriptors are left to whoever reads the evidence.
const SPARE: u64 = 32;

/// Watches groups. Only for a process that is a keeper and nothing else: it is told by
/// SIGIO.
#[derive(Debug)]
pub(super) struct Alarm {
    told: SignalFd,
    group: PathBuf,
    /// `None` for one that the kernel would not watch.
    watched: BTreeMap<PathBuf, Option<DirectoryWatch>>,
}

/// Whether a job that may do what we may could leave `group`.
pub(super) fn is_of_use(group: &Path) -> bool {
    group.parent().is_some_and(can_be_entered)
}

impl Alarm {
    /// Around a group. `None` where nobody like us could move out of it, or nothing
    /// tells of it.
    pub(super) fn around(group: &Path) -> Option<Alarm> {
        if !is_of_use(group) {
            return None;
        }
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGIO);
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let mut alarm = Alarm {
            told: SignalFd::with_flags(&signals, flags).ok()?,
            group: group.to_owned(),
            watched: BTreeMap::new(),
        };
        alarm.watch();
        Some(alarm)
    }

    /// What becomes readable when it rings.
    pub(super) fn ear(&self) -> BorrowedFd<'_> {
        self.told.as_fd()
    }

    /// Takes note of what it has told, and watches what has been made since.
    pub(super) fn renew(&mut self) {
        while let Ok(Some(_)) = self.told.read_signal() {}
        self.watch();
    }

    fn watch(&mut self) {
        let places = places(&self.group);
        let most = most_descriptors();
        self.watched.retain(|place, _| places.contains(place));
        for place in places {
            self.watched.entry(place).or_insert_with_key(|place| {
                let watch = DirectoryWatch::new(place).ok();
                watch.filter(|watch| is_spared(watch.as_fd().as_raw_fd(), most))
            });
        }
    }
}

/// How many descriptors this process may have; zero where that is unknown.
fn most_descriptors() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft)
}

/// Whether enough are left above a descriptor, which is the lowest that was free.
fn is_spared(descriptor: i32, most: u64) -> bool {
    u64::try_from(descriptor).is_ok_and(|number| number + SPARE < most)
}

/// The groups into which a member of `group` could be moved by a process like us:
/// those around it from the nearest on, then what is below those.
fn places(group: &Path) -> Vec<PathBuf> {
    let is_group = |directory: &&Path| directory.join(WAY_IN).exists();
    let around = group.ancestors().skip(1).take_while(is_group);
    let mut waiting: VecDeque<PathBuf> = around.map(Path::to_owned).collect();
    let mut found: Vec<PathBuf> = Vec::new();
    while let Some(place) = waiting.pop_front() {
        if found.len() == MOST {
            break;
        }
        // Those around the group are below each other.
        if place == group || found.contains(&place) {
            continue;
        }
        waiting.extend(groups_below(&place));
        if can_be_entered(&place) {
            found.push(place);
        }
    }
    found
}

fn can_be_entered(group: &Path) -> bool {
    access(&group.join(WAY_IN), AccessFlags::W_OK).is_ok()
}

/// In the order of their names, so that the same ones are watched at each look.
fn groups_below(group: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(group) else {
        return Vec::new();
    };
    let mut below: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect();
    below.sort_unstable();
    below
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(groups: &[&str]) -> tempfile::TempDir {
        let mount = tempfile::tempdir().expect("a folder");
        for group in groups {
            let path = mount.path().join("mount").join(group);
            std::fs::create_dir_all(&path).expect("a group");
            std::fs::write(path.join(WAY_IN), "").expect("a file");
        }
        mount
    }

    fn names(mount: &Path, group: &str) -> Vec<String> {
        let mount = mount.join("mount");
        places(&mount.join(group))
            .iter()
            .filter_map(|place| Some(place.strip_prefix(&mount).ok()?.display().to_string()))
            .collect()
    }

    #[test]
    fn the_groups_around_come_first_and_the_jobs_own_are_left_out() {
        let mount = tree(&["", "a", "a/job", "a/job/below", "a/b", "a/b/deep", "c"]);
        let found = names(mount.path(), "a/job");
        assert_eq!(found, ["a", "", "a/b", "c", "a/b/deep"]);
    }

    #[test]
    fn a_large_machine_is_watched_in_part() {
        let many: Vec<String> = (0..300).map(|number| format!("g{number:03}")).collect();
        let groups: Vec<&str> = ["", "job"]
            .into_iter()
            .chain(many.iter().map(String::as_str))
            .collect();
        let found = names(tree(&groups).path(), "job");
        assert_eq!(found.len(), MOST);
        assert_eq!(found[0], "");
    }

    #[test]
    fn watching_leaves_descriptors_for_the_evidence() {
        assert!(is_spared(3, 1024));
        assert!(is_spared(11, 44));
        assert!(!is_spared(12, 44));
        assert!(!is_spared(3, 20));
        assert!(!is_spared(3, 0));
    }

    #[test]
    fn outside_of_groups_nothing_is_of_use() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(!is_of_use(&folder.path().join("job")));
        assert_eq!(places(&folder.path().join("job")), Vec::<PathBuf>::new());
    }
}
