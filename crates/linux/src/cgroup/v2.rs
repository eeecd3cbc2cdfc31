//! One directory of the unified hierarchy
//! (Documentation/admin-guide/cgroup-v2.rst).

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Entrance, FlatKeyed, Limit, MemberList};
use crate::ByteSize;
use crate::file::{self, FileError, Operation};

/// A handle on a v2 group, with or without the memory controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct V2Group {
    path: PathBuf,
}

impl V2Group {
    /// A handle on a directory that is there already.
    pub fn at(path: impl Into<PathBuf>) -> V2Group {
        V2Group { path: path.into() }
    }

    /// Makes a group below `parent`.
    ///
    /// # Errors
    /// EACCES without delegation, EROFS on a read-only mount, EAGAIN at
    /// `cgroup.max.descendants`.
    pub fn create(parent: &Path, name: &str) -> Result<V2Group, FileError> {
        let path = parent.join(name);
        super::create_dir(&path)?;
        Ok(V2Group { path })
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Controllers that may be enabled for children.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn controllers(&self) -> Result<Vec<String>, FileError> {
        self.words("cgroup.controllers")
    }

    /// Controllers that children have.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn enabled_for_children(&self) -> Result<Vec<String>, FileError> {
        self.words("cgroup.subtree_control")
    }

    /// Gives children a controller.
    ///
    /// # Errors
    /// EBUSY while this group itself holds processes, ENOENT where the parent
    /// does not grant it, EINVAL where the kernel does not have it.
    pub fn enable_for_children(&self, controller: &str) -> Result<(), FileError> {
        self.write("cgroup.subtree_control", &format!("+{controller}"))
    }

    /// Takes a controller from the children again. Their limits are gone with
    /// it, so this is only for a controller that nobody else has come to use.
    ///
    /// # Errors
    /// EBUSY while a child gives it to its own children.
    pub fn disable_for_children(&self, controller: &str) -> Result<(), FileError> {
        self.write("cgroup.subtree_control", &format!("-{controller}"))
    }

    /// Whether this group has the memory controller: `memory.max` is there.
    /// (`memory.pressure` alone proves nothing, it belongs to PSI.)
    pub fn has_memory(&self) -> bool {
        self.path.join("memory.max").exists()
    }

    /// Sets `memory.max`. Below what is used already this reclaims and then
    /// kills, and may take long.
    ///
    /// # Errors
    /// When the file is absent or not ours to write.
    pub fn set_max(&self, limit: ByteSize) -> Result<(), FileError> {
        self.write("memory.max", &limit.bytes().to_string())
    }

    /// Reads `memory.max`.
    ///
    /// # Errors
    /// When the file is absent (also on the root group) or odd.
    pub fn max(&self) -> Result<Limit, FileError> {
        self.limit("memory.max")
    }

    /// Sets `memory.swap.max`; 0 is what makes `memory.max` a hard limit.
    ///
    /// # Errors
    /// ENOENT where the kernel has no swap support: harmless when there is no
    /// swap either.
    pub fn set_swap_max(&self, limit: ByteSize) -> Result<(), FileError> {
        self.write("memory.swap.max", &limit.bytes().to_string())
    }

    /// Reads `memory.swap.max`.
    ///
    /// # Errors
    /// As for [`V2Group::max`].
    pub fn swap_max(&self) -> Result<Limit, FileError> {
        self.limit("memory.swap.max")
    }

    /// Makes the kernel kill the whole group or nobody (Linux 4.19).
    ///
    /// # Errors
    /// When the file is absent or not ours to write.
    pub fn set_oom_group(&self) -> Result<(), FileError> {
        self.write("memory.oom.group", "1")
    }

    /// Sets `memory.high`: above it the kernel slows the group down and
    /// reclaims, and kills nobody. A group that cannot give anything back may
    /// come to a standstill; `Unlimited` ends that.
    ///
    /// # Errors
    /// When the file is absent or not ours to write.
    pub fn set_high(&self, limit: Limit) -> Result<(), FileError> {
        match limit {
            Limit::Unlimited => self.write("memory.high", "max"),
            Limit::At(bytes) => self.write("memory.high", &bytes.bytes().to_string()),
        }
    }

