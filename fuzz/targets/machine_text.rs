//! What the machine tells: `meminfo` and `mountinfo`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use memcap_linux::{meminfo, mounts};

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    if let Some(memory) = meminfo::parse(bytes) {
        assert!(memory.total.bytes() % 1024 == 0);
        assert!(text.contains("MemTotal:") && text.contains("SwapTotal:"));
    }
    let found = mounts::parse(&text);
    assert!(found.len() <= text.matches('\n').count());
    for mount in found {
        assert!(text.contains(&mount.file_system));
        assert!(!mount.has_controller("memory") || text.contains("memory"));
    }
});
