//! One directory of a cgroup v1 memory hierarchy
//! (Documentation/admin-guide/cgroup-v1/memory.rst).

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::{Entrance, FlatKeyed, Limit};
use crate::ByteSize;
use crate::file::{self, FileError, Operation};

/// v1 writes "unlimited" as the largest number of whole pages.
const UNLIMITED_FROM: u64 = 1 << 62;

/// A handle on a v1 memory group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct V1Memory {
    path: PathBuf,
}

impl V1Memory {
    /// A handle on a directory that is there already.
    pub fn at(path: impl Into<PathBuf>) -> V1Memory {
        V1Memory { path: path.into() }
    }

    /// Makes a group below `parent`.
    ///
    /// # Errors
    /// EACCES for anybody but root or an owner of the parent; EROFS.
    pub fn create(parent: &Path, name: &str) -> Result<V1Memory, FileError> {
        let path = parent.join(name);
        super::create_dir(&path)?;
        Ok(V1Memory { path })
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether limits of this group hold for groups below it.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn is_hierarchical(&self) -> Result<bool, FileError> {
        Ok(self.number("memory.use_hierarchy")? == 1)
    }

    /// Lets limits of this group hold for groups below it: always so since Linux
    /// 5.11, before that a choice to be made while there are none.
    ///
    /// # Errors
    /// EBUSY when there are groups below; EACCES.
    pub fn make_hierarchical(&self) -> Result<(), FileError> {
        match self.is_hierarchical() {
            Ok(true) => Ok(()),
            // The file may go away one day, now that it says nothing.
            Err(error) if error.is_absent() => Ok(()),
            Ok(false) | Err(_) => self.write("memory.use_hierarchy", "1"),
        }
    }

    /// Whether the kernel counts swap, so that a limit can include it.
    pub fn counts_swap(&self) -> bool {
        self.path.join("memory.memsw.limit_in_bytes").exists()
    }

    /// Limits memory, and memory plus swap to `swap` more, and lets the kernel kill at
    /// the limit. The order matters: memory may never exceed memory plus swap.
    ///
    /// # Errors
    /// EBUSY when more is used already and cannot be reclaimed; EACCES.
    pub fn set_limit(&self, limit: ByteSize, swap: ByteSize) -> Result<(), FileError> {
        self.write("memory.limit_in_bytes", &limit.bytes().to_string())?;
        let with_swap = limit.saturating_add(swap).bytes();
        match self.write("memory.memsw.limit_in_bytes", &with_swap.to_string()) {
            // Swap is not counted.
            Err(error) if error.is_absent() => {}
            outcome => outcome?,
        }
        self.kill_at_limit()
    }

    /// Whether nobody is killed at the limit: whoever wants more waits there until
    /// somebody makes room. A new group takes this over from the one above it.
    ///
    /// # Errors
    /// When `memory.oom_control` cannot be read.
    pub fn waits_at_limit(&self) -> Result<bool, FileError> {
        let text = file::read(&self.path.join("memory.oom_control"))?;
        Ok(FlatKeyed::parse(&text).get("oom_kill_disable") == Some(1))
    }

    /// Lets the kernel kill at the limit, where it would not; who waits there is let go.
    ///
    /// # Errors
    /// When the file cannot be read, or be written by us.
    pub fn kill_at_limit(&self) -> Result<(), FileError> {
        if self.waits_at_limit()? {
            self.write("memory.oom_control", "0")?;
        }
        Ok(())
    }

    /// Reads `memory.limit_in_bytes`.
    ///
    /// # Errors
    /// When it cannot be read or understood.
    pub fn limit(&self) -> Result<Limit, FileError> {
        self.limit_of("memory.limit_in_bytes")
    }

    /// Reads `memory.memsw.limit_in_bytes`.
    ///
    /// # Errors
    /// ENOENT without swap accounting.
    pub fn limit_with_swap(&self) -> Result<Limit, FileError> {
        self.limit_of("memory.memsw.limit_in_bytes")
    }

    /// Memory charged now.
    ///
    /// # Errors
    /// When it cannot be read or understood.
    pub fn current(&self) -> Result<ByteSize, FileError> {
        self.number("memory.usage_in_bytes")
            .map(ByteSize::from_bytes)
    }

    /// What the kernel cannot simply drop of the memory of this group and those
    /// below: anonymous memory and, where it is told (Linux 4.20), shared memory.
    ///
    /// # Errors
    /// When `memory.stat` cannot be read or has no `total_rss`.
    pub fn unreclaimable(&self) -> Result<ByteSize, FileError> {
        let path = self.path.join("memory.stat");
        let text = file::read(&path)?;
        let stat = FlatKeyed::parse(&text);
        let anonymous = stat
            .get("total_rss")
            .ok_or_else(|| FileError::parse(&path, &text))?;
        let shared = stat.get("total_shmem").unwrap_or(0);
        Ok(ByteSize::from_bytes(anonymous.saturating_add(shared)))
    }

    /// The largest charge since the group was made, swap included where it is
    /// counted.
    ///
    /// # Errors
    /// When it cannot be read or understood.
    pub fn peak(&self) -> Result<ByteSize, FileError> {
        let memory = self.peak_without_swap()?.bytes();
        let with_swap = match self.number("memory.memsw.max_usage_in_bytes") {
            Ok(bytes) => bytes,
            Err(error) if error.is_absent() => 0,
            Err(error) => return Err(error),
        };
        Ok(ByteSize::from_bytes(memory.max(with_swap)))
    }

    /// The largest charge of memory alone since the group was made.
    ///
    /// # Errors
    /// When it cannot be read or understood.
    pub fn peak_without_swap(&self) -> Result<ByteSize, FileError> {
        self.number("memory.max_usage_in_bytes")
            .map(ByteSize::from_bytes)
    }

    /// How often the limit on memory alone was met. Stays 0 where the limit with
    /// swap is as low, since that is met first.
    ///
    /// # Errors
    /// When it cannot be read or understood.
    pub fn limit_hits(&self) -> Result<u64, FileError> {
        self.number("memory.failcnt")
    }

    /// OOM kills of processes of this group, by any OOM killer (Linux 4.13).
    /// `memory.failcnt` is no substitute: it stays 0 when both limits are equal.
    ///
    /// # Errors
    /// When the file cannot be read; `None` inside where the kernel has no such
    /// line.
    pub fn oom_kills(&self) -> Result<Option<u64>, FileError> {
        let text = file::read(&self.path.join("memory.oom_control"))?;
        Ok(FlatKeyed::parse(&text).get("oom_kill"))
    }

    /// A descriptor that becomes readable when the group runs out of memory.
    ///
    /// # Errors
    /// When the kernel refuses the registration.
    pub fn oom_notifier(&self) -> Result<OwnedFd, FileError> {
        let control_path = self.path.join("cgroup.event_control");
        let failed = |e: std::io::Error| FileError::new(Operation::Write, &control_path, e);
        let oom_path = self.path.join("memory.oom_control");
        let oom_control =
            File::open(&oom_path).map_err(|e| FileError::new(Operation::Read, &oom_path, e))?;
        let event =
            EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
                .map_err(|errno| failed(errno.into()))?;
        let line = format!("{} {}", event.as_fd().as_raw_fd(), oom_control.as_raw_fd());
        file::write(&control_path, &line)?;
        Ok(event.into())
    }

    /// The groups directly below; none where the directory cannot be listed.
    pub fn children(&self) -> Vec<V1Memory> {
        super::child_dirs(&self.path)
            .into_iter()
            .map(V1Memory::at)
            .collect()
    }

    /// The pids in this group and below.
    ///
    /// # Errors
    /// When a list cannot be read.
    pub fn processes(&self) -> Result<Vec<i32>, FileError> {
        let mut found = Vec::new();
        super::processes_below(&self.path, &mut found)?;
        Ok(found)
    }

    /// Opens the way in for a child that is to be born.
    ///
    /// # Errors
    /// When the group is not ours to enter.
    pub fn entrance(&self) -> Result<Entrance, FileError> {
        Entrance::v1(&self.path)
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

    fn number(&self, name: &str) -> Result<u64, FileError> {
        let path = self.path.join(name);
        let text = file::read(&path)?;
        text.trim()
            .parse()
            .map_err(|_| FileError::parse(&path, &text))
    }

    fn limit_of(&self, name: &str) -> Result<Limit, FileError> {
        Ok(match self.number(name)? {
            UNLIMITED_FROM.. => Limit::Unlimited,
            bytes => Limit::At(ByteSize::from_bytes(bytes)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nine_exabytes_are_unlimited() {
        let dir = tempfile::tempdir().expect("a folder");
        let put =
            |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("put");
        put("memory.limit_in_bytes", "9223372036854771712\n");
        put("memory.max_usage_in_bytes", "100\n");
        put(
            "memory.oom_control",
            "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
        );
        let group = V1Memory::at(dir.path());
        assert_eq!(group.limit().ok(), Some(Limit::Unlimited));
        assert_eq!(group.peak().ok(), Some(ByteSize::from_bytes(100)));
        assert_eq!(group.oom_kills().ok(), Some(Some(1)));
        assert_eq!(group.waits_at_limit().ok(), Some(false));
        assert!(!group.counts_swap());
        put("memory.limit_in_bytes", "67108864\n");
        assert_eq!(group.limit().ok(), Some(Limit::At(ByteSize::from_mib(64))));
    }
}
