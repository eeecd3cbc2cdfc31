//! Text that no kernel writes: whatever stands in a file, reading it never
//! panics, and what is not there is never read out of it.

use memcap_linux::cgroup::{FlatKeyed, GroupName, Limit, V1Memory, V2Group, parse_memberships};
use memcap_linux::proc::{Pages, Resident, Share, Stat, descendants};
use memcap_linux::{ByteSize, SizeSpec, meminfo, mounts, read_text};
use proptest::prelude::*;

const STAT: &str = "42 (a) b (c) S 7 42 40 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 98765 1 2 3\n";
const STATUS: &str = "Name:\tx\nVmHWM:\t 200 kB\nRssAnon:\t 100 kB\nRssFile:\t 50 kB\nRssShmem:\t 7 kB\n\
                      VmData:\t 300 kB\nVmSwap:\t 3 kB\nThreads:\t1\n";
const ROLLUP: &str =
    "Rss: 10 kB\nPss: 9 kB\nPss_Anon:  5 kB\nPss_File: 3 kB\nPss_Shmem: 1 kB\nSwapPss: 4 kB\n";
const MOUNTS: &str = "29 22 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n\
                      30 29 0:27 /docker/abc /mnt/with\\040space rw shared:9 - cgroup  rw,memory\n";
const GROUPS: &str = "4:cpu,cpuacct:/a\n3:memory:/outer/in:ner\n0::/user.slice/x.scope\n";
const MEMINFO: &str = "MemTotal:       24625952 kB\nMemAvailable:   23000000 kB\nSwapTotal: 0 kB\n";

/// A real text as it is, cut off, with a piece replaced, or with another number
/// in it; or nothing like it at all.
fn bent(real: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let cut = (0..=real.len()).prop_map(|at| real.as_bytes()[..at].to_vec());
    let pieces = (
        0..=real.len(),
        0..8usize,
        proptest::collection::vec(any::<u8>(), 0..8),
    );
    let replaced = pieces.prop_map(|(at, gone, new)| {
        let mut bytes = real.as_bytes().to_vec();
        let end = (at + gone).min(bytes.len());
        bytes.splice(at..end, new);
        bytes
    });
    let numbers = proptest::sample::select(vec![
        "18446744073709551615",
        "18446744073709551616",
        "99999999999999999999999999999999",
        "-1",
        "00",
        "0x10",
        "1e9",
    ]);
    // A text without digits has another put before it.
    let mut digits: Vec<(usize, usize)> = real
        .bytes()
        .enumerate()
        .filter(|(_, byte)| byte.is_ascii_digit())
        .map(|(at, _)| (at, at + 1))
        .collect();
    digits.push((0, 0));
    let huge = (proptest::sample::select(digits), numbers).prop_map(|((from, to), number)| {
        format!("{}{number}{}", &real[..from], &real[to..]).into_bytes()
    });
    prop_oneof![
        Just(real.as_bytes().to_vec()),
        cut,
        replaced,
        huge,
        proptest::collection::vec(any::<u8>(), 0..200),
    ]
}

