//! A whole host from a folder of /proc and /sys text, some files of which hold what
//! no kernel writes. The input is a list of files, divided by 0xff: which one, then
//! what is in it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use memcap_probe::Roots;

#[path = "../../crates/probe/tests/hosts/honest.rs"]
mod honest;

use honest::{FILES, nothing_is_made_up, put};

fuzz_target!(|bytes: &[u8]| {
    let folder = tempfile::tempdir().expect("a folder");
    honest::lay_out(folder.path());
    for part in bytes.split(|byte| *byte == 0xff) {
        if let Some((which, text)) = part.split_first() {
            put(
                folder.path(),
                FILES[usize::from(*which) % FILES.len()].0,
                text,
            );
        }
    }
    nothing_is_made_up(&Roots::below(folder.path()));
});
