//! /proc/PID as the sampler needs it: who is whose child, and how much memory
//! each process holds. Parsers take text; buffers are kept between looks.

mod stops;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::ops::Deref;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use nix::unistd::SysconfVar;

pub use self::stops::is_stopped_or_about_to;
use crate::file::{self, FileError};
use crate::{ByteSize, ProcessId};

const PROC: &str = "/proc";

/// The part of /proc/PID/stat that matters here (proc_pid_stat(5)).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stat {
    /// The process.
    pub pid: i32,
    /// The command's name, at most 15 bytes.
    pub comm: String,
    /// `R`, `S`, `D`, `Z`, `T`, …
    pub state: char,
    /// Its parent.
    pub ppid: i32,
    /// Its process group.
    pub pgrp: i32,
    /// Flags of its first thread (PF_* of linux/sched.h).
    pub flags: u32,
    /// Minor page faults of all its threads since its birth. A page that was
    /// shared after `fork` and is written comes with one.
    pub minor_faults: u64,
    /// User and system time of its own threads.
    pub cpu: Duration,
    /// User and system time of the children it has waited for, and theirs.
    pub cpu_of_children: Duration,
    /// Threads, itself included.
    pub threads: u64,
    /// Start time in clock ticks since boot.
    pub start: u64,
}

impl Stat {
    /// Reads the line of a process.
    ///
    /// # Errors
    /// When the process is gone, hidden, or its line cannot be understood.
    pub fn read(pid: i32) -> Result<Stat, FileError> {
        let path = pid_file(pid, "stat");
        let mut buffer = Vec::new();
        let text = String::from_utf8_lossy(file::read_into(&path, &mut buffer)?).into_owned();
        Stat::parse(&text).ok_or_else(|| FileError::parse(&path, &text))
    }

    /// Understands one line; the command's name may hold blanks and brackets.
    pub fn parse(line: &str) -> Option<Stat> {
        let open = line.find('(')?;
        let close = line.rfind(')')?;
        let comm = line.get(open + 1..close)?.to_owned();
        let mut rest = line.get(close + 1..)?.split_ascii_whitespace();
        let state = rest.next()?.chars().next()?;
        let ppid = rest.next()?.parse().ok()?;
        let pgrp = rest.next()?.parse().ok()?;
        // Fields 9 and 10 of the line; 5 have been taken.
        let flags = rest.nth(3)?.parse().ok()?;
        let minor_faults = rest.next()?.parse().ok()?;
        // Field 14 and the three after it.
        let mut ticks = [0u64; 4];
        for (index, place) in ticks.iter_mut().enumerate() {
            let skipped = if index == 0 { 3 } else { 0 };
            *place = rest.nth(skipped)?.parse().ok()?;
        }
        let [user, system, user_below, system_below] = ticks;
        Some(Stat {
            pid: line.get(..open)?.trim().parse().ok()?,
            comm,
            state,
            ppid,
            pgrp,
            flags,
            minor_faults,
            cpu: from_ticks(user.saturating_add(system)),
            cpu_of_children: from_ticks(user_below.saturating_add(system_below)),
            // Fields 20 and 22.
            threads: rest.nth(2)?.parse().ok()?,
            start: rest.nth(1)?.parse().ok()?,
        })
    }

    /// The process this line is about.
    pub fn id(&self) -> ProcessId {
        ProcessId {
            pid: self.pid,
            start: self.start,
        }
    }

    /// Whether it has ended and waits to be reaped. A process whose first
    /// thread has ended looks the same, but its other threads go on.
    pub fn is_dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x') && self.threads <= 1
    }

    /// Whether nothing of its program runs any more: it is dead, or all its threads
    /// are on their way out of the kernel, where giving back memory can take a while.
    /// On Linux 7.3 a control group has not listed it for all that while.
    pub fn is_ending(&self) -> bool {
        self.is_dead()
            || self.is_leaving()
                && other_threads(self.pid, "stat").all(|path| {
                    let mut buffer = Vec::new();
                    let text = file::read_into(&path, &mut buffer).unwrap_or_default();
                    let stat = Stat::parse(&String::from_utf8_lossy(text));
                    stat.is_none_or(|stat| stat.is_leaving())
                })
    }

    /// Whether the thread that this line is about has begun to end.
    fn is_leaving(&self) -> bool {
        /// PF_EXITING of linux/sched.h.
        const EXITING: u32 = 0x4;
        self.flags & EXITING != 0
    }
}

