//! A few words of memory that several processes read and write at once.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicU64;

use memmap2::{MmapOptions, MmapRaw};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::fstat;
use nix::unistd::ftruncate;

const WORD: usize = size_of::<u64>();

/// Words in shared memory, all zero at first. Whoever has the descriptor of
/// [`SharedWords::create`] sees the same ones, in any process.
///
/// Neither this type nor anybody who holds the descriptor can make the memory
/// shorter (its size is sealed), so that no access ends in SIGBUS. What another
/// process writes is its affair: a reader must expect any value.
#[derive(Debug)]
pub struct SharedWords {
    map: MmapRaw,
}

impl SharedWords {
    /// Makes so many words (Linux 3.17). The descriptor closes on `exec`.
    ///
    /// # Errors
    /// When memory or descriptors are short.
    pub fn create(words: usize) -> io::Result<(SharedWords, OwnedFd)> {
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let file = memfd_create(c"memcap", flags)?;
        let bytes = words.checked_mul(WORD).ok_or(io::ErrorKind::InvalidInput)?;
        ftruncate(
            &file,
            i64::try_from(bytes).map_err(|_| io::ErrorKind::InvalidInput)?,
        )?;
        fcntl(&file, FcntlArg::F_ADD_SEALS(size_seals()))?;
        let words = SharedWords::attach(file.as_fd())?;
        Ok((words, file))
    }

    /// Sees the words behind a descriptor of [`SharedWords::create`]. It need not
    /// stay open.
    ///
    /// # Errors
    /// EINVAL for any other descriptor.
    pub fn attach(file: BorrowedFd<'_>) -> io::Result<SharedWords> {
        let sealed = SealFlag::from_bits_truncate(fcntl(file, FcntlArg::F_GET_SEALS)?);
        let bytes = usize::try_from(fstat(file)?.st_size).unwrap_or(0);
        if !sealed.contains(size_seals()) || bytes == 0 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let map = MmapOptions::new().len(bytes).map_raw(&file)?;
        Ok(SharedWords { map })
    }

    /// All of them.
    pub fn words(&self) -> &[AtomicU64] {
        let start = self.map.as_ptr().cast::<AtomicU64>();
        // SAFETY: a mapping begins at a page, so words are aligned; it is this
        // long for as long as `self` lives, and the file behind it cannot
        // shrink. Everybody who maps it gets atomics only, from here.
        unsafe { std::slice::from_raw_parts(start, self.map.len() / WORD) }
    }
}

/// What keeps the size as it is.
fn size_seals() -> SealFlag {
    SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;
    use std::sync::atomic::Ordering::SeqCst;

    #[test]
    fn both_ends_see_the_same_words() {
        let (ours, file) = SharedWords::create(4).expect("made");
        let theirs = SharedWords::attach(file.as_fd()).expect("attached");
        assert_eq!(ours.words().len(), 4);
        ours.words()[3].store(7, SeqCst);
        assert_eq!(theirs.words()[3].fetch_add(1, SeqCst), 7);
        assert_eq!(ours.words()[3].load(SeqCst), 8);
    }

    #[test]
    fn nobody_can_cut_it_short_and_nothing_else_is_taken_for_it() {
        let (_words, file) = SharedWords::create(4).expect("made");
        assert!(ftruncate(&file, 0).is_err());
        assert!(file.as_raw_fd() > 2);
        let plain = tempfile::tempfile().expect("a file");
        assert!(SharedWords::attach(plain.as_fd()).is_err());
        let unsealed = memfd_create(c"x", MFdFlags::MFD_CLOEXEC).expect("made");
        ftruncate(&unsealed, 64).expect("long enough");
        assert!(SharedWords::attach(unsealed.as_fd()).is_err());
    }
}
