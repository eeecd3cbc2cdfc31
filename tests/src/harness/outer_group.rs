//! A cgroup of the tests' own around a memcap.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::require::{Requirement, v1_memory_mount, v2_mount};
use super::setting::Mechanism;
use super::wait::poll_until;

/// A v1 memory group below our own. It is removed when dropped, after the run
/// in it has ended.
#[derive(Debug)]
pub struct OuterGroup {
    path: PathBuf,
    home: PathBuf,
}

impl OuterGroup {
    /// Makes one in the hierarchy of a mechanism, for a scene whose setting has
    /// it.
    ///
    /// # Panics
    /// Where the kernel refuses it.
    pub fn make_in(mechanism: Mechanism) -> Option<OuterGroup> {
        match mechanism {
            Mechanism::CgroupV1 => OuterGroup::make(),
            Mechanism::CgroupV2 => {
                let home = v2_mount()?;
                let granted = fs::write(home.join("cgroup.subtree_control"), "+memory");
                assert!(granted.is_ok(), "{}: {granted:?}", home.display());
                Some(OuterGroup::below(home))
            }
            Mechanism::Systemd | Mechanism::Watchdog | Mechanism::Rlimit => None,
        }
    }

    /// Makes one without a limit in v1's memory hierarchy; `None` (and `skipped:
    /// reason`) where that takes what this machine or user does not have. The account of a scene
    /// does not matter: whoever runs the suite makes the group.
    ///
    /// # Panics
    /// As [`Requirement::is_met`].
    pub fn make() -> Option<OuterGroup> {
        if !Requirement::Root.is_met() || !Requirement::CgroupV1.is_met() {
            return None;
        }
        let home = v1_memory_mount()?.join(own_place()?.trim_start_matches('/'));
        Some(OuterGroup::below(home))
    }

    /// Makes one in the v2 hierarchy, whatever controllers that has; `None` (and
    /// `skipped: reason`) as with [`OuterGroup::make`].
    ///
    /// # Panics
    /// As [`Requirement::is_met`].
    pub fn make_v2_directory() -> Option<OuterGroup> {
        if !Requirement::Root.is_met() || !Requirement::CgroupV2Dir.is_met() {
            return None;
        }
        Some(OuterGroup::below(v2_mount()?))
    }

    fn below(home: PathBuf) -> OuterGroup {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = home.join(format!("test-of-memcap-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        OuterGroup { path, home }
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What `start` starts is born inside. v1 moves single threads, so only the
    /// calling one goes there and back.
    ///
    /// # Panics
    /// Where the kernel refuses the move.
    pub fn enter<T>(&self, start: impl FnOnce() -> T) -> T {
        move_this_thread(&self.path);
        let started = start();
        move_this_thread(&self.home);
        started
    }

    /// Limits it to `bytes`, swap included where that is counted.
    ///
    /// # Panics
    /// Where the kernel refuses the limit.
    pub fn limit(&self, bytes: u64) {
        let text = bytes.to_string();
        for file in [
            "memory.max",
            "memory.limit_in_bytes",
            "memory.memsw.limit_in_bytes",
        ] {
            let path = self.path.join(file);
            if path.exists() {
                let written = fs::write(&path, &text);
                assert!(written.is_ok(), "{}: {written:?}", path.display());
            }
        }
    }
}

impl Drop for OuterGroup {
    fn drop(&mut self) {
        // The dead may hold it for a moment.
        poll_until(Duration::from_secs(5), || fs::remove_dir(&self.path).ok());
    }
}

fn move_this_thread(group: &Path) {
    let path = group.join("tasks");
    let written = fs::write(&path, "0");
    assert!(written.is_ok(), "{}: {written:?}", path.display());
}

/// Our own group in the v1 memory hierarchy.
fn own_place() -> Option<String> {
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    text.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let controllers = fields.next()?;
        let is_memory = controllers.split(',').any(|name| name == "memory");
        is_memory
            .then(|| fields.next().map(str::to_owned))
            .flatten()
    })
}