/// [`Stat::minor_faults`] alone, by a buffer that is kept between calls.
///
/// # Errors
/// As [`Stat::read`].
pub fn minor_faults(pid: i32, buffer: &mut Vec<u8>) -> Result<u64, FileError> {
    let path = pid_file(pid, "stat");
    let line = file::read_into(&path, buffer)?;
    parse_minor_faults(line).ok_or_else(|| FileError::parse(&path, &String::from_utf8_lossy(line)))
}

/// The eighth field after the command's name, which may hold anything.
fn parse_minor_faults(line: &[u8]) -> Option<u64> {
    let close = line.iter().rposition(|byte| *byte == b')')?;
    let mut fields = line[close + 1..]
        .split(|byte| *byte == b' ')
        .filter(|field| !field.is_empty());
    std::str::from_utf8(fields.nth(7)?).ok()?.parse().ok()
}

/// The pid that was given out last in our namespace: while it stays, nobody is
/// born. The file is held open.
#[derive(Debug)]
pub struct NewestPid(File);

impl NewestPid {
    /// Opens /proc/loadavg, whose last field it is.
    ///
    /// # Errors
    /// When there is no such file.
    pub fn open() -> io::Result<NewestPid> {
        File::open(Path::new(PROC).join("loadavg")).map(NewestPid)
    }

    /// Reads it; `None` where it cannot be understood.
    pub fn read(&self) -> Option<u64> {
        use std::os::unix::fs::FileExt;
        let mut text = [0; 128];
        let length = self.0.read_at(&mut text, 0).ok()?;
        let text = std::str::from_utf8(&text[..length]).ok()?;
        text.split_ascii_whitespace().next_back()?.parse().ok()
    }
}

/// Memory of one process that a limit is about: what it would take to swap it
/// out. File-backed pages are left out, since the kernel can drop them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resident {
    /// RssAnon.
    pub anonymous: ByteSize,
    /// RssShmem: shared memory and tmpfs pages it has mapped.
    pub shared: ByteSize,
    /// VmSwap.
    pub swapped: ByteSize,
    /// VmData: private writable mappings, touched or not; what RLIMIT_DATA
    /// bounds.
    pub data: ByteSize,
    /// VmHWM: the largest resident set since the last `exec`, file pages
    /// included.
    pub high_water: ByteSize,
}

impl Resident {
    /// Reads /proc/PID/status into a buffer that is kept between calls; about
    /// 10 µs. A kernel thread or a zombie holds nothing.
    ///
    /// # Errors
    /// When the process is gone or hidden.
    pub fn read(pid: i32, buffer: &mut Vec<u8>) -> Result<Resident, FileError> {
        let status = file::read_into(&pid_file(pid, "status"), buffer)?;
        if !has_lost_its_first_thread(status) {
            return Ok(Resident::parse(status));
        }
        let seen = other_threads(pid, "status").find_map(|path| {
            let status = file::read_into(&path, buffer).ok()?;
            Some(Resident::parse(status)).filter(|resident| resident.high_water > ByteSize::ZERO)
        });
        Ok(seen.unwrap_or_default())
    }

    /// Understands the text of a status file; absent lines count as nothing.
    pub fn parse(status: &[u8]) -> Resident {
        let mut resident = Resident::default();
        for line in status.split(|byte| *byte == b'\n') {
            if let Some(rest) = line.strip_prefix(b"VmHWM:") {
                resident.high_water = kib(rest);
            } else if let Some(rest) = line.strip_prefix(b"RssAnon:") {
                resident.anonymous = kib(rest);
            } else if let Some(rest) = line.strip_prefix(b"RssShmem:") {
                resident.shared = kib(rest);
            } else if let Some(rest) = line.strip_prefix(b"VmData:") {
                resident.data = kib(rest);
            } else if let Some(rest) = line.strip_prefix(b"VmSwap:") {
                resident.swapped = kib(rest);
                break;
            }
        }
        resident
    }

