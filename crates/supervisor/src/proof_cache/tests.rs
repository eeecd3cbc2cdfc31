//! What is kept and believed, and what is not.

use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};

use super::*;

const SEEN: &str = "met 7 times";

fn key() -> Key {
    Key {
        boot_id: "b1".into(),
        kernel: "6.1".into(),
        mechanism: Mechanism::CgroupV2,
        place: "/sys/fs/cgroup/a".into(),
        inode: 7,
        layout: "cgroup2 / /sys/fs/cgroup rw\nmemory pids".into(),
    }
}

/// A folder of ours below one that others may use, and a cache in it.
struct Place {
    root: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        Place {
            root: tempfile::tempdir().expect("a folder"),
        }
    }

    fn folder(&self) -> PathBuf {
        self.root.path().join("deep/er")
    }

    fn file(&self) -> PathBuf {
        self.folder().join("proofs.json")
    }

    /// What a program would begin with.
    fn cache(&self) -> ProofCache {
        ProofCache::default().in_folder(self.folder())
    }

    fn known(&self) -> Option<String> {
        self.cache().known(&key())
    }

    fn filled() -> Place {
        let place = Place::new();
        place.cache().keep(key(), SEEN);
        assert_eq!(place.known().as_deref(), Some(SEEN));
        place
    }
}

fn mode(path: &Path) -> u32 {
    path.metadata().expect("it is there").permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours");
}

#[test]
fn the_next_program_of_the_same_user_knows_it() {
    let place = Place::filled();
    assert_eq!(mode(&place.file()), 0o600);
    assert_eq!(mode(&place.folder()), 0o700);
    let names = fs::read_dir(place.folder()).expect("readable");
    assert_eq!(names.count(), 1, "no temporary file stays");
}

#[test]
fn without_a_folder_it_is_known_to_clones_alone() {
    let cache = ProofCache::default();
    let clone = cache.clone();
    cache.keep(key(), SEEN);
    assert_eq!(clone.known(&key()).as_deref(), Some(SEEN));
    assert_eq!(ProofCache::default().known(&key()), None);
    clone.forget(&key());
    assert_eq!(cache.known(&key()), None);
}

#[test]
fn whatever_it_depends_on_makes_it_void() {
    let place = Place::filled();
    let others = [
        Key {
            boot_id: "b2".into(),
            ..key()
        },
        Key {
            kernel: "6.2".into(),
            ..key()
        },
        Key {
            mechanism: Mechanism::Systemd,
            ..key()
        },
        Key {
            place: "/sys/fs/cgroup/b".into(),
            ..key()
        },
        Key { inode: 8, ..key() },
        Key {
            layout: "cgroup2 / /sys/fs/cgroup rw\npids".into(),
            ..key()
        },
    ];
    for other in others {
        assert_eq!(place.cache().known(&other), None, "{other:?}");
    }
    assert!(place.known().is_some());
}

#[test]
fn this_machine_has_a_key_of_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |path: &Path| Key::of(&Placement::CgroupV1(path.to_owned()));
    let key = at(folder.path()).expect("a place");
    assert!(!key.boot_id.is_empty() && !key.kernel.is_empty());
    assert_eq!(at(folder.path()), Some(key.clone()));
    fs::write(folder.path().join("cgroup.controllers"), "cpu\n").expect("put");
    assert_ne!(at(folder.path()), Some(key));
    assert_eq!(at(&folder.path().join("missing")), None);
    assert_eq!(Key::of(&Placement::Watchdog), None);
}

#[test]
fn fresh_believes_nothing_and_renews() {
    let place = Place::filled();
    let fresh = place.cache().renewing();
    assert_eq!(fresh.known(&key()), None);
    fresh.keep(key(), "met 9 times");
    assert_eq!(place.known().as_deref(), Some("met 9 times"));
    fresh.forget(&key());
    assert_eq!(place.known(), None);
}

#[test]
fn it_stays_small_and_of_one_boot() {
    let place = Place::new();
    let old = Key {
        boot_id: "b0".into(),
        ..key()
    };
    place.cache().keep(old.clone(), SEEN);
    for inode in 0..100 {
        place.cache().keep(Key { inode, ..key() }, SEEN);
    }
    let entries = file::read(&place.folder());
    assert_eq!(entries.len(), ENTRIES);
    assert_eq!(place.cache().known(&old), None);
    assert!(place.cache().known(&Key { inode: 99, ..key() }).is_some());
}

#[test]
fn what_makes_no_sense_is_no_cache_and_is_replaced() {
    let place = Place::filled();
    let good = fs::read_to_string(place.file()).expect("written");
    let endless = format!("{good}{}", " ".repeat(1 << 20));
    let broken: [&[u8]; 8] = [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe\x00",
        &good.as_bytes()[..good.len() / 2],
        endless.as_bytes(),
        b"{\"version\":1,\"proofs\":[{\"key\":7,\"seen\":\"x\"}]}",
        b"{\"version\":2,\"proofs\":[]}",
    ];
    let unknown_version = good.replacen("\"version\":1", "\"version\":2", 1);
    for text in broken.into_iter().chain([unknown_version.as_bytes()]) {
        fs::write(place.file(), text).expect("ours");
        assert_eq!(
            place.known(),
            None,
            "{:?}",
            String::from_utf8_lossy(text).get(..80)
        );
        place.cache().keep(key(), SEEN);
        assert!(place.known().is_some());
    }
}

