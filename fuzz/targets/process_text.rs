//! What /proc tells of a process: `stat`, `status`, `statm`, `smaps_rollup`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use memcap_linux::ByteSize;
use memcap_linux::proc::{Pages, Resident, Share, Stat, descendants};

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    if let Some(stat) = Stat::parse(&text) {
        assert!(text.contains(&stat.comm));
        let parent = stat.ppid;
        assert!(descendants(&[stat.clone(), stat], parent).len() <= 2);
    }
    let resident = Resident::parse(bytes);
    let names = |word: &[u8]| bytes.windows(word.len()).any(|part| part == word);
    if !names(b"RssAnon:") {
        assert_eq!(resident.anonymous, ByteSize::ZERO);
    }
    let _ = resident.total();
    if Share::parse(bytes).is_some() {
        assert!(names(b"Pss_Anon:"));
    }
    let _ = Pages::parse(bytes);
});
