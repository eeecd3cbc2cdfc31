//! Hosts that were saved: what a bundle keeps, what it leaves out, and what is
//! made of one that is broken.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use memcap_probe::bundle::{Bundle, BundleError, BundleWriter, Redactor};
use memcap_probe::facts::{Features, Sockets};
use memcap_probe::trial::Verdict;
use memcap_probe::{DoctorReport, Fact, Facts, Mechanism, examine, replay};

use super::builder::{Captured, group};
use super::findings::tried;
use super::{limits, v1, v2};

/// A bundle in a folder of its own.
struct Saved {
    folder: tempfile::TempDir,
}

impl Saved {
    fn of(captured: &Captured, report: &DoctorReport) -> Saved {
        let saved = Saved {
            folder: tempfile::tempdir().expect("a folder"),
        };
        let redactor = Redactor::new(["tower"], ["alice"], ["/home/alice"]);
        let writer = BundleWriter::create(&saved.dir(), redactor).expect("made");
        writer.save(&captured.roots(), report).expect("saved");
        saved
    }

    fn dir(&self) -> PathBuf {
        self.folder.path().join("bundle")
    }

    fn replayed(&self) -> DoctorReport {
        replay(&Bundle::open(&self.dir()).expect("a bundle"))
    }

    fn refused(&self) -> BundleError {
        Bundle::open(&self.dir()).expect_err("refused")
    }

    /// Every file with its text, and every path with its mode.
    fn contents(&self) -> (BTreeMap<PathBuf, String>, BTreeMap<PathBuf, u32>) {
        let (mut texts, mut modes) = (BTreeMap::new(), BTreeMap::new());
        let mut waiting = vec![self.dir()];
        while let Some(path) = waiting.pop() {
            let mode = fs::metadata(&path).expect("there").permissions().mode();
            modes.insert(path.clone(), mode & 0o7777);
            if path.is_dir() {
                let entries = fs::read_dir(&path).expect("a folder");
                waiting.extend(entries.map(|entry| entry.expect("there").path()));
            } else {
                texts.insert(path.clone(), fs::read_to_string(&path).expect("text"));
            }
        }
        (texts, modes)
    }
}

/// What is on record of a host whose systemd and kernel were asked.
fn asked(captured: Captured) -> Captured {
    captured.observed(|observed| {
        observed.pid = Some(500);
        observed.sockets = Some(Sockets::all(&Fact::absent("nobody listens")));
        observed.features = Some(Features::all(&Fact::present(())));
    })
}

#[test]
fn a_saved_host_is_found_to_be_the_same() {
    let hosts = [
        v1::hybrid(),
        v1::hybrid().put("run/systemd/system/x", ""),
        v2::undelegated(),
        v2::undelegated()
            .put("run/systemd/system/x", "")
            .kernel("6.6.87.2-microsoft-standard-WSL2")
            .put(
                "etc/wsl.conf",
                "[automount]\ncgroups = v2\n[boot]\nsystemd=true\n",
            ),
        v2::hybrid_without_v1_memory()
            .put("proc/config", "# CONFIG_MEMCG_V1 is not set\n")
            .put("proc/cmdline", "quiet psi=1\n"),
        limits::members("200000", "900000000\n"),
        limits::slices("", "1073741824\n"),
        Captured::new().kernel("4.4.0-19041-Microsoft"),
        // Our own group is out of sight.
        Captured::new()
            .mounts("29 22 0:26 /.. /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")
            .groups("0::/\n")
            .v2(&group(""), "memory\n", "memory\n", "1\n", &[]),
    ];
    for captured in hosts.map(asked) {
        let original = examine(&captured.roots(), None);
        let replayed = Saved::of(&captured, &original).replayed();
        assert_eq!(replayed.findings, original.findings);
        assert_eq!(replayed.host, original.host);
        assert_eq!(replayed.facts, original.facts);
        let record = replayed.replayed.expect("it is said to be another host");
        assert!(!record.has_trials);
    }
}

#[test]
fn trials_on_record_are_shown_and_none_is_made() {
    let captured = asked(v1::hybrid());
    let host = captured.host();
    let facts = Facts::observe(&captured.roots(), &host);
    let trials = tried(&captured, Mechanism::CgroupV1, Verdict::Enforced);
    let original = DoctorReport::new(host, facts, trials);
    let replayed = Saved::of(&captured, &original).replayed();
    assert!(replayed.has_hard_limit());
    assert_eq!(replayed.control, original.control);
    assert_eq!(replayed.mechanisms, original.mechanisms);
    assert!(replayed.replayed.is_some_and(|record| record.has_trials));
}

