//! /proc/PID/cgroup (cgroups(7)): which group a process is in, per hierarchy.

use std::path::Path;

use crate::file::{self, FileError};

/// One line: a hierarchy and the path of the process's group in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// v1 controllers of this hierarchy; empty for the v2 line (`0::/…`).
    pub controllers: Vec<String>,
    /// The path as this process's cgroup namespace shows it.
    pub path: String,
}

impl Membership {
    /// Whether this is the v2 hierarchy's line.
    pub fn is_v2(&self) -> bool {
        self.controllers.is_empty()
    }
}

/// Reads `PROC/self/cgroup`.
///
/// # Errors
/// When the file cannot be read.
pub fn own_memberships(proc_root: &Path) -> Result<Vec<Membership>, FileError> {
    Ok(parse_memberships(&file::read(
        &proc_root.join("self/cgroup"),
    )?))
}

/// Every whole line that can be understood; a path may hold colons. One that is
/// cut off would name a group around ours.
pub fn parse_memberships(text: &str) -> Vec<Membership> {
    file::whole_lines(text)
        .filter_map(|line| {
            let mut fields = line.splitn(3, ':');
            let _hierarchy = fields.next()?;
            let controllers = fields.next()?;
            let path = fields.next()?.to_owned();
            let controllers = controllers
                .split(',')
                .filter(|controller| !controller.is_empty())
                .map(str::to_owned)
                .collect();
            Some(Membership { controllers, path })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hybrid_text_gives_both_hierarchies() {
        let text = "9:name=systemd:/\n4:cpu,cpuacct:/a\n3:memory:/outer/in:ner\n0::/user.slice\n";
        let lines = parse_memberships(text);
        assert_eq!(lines.len(), 4);
        assert_eq!(lines[1].controllers, ["cpu", "cpuacct"]);
        assert_eq!(lines[2].path, "/outer/in:ner");
        assert!(lines[3].is_v2() && lines[3].path == "/user.slice");
        assert!(parse_memberships("").is_empty());
        assert!(parse_memberships("0::/user.sl").is_empty(), "cut off");
    }
}
