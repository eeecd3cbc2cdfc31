//! A file seen as bytes without being read into memory.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::path::Path;

/// A read-only, private mapping of a whole file. Costs address space and page
/// cache, not anonymous memory.
///
/// A file cut short by somebody else while it is mapped ends the process with
/// SIGBUS: map what may be hostile only in a process that may die.
#[derive(Debug)]
pub struct MappedFile(Option<memmap2::Mmap>);

impl MappedFile {
    /// Maps the file; an empty one gives no bytes.
    ///
    /// # Errors
    /// When it cannot be opened, is no regular file, or mapping fails.
    pub fn open(path: &Path) -> io::Result<MappedFile> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not a regular file",
            ));
        }
        if metadata.len() == 0 {
            return Ok(MappedFile(None));
        }
        // SAFETY: the mapping is private and read-only. Another process that
        // writes to the file changes bytes under us, which every reader of
        // this type must tolerate (it parses untrusted bytes anyway);
        // truncation is the documented SIGBUS.
        let map = unsafe { memmap2::Mmap::map(&file)? };
        Ok(MappedFile(Some(map)))
    }
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.as_deref().unwrap_or(&[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_the_files_bytes() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("f");
        std::fs::write(&path, b"hello")?;
        assert_eq!(&*MappedFile::open(&path)?, b"hello");
        std::fs::write(&path, b"")?;
        assert_eq!(&*MappedFile::open(&path)?, b"");
        assert!(MappedFile::open(dir.path()).is_err());
        Ok(())
    }
}
