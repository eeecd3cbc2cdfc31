//! How much memory the machine has, from /proc/meminfo.

use std::io;
use std::path::Path;

use procfs::prelude::*;

use crate::ByteSize;

/// The part of /proc/meminfo that decisions need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct MachineMemory {
    /// MemTotal.
    pub total: ByteSize,
    /// MemAvailable: what can be used without swapping (Linux 3.14).
    pub available: Option<ByteSize>,
    /// SwapTotal.
    pub swap_total: ByteSize,
}

/// Reads `meminfo` below a proc root such as `/proc`.
///
/// # Errors
/// When it cannot be read or parsed.
pub fn read(proc_root: &Path) -> io::Result<MachineMemory> {
    let info = procfs::Meminfo::from_file(proc_root.join("meminfo"))
        .map_err(|error| io::Error::other(error.to_string()))?;
    Ok(MachineMemory {
        total: ByteSize::from_bytes(info.mem_total),
        available: info.mem_available.map(ByteSize::from_bytes),
        swap_total: ByteSize::from_bytes(info.swap_total),
    })
}