fn contains(text: &[u8], word: &str) -> bool {
    text.windows(word.len()).any(|part| part == word.as_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_line_of_stat_is_understood_or_not(bytes in bent(STAT)) {
        let text = String::from_utf8_lossy(&bytes);
        if let Some(stat) = Stat::parse(&text) {
            prop_assert!(text.contains(&stat.comm));
            let _ = (stat.id(), stat.is_dead());
            let below = descendants(&[stat.clone(), stat.clone()], stat.ppid);
            prop_assert!(below.len() <= 2);
        }
    }

    #[test]
    fn memory_of_a_process_is_what_the_text_says(bytes in bent(STATUS)) {
        let resident = Resident::parse(&bytes);
        let _ = resident.total();
        if !contains(&bytes, "RssAnon:") {
            prop_assert_eq!(resident.anonymous, ByteSize::ZERO);
        }
    }

    #[test]
    fn shares_and_page_counts_are_understood_or_not(
        rollup in bent(ROLLUP),
        statm in bent("1 2 3 4 5 6 7\n"),
    ) {
        if Share::parse(&rollup).is_some() {
            prop_assert!(contains(&rollup, "Pss_Anon:"));
        }
        let _ = Pages::parse(&statm);
    }

    #[test]
    fn a_machine_without_whole_lines_has_no_known_memory(bytes in bent(MEMINFO)) {
        if let Some(memory) = meminfo::parse(&bytes) {
            prop_assert!(memory.total.bytes() % 1024 == 0);
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let whole = |name: &str| {
                let mut lines = text.split_inclusive('\n');
                lines.any(|line| line.starts_with(name) && line.ends_with('\n'))
            };
            prop_assert!(whole("MemTotal:") && whole("SwapTotal:"));
            prop_assert!(memory.available.is_none() || whole("MemAvailable:"));
        }
    }

    #[test]
    fn no_mount_is_made_up(bytes in bent(MOUNTS)) {
        let text = String::from_utf8_lossy(&bytes);
        let found = mounts::parse(&text);
        prop_assert!(found.len() <= text.matches('\n').count());
        for mount in found {
            prop_assert!(text.contains(&mount.file_system));
            prop_assert!(!mount.has_controller("memory") || text.contains("memory"));
            let _ = mount.is_read_only();
        }
    }

    #[test]
    fn our_group_is_named_by_a_whole_line(bytes in bent(GROUPS)) {
        let text = String::from_utf8_lossy(&bytes);
        for line in parse_memberships(&text) {
            let path = format!(":{}\n", line.path);
            prop_assert!(text.contains(&path));
        }
    }

    #[test]
    fn words_with_numbers_are_those_of_the_text(bytes in bent("max 3\noom 1\noom_kill 2\n")) {
        let text = String::from_utf8_lossy(&bytes);
        let kills = FlatKeyed::parse(&text).get("oom_kill");
        prop_assert!(kills.is_none() || text.contains("oom_kill "));
    }

    #[test]
    fn names_and_sizes_are_understood_or_not(
        name in bent("memcap-4026531836-4711-98765-0a1b2c3d-0"),
        size in bent("1.5GiB"),
    ) {
        let name = String::from_utf8_lossy(&name);
        if let Some(parsed) = GroupName::parse(&name) {
            prop_assert_eq!(parsed.to_string(), name);
        }
        let _ = String::from_utf8_lossy(&size).parse::<ByteSize>();
        let _ = String::from_utf8_lossy(&size).parse::<SizeSpec>();
    }
}

const FILES: [&str; 23] = [
    "memory.max",
    "memory.high",
    "memory.swap.max",
    "memory.current",
    "memory.peak",
    "memory.events",
    "memory.events.local",
    "memory.pressure",
    "memory.stat",
    "memory.limit_in_bytes",
    "memory.memsw.limit_in_bytes",
    "memory.usage_in_bytes",
    "memory.max_usage_in_bytes",
    "memory.use_hierarchy",
    "memory.oom_control",
    "cgroup.events",
    "cgroup.procs",
    "cgroup.threads",
    "cgroup.controllers",
    "cgroup.subtree_control",
    "cpu.stat",
    "pids.max",
    "pids.events",
];

/// What a group's files say: a limit is the number in the file, or an error.
fn group_reads_truthfully(bytes: &[u8]) {
    let dir = tempfile::tempdir().expect("a folder");
    for name in FILES {
        std::fs::write(dir.path().join(name), bytes).expect("put");
    }
    let text = std::str::from_utf8(bytes).unwrap_or_default().trim();
    let number = text.parse::<u64>().ok();
    let v2 = V2Group::at(dir.path());
    match v2.max() {
        Ok(Limit::Unlimited) => assert_eq!(text, "max"),
        Ok(Limit::At(limit)) => assert_eq!(number, Some(limit.bytes())),
        Err(_) => assert!(number.is_none() && text != "max"),
    }
    assert_eq!(v2.current().ok().map(ByteSize::bytes), number);
    assert_eq!(v2.peak().ok().map(ByteSize::bytes), number);
    let _ = (v2.high(), v2.swap_max(), v2.events(), v2.local_events());
    let _ = (v2.full_memory_stall(), v2.cpu_usage(), v2.tasks_refused());
    let _ = (v2.max_tasks(), v2.tasks(), v2.processes());
    let _ = (v2.is_populated(), v2.is_frozen());
    let granted = v2.controllers().unwrap_or_default();
    assert!(granted.iter().all(|word| text.contains(word)));
    let v1 = V1Memory::at(dir.path());
    if let Ok(Limit::At(limit)) = v1.limit() {
        assert_eq!(number, Some(limit.bytes()));
    }
    let _ = (v1.limit_with_swap(), v1.current(), v1.unreclaimable());
    let _ = (v1.peak(), v1.is_hierarchical(), v1.oom_kills());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_group_of_any_text_is_read_truthfully(bytes in prop_oneof![
        bent("67108864\n"),
        bent("max\n"),
        bent("populated 1\nfrozen 0\n"),
        bent("full avg10=0.00 avg60=0.00 total=2000\n"),
        bent("cpuset cpu memory pids\n"),
    ]) {
        group_reads_truthfully(&bytes);
    }
}

#[test]
fn a_file_without_end_is_not_swallowed() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("meminfo");
    let file = std::fs::File::create(&path).expect("a file");
    file.set_len(1 << 40).expect("a sparse file");
    let error = read_text(&path).expect_err("a terabyte");
    assert!(error.to_string().contains("meminfo"), "{error}");
    let machine = meminfo::read(dir.path()).expect_err("a terabyte");
    assert_eq!(machine.errno(), Some(libc::EFBIG));
}
