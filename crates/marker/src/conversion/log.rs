//! Reading what marker wrote on standard error.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// How much of marker's standard error is looked at.
const TAIL: u64 = 16 << 10;

/// The end of a log; empty where it cannot be read.
pub(crate) fn tail(log: &Path) -> Vec<u8> {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
        let mut end = Vec::new();
        file.take(TAIL).read_to_end(&mut end)?;
        Ok(end)
    };
    read().unwrap_or_default()
}
