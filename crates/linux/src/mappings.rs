//! What a process has mapped, page by page: dearer than a sum, cheaper than
//! `smaps_rollup` where pages are small (2 to 5 ms of a processor per GiB).

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::ByteSize;
use crate::file::{self, FileError, Operation};
use crate::proc::{page_size, pid_file};

/// How many page entries are read at a time.
const ENTRIES: usize = 4096;
const ENTRY_BYTES: usize = 8;

/// The bits of an entry (Documentation/admin-guide/mm/pagemap.rst).
const PRESENT: u64 = 1 << 63;
const FILE_OR_SHARED: u64 = 1 << 61;
/// Mapped by this process alone (Linux 4.2).
const EXCLUSIVE: u64 = 1 << 56;

/// Resident anonymous pages of a process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AnonymousPages {
    /// Mapped by nobody else.
    pub exclusive: ByteSize,
    /// Mapped by at least one more process, as after `fork`.
    pub common: ByteSize,
}

/// How much of the pages to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Mappings that span no more than this together, the small ones first: a huge
    /// reservation costs nothing, and what is in it is not looked at.
    pub span: ByteSize,
    /// No more once this much was found to be exclusive.
    pub enough: ByteSize,
}

/// Reads mappings into buffers that are kept between calls.
#[derive(Debug, Default)]
pub struct MappingReader {
    text: Vec<u8>,
    entries: Vec<u8>,
    /// Parts of files, by device and inode: start and end offset.
    parts: Vec<Part>,
    /// Addresses that are looked at: start and end.
    ranges: Vec<(u64, u64)>,
}

/// A file's device, as its number is written, and inode.
pub(crate) type FileKey = (u64, u64);

/// A part of a file: start and end offset.
type Part = (FileKey, u64, u64);

impl MappingReader {
    /// Looks at the pages of private mappings, as many as `extent` allows.
    ///
    /// # Errors
    /// When the process is gone or may not be looked into.
    pub fn anonymous(&mut self, pid: i32, extent: Extent) -> Result<AnonymousPages, FileError> {
        let text = file::read_into(pid_file(pid, "maps").as_ref(), &mut self.text)?;
        private_ranges(text, extent.span.bytes(), &mut self.ranges);
        let path = pid_file(pid, "pagemap");
        let failed = |error| FileError::new(Operation::Read, path.as_ref(), error);
        let pagemap = File::open(path).map_err(failed)?;
        self.entries.resize(ENTRIES * ENTRY_BYTES, 0);
        let mut pages = (0, 0);
        let enough = extent.enough.bytes().div_ceil(page_size());
        for (start, end) in &self.ranges {
            let mut page = start / page_size();
            let end = end / page_size();
            while page < end && pages.0 < enough {
                let wanted = usize::try_from(end - page).unwrap_or(ENTRIES).min(ENTRIES);
                let buffer = &mut self.entries[..wanted * ENTRY_BYTES];
                let read = pagemap
                    .read_at(buffer, page * ENTRY_BYTES as u64)
                    .map_err(failed)?;
                let (entries, _) = buffer[..read].as_chunks::<ENTRY_BYTES>();
                // Past the end of what can be mapped there is nothing.
                if entries.is_empty() {
                    break;
                }
                count(entries, &mut pages);
                page += entries.len() as u64;
            }
        }
        let bytes = |pages: u64| ByteSize::from_bytes(pages * page_size());
        Ok(AnonymousPages {
            exclusive: bytes(pages.0),
            common: bytes(pages.1),
        })
    }

    /// How much of files, shared memory among them, is mapped in more than one
    /// place and so may be counted more than once in the process's own resident
    /// memory; an upper bound.
    ///
    /// # Errors
    /// When the process is gone or may not be looked into.
    pub fn mapped_twice(&mut self, pid: i32) -> Result<ByteSize, FileError> {
        let text = file::read_into(pid_file(pid, "maps").as_ref(), &mut self.text)?;
        Ok(overlap_in(text, &mut self.parts))
    }
}

/// The private mappings in a text of maps that span no more than `span` together: as many
/// as possible, in the order of their addresses.
fn private_ranges(text: &[u8], span: u64, ranges: &mut Vec<(u64, u64)>) {
    ranges.clear();
    let private = mappings(text).filter(|mapping| mapping.private);
    ranges.extend(private.map(|mapping| (mapping.start, mapping.end)));
    let length = |(start, end): &(u64, u64)| end - start;
    if ranges.iter().map(length).sum::<u64>() <= span {
        return;
    }
    ranges.sort_unstable_by_key(length);
    let mut left = span;
    let fitting = ranges.iter().take_while(|range| {
        let fits = left >= length(range);
        left = left.saturating_sub(length(range));
        fits
    });
    let count = fitting.count();
    ranges.truncate(count);
    ranges.sort_unstable();
}

