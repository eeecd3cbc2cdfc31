//! RLIMIT_DATA, the one rlimit that bounds private memory without breaking
//! programs that reserve address space (getrlimit(2); since Linux 4.7 it
//! counts private writable mappings).

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::ByteSize;

/// The calling process's soft RLIMIT_DATA; `None` is unlimited.
///
/// # Errors
/// None are known; passed through from getrlimit(2).
pub fn data_limit() -> io::Result<Option<ByteSize>> {
    let (soft, _hard) = getrlimit(Resource::RLIMIT_DATA)?;
    Ok((soft != libc::RLIM_INFINITY).then_some(ByteSize::from_bytes(soft)))
}

/// Sets soft and hard RLIMIT_DATA of the calling process, never above what it
/// has already.
///
/// # Errors
/// Passed through from setrlimit(2).
pub fn set_data_limit(limit: ByteSize) -> io::Result<()> {
    let (_soft, hard) = getrlimit(Resource::RLIMIT_DATA)?;
    let value = limit.bytes().min(hard);
    setrlimit(Resource::RLIMIT_DATA, value, value)?;
    Ok(())
}
