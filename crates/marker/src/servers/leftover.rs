//! Servers that earlier runs of marker have left: neither used nor touched, but
//! told, since they hold memory.

use std::fmt;
use std::path::Path;

use serde::Deserialize;

use crate::environment::World;

/// A server that outlived the run that started it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Leftover {
    /// `fast_layout`, by the name of its file.
    name: String,
    pid: u32,
}

impl fmt::Display for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.name, self.pid)
    }
}

/// What is read of a server's file.
#[derive(Deserialize)]
struct Record {
    pid: Option<u32>,
}

const SUFFIX: &str = "_server.json";

/// All that run, by name.
pub(super) fn leftovers(world: &World) -> Vec<Leftover> {
    let Some(home) = world.variable("HOME") else {
        return Vec::new();
    };
    let folder = world.absolute(Path::new(home)).join(".cache/datalab/surya");
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<Leftover> = files
        .filter_map(|file| {
            let name = file.file_name().to_str()?.strip_suffix(SUFFIX)?.to_owned();
            let record: Record = serde_json::from_slice(&std::fs::read(file.path()).ok()?).ok()?;
            let leftover = Leftover {
                name,
                pid: record.pid?,
            };
            is_running(&leftover, world).then_some(leftover)
        })
        .collect();
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found
}

/// Whether the process is still that server: its number may be another's by now.
fn is_running(leftover: &Leftover, world: &World) -> bool {
    let file = world.machine_path(&format!("/proc/{}/cmdline", leftover.pid));
    let command = std::fs::read(file).unwrap_or_default();
    let command = String::from_utf8_lossy(&command);
    command.contains("surya.") || command.contains("llama-server")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_servers_that_run_are_leftovers() {
        let machine = tempfile::tempdir().unwrap();
        let place = |name: &str, content: &str| {
            let file = machine.path().join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, content).unwrap();
        };
        let surya = "home/.cache/datalab/surya";
        place(
            &format!("{surya}/ocr_error_server.json"),
            r#"{"pid": 7, "port": 1}"#,
        );
        place(&format!("{surya}/fast_layout_server.json"), r#"{"pid": 8}"#);
        place(&format!("{surya}/llamacpp_server.json"), r#"{"pid": 9}"#);
        place(&format!("{surya}/vllm_server.json"), r#"{"pid": null}"#);
        place(&format!("{surya}/detector_server.json"), "{");
        place("proc/7/cmdline", "python\0-m\0surya.ocr_error.server\0");
        place("proc/8/cmdline", "sleep\x00100\0");
        let home = machine.path().join("home");
        let mut world = World::new([("HOME".into(), home.into())], "/");
        world.root = machine.path().to_owned();
        let found: Vec<String> = leftovers(&world).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["ocr_error (pid 7)"]);
    }
}