#[test]
fn a_bundle_is_for_us_alone_and_names_nobody() {
    let alices = "user.slice/alice-work.slice";
    let captured = limits::slices("", "max\n")
        .groups(&format!("8:pids:/alice\n0::/{alices}\n"))
        .v2(
            &group(alices),
            "memory\n",
            "\n",
            "500\n",
            &[("cgroup.type", "domain\n"), ("memory.max", "max\n")],
        )
        .put("proc/version", "Linux version 6.12.0 (alice@tower) (gcc)\n")
        .put(
            "proc/cmdline",
            "root=/dev/tower/root cgroup.memory=nokmem\n",
        )
        .put("proc/swaps", "Filename\n/home/alice/swap file 4096 0 -2\n")
        .put("proc/self/environ", "SECRET=x")
        .put("proc/self/cmdline", "memcap")
        .put("run/.containerenv", "name=\"alices\"\n")
        .put(
            "etc/wsl.conf",
            "[user]\ndefault=alice\n[network]\nhostname=tower\n",
        );
    let original = examine(&captured.roots(), None);
    let saved = Saved::of(&captured, &original);
    let (texts, modes) = saved.contents();
    for (path, text) in &texts {
        for name in ["alice", "tower", "SECRET", "memcap run"] {
            assert!(!text.contains(name), "{name} in {}: {text}", path.display());
        }
    }
    for (path, mode) in &modes {
        let name = path.to_string_lossy();
        assert!(!name.contains("alice"), "{name}");
        assert_eq!(*mode, if path.is_dir() { 0o700 } else { 0o600 }, "{name}");
    }
    // What was replaced is replaced everywhere, so it still fits together.
    let own = saved.replayed().facts.own_group;
    assert_eq!(own, Fact::present("/user.slice/USER-work.slice".to_owned()));
    let place = saved.replayed().host.cgroup_v2;
    assert!(place.is_present(), "{place:?}");
}

#[test]
fn nothing_is_overwritten_and_nothing_half_made_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let create = |dir: &Path| BundleWriter::create(dir, Redactor::default());
    let taken = folder.path().join("taken");
    fs::write(&taken, "mine").expect("a file");
    let error = create(&taken).expect_err("taken");
    assert!(matches!(error, BundleError::Exists { .. }), "{error}");
    assert_eq!(fs::read_to_string(&taken).expect("there"), "mine");
    let link = folder.path().join("link");
    symlink(folder.path().join("elsewhere"), &link).expect("a link");
    assert!(create(&link).is_err(), "not through a link either");
    assert!(create(&folder.path().join("no/such")).is_err());
    let given_up = folder.path().join("given-up");
    drop(create(&given_up).expect("made"));
    assert!(!given_up.exists());
}

#[test]
fn what_is_no_bundle_is_told() {
    let captured = asked(v1::hybrid());
    let original = examine(&captured.roots(), None);
    let saved = || Saved::of(&captured, &original);
    let manifest = |saved: &Saved, text: &str| {
        fs::write(saved.dir().join("bundle.json"), text).expect("written");
    };
    let one = saved();
    fs::remove_file(one.dir().join("bundle.json")).expect("removed");
    assert!(matches!(one.refused(), BundleError::NoBundle { .. }));
    for text in [
        "",
        "{",
        "[]",
        "{\"bundle_version\": 1}",
        "{\"bundle_version\": \"x\"}",
    ] {
        let one = saved();
        manifest(&one, text);
        let error = one.refused();
        assert!(matches!(error, BundleError::Garbled { .. }), "{error}");
        assert!(error.hint().is_some());
    }
    let newer = saved();
    manifest(&newer, "{\"bundle_version\": 2, \"other\": 1}");
    assert!(matches!(
        newer.refused(),
        BundleError::Version { found: 2, .. }
    ));

    let linked = saved();
    symlink("/etc/passwd", linked.dir().join("proc/version")).expect("a link");
    assert!(matches!(linked.refused(), BundleError::Foreign { .. }));
    let piped = saved();
    let pipe = piped.dir().join("proc/config");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    assert!(matches!(piped.refused(), BundleError::Foreign { .. }));
    let file = saved();
    let path = file.dir().join("bundle.json");
    let error = Bundle::open(&path).expect_err("a file");
    assert!(error.to_string().ends_with("it is not a folder"), "{error}");
    let odd: [fn(&Path); 3] = [
        |path| fs::create_dir(path).expect("a folder"),
        |path| symlink("bundle.json", path).expect("a loop"),
        |path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).expect("a pipe"),
    ];
    for make in odd {
        let one = saved();
        let path = one.dir().join("bundle.json");
        fs::remove_file(&path).expect("removed");
        make(&path);
        let error = one.refused();
        assert!(
            error.to_string().ends_with("its bundle.json is not a file"),
            "{error}"
        );
    }
    let absent = Bundle::open(Path::new("/nonexistent/bundle"));
    assert!(matches!(absent, Err(BundleError::Read { .. })));
}