    /// All of it. Summed over a tree this is an upper bound: pages shared by
    /// several members count once for each.
    pub fn total(self) -> ByteSize {
        self.anonymous
            .saturating_add(self.shared)
            .saturating_add(self.swapped)
    }
}

/// A process with threads and without memory of its own: the memory is seen
/// through another thread than the first.
fn has_lost_its_first_thread(status: &[u8]) -> bool {
    let mut lines = status.split(|byte| *byte == b'\n');
    !status.windows(6).any(|word| word == b"VmRSS:")
        && lines.any(|line| {
            line.strip_prefix(b"Threads:")
                .is_some_and(|count| kib(count) > ByteSize::from_kib(1))
        })
}

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

/// What one page holds, in bytes.
pub fn page_size() -> u64 {
    static SIZE: OnceLock<u64> = OnceLock::new();
    *SIZE.get_or_init(|| configured(SysconfVar::PAGE_SIZE).unwrap_or(4096))
}

/// The kernel's clock ticks, as a time.
fn from_ticks(ticks: u64) -> Duration {
    static PER_SECOND: OnceLock<u64> = OnceLock::new();
    let per_second = *PER_SECOND.get_or_init(|| configured(SysconfVar::CLK_TCK).unwrap_or(100));
    let millis = u128::from(ticks) * 1000 / u128::from(per_second.max(1));
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

fn configured(variable: SysconfVar) -> Option<u64> {
    let asked = nix::unistd::sysconf(variable).ok().flatten()?;
    u64::try_from(asked).ok()
}

/// The pids that can be seen, in the order in which /proc lists them.
///
/// # Errors
/// When /proc cannot be listed.
pub fn pids() -> io::Result<Vec<i32>> {
    let entries = std::fs::read_dir(PROC)?;
    let pid = |entry: io::Result<std::fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    Ok(entries.filter_map(pid).collect())
}

/// A process's proportional share of pages: those that it shares with n others
/// count for an n-th part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Share {
    /// Anonymous and shared memory.
    pub resident: ByteSize,
    /// In swap.
    pub swapped: ByteSize,
}

impl Share {
    /// Reads /proc/PID/smaps_rollup. Exact for a tree when summed, but costs
    /// about 10 ms per GiB of 4 KiB pages.
    ///
    /// # Errors
    /// When the process is gone, is not ours to look into (EACCES), or the
    /// kernel does not give the parts (before Linux 5.9).
    pub fn read(pid: i32, buffer: &mut Vec<u8>) -> Result<Share, FileError> {
        let path = pid_file(pid, "smaps_rollup");
        let text = file::read_into(&path, buffer)?;
        Share::parse(text).ok_or_else(|| FileError::parse(&path, "no Pss_Anon line"))
    }

    /// Understands the text; `None` without the parts.
    pub fn parse(rollup: &[u8]) -> Option<Share> {
        let (mut anonymous, mut share) = (None, Share::default());
        for line in rollup.split(|byte| *byte == b'\n') {
            if let Some(rest) = line.strip_prefix(b"Pss_Anon:") {
                anonymous = Some(kib(rest));
            } else if let Some(rest) = line.strip_prefix(b"Pss_Shmem:") {
                share.resident = kib(rest);
            } else if let Some(rest) = line.strip_prefix(b"SwapPss:") {
                share.swapped = kib(rest);
            }
        }
        share.resident = share.resident.saturating_add(anonymous?);
        Some(share)
    }
}

/// `   1234 kB` as bytes; anything else is nothing.
fn kib(field: &[u8]) -> ByteSize {
    let number = field
        .iter()
        .skip_while(|byte| byte.is_ascii_whitespace())
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0u64, |value, byte| {
            value
                .saturating_mul(10)
                .saturating_add(u64::from(byte - b'0'))
        });
    ByteSize::from_kib(number)
}

/// The lines of every process that can be seen. Processes that end meanwhile
/// are left out.
///
/// # Errors
/// When /proc itself cannot be listed.
pub fn all() -> io::Result<Vec<Stat>> {
    Ok(pids()?
        .into_iter()
        .filter_map(|pid| Stat::read(pid).ok())
        .collect())
}

