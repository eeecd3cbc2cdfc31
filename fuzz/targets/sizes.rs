//! Sizes as people write them: what is understood is written back the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use memcap_linux::{ByteSize, SizeSpec};

fuzz_target!(|text: &str| {
    if let Ok(size) = text.parse::<ByteSize>() {
        assert!(text.chars().any(|character| character.is_ascii_digit()));
        let exact = format!("{}", size.bytes());
        assert_eq!(exact.parse(), Ok(size));
    }
    if let Ok(size) = text.parse::<SizeSpec>() {
        let part = size.resolve(ByteSize::from_gib(4));
        assert!(!matches!(size, SizeSpec::Percent(_)) || part.bytes() <= 4 << 32);
    }
});
