//! What control groups tell: events, membership, names of our own groups.
#![no_main]

use libfuzzer_sys::fuzz_target;
use memcap_linux::cgroup::{FlatKeyed, GroupName, parse_memberships};

fuzz_target!(|text: &str| {
    if FlatKeyed::parse(text).get("oom_kill").is_some() {
        assert!(text.contains("oom_kill "));
    }
    for line in parse_memberships(text) {
        assert!(text.contains(&format!(":{}\n", line.path)));
    }
    if let Some(name) = GroupName::parse(text) {
        assert_eq!(GroupName::parse(&name.to_string()), Some(name));
    }
});