/// The descendants of `ancestor` among `processes`, it itself left out, parents
/// before their children.
pub fn descendants(processes: &[Stat], ancestor: i32) -> Vec<Stat> {
    let mut children: BTreeMap<i32, Vec<&Stat>> = BTreeMap::new();
    for stat in processes.iter().filter(|stat| stat.pid != ancestor) {
        children.entry(stat.ppid).or_default().push(stat);
    }
    let mut found: Vec<Stat> = Vec::new();
    let mut next = 0;
    let mut parent = ancestor;
    loop {
        // Taken out, so that a circle (a pid recycled while the list was read)
        // is walked once.
        let born = children.remove(&parent).unwrap_or_default();
        found.extend(born.into_iter().cloned());
        let Some(stat) = found.get(next) else {
            return found;
        };
        parent = stat.pid;
        next += 1;
    }
}

/// Whether /proc shows the pid namespace that this process is in. Where it does
/// not (a new namespace with the old mount, or no mount at all), a number in it
/// is somebody else's. Looked up once.
pub fn is_ours() -> bool {
    static OURS: OnceLock<bool> = OnceLock::new();
    *OURS.get_or_init(|| {
        std::fs::read_link(Path::new(PROC).join("self"))
            .is_ok_and(|link| link.to_str() == Some(&std::process::id().to_string()))
    })
}

/// As [`command_line`], but not waited for longer than `patience`: the kernel
/// reads the line from the process's own memory, and a process that is stuck
/// there (at a limit, on a dead file server) holds its readers up. Then only
/// the short name is told. For a few processes: each call takes a thread.
pub fn command_line_within(pid: i32, patience: Duration) -> Option<String> {
    let (sender, answer) = std::sync::mpsc::channel();
    let read = move || {
        // Nobody waits any more: nobody is told.
        let _ = sender.send(command_line(pid));
    };
    let started = std::thread::Builder::new().spawn(read);
    match started.map(|_| answer.recv_timeout(patience)) {
        Ok(Ok(line)) => line,
        Ok(Err(_)) | Err(_) => short_name(pid),
    }
}

fn short_name(pid: i32) -> Option<String> {
    Stat::read(pid).ok().map(|stat| format!("[{}]", stat.comm))
}

/// A process's command line for people, at most 200 characters; its short name
/// where the line is empty or hidden. May wait as long as the process is stuck
/// in a page fault: never in a loop that has a limit to hold.
pub fn command_line(pid: i32) -> Option<String> {
    let bytes = std::fs::read(pid_file(pid, "cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&bytes).replace('\0', " ");
    let line = line.trim();
    if line.is_empty() {
        return short_name(pid);
    }
    Some(line.chars().take(200).collect())
}

/// One file of every thread but the first.
fn other_threads(pid: i32, name: &str) -> impl Iterator<Item = PathBuf> {
    let threads = std::fs::read_dir(pid_file(pid, "task"));
    let first = pid.to_string();
    threads
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .filter(move |thread| thread.file_name() != first.as_str())
        .map(move |thread| thread.path().join(name))
}

/// The path of a file in /proc/PID, off the heap: a steady loop makes many.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PidFile {
    text: [u8; PidFile::LONGEST],
    length: usize,
}

impl PidFile {
    /// `/proc/-2147483648/` and any name that is used here.
    const LONGEST: usize = 40;
}

impl Deref for PidFile {
    type Target = Path;

    fn deref(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.text[..self.length]))
    }
}

impl AsRef<Path> for PidFile {
    fn as_ref(&self) -> &Path {
        self
    }
}

