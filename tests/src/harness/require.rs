//! What a test needs of the machine, and what happens where it is absent.
//!
//! A test that cannot run says `skipped: reason` and passes, unless
//! `MEMCAP_REQUIRE` (a list with commas) names what is missing: then it fails,
//! so that a machine meant to have it cannot lose it unnoticed.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use memcap_linux::{ByteSize, meminfo};
use nix::unistd::{AccessFlags, access, geteuid};

use super::marker::{MarkerEnvironment, MarkerParsers};

/// What [`Requirement::Terminal`] wants.
const TERMINAL_PROGRAMS: [&str; 6] = ["bash", "vim", "less", "tmux", "python3", "script"];

/// Where programs are found without anybody's own folders: these answer "not
/// permitted" to others where "not found" is meant.
pub const SYSTEM_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Something that a machine may lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requirement {
    /// Effective uid 0.
    Root,
    /// A writable memory hierarchy of cgroup version 1.
    CgroupV1,
    /// A writable cgroup version 2 with the memory controller.
    CgroupV2,
    /// A cgroup version 2 with the memory controller that was delegated to the
    /// ordinary user who runs the suite, who is in it.
    DelegatedCgroupV2,
    /// A systemd manager of the ordinary user who runs the suite.
    Systemd,
    /// A writable cgroup version 2 directory, with or without controllers.
    CgroupV2Dir,
    /// 4 GiB of memory that nobody uses.
    SpareMemory,
    /// The ability to run as an ordinary user.
    Unprivileged,
    /// env(1) and nohup(1) of GNU coreutils; small systems have others.
    Coreutils,
    /// Programs that people use on a terminal, where every user finds them.
    Terminal,
    /// The real marker 1.10.
    Marker,
    /// The parsers of all releases of marker.
    MarkerParsers,
    /// The real marker 2, whose models run in servers.
    MarkerServers,
    /// A machine emulator for other kernels.
    Qemu,
}

impl Requirement {
    /// Its name in `MEMCAP_REQUIRE`.
    pub fn name(self) -> &'static str {
        match self {
            Requirement::Root => "root",
            Requirement::CgroupV1 => "cgroup-v1",
            Requirement::CgroupV2 => "cgroup-v2",
            Requirement::DelegatedCgroupV2 => "delegated-cgroup-v2",
            Requirement::Systemd => "systemd",
            Requirement::CgroupV2Dir => "cgroup-v2-dir",
            Requirement::SpareMemory => "spare-memory",
            Requirement::Unprivileged => "unprivileged",
            Requirement::Coreutils => "coreutils",
            Requirement::Terminal => "terminal",
            Requirement::Marker => "marker",
            Requirement::MarkerParsers => "marker-parsers",
            Requirement::MarkerServers => "marker-2",
            Requirement::Qemu => "qemu",
        }
    }

    /// Why it is not met here; `None` where it is.
    pub fn missing(self) -> Option<String> {
        match self {
            Requirement::Root => {
                (!geteuid().is_root()).then(|| format!("uid {} is not root", geteuid()))
            }
            Requirement::CgroupV1 => unwritable("cgroup v1 memory", v1_memory_mount()),
            Requirement::CgroupV2 => match v2_mount() {
                Some(mount) if !has_memory(&mount) => {
                    Some(format!("no memory controller in {}", mount.display()))
                }
                mount => unwritable("cgroup v2", mount),
            },
            Requirement::DelegatedCgroupV2 => not_delegated(),
            Requirement::Systemd => no_manager(),
            Requirement::CgroupV2Dir => unwritable("cgroup v2", v2_mount()),
            Requirement::SpareMemory => {
                let available = available_memory();
                (available < ByteSize::from_gib(4)).then(|| format!("{available} is available"))
            }
            Requirement::Coreutils => {
                let works = std::process::Command::new("env")
                    .args(["--ignore-signal=PIPE", "nohup", "true"])
                    .output()
                    .is_ok_and(|ran| ran.status.success());
                (!works).then(|| "env and nohup are not those of GNU coreutils".to_owned())
            }
            // Root can become an ordinary user, and an ordinary user is one.
            Requirement::Unprivileged => None,
            Requirement::Terminal => TERMINAL_PROGRAMS
                .iter()
                .find_map(|program| not_in(program, SYSTEM_PATH.as_ref())),
            Requirement::Marker => match MarkerEnvironment::find() {
                Some(_) => None,
                None => Some("marker environment absent (run scripts/marker-env)".to_owned()),
            },
            Requirement::MarkerParsers => match MarkerParsers::find() {
                Some(_) => None,
                None => Some("marker's parsers absent (run scripts/marker-parsers)".to_owned()),
            },
            Requirement::MarkerServers => match MarkerEnvironment::find_servers() {
                Some(_) => None,
                None => {
                    Some("environment of marker 2 absent (run scripts/marker-env 2.0.0)".to_owned())
                }
            },
            Requirement::Qemu => not_on_path("qemu-system-x86_64"),
        }
    }

    /// Whether the test can run. Where it cannot, says so.
    ///
    /// # Panics
    /// Where it cannot and `MEMCAP_REQUIRE` names this requirement.
    pub fn is_met(self) -> bool {
        let Some(reason) = self.missing() else {
            return true;
        };
        let insisted = std::env::var("MEMCAP_REQUIRE").unwrap_or_default();
        let insisted = insisted.split(',').any(|name| name.trim() == self.name());
        assert!(
            !insisted,
            "MEMCAP_REQUIRE names {}, but {reason}",
            self.name()
        );
        say_skipped(&reason);
        false
    }
}