#[test]
fn a_bundle_does_not_lead_to_files_beside_it() {
    let mount = |point: &str| format!("29 22 0:26 / {point} rw - cgroup2 cgroup2 rw\n");
    let cases = [
        (mount("/../beside"), "0::/\n"),
        (mount("/sys/fs/cgroup"), "0::/../../../../beside\n"),
        (mount("/sys/fs/cgroup"), "0::/a/../../../../../beside\n"),
    ];
    for (mounts, groups) in cases {
        let captured = asked(v2::undelegated());
        let saved = Saved::of(&captured, &examine(&captured.roots(), None));
        let beside = saved.folder.path().join("beside");
        fs::create_dir(&beside).expect("a folder");
        for (name, text) in [
            ("cgroup.controllers", "memory\n"),
            ("cgroup.subtree_control", "memory\n"),
            ("cgroup.procs", "1\n"),
            ("cgroup.type", "domain\n"),
            ("memory.max", "4096\n"),
        ] {
            fs::write(beside.join(name), text).expect("written");
        }
        fs::create_dir_all(saved.dir().join("sys/fs/cgroup/a")).expect("a folder");
        fs::write(saved.dir().join("proc/self/mountinfo"), &mounts).expect("written");
        fs::write(saved.dir().join("proc/self/cgroup"), groups).expect("written");
        let report = saved.replayed();
        assert!(!report.host.cgroup_v2.is_present(), "{groups}{mounts}");
        assert!(report.facts.limits_around.is_empty());
        let lowest = report.host.ceilings.lowest().expect("the machine");
        assert_eq!(lowest.file, None, "{groups}{mounts}");
    }
}

#[test]
fn what_is_missing_in_a_bundle_is_not_known() {
    let captured = asked(v1::hybrid());
    let original = examine(&captured.roots(), None);
    let saved = Saved::of(&captured, &original);
    for folder in ["proc", "sys"] {
        fs::remove_dir_all(saved.dir().join(folder)).expect("removed");
    }
    let report = saved.replayed();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    assert!(!report.has_hard_limit());
    assert!(matches!(report.host.cgroup_v1, Fact::Unknown { .. }));
    assert!(matches!(report.facts.layout, Fact::Unknown { .. }));
    assert!(matches!(
        report.facts.memory_controller,
        Fact::Unknown { .. }
    ));
}

#[test]
fn a_bundle_of_nonsense_is_no_reason_to_fail() {
    let captured = asked(v2::undelegated());
    let original = examine(&captured.roots(), None);
    for nonsense in [
        "",
        "\u{0}\u{0}",
        "::::\n[\n= -\n",
        "max 1 2 3\n",
        "99999999999999999999999\n",
    ] {
        let saved = Saved::of(&captured, &original);
        let (texts, _) = saved.contents();
        for path in texts.keys().filter(|path| !path.ends_with("bundle.json")) {
            fs::write(path, nonsense).expect("written");
        }
        let report = saved.replayed();
        assert!(!report.has_hard_limit());
        assert!(!report.facts.memory_controller.is_present());
    }
    // A folder where a file is expected.
    let saved = Saved::of(&captured, &original);
    let (texts, _) = saved.contents();
    for path in texts.keys().filter(|path| !path.ends_with("bundle.json")) {
        fs::remove_file(path).expect("removed");
        fs::create_dir(path).expect("a folder");
    }
    assert!(saved.replayed().findings.is_empty());
}