    /// Reads `memory.high`.
    ///
    /// # Errors
    /// As for [`V2Group::max`].
    pub fn high(&self) -> Result<Limit, FileError> {
        self.limit("memory.high")
    }

    /// How long everything in the group has waited for memory at once: the
    /// `full` total of `memory.pressure` (Linux 4.20 with PSI).
    ///
    /// # Errors
    /// When the file is absent, or PSI is switched off (EOPNOTSUPP).
    pub fn full_memory_stall(&self) -> Result<Duration, FileError> {
        let path = self.path.join("memory.pressure");
        let text = file::read(&path)?;
        let total = text
            .lines()
            .find_map(|line| line.strip_prefix("full "))
            .and_then(|line| line.split(' ').find_map(|word| word.strip_prefix("total=")))
            .and_then(|micros| micros.parse().ok());
        total
            .map(Duration::from_micros)
            .ok_or_else(|| FileError::parse(&path, &text))
    }

    /// User and system time of everything that has ever been in the group.
    /// `cpu.stat` is there with and without the cpu controller (Linux 4.15).
    ///
    /// # Errors
    /// When the file is absent or odd.
    pub fn cpu_usage(&self) -> Result<Duration, FileError> {
        let path = self.path.join("cpu.stat");
        let text = file::read(&path)?;
        FlatKeyed::parse(&text)
            .get("usage_usec")
            .map(Duration::from_micros)
            .ok_or_else(|| FileError::parse(&path, &text))
    }

    /// Threads in this group and below.
    ///
    /// # Errors
    /// When a list cannot be read.
    pub fn tasks(&self) -> Result<u64, FileError> {
        super::tasks_below(&self.path)
    }

    /// Sets `pids.max`: a task more than that cannot be made (EAGAIN).
    ///
    /// # Errors
    /// ENOENT without the pids controller; EACCES.
    pub fn set_max_tasks(&self, limit: u64) -> Result<(), FileError> {
        self.write("pids.max", &limit.to_string())
    }

    /// Reads `pids.max`; `None` inside for `max`.
    ///
    /// # Errors
    /// ENOENT without the pids controller.
    pub fn max_tasks(&self) -> Result<Option<u64>, FileError> {
        let path = self.path.join("pids.max");
        let text = file::read(&path)?;
        match text.trim() {
            "max" => Ok(None),
            number => number
                .parse()
                .map(Some)
                .map_err(|_| FileError::parse(&path, &text)),
        }
    }

    /// How often a task was refused for this group's own `pids.max`. Before
    /// Linux 6.11 also when a limit around the group refused one of its tasks.
    ///
    /// # Errors
    /// When the file is absent (before Linux 4.6) or odd.
    pub fn tasks_refused(&self) -> Result<u64, FileError> {
        let path = self.task_events_path();
        let text = file::read(&path)?;
        FlatKeyed::parse(&text)
            .get("max")
            .ok_or_else(|| FileError::parse(&path, &text))
    }

