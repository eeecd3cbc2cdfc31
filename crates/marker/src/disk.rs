//! A disk that is full, in its various ways.

use std::io;

/// What the user can do where nothing more could be written; `None` for other
/// failures. What was done by then is on the disk.
pub(crate) fn hint(error: &io::Error) -> Option<String> {
    let remedy = match error.kind() {
        io::ErrorKind::StorageFull => "free some space",
        io::ErrorKind::QuotaExceeded => "free some space, or have your quota raised",
        io::ErrorKind::FileTooLarge => "have the limit for the size of files raised (ulimit -f)",
        io::ErrorKind::ReadOnlyFilesystem => {
            "choose an output folder on a disk that can be written"
        }
        _ => return None,
    };
    Some(format!(
        "{remedy} and run the same command again; no page is lost"
    ))
}