#[test]
fn a_file_that_another_may_have_written_is_not_believed() {
    let place = Place::filled();
    for mode in [0o620, 0o602, 0o604, 0o640] {
        set_mode(&place.file(), mode);
        assert_eq!(place.known(), None, "{mode:o}");
    }
    set_mode(&place.file(), 0o600);
    assert!(place.known().is_some());

    let elsewhere = place.root.path().join("elsewhere.json");
    fs::rename(place.file(), &elsewhere).expect("moved");
    symlink(&elsewhere, place.file()).expect("a link");
    assert_eq!(place.known(), None, "a symbolic link");
    fs::remove_file(place.file()).expect("ours");
    fs::hard_link(&elsewhere, place.file()).expect("a link");
    assert_eq!(place.known(), None, "a second name");
    fs::remove_file(place.file()).expect("ours");
    fs::create_dir(place.file()).expect("made");
    assert_eq!(place.known(), None, "a folder");
    fs::remove_dir(place.file()).expect("ours");
    nix::unistd::mkfifo(&place.file(), nix::sys::stat::Mode::S_IRWXU).expect("made");
    assert_eq!(place.known(), None, "a pipe, which would be waited for");
    // Replaced, never written through.
    fs::remove_file(place.file()).expect("ours");
    fs::write(&elsewhere, "precious").expect("ours");
    symlink(&elsewhere, place.file()).expect("a link");
    place.cache().keep(key(), SEEN);
    assert_eq!(fs::read_to_string(&elsewhere).expect("there"), "precious");
    assert!(place.known().is_some());
}

#[test]
fn a_folder_that_another_may_have_made_is_neither_read_nor_written() {
    let place = Place::filled();
    let before = fs::read(place.file()).expect("written");
    for mode in [0o770, 0o707, 0o1777] {
        set_mode(&place.folder(), mode);
        assert_eq!(place.known(), None, "{mode:o}");
        place.cache().keep(key(), "other");
        assert_eq!(fs::read(place.file()).expect("there"), before, "{mode:o}");
    }
    set_mode(&place.folder(), 0o755);
    assert!(place.known().is_some(), "others may look");

    let above = place.root.path().join("deep");
    set_mode(&above, 0o777);
    assert_eq!(place.known(), None, "others may replace it");
    set_mode(&above, 0o700);

    let link = place.root.path().join("link");
    symlink(place.folder(), &link).expect("a link");
    let through = |folder: PathBuf| ProofCache::default().in_folder(folder).known(&key());
    assert_eq!(through(link), None, "the folder is a link");
    assert_eq!(through("relative".into()), None);
    assert_eq!(through("/".into()), None);
}

#[test]
fn a_home_on_another_disk_is_reached_through_links_of_ours_alone() {
    let place = Place::filled();
    let root = place.root.path();
    let through = |folder: PathBuf| {
        let cache = ProofCache::default().in_folder(folder);
        cache.known(&key()).is_some()
    };
    symlink(root.join("deep"), root.join("home")).expect("a link");
    symlink("home", root.join("short")).expect("a link");
    symlink("deep/../short", root.join("winding")).expect("a link");
    for link in ["home", "short", "winding"] {
        assert!(through(root.join(link).join("er")), "{link}");
    }
    // A folder that is not there yet is made behind the link.
    let cache = ProofCache::default().in_folder(root.join("home/new/er"));
    cache.keep(key(), SEEN);
    assert!(root.join("deep/new/er/proofs.json").is_file());

    symlink("round", root.join("round")).expect("a link");
    assert!(!through(root.join("round/er")), "a link to itself");
    symlink(place.file(), root.join("file")).expect("a link");
    assert!(!through(root.join("file/er")), "a link to a file");
    let open = root.join("open");
    fs::create_dir(&open).expect("made");
    symlink(root.join("deep"), open.join("home")).expect("a link");
    set_mode(&open, 0o777);
    assert!(
        !through(open.join("home/er")),
        "others may replace the link"
    );
    set_mode(&open, 0o1777);
    assert!(through(open.join("home/er")), "a sticky folder like /tmp");
    if nix::unistd::geteuid().is_root() {
        std::os::unix::fs::lchown(root.join("home"), Some(7), Some(7)).expect("root may");
        assert!(!through(root.join("home/er")), "a link of another's");
        assert!(!through(root.join("short/er")), "a link to such a one");
    }
}

#[test]
fn another_users_folder_is_left_alone() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let place = Place::filled();
    let give = |path: &Path, uid| std::os::unix::fs::chown(path, Some(uid), Some(uid));
    give(&place.file(), 7).expect("root may");
    assert_eq!(place.known(), None, "the file");
    give(&place.file(), 0).expect("root may");
    for path in [place.folder(), place.root.path().join("deep")] {
        give(&path, 7).expect("root may");
        assert_eq!(place.known(), None, "{}", path.display());
        place.cache().keep(key(), "other");
        give(&path, 0).expect("root may");
        assert_eq!(place.known().as_deref(), Some(SEEN));
    }
    // Nor is one made there.
    let theirs = place.root.path().join("theirs");
    fs::DirBuilder::new()
        .mode(0o755)
        .create(&theirs)
        .expect("made");
    give(&theirs, 7).expect("root may");
    let cache = ProofCache::default().in_folder(theirs.join("memcap"));
    cache.keep(key(), SEEN);
    assert!(!theirs.join("memcap").exists());
    assert!(cache.known(&key()).is_some(), "it knows for itself");
}

#[test]
fn what_cannot_be_written_is_no_failure() {
    let gone = ProofCache::default().in_folder("/proc/self/memcap".into());
    gone.keep(key(), SEEN);
    gone.forget(&key());
    // A file where the folder should be.
    let place = Place::new();
    fs::write(place.root.path().join("deep"), "").expect("ours");
    place.cache().keep(key(), SEEN);
    assert_eq!(place.known(), None);
}
