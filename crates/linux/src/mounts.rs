//! /proc/PID/mountinfo (proc_pid_mountinfo(5)), parsed here because the procfs
//! crate gives the whole file up on one empty source field (its issue 333).

use std::path::{Path, PathBuf};

use crate::file::{self, FileError};

/// One line of mountinfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Its number, as /proc/PID/fdinfo has it; that of no other mount of the machine.
    pub id: u64,
    /// Major and minor number of the device, as files on it have it; no btrfs is told by
    /// that.
    pub device: (u32, u32),
    /// Which part of the file system is mounted: `/`, a subtree, or `/..` for
    /// a place outside the reader's cgroup namespace.
    pub root: String,
    /// Where.
    pub mount_point: PathBuf,
    /// Per-mount options: the `ro` that counts is here.
    pub options: Vec<String>,
    /// `cgroup2`, `cgroup`, `tmpfs`, …
    pub file_system: String,
    /// Per-superblock options: v1 controllers are named here.
    pub super_options: Vec<String>,
}

impl Mount {
    /// Whether this mount may not be written to.
    pub fn is_read_only(&self) -> bool {
        self.options.iter().any(|option| option == "ro")
    }

    /// Whether a cgroup v1 mount carries this controller.
    pub fn has_controller(&self, controller: &str) -> bool {
        self.file_system == "cgroup" && self.super_options.iter().any(|o| o == controller)
    }
}

/// Reads `PROC/self/mountinfo`.
///
/// # Errors
/// When the file cannot be read.
pub fn read(proc_root: &Path) -> Result<Vec<Mount>, FileError> {
    read_of(&proc_root.join("self"))
}

/// Reads the mounts that a process sees, whose folder in /proc this is.
///
/// # Errors
/// When the file cannot be read: the process is gone, or not ours to look into.
pub fn read_of(process: &Path) -> Result<Vec<Mount>, FileError> {
    Ok(parse(&file::read(&process.join("mountinfo"))?))
}

/// Every whole line that can be understood; others are skipped, since one odd
/// mount must not hide the rest.
pub fn parse(text: &str) -> Vec<Mount> {
    file::whole_lines(text).filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Mount> {
    let mut fields = line.split(' ');
    let id = fields.next()?.parse().ok()?;
    let (major, minor) = fields.nth(1)?.split_once(':')?;
    let device = (major.parse().ok()?, minor.parse().ok()?);
    let root = unescape(fields.next()?);
    let mount_point = PathBuf::from(unescape(fields.next()?));
    let options = list(fields.next()?);
    // Optional fields end with a lone hyphen.
    fields.find(|field| *field == "-")?;
    let file_system = fields.next()?.to_owned();
    // The source may be empty; the options are always last.
    let super_options = list(fields.next_back()?);
    Some(Mount {
        id,
        device,
        root,
        mount_point,
        options,
        file_system,
        super_options,
    })
}

fn list(field: &str) -> Vec<String> {
    field.split(',').map(str::to_owned).collect()
}

/// Spaces, tabs, newlines and backslashes are written as `\040` and the like.
fn unescape(field: &str) -> String {
    let mut out = Vec::with_capacity(field.len());
    let mut bytes = field.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let digits: Vec<u8> = bytes.clone().take(3).collect();
        let value = digits.iter().try_fold(0u32, |value, digit| {
            (b'0'..=b'7')
                .contains(digit)
                .then(|| value * 8 + u32::from(digit - b'0'))
        });
        match value.and_then(|value| u8::try_from(value).ok()) {
            Some(value) if digits.len() == 3 => {
                out.push(value);
                bytes.nth(2);
            }
            _ => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hybrid_lines_are_understood() {
        let text = "\
30 29 0:26 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
42 29 0:38 / /sys/fs/cgroup/unified ro,relatime - cgroup2 cgroup2 rw,nsdelegate
50 29 0:40 /docker/abc /mnt/with\\040space rw - cgroup  rw,memory
garbage
";
        let mounts = parse(text);
        assert_eq!(mounts.len(), 3);
        assert_eq!((mounts[0].id, mounts[0].device), (30, (0, 26)));
        assert!(mounts[0].has_controller("memory") && !mounts[0].is_read_only());
        assert_eq!(mounts[1].file_system, "cgroup2");
        assert!(mounts[1].is_read_only());
        assert_eq!(mounts[2].root, "/docker/abc");
        assert_eq!(mounts[2].mount_point, Path::new("/mnt/with space"));
        assert!(mounts[2].has_controller("memory"));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[ -~\n\\\\]{0,200}") {
            let _ = parse(&text);
        }
    }
}