    /// Opens the file of [`V2Group::tasks_refused`] for waiting: POLLPRI after a
    /// change.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn task_events_file(&self) -> Result<File, FileError> {
        let path = self.task_events_path();
        File::open(&path).map_err(|e| FileError::new(Operation::Read, &path, e))
    }

    /// Since Linux 6.11 `pids.events` counts groups below too.
    fn task_events_path(&self) -> PathBuf {
        let local = self.path.join("pids.events.local");
        if local.exists() {
            local
        } else {
            self.path.join("pids.events")
        }
    }

    /// Memory charged now, page cache and kernel memory included.
    ///
    /// # Errors
    /// When the file is absent or odd.
    pub fn current(&self) -> Result<ByteSize, FileError> {
        self.bytes("memory.current")
    }

    /// What the kernel cannot simply drop of the memory of this group and those
    /// below: anonymous and shared memory.
    ///
    /// # Errors
    /// When `memory.stat` cannot be read or does not tell.
    pub fn unreclaimable(&self) -> Result<ByteSize, FileError> {
        let path = self.path.join("memory.stat");
        let text = file::read(&path)?;
        let stat = FlatKeyed::parse(&text);
        match (stat.get("anon"), stat.get("shmem")) {
            (Some(anonymous), Some(shared)) => {
                Ok(ByteSize::from_bytes(anonymous.saturating_add(shared)))
            }
            _ => Err(FileError::parse(&path, &text)),
        }
    }

    /// The largest `memory.current` since the group was made (Linux 5.19).
    ///
    /// # Errors
    /// When the file is absent or odd.
    pub fn peak(&self) -> Result<ByteSize, FileError> {
        self.bytes("memory.peak")
    }

    /// `memory.events.local`: what happened at this group's own limit, and, as
    /// `oom_kill`, to its own processes (Linux 5.2).
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn local_events(&self) -> Result<FlatKeyed, FileError> {
        self.flat_keyed("memory.events.local")
    }

    /// `memory.events`: the same with everything below.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn events(&self) -> Result<FlatKeyed, FileError> {
        self.flat_keyed("memory.events")
    }

    /// Opens `memory.events` for waiting: readable with POLLPRI after a change.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn events_file(&self) -> Result<File, FileError> {
        let path = self.path.join("memory.events");
        File::open(&path).map_err(|e| FileError::new(Operation::Read, &path, e))
    }

    /// Whether any living process is in this group or below.
    ///
    /// # Errors
    /// When `cgroup.events` cannot be read.
    pub fn is_populated(&self) -> Result<bool, FileError> {
        Ok(self.flat_keyed("cgroup.events")?.get("populated") == Some(1))
    }

    /// Whether every process has stopped after [`V2Group::set_frozen`].
    ///
    /// # Errors
    /// When `cgroup.events` cannot be read.
    pub fn is_frozen(&self) -> Result<bool, FileError> {
        Ok(self.flat_keyed("cgroup.events")?.get("frozen") == Some(1))
    }

    /// Freezes or thaws everything in the group (Linux 5.2). Invisible to the
    /// processes and their parents. Nobody thaws a group whose owner dies.
    ///
    /// # Errors
    /// When the file is absent or not ours to write.
    pub fn set_frozen(&self, frozen: bool) -> Result<(), FileError> {
        self.write("cgroup.freeze", if frozen { "1" } else { "0" })
    }

    /// Kills everything in the group, forks included (Linux 5.14).
    ///
    /// # Errors
    /// ENOENT on older kernels.
    pub fn kill(&self) -> Result<(), FileError> {
        self.write("cgroup.kill", "1")
    }

    /// The pids in this group and below. A pid of 0 is a process of another
    /// pid namespace.
    ///
    /// # Errors
    /// When a list cannot be read.
    pub fn processes(&self) -> Result<Vec<i32>, FileError> {
        let mut found = Vec::new();
        super::processes_below(&self.path, &mut found)?;
        Ok(found)
    }

    /// The same, to be read again and again.
    ///
    /// # Errors
    /// When the directory or its list cannot be opened.
    pub fn member_list(&self) -> Result<MemberList, FileError> {
        MemberList::open(&self.path)
    }

    /// The groups directly below; none where they cannot be listed.
    pub fn children(&self) -> Vec<V2Group> {
        super::child_dirs(&self.path)
            .into_iter()
            .map(V2Group::at)
            .collect()
    }

    /// Opens the way in for a child that is to be born.
    ///
    /// # Errors
    /// When the group is not ours to enter.
    pub fn entrance(&self) -> Result<Entrance, FileError> {
        Entrance::v2(&self.path)
    }

    /// Moves a process here. Memory it holds already stays charged elsewhere.
    ///
    /// # Errors
    /// EACCES where the common ancestor is not ours, EBUSY for an inner node.
    pub fn admit(&self, pid: i32) -> Result<(), FileError> {
        self.write("cgroup.procs", &pid.to_string())
    }

    /// Removes the group and the groups below it.
    ///
    /// # Errors
    /// EBUSY while living processes are in it.
    pub fn remove(&self) -> Result<(), FileError> {
        super::remove_tree(&self.path)
    }

    /// Removes the group if there is none below it.
    ///
    /// # Errors
    /// EBUSY while there is, or while living processes are in it.
    pub fn remove_alone(&self) -> Result<(), FileError> {
        super::remove_dir(&self.path)
    }

    fn write(&self, name: &str, value: &str) -> Result<(), FileError> {
        file::write(&self.path.join(name), value)
    }

    fn words(&self, name: &str) -> Result<Vec<String>, FileError> {
        let text = file::read(&self.path.join(name))?;
        Ok(text.split_whitespace().map(str::to_owned).collect())
    }

    fn bytes(&self, name: &str) -> Result<ByteSize, FileError> {
        let path = self.path.join(name);
        let text = file::read(&path)?;
        let number = text
            .trim()
            .parse()
            .map_err(|_| FileError::parse(&path, &text))?;
        Ok(ByteSize::from_bytes(number))
    }

    fn limit(&self, name: &str) -> Result<Limit, FileError> {
        let path = self.path.join(name);
        let text = file::read(&path)?;
        match text.trim() {
            "max" => Ok(Limit::Unlimited),
            number => number
                .parse()
                .map(|bytes| Limit::At(ByteSize::from_bytes(bytes)))
                .map_err(|_| FileError::parse(&path, &text)),
        }
    }

    fn flat_keyed(&self, name: &str) -> Result<FlatKeyed, FileError> {
        Ok(FlatKeyed::parse(&file::read(&self.path.join(name))?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_text_is_read_truthfully() {
        let dir = tempfile::tempdir().expect("a folder");
        let put =
            |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("put");
        put("memory.max", "max\n");
        put("memory.swap.max", "0\n");
        put("memory.current", "4096\n");
        put("memory.events.local", "max 3\noom 1\noom_kill 2\n");
        put("memory.stat", "anon 4096\nfile 99\nshmem 8192\n");
        put("cgroup.events", "populated 1\nfrozen 0\n");
        put("cpu.stat", "usage_usec 1500\nuser_usec 1000\n");
        put("cgroup.threads", "7\n8\n");
        put(
            "memory.pressure",
            "some avg10=0.00 total=9\nfull avg10=0.00 avg60=0.00 total=2000\n",
        );
        let group = V2Group::at(dir.path());
        assert_eq!(group.max().ok(), Some(Limit::Unlimited));
        assert_eq!(group.swap_max().ok(), Some(Limit::At(ByteSize::ZERO)));
        assert_eq!(group.current().ok(), Some(ByteSize::from_kib(4)));
        assert!(
            group.peak().is_err_and(|error| error.is_absent()),
            "absent is not zero"
        );
        assert_eq!(
            group.local_events().ok().and_then(|e| e.get("oom_kill")),
            Some(2)
        );
        assert_eq!(group.unreclaimable().ok(), Some(ByteSize::from_kib(12)));
        assert_eq!(group.is_populated().ok(), Some(true));
        assert_eq!(group.cpu_usage().ok(), Some(Duration::from_micros(1500)));
        assert_eq!(group.tasks().ok(), Some(2));
        assert_eq!(
            group.full_memory_stall().ok(),
            Some(Duration::from_millis(2))
        );
        put("memory.current", "lots\n");
        assert!(
            group
                .current()
                .is_err_and(|error| error.operation == Operation::Parse)
        );
    }

    #[test]
    fn a_write_never_makes_a_file() {
        let dir = tempfile::tempdir().expect("a folder");
        let error = V2Group::at(dir.path()).kill().expect_err("no such file");
        assert!(error.is_absent());
        assert!(!dir.path().join("cgroup.kill").exists());
    }
}