pub(crate) fn pid_file(pid: i32, name: &str) -> PidFile {
    let mut text = [0; PidFile::LONGEST];
    let mut room = &mut text[..];
    let fits = write!(room, "{PROC}/{pid}/{name}");
    debug_assert!(fits.is_ok(), "{name} is too long");
    let length = PidFile::LONGEST - room.len();
    PidFile { text, length }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LINE: &str = "42 (a) b (c) S 7 42 40 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 98765 1 2 3";

    #[test]
    fn a_name_with_brackets_is_one_name() {
        let stat = Stat::parse(LINE).expect("parses");
        assert_eq!(
            (stat.pid, stat.ppid, stat.pgrp, stat.state),
            (42, 7, 42, 'S')
        );
        assert_eq!((stat.comm.as_str(), stat.start), ("a) b (c", 98765));
        assert_eq!(stat.minor_faults, 1);
        assert_eq!(parse_minor_faults(LINE.as_bytes()), Some(1));
        assert_eq!(parse_minor_faults(b"42 (a) S 7 42 40 0 -1"), None);
        assert_eq!(stat.threads, 1);
        assert_eq!(stat.cpu, from_ticks(5 + 6));
        assert_eq!(stat.cpu_of_children, from_ticks(7 + 8));
    }

    #[test]
    fn a_command_line_is_told_in_time() {
        assert!(is_ours());
        let pid = i32::try_from(std::process::id()).expect("a pid");
        let line = command_line_within(pid, Duration::from_secs(5));
        assert_eq!(line, command_line(pid));
        assert_eq!(command_line_within(-1, Duration::from_secs(5)), None);
    }

    #[test]
    fn who_is_on_the_way_out_is_not_running() {
        let running = Stat::parse(LINE).expect("parses");
        assert!(!running.is_leaving());
        let leaving = LINE.replace(" 4194304 ", " 4194308 ");
        assert!(Stat::parse(&leaving).expect("parses").is_leaving());

        let ourselves = i32::try_from(std::process::id()).expect("a pid");
        assert!(!Stat::read(ourselves).expect("readable").is_ending());
        let mut child = std::process::Command::new("true").spawn().expect("starts");
        let pid = i32::try_from(child.id()).expect("a pid");
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        let ended = || Stat::read(pid).is_ok_and(|stat| stat.is_ending());
        while !ended() && std::time::Instant::now() < deadline {
            std::thread::yield_now();
        }
        assert!(ended());
        child.wait().expect("ends");
    }

    #[test]
    fn our_own_line_agrees_with_the_kernel() {
        let pid = i32::try_from(std::process::id()).expect("a pid");
        let stat = Stat::read(pid).expect("readable");
        assert_eq!(stat.pid, pid);
        assert_eq!(
            u32::try_from(stat.ppid),
            Ok(std::os::unix::process::parent_id())
        );
    }

    #[test]
    fn status_counts_what_cannot_be_dropped() {
        let text = b"Name:\tx\nRssAnon:\t     100 kB\nRssFile:\t 50 kB\nRssShmem:\t 7 kB\nVmSwap:\t 3 kB\n";
        assert_eq!(Resident::parse(text).total(), ByteSize::from_kib(110));
        assert_eq!(
            Resident::parse(b"Name:\tkthreadd\n").total(),
            ByteSize::ZERO
        );
    }

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

    #[test]
    fn rollup_leaves_file_pages_out() {
        let text = b"Rss: 10 kB\nPss: 9 kB\nPss_Anon:  5 kB\nPss_File: 3 kB\nPss_Shmem: 1 kB\nSwap: 8 kB\nSwapPss: 4 kB\n";
        let share = Share {
            resident: ByteSize::from_kib(6),
            swapped: ByteSize::from_kib(4),
        };
        assert_eq!(Share::parse(text), Some(share));
        assert_eq!(Share::parse(b"Rss: 10 kB\n"), None);
    }

    #[test]
    fn descendants_follow_parents_and_survive_circles() {
        let process = |pid, ppid| Stat {
            pid,
            ppid,
            state: 'S',
            ..Stat::default()
        };
        let all = [
            process(2, 1),
            process(3, 2),
            process(4, 9),
            process(5, 3),
            process(9, 4),
        ];
        let mut pids: Vec<i32> = descendants(&all, 1).iter().map(|stat| stat.pid).collect();
        pids.sort_unstable();
        assert_eq!(pids, [2, 3, 5]);
        assert_eq!(descendants(&all, 4).len(), 1);
    }

    proptest! {
        #[test]
        fn no_line_panics(line in ".{0,120}") {
            let _ = Stat::parse(&line);
            let _ = Resident::parse(line.as_bytes());
        }
    }
}
