//! How our groups are called, so that leftovers of a dead owner can be told
//! from a living one's, and nobody else's are ever touched.

use std::path::Path;

use crate::{ProcessId, file};

/// `memcap-<pid namespace>-<pid>-<start time>-<boot id>-<n>`: the owner by pid
/// and start time, where those numbers mean something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupName {
    pid_namespace: u64,
    owner: ProcessId,
    boot: String,
    serial: u32,
}

impl GroupName {
    /// A name for a group of this process. `serial` tells several groups of
    /// one owner apart.
    ///
    /// # Errors
    /// When /proc does not show this process, its pid namespace or the boot id.
    pub fn for_this_process(serial: u32) -> std::io::Result<GroupName> {
        let unseen = || std::io::Error::other("this process is not visible in /proc");
        Ok(GroupName {
            pid_namespace: pid_namespace()?,
            owner: ProcessId::current().ok_or_else(unseen)?,
            boot: boot_id()?,
            serial,
        })
    }

    /// The name of another group of the same owner.
    #[must_use]
    pub fn with_serial(&self, serial: u32) -> GroupName {
        GroupName {
            serial,
            ..self.clone()
        }
    }

    /// Understands a directory's name; `None` for anything we did not make.
    pub fn parse(name: &str) -> Option<GroupName> {
        let mut parts = name.strip_prefix("memcap-")?.split('-');
        let parsed = GroupName {
            pid_namespace: parts.next()?.parse().ok()?,
            owner: ProcessId {
                pid: parts.next()?.parse().ok()?,
                start: parts.next()?.parse().ok()?,
            },
            boot: parts.next().filter(|boot| boot.len() == 8)?.to_owned(),
            serial: parts.next()?.parse().ok()?,
        };
        (parts.next().is_none() && parsed.to_string() == name).then_some(parsed)
    }

    /// Which of its owner's groups this is.
    pub fn serial(&self) -> u32 {
        self.serial
    }

    /// Whether the owner is certainly gone. A name from another pid namespace
    /// says nothing about processes here, so its owner counts as alive. One that
    /// waits to be reaped is gone.
    pub fn owner_is_dead(&self) -> bool {
        let (Ok(namespace), Ok(boot)) = (pid_namespace(), boot_id()) else {
            return false;
        };
        if self.pid_namespace != namespace {
            return false;
        }
        self.boot != boot || self.owner.is_gone()
    }
}

impl std::fmt::Display for GroupName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let GroupName {
            pid_namespace,
            owner,
            boot,
            serial,
        } = self;
        write!(
            f,
            "memcap-{pid_namespace}-{}-{}-{boot}-{serial}",
            owner.pid, owner.start
        )
    }
}

/// The inode of our pid namespace: `pid:[4026531836]`.
fn pid_namespace() -> std::io::Result<u64> {
    let link = std::fs::read_link("/proc/self/ns/pid")?;
    let digits: String = link
        .to_string_lossy()
        .chars()
        .filter(char::is_ascii_digit)
        .collect();
    digits
        .parse()
        .map_err(|_| std::io::Error::other("odd /proc/self/ns/pid"))
}

/// The first eight digits of this boot's random id.
fn boot_id() -> std::io::Result<String> {
    let text =
        file::read(Path::new("/proc/sys/kernel/random/boot_id")).map_err(std::io::Error::other)?;
    Ok(text.chars().take(8).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_strangers_are_not() {
        let name = GroupName::for_this_process(3).expect("a name");
        assert_eq!(GroupName::parse(&name.to_string()), Some(name.clone()));
        assert!(!name.owner_is_dead());
        assert_eq!(name.serial(), 3);
        for strange in [
            "memcap-",
            "memcap-1-2-3",
            "memcap-1-2-3-abcdefgh",
            "memcap-1-2-3-abcdefgh-0-9",
            "memcap-1-2-3-short-0",
            "memcap-01-2-3-abcdefgh-0",
            "user.slice",
        ] {
            assert_eq!(GroupName::parse(strange), None, "{strange}");
        }
    }

    #[test]
    fn another_namespace_or_boot_is_judged_with_care() {
        let ours = GroupName::for_this_process(0).expect("a name");
        let elsewhere = GroupName {
            pid_namespace: 1,
            ..ours.clone()
        };
        assert!(!elsewhere.owner_is_dead());
        let earlier_boot = GroupName {
            boot: "00000000".into(),
            ..ours.clone()
        };
        assert!(earlier_boot.owner_is_dead());
        let recycled = ProcessId {
            pid: ours.owner.pid,
            start: ours.owner.start + 1,
        };
        assert!(
            GroupName {
                owner: recycled,
                ..ours
            }
            .owner_is_dead()
        );
    }
}