/// What could be used without swapping, now.
///
/// # Panics
/// Where the machine does not tell.
pub fn available_memory() -> ByteSize {
    meminfo::available(Path::new("/proc")).expect("MemAvailable")
}

/// Says on the real stderr (which the test runner does not capture) that the
/// running test is skipped.
pub(super) fn say_skipped(reason: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("test");
    // A closed stderr loses the message and nothing else.
    let _ = writeln!(std::io::stderr(), "skipped: {reason} ({test})");
}

fn unwritable(what: &str, mount: Option<PathBuf>) -> Option<String> {
    match mount {
        None => Some(format!("{what} is not mounted")),
        Some(path) => {
            let refused = access(&path, AccessFlags::W_OK).err()?;
            Some(format!("{} is not writable: {refused}", path.display()))
        }
    }
}

pub(super) fn v1_memory_mount() -> Option<PathBuf> {
    mounts()
        .find(|mount| mount.kind == "cgroup" && mount.has_option("memory"))
        .map(|m| m.path)
}

pub(super) fn v2_mount() -> Option<PathBuf> {
    mounts()
        .find(|mount| mount.kind == "cgroup2")
        .map(|mount| mount.path)
}

fn no_manager() -> Option<String> {
    let socket = format!("/run/user/{}/systemd/private", geteuid());
    if geteuid().is_root() {
        return Some("an ordinary user has a manager, and this is root".to_owned());
    }
    (!Path::new(&socket).exists()).then(|| format!("there is no {socket}"))
}

fn not_delegated() -> Option<String> {
    if geteuid().is_root() {
        return Some("a group is delegated to an ordinary user, and this is root".to_owned());
    }
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"));
    let (Some(mount), Some(own)) = (v2_mount(), own) else {
        return Some("cgroup v2 is not mounted".to_owned());
    };
    let own = mount.join(own);
    let delegated = own
        .ancestors()
        .take_while(|group| group.starts_with(&mount))
        .any(|group| access(group, AccessFlags::W_OK).is_ok() && has_memory(group));
    (!delegated).then(|| format!("nothing around {} is writable", own.display()))
}

fn has_memory(mount: &Path) -> bool {
    let controllers = fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default();
    controllers.split_whitespace().any(|name| name == "memory")
}

struct Mount {
    path: PathBuf,
    kind: String,
    options: String,
}

impl Mount {
    fn has_option(&self, name: &str) -> bool {
        self.options.split(',').any(|option| option == name)
    }
}

/// The lines of `/proc/self/mounts` (fstab(5) form; cgroup mounts have no
/// blanks in their paths, so the escapes are left alone).
fn mounts() -> impl Iterator<Item = Mount> {
    let text = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let parse = |line: &str| {
        let mut fields = line.split(' ').skip(1).map(str::to_owned);
        let (path, kind, options) = (fields.next()?.into(), fields.next()?, fields.next()?);
        Some(Mount {
            path,
            kind,
            options,
        })
    };
    text.lines()
        .filter_map(parse)
        .collect::<Vec<_>>()
        .into_iter()
}

fn not_on_path(program: &str) -> Option<String> {
    not_in(program, &std::env::var_os("PATH").unwrap_or_default())
}

fn not_in(program: &str, path: &OsStr) -> Option<String> {
    let found = std::env::split_paths(path).any(|directory| directory.join(program).is_file());
    (!found).then(|| format!("{program} is not in {}", path.display()))
}
