//! What the kernel counts in, as bytes and time.

use std::sync::OnceLock;
use std::time::Duration;

use nix::unistd::SysconfVar;

use crate::ByteSize;

/// What one page holds, in bytes.
pub fn page_size() -> u64 {
    static SIZE: OnceLock<u64> = OnceLock::new();
    *SIZE.get_or_init(|| configured(SysconfVar::PAGE_SIZE).unwrap_or(4096))
}

/// The kernel's clock ticks, as a time.
pub(super) fn from_ticks(ticks: u64) -> Duration {
    static PER_SECOND: OnceLock<u64> = OnceLock::new();
    let per_second = *PER_SECOND.get_or_init(|| configured(SysconfVar::CLK_TCK).unwrap_or(100));
    let millis = u128::from(ticks) * 1000 / u128::from(per_second.max(1));
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

fn configured(variable: SysconfVar) -> Option<u64> {
    let asked = nix::unistd::sysconf(variable).ok().flatten()?;
    u64::try_from(asked).ok()
}

/// `   1234 kB` as bytes; anything else is nothing.
pub(super) fn kib(field: &[u8]) -> ByteSize {
    let number = field
        .iter()
        .skip_while(|byte| byte.is_ascii_whitespace())
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0u64, |value, byte| {
            value
                .saturating_mul(10)
                .saturating_add(u64::from(byte - b'0'))
        });
    ByteSize::from_kib(number)
}
