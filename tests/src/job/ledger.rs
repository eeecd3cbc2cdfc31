//! A file in which jobs write how much memory they have touched.
//!
//! It outlives the job: what is read after a SIGKILL is what was touched, not
//! a sample. One slot of eight bytes per allocator, written with a single
//! positioned write, so a slot is never half new. The file's only page is
//! allocated when it is made, before any limit is near.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;

/// How many allocators can write at the same time: one page of slots.
const SLOTS: usize = 512;
const SLOT_BYTES: usize = 8;

/// An open ledger.
#[derive(Debug)]
pub struct Ledger {
    file: File,
}

impl Ledger {
    /// Makes an empty ledger that every user may write.
    ///
    /// # Errors
    /// Whatever creating the file fails with.
    pub fn create(path: &Path) -> io::Result<Ledger> {
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)?;
        file.set_permissions(std::fs::Permissions::from_mode(0o666))?;
        file.write_all_at(&[0; SLOTS * SLOT_BYTES], 0)?;
        Ok(Ledger { file })
    }

    /// Opens a ledger made by [`Ledger::create`].
    ///
    /// # Errors
    /// Whatever opening the file fails with.
    pub fn open(path: &Path) -> io::Result<Ledger> {
        let file = File::options().read(true).write(true).open(path)?;
        Ok(Ledger { file })
    }

    /// States that the allocator of `slot` (below 512) has touched `bytes`.
    ///
    /// # Errors
    /// Whatever the write fails with.
    pub fn write(&self, slot: usize, bytes: u64) -> io::Result<()> {
        debug_assert!(slot < SLOTS, "slot {slot} is beyond the ledger");
        self.file
            .write_all_at(&bytes.to_le_bytes(), (slot * SLOT_BYTES) as u64)
    }

    /// What each slot says, in bytes.
    ///
    /// # Errors
    /// Whatever the read fails with.
    pub fn read(&self) -> io::Result<Vec<u64>> {
        let mut page = [0; SLOTS * SLOT_BYTES];
        self.file.read_exact_at(&mut page, 0)?;
        let (slots, _) = page.as_chunks::<SLOT_BYTES>();
        Ok(slots.iter().map(|slot| u64::from_le_bytes(*slot)).collect())
    }

    /// The sum of all slots, in bytes.
    ///
    /// # Errors
    /// Whatever the read fails with.
    pub fn total(&self) -> io::Result<u64> {
        Ok(self.read()?.iter().sum())
    }
}
