//! Hosts whose files are cut off, empty, huge, unreadable or plainly wrong. A
//! fact may be unknown there; it is never a mechanism that is not there.

use std::path::Path;

use memcap_probe::trial::facts_only;
use memcap_probe::{Fact, Host, Mechanism, Roots};
use proptest::prelude::*;

use crate::builder::{Captured, V2_MOUNT, group};
use crate::honest::{FILES, lay_out, nothing_is_made_up, put};

fn bent() -> impl Strategy<Value = (usize, Vec<u8>)> {
    let file = 0..FILES.len();
    file.prop_flat_map(|file| {
        let real = FILES[file].1.as_bytes();
        let cut = (0..=real.len()).prop_map(move |at| real[..at].to_vec());
        let numbers = prop_oneof![
            Just(b"18446744073709551615\n".to_vec()),
            Just(b"18446744073709551616\n".to_vec()),
            Just(b"-1\n".to_vec()),
            Just(b"0::/../..\n".to_vec()),
            Just(b"0::/a/b/../../../../etc\n".to_vec()),
            Just(b"29 22 0:26 /.. /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n".to_vec()),
            Just(b"29 22 0:26 / / rw - cgroup2 cgroup2 rw\n".to_vec()),
        ];
        let any = proptest::collection::vec(any::<u8>(), 0..64);
        (Just(file), prop_oneof![cut, numbers, any])
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_host_with_odd_files_has_no_mechanism_made_up(odd in proptest::collection::vec(bent(), 0..4)) {
        let folder = tempfile::tempdir().expect("a folder");
        lay_out(folder.path());
        for (file, bytes) in odd {
            put(folder.path(), FILES[file].0, &bytes);
        }
        nothing_is_made_up(&Roots::below(folder.path()));
    }
}

fn is_unknown<T>(fact: &Fact<T>) -> bool {
    matches!(fact, Fact::Unknown { .. })
}

/// Every file of the host in the same state.
fn host_of(file: impl Fn(&Path)) -> (tempfile::TempDir, Host) {
    let folder = tempfile::tempdir().expect("a folder");
    for (path, text) in FILES {
        put(folder.path(), path, text.as_bytes());
        file(&folder.path().join(path));
    }
    let host = Host::observe(&Roots::below(folder.path()));
    nothing_is_made_up(&Roots::below(folder.path()));
    (folder, host)
}

fn nothing_is_offered(host: &Host) {
    let trials = facts_only(host, "not asked for");
    for trial in trials.mechanisms {
        if matches!(trial.mechanism, Mechanism::CgroupV2 | Mechanism::CgroupV1) {
            assert!(
                trial.seen.is_none() && trial.because.is_some_and(|why| why != "not asked for")
            );
        }
    }
}

#[test]
fn an_empty_folder_is_a_host_of_which_nothing_is_known() {
    let folder = tempfile::tempdir().expect("a folder");
    let host = Host::observe(&Roots::below(folder.path()));
    assert!(is_unknown(&host.kernel) && is_unknown(&host.memory));
    assert!(is_unknown(&host.cgroup_v2) && is_unknown(&host.cgroup_v1));
    assert!(host.ceilings.lowest().is_none());
    nothing_is_made_up(&Roots::below(folder.path().join("nowhere")));
}

#[test]
fn files_without_text_tell_nothing() {
    let (_folder, host) = host_of(|file| std::fs::write(file, "").expect("emptied"));
    assert!(is_unknown(&host.kernel) && is_unknown(&host.memory));
    assert!(host.ceilings.lowest().is_none());
    nothing_is_offered(&host);
}

#[test]
fn files_without_end_tell_nothing() {
    let (_folder, host) = host_of(|file| {
        let file = std::fs::File::create(file).expect("a file");
        file.set_len(1 << 40).expect("a sparse file");
    });
    assert!(is_unknown(&host.kernel) && is_unknown(&host.memory));
    assert!(is_unknown(&host.cgroup_v2) && is_unknown(&host.cgroup_v1));
    nothing_is_offered(&host);
}

#[test]
fn pipes_that_nobody_writes_to_tell_nothing() {
    let (_folder, host) = host_of(|file| {
        std::fs::remove_file(file).expect("removed");
        nix::unistd::mkfifo(file, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    });
    assert!(is_unknown(&host.kernel) && is_unknown(&host.memory));
    nothing_is_offered(&host);
}

#[test]
fn folders_where_files_should_be_tell_nothing() {
    // What nobody may read looks the same to root as to anybody else.
    let (_folder, host) = host_of(|file| {
        std::fs::remove_file(file).expect("removed");
        std::fs::create_dir(file).expect("a folder");
    });
    assert!(is_unknown(&host.kernel) && is_unknown(&host.memory));
    assert!(is_unknown(&host.cgroup_v2) && is_unknown(&host.cgroup_v1));
    nothing_is_offered(&host);
}

#[test]
fn a_limit_that_cannot_be_read_is_not_left() {
    let locked = Captured::new()
        .mounts(V2_MOUNT)
        .groups("0::/a/b\n")
        .v2(&group("/"), "memory", "memory", "1\n", &[])
        .v2(&group("/a"), "memory", "memory", "", &[])
        .v2(&group("/a/b"), "", "", "2\n3\n", &[])
        .put(&format!("{}/memory.max/x", group("/a/b")), "a folder\n");
    let host = locked.host();
    let place = host.cgroup_v2.value().expect("seen");
    let because = place.memory_base.because().expect("not left");
    assert!(
        because.contains("memory.max that cannot be read"),
        "{because}"
    );
}
