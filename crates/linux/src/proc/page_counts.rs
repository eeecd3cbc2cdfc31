//! The cheapest look at the memory of a process: the page counts of /proc/PID/statm.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::path::PathBuf;

use super::pid_file::{other_threads, pid_file};
use super::units::page_size;
use crate::ByteSize;

/// /proc/PID/statm held open: the cheapest look there is, a microsecond.
#[derive(Debug)]
pub struct PageCounts {
    pid: i32,
    counts: File,
    beyond_first: RefCell<BeyondFirst>,
}

/// Through which thread the memory of a process is seen once its first thread
/// has ended: /proc/PID itself shows nothing then.
#[derive(Debug)]
enum BeyondFirst {
    NotAsked,
    Thread(File),
    /// There is no other: it has ended for good.
    Nobody,
}

/// What a look at [`PageCounts`] tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pages {
    /// Anonymous resident memory.
    pub anonymous: ByteSize,
    /// File-backed and shared resident memory together.
    pub backed: ByteSize,
    /// Private writable mappings and the stack, touched or not: what
    /// RLIMIT_DATA bounds, and the stack.
    pub data: ByteSize,
}

impl PageCounts {
    /// Opens it for a process. It goes on being about that process, also when
    /// its pid is given to another.
    ///
    /// # Errors
    /// When the process is gone or hidden, or descriptors run out.
    pub fn open(pid: i32) -> io::Result<PageCounts> {
        Ok(PageCounts {
            pid,
            counts: File::open(pid_file(pid, "statm"))?,
            beyond_first: RefCell::new(BeyondFirst::NotAsked),
        })
    }

    /// Reads it.
    ///
    /// # Errors
    /// ESRCH when the process is gone.
    pub fn read(&self) -> io::Result<Pages> {
        let pages = Pages::read(&self.counts)?;
        if pages == Pages::default() {
            return Ok(self.read_beyond_first());
        }
        Ok(pages)
    }

    /// The process is still there, so its pid is its own.
    fn read_beyond_first(&self) -> Pages {
        let mut beyond = self.beyond_first.borrow_mut();
        if let BeyondFirst::Thread(counts) = &*beyond
            && let Ok(pages) = Pages::read(counts)
            && pages != Pages::default()
        {
            return pages;
        }
        if matches!(&*beyond, BeyondFirst::Nobody) {
            return Pages::default();
        }
        let open = |path: PathBuf| {
            let counts = File::open(path).ok()?;
            let pages = Pages::read(&counts).ok()?;
            (pages != Pages::default()).then_some((counts, pages))
        };
        match other_threads(self.pid, "statm").find_map(open) {
            Some((counts, pages)) => {
                *beyond = BeyondFirst::Thread(counts);
                pages
            }
            None => {
                *beyond = BeyondFirst::Nobody;
                Pages::default()
            }
        }
    }
}

impl Pages {
    fn read(statm: &File) -> io::Result<Pages> {
        use std::os::unix::fs::FileExt;
        let mut text = [0; 128];
        let length = statm.read_at(&mut text, 0)?;
        Pages::parse(&text[..length])
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "odd statm"))
    }

    /// Understands `size resident shared text lib data …`, in pages.
    pub fn parse(statm: &[u8]) -> Option<Pages> {
        let mut numbers = std::str::from_utf8(statm).ok()?.split_ascii_whitespace();
        let resident: u64 = numbers.nth(1)?.parse().ok()?;
        let shared: u64 = numbers.next()?.parse().ok()?;
        let data: u64 = numbers.nth(2)?.parse().ok()?;
        let bytes = |pages: u64| ByteSize::from_bytes(pages.saturating_mul(page_size()));
        Some(Pages {
            anonymous: bytes(resident.saturating_sub(shared)),
            backed: bytes(shared),
            data: bytes(data),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Resident;
    use super::*;

    #[test]
    fn page_counts_agree_with_the_status_file() {
        let pid = i32::try_from(std::process::id()).expect("a pid");
        let touched = vec![1u8; 8 << 20];
        let pages = PageCounts::open(pid)
            .and_then(|counts| counts.read())
            .expect("readable");
        let status = Resident::read(pid, &mut Vec::new()).expect("readable");
        assert!(touched.iter().all(|byte| *byte == 1));
        let apart = pages.anonymous.bytes().abs_diff(status.anonymous.bytes());
        assert!(apart < 4 << 20, "{pages:?} {status:?}");
        assert!(status.high_water >= status.anonymous);
        let stack_and_more = 9 << 20;
        let apart = pages.data.bytes().abs_diff(status.data.bytes());
        assert!(apart < stack_and_more, "{pages:?} {status:?}");
        assert!(status.data >= ByteSize::from_mib(8), "{status:?}");
        assert_eq!(Pages::parse(b"1 2 3 4 5"), None);
    }
}