/// Exclusive and common anonymous pages, added to what was there.
fn count(entries: &[[u8; ENTRY_BYTES]], (exclusive, common): &mut (u64, u64)) {
    for entry in entries {
        let entry = u64::from_ne_bytes(*entry);
        let anonymous = entry & (PRESENT | FILE_OR_SHARED) == PRESENT;
        let alone = entry & EXCLUSIVE != 0;
        *exclusive += u64::from(anonymous && alone);
        *common += u64::from(anonymous && !alone);
    }
}

/// What sorted parts of files cover again that earlier ones cover already.
fn overlap(parts: &[Part]) -> u64 {
    let mut twice = 0u64;
    let mut covered: Option<(FileKey, u64)> = None;
    for (file, start, end) in parts {
        let so_far = match covered {
            Some((known, until)) if known == *file => until,
            _ => 0,
        };
        twice = twice.saturating_add(so_far.min(*end).saturating_sub(*start));
        covered = Some((*file, so_far.max(*end)));
    }
    twice
}

/// Devices whose mappings are their own memory or registers, and no part of a process's
/// resident memory: the nodes of NVIDIA's driver and of the kernel's graphics drivers. One
/// node is mapped in hundreds of places, often at the same offset.
const WITHOUT_RAM: [&[u8]; 2] = [b"/dev/nvidia", b"/dev/dri/"];

/// One line of /proc/PID/maps (proc_pid_maps(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mapping<'text> {
    pub(crate) start: u64,
    pub(crate) end: u64,
    private: bool,
    pub(crate) writable: bool,
    pub(crate) offset: u64,
    pub(crate) file: FileKey,
    pub(crate) name: &'text [u8],
}

impl Mapping<'_> {
    fn is_of_device(&self) -> bool {
        WITHOUT_RAM.iter().any(|node| self.name.starts_with(node))
    }
}

/// The mappings in a text of maps that are shared with whoever maps the same file.
pub(crate) fn shared_mappings(text: &[u8]) -> impl Iterator<Item = Mapping<'_>> {
    mappings(text).filter(|mapping| !mapping.private)
}

/// The lines that can be understood.
fn mappings(text: &[u8]) -> impl Iterator<Item = Mapping<'_>> {
    text.split(|byte| *byte == b'\n').filter_map(parse)
}

/// `start-end perms offset major:minor inode …`.
fn parse(line: &[u8]) -> Option<Mapping<'_>> {
    // A file's name need not be UTF-8.
    let mut words = line.splitn(6, |byte| *byte == b' ');
    let mut word = || std::str::from_utf8(words.next()?).ok();
    let hex = |digits: &str| u64::from_str_radix(digits, 16).ok();
    let (start, end) = word()?.split_once('-')?;
    let permissions = word()?.as_bytes();
    let private = permissions.get(3) == Some(&b'p');
    let writable = permissions.get(1) == Some(&b'w');
    let offset = hex(word()?)?;
    let (major, minor) = word()?.split_once(':')?;
    let inode = word()?.parse().ok()?;
    let name = words.next().unwrap_or_default().trim_ascii_start();
    let (start, end) = (hex(start)?, hex(end)?);
    (start <= end).then_some(Mapping {
        start,
        end,
        private,
        writable,
        offset,
        file: (hex(major)? << 32 | hex(minor)?, inode),
        name,
    })
}

