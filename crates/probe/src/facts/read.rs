//! Small files of a host, in three values.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::{Fact, Roots};

/// More than any file that is read here has; a captured host may hold anything.
const LONGEST: u64 = 1 << 20;

/// The text of a file that every Linux has: where it is missing, nothing is
/// known.
pub(crate) fn required(roots: &Roots, path: &str) -> Fact<String> {
    match text(&roots.at(Path::new(path))) {
        Ok(text) => Fact::present(text),
        Err(error) => Fact::unknown_since(format!("{path}: {error}")),
    }
}

/// The text of a file that may be missing, which tells something.
pub(crate) fn optional(roots: &Roots, path: &str) -> Fact<String> {
    match text(&roots.at(Path::new(path))) {
        Ok(text) => Fact::present(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Fact::absent(format!("{path} is not there"))
        }
        Err(error) => Fact::unknown_since(format!("{path}: {error}")),
    }
}

/// At most 1 MiB of a regular file; bytes that are no text are replaced.
pub(crate) fn text(path: &Path) -> io::Result<String> {
    bytes(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// At most 1 MiB of a regular file: opening a pipe would wait for a writer.
pub(crate) fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(LONGEST).read_to_end(&mut bytes)?;
    Ok(bytes)
}
