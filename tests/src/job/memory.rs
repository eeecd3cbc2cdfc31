//! Mapping and touching memory, step by step, and saying how much.

use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use memcap_linux::ByteSize;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, mmap_anonymous};

use super::ledger::Ledger;
use super::process::hold;

/// How a job exits when the kernel refuses it memory.
pub const EXIT_REFUSED: i32 = 7;

/// Smaller than or equal to the page size of every architecture.
const PAGE_BYTES: usize = 4096;

/// How much to touch, and how.
#[derive(Debug, Clone, Copy)]
pub struct Appetite {
    /// The total.
    pub bytes: ByteSize,
    /// How much is mapped, touched and written down at a time.
    pub step: ByteSize,
    /// Bytes per second; `None` for full speed.
    pub rate: Option<ByteSize>,
    /// Map the whole before the first touch, as a program with large untouched
    /// mappings does: nothing that watches mappings sees the growth.
    pub map_first: bool,
}

impl Appetite {
    /// `bytes` at full speed in steps of 1 MiB.
    pub fn of(bytes: ByteSize) -> Self {
        Appetite {
            bytes,
            step: ByteSize::from_mib(1),
            rate: None,
            map_first: false,
        }
    }
}

/// The kernel refused a mapping after `touched` bytes.
#[derive(Debug, Clone, Copy)]
pub struct Refused {
    /// What was touched before, in bytes.
    pub touched: u64,
}

/// Touches what `appetite` says and writes each step into `slot` of `ledger`.
/// The memory stays mapped until the process ends.
///
/// # Errors
/// [`Refused`] where a mapping is refused (a resource limit).
pub fn consume(appetite: Appetite, ledger: Option<&Ledger>, slot: usize) -> Result<(), Refused> {
    let begin = Instant::now();
    let mut touched = 0;
    let mut whole = None;
    if appetite.map_first {
        whole = Some(map(appetite.bytes.bytes()).ok_or(Refused { touched })?);
    }
    while touched < appetite.bytes.bytes() {
        let step = appetite
            .step
            .bytes()
            .clamp(1, appetite.bytes.bytes() - touched);
        match &mut whole {
            Some(region) => touch(&mut region[to_usize(touched)..to_usize(touched + step)]),
            None => touch(map(step).ok_or(Refused { touched })?),
        }
        touched += step;
        if let Some(ledger) = ledger
            && ledger.write(slot, touched).is_err()
        {
            // Without the ledger the suite sees too little touched and fails.
            return Ok(());
        }
        keep_pace(begin, touched, appetite.rate);
    }
    Ok(())
}

/// Fresh private memory, never unmapped; `None` where the kernel refuses.
fn map(bytes: u64) -> Option<&'static mut [u8]> {
    map_anonymous(
        ByteSize::from_bytes(bytes),
        MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE,
    )
}

/// Fresh private memory, never unmapped and not touched yet; `None` where the
/// kernel refuses.
pub fn map_private(bytes: ByteSize) -> Option<&'static mut [u8]> {
    map(bytes.bytes())
}

/// Addresses for so much memory that nobody can touch, never unmapped; `None` where the
/// kernel refuses.
pub fn reserve(bytes: ByteSize) -> Option<()> {
    let length = NonZeroUsize::new(to_usize(bytes.bytes()))?;
    let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE;
    // SAFETY: an anonymous mapping at an address of the kernel's choice overlaps nothing
    // that exists.
    unsafe { mmap_anonymous(None, length, ProtFlags::PROT_NONE, flags) }.ok()?;
    Some(())
}

/// As [`map_private`], in huge pages where the kernel has them.
pub fn map_huge(bytes: ByteSize) -> Option<&'static mut [u8]> {
    let memory = map_private(bytes)?;
    let start = std::ptr::NonNull::from(&mut *memory).cast();
    // SAFETY: advice on a mapping of our own; it changes no contents. A kernel
    // without huge pages refuses it, and the pages are small.
    let _ = unsafe { madvise(start, memory.len(), MmapAdvise::MADV_HUGEPAGE) };
    Some(memory)
}

/// As [`map_private`], shared with the children that are forked from now on.
pub fn map_shared(bytes: ByteSize) -> Option<&'static mut [u8]> {
    map_anonymous(bytes, MapFlags::MAP_SHARED | MapFlags::MAP_NORESERVE)
}

/// The first `bytes` of `file`, made that long, as shared memory that is never
/// unmapped.
///
/// # Errors
/// Whatever lengthening or mapping the file fails with.
pub fn map_file(file: &File, bytes: ByteSize) -> io::Result<&'static mut [u8]> {
    file.set_len(bytes.bytes())?;
    let length = NonZeroUsize::new(to_usize(bytes.bytes())).ok_or(io::ErrorKind::InvalidInput)?;
    let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: at an address of the kernel's choice it overlaps nothing.
    let start = unsafe { mmap(None, length, protection, MapFlags::MAP_SHARED, file, 0) }?;
    // SAFETY: `length` readable and writable bytes that live until the process
    // ends; the callers' files have no name and are never shortened.
    Ok(unsafe { std::slice::from_raw_parts_mut(start.cast().as_ptr(), length.get()) })
}

/// Fresh memory, never unmapped; `None` where the kernel refuses.
fn map_anonymous(bytes: ByteSize, flags: MapFlags) -> Option<&'static mut [u8]> {
    let length = NonZeroUsize::new(to_usize(bytes.bytes()))?;
    let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: an anonymous mapping at an address of the kernel's choice
    // overlaps nothing that exists.
    let start = unsafe { mmap_anonymous(None, length, protection, flags) }.ok()?;
    // SAFETY: the mapping is `length` readable and writable bytes, zeroed, and
    // lives until the process ends. Processes that share it write the same.
    Some(unsafe { std::slice::from_raw_parts_mut(start.cast().as_ptr(), length.get()) })
}

/// Touches `memory` in steps of 1 MiB at `rate` and writes each step into
/// `slot` of `ledger`.
pub fn touch_all(memory: &mut [u8], rate: Option<ByteSize>, ledger: Option<&Ledger>, slot: usize) {
    let begin = Instant::now();
    let mut touched = 0;
    for step in memory.chunks_mut(1 << 20) {
        touch(step);
        touched += step.len() as u64;
        if let Some(ledger) = ledger
            && ledger.write(slot, touched).is_err()
        {
            // Without the ledger the suite sees too little touched and fails.
            return;
        }
        keep_pace(begin, touched, rate);
    }
}

/// Writes one byte into every page.
fn touch(memory: &mut [u8]) {
    for page in memory.chunks_mut(PAGE_BYTES) {
        // `black_box` keeps the write: nobody reads it.
        page[0] = std::hint::black_box(1);
    }
    std::hint::black_box(memory);
}

/// Waits until `touched` bytes are due at `rate`.
pub fn keep_pace(begin: Instant, touched: u64, rate: Option<ByteSize>) {
    let Some(rate) = rate.filter(|rate| rate.bytes() > 0) else {
        return;
    };
    // Whole numbers of bytes become seconds; the loss of precision is below a
    // nanosecond for any size a job uses.
    #[expect(
        clippy::cast_precision_loss,
        reason = "seconds to wait need no 64 bits"
    )]
    let due = Duration::from_secs_f64(touched as f64 / rate.bytes() as f64);
    hold(due.saturating_sub(begin.elapsed()));
}

fn to_usize(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