/// Every file in a text of maps that is mapped in more than one place.
fn overlap_in(text: &[u8], parts: &mut Vec<Part>) -> ByteSize {
    parts.clear();
    parts.extend(
        mappings(text)
            .filter(|mapping| mapping.file.1 != 0 && !mapping.is_of_device())
            .map(|mapping| {
                let length = mapping.end - mapping.start;
                let end = mapping.offset.saturating_add(length);
                (mapping.file, mapping.offset, end)
            }),
    );
    parts.sort_unstable();
    ByteSize::from_bytes(overlap(parts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_line_is_understood_whatever_the_name() {
        let line = b"7f00-7f10 rw-s 00001000 fd:01 42     a name \xff";
        let mapping = Mapping {
            start: 0x7f00,
            end: 0x7f10,
            private: false,
            writable: true,
            offset: 0x1000,
            file: (0xfd << 32 | 1, 42),
            name: b"a name \xff",
        };
        assert_eq!(parse(line), Some(mapping));
        let heap = parse(b"10-20 rw-p 00000000 00:00 0 [heap]").expect("parses");
        assert!(heap.private && heap.file.1 == 0);
        assert_eq!(parse(b""), None);
    }

    #[test]
    fn of_mappings_that_span_too_much_the_small_ones_are_looked_at() {
        let text = b"1000-3000 rw-p 0 0:0 0\n4000-9000 ---p 0 0:0 0\n\
            a000-b000 rw-s 0 0:0 0\nc000-d000 r--p 0 0:0 0\n";
        let ranges = |span| {
            let mut ranges = Vec::new();
            private_ranges(text, span, &mut ranges);
            ranges
        };
        let all = [(0x1000, 0x3000), (0x4000, 0x9000), (0xc000, 0xd000)];
        assert_eq!(ranges(0x8000), all);
        assert_eq!(ranges(0x7fff), [all[0], all[2]]);
        assert_eq!(ranges(0x2fff), [all[2]]);
        assert_eq!(ranges(0xfff), []);
    }

    #[test]
    fn what_is_mapped_again_is_found_per_file() {
        let (one, other) = ((1, 1), (1, 2));
        let cases: [(&[Part], u64); 5] = [
            (&[(one, 0, 10), (other, 0, 10)], 0),
            (&[(one, 0, 10), (one, 0, 10)], 10),
            (&[(one, 0, 10), (one, 10, 20)], 0),
            (&[(one, 0, 10), (one, 5, 20), (one, 6, 7)], 6),
            (&[(one, 0, 10), (one, 0, 10), (one, 0, 10)], 20),
        ];
        for (parts, expected) in cases {
            assert_eq!(overlap(parts), expected, "{parts:?}");
        }
    }

    /// Lines as a process with CUDA and one with OpenGL show them.
    #[test]
    fn a_graphics_device_in_many_places_doubles_nothing() {
        let line = |address: u64, size: u64, offset: u64, rest: &str| {
            let end = address + size;
            format!("{address:x}-{end:x} rw-s {offset:08x} {rest}\n")
        };
        let same_part_twice = |rest: &str| {
            let (first, second) = (0x7f3c_4400_0000, 0x7f3c_5400_0000);
            line(first, 2 << 20, 0, rest) + &line(second, 2 << 20, 0, rest)
        };
        let cases = [
            ("00:05 453                        /dev/nvidiactl", 0),
            ("00:05 454                        /dev/nvidia0", 0),
            ("00:05 457                        /dev/nvidia-uvm", 0),
            ("00:06 311                        /dev/dri/renderD128", 0),
            // Their names are no reason where they are files.
            ("08:01 77                         /home/me/dev/nvidia0", 2),
            ("00:19 3                          /dev/shm/nvidia", 2),
            ("00:01 1025                       /memfd:cuda (deleted)", 2),
            (
                "00:01 32769                      /SYSV00000000 (deleted)",
                2,
            ),
            ("00:05 8                          /dev/zero (deleted)", 2),
        ];
        for (rest, expected) in cases {
            let text = same_part_twice(rest);
            let twice = overlap_in(text.as_bytes(), &mut Vec::new());
            assert_eq!(twice, ByteSize::from_mib(expected), "{rest}");
        }
    }

    #[test]
    fn our_own_pages_are_exclusive() {
        let pid = i32::try_from(std::process::id()).expect("a pid");
        let touched = vec![1u8; 8 << 20];
        let mut reader = MappingReader::default();
        let mut look = |span, enough| {
            let extent = Extent { span, enough };
            reader.anonymous(pid, extent).expect("readable")
        };
        let all = ByteSize::MAX;
        let pages = look(all, all);
        assert!(touched.iter().all(|byte| *byte == 1));
        assert!(pages.exclusive >= ByteSize::from_mib(8), "{pages:?}");
        let part = look(ByteSize::from_mib(1), all);
        assert!(part.exclusive <= ByteSize::from_mib(1), "{part:?}");
        assert_eq!(look(all, ByteSize::ZERO), AnonymousPages::default());
        let twice = reader.mapped_twice(pid).expect("readable");
        assert!(twice < ByteSize::from_mib(8), "{twice}");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = mappings(&text).count();
        }
    }
}
