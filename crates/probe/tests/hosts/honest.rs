//! What must hold of a host whatever its files say: for the tests and for
//! `fuzz/targets/captured_host.rs`.

use std::path::Path;

use memcap_probe::trial::facts_only;
use memcap_probe::{DoctorReport, Facts, Host, Roots};

/// Files of a host where v2 and v1 both work, as far as files can tell.
pub const FILES: [(&str, &str); 16] = [
    (
        "proc/sys/kernel/osrelease",
        "6.6.87.2-microsoft-standard-WSL2\n",
    ),
    (
        "proc/meminfo",
        "MemTotal: 16777216 kB\nMemAvailable: 8388608 kB\nSwapTotal: 4194304 kB\n",
    ),
    (
        "proc/self/mountinfo",
        "29 22 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n\
         30 22 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
    ),
    ("proc/self/cgroup", "3:memory:/a\n0::/a/b\n"),
    ("proc/cmdline", "quiet cgroup_disable=pids\n"),
    ("etc/wsl.conf", "[automount]\ncgroups = v1\n"),
    ("sys/fs/cgroup/cgroup.controllers", "cpu memory pids\n"),
    ("sys/fs/cgroup/cgroup.subtree_control", "cpu memory pids\n"),
    ("sys/fs/cgroup/cgroup.procs", "1\n"),
    ("sys/fs/cgroup/a/cgroup.controllers", "memory pids\n"),
    ("sys/fs/cgroup/a/cgroup.subtree_control", "memory\n"),
    ("sys/fs/cgroup/a/memory.max", "8589934592\n"),
    ("sys/fs/cgroup/a/b/cgroup.controllers", "memory\n"),
    ("sys/fs/cgroup/a/b/cgroup.subtree_control", "memory\n"),
    (
        "sys/fs/cgroup/memory/a/memory.limit_in_bytes",
        "9223372036854771712\n",
    ),
    ("sys/fs/cgroup/memory/a/memory.use_hierarchy", "1\n"),
];

/// Writes a file, with the folders it needs.
pub fn put(root: &Path, path: &str, bytes: &[u8]) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
    std::fs::write(path, bytes).expect("a file");
}

fn text(path: &Path) -> String {
    let bytes = std::fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What must hold whatever the files say.
pub fn nothing_is_made_up(roots: &Roots) {
    let host = Host::observe(roots);
    if let Some(kernel) = host.kernel.value() {
        assert!(!kernel.is_empty());
    }
    if let Some(base) = host
        .cgroup_v2
        .value()
        .and_then(|place| place.memory_base.value())
    {
        let file = if base.enable_memory {
            "cgroup.controllers"
        } else {
            "cgroup.subtree_control"
        };
        let words = text(&base.dir.join(file));
        assert!(
            words.split_whitespace().any(|word| word == "memory"),
            "{words:?}"
        );
    }
    if let Some(place) = host.cgroup_v1.value() {
        assert!(text(&roots.proc().join("self/mountinfo")).contains("memory"));
        if place.base.value().is_some() {
            let limit = text(&place.own.join("memory.limit_in_bytes"));
            assert!(limit.trim().parse::<u64>().is_ok(), "{limit:?}");
        }
    }
    for ceiling in host.ceilings.all() {
        if let Some(file) = &ceiling.file {
            assert_eq!(text(file).trim().parse(), Ok(ceiling.bytes.bytes()));
        }
    }
    let facts = Facts::observe(roots, &host);
    let trials = facts_only(&host, "not asked for");
    let report = DoctorReport::new(host, facts, trials);
    assert!(!report.has_hard_limit() && report.best().is_none());
    serde_json::to_string(&report).expect("JSON");
}

/// Lays all of [`FILES`] out.
pub fn lay_out(folder: &Path) {
    for (path, text) in FILES {
        put(folder, path, text.as_bytes());
    }
    for name in [
        "a/cgroup.procs",
        "a/b/cgroup.procs",
        "memory/a/cgroup.procs",
    ] {
        put(folder, &format!("sys/fs/cgroup/{name}"), b"");
    }
}
