//! Starting a job so that it is in its place before its first instruction.
//!
//! Between `fork` and `exec` the child only makes syscalls on prepared data:
//! no allocation, no locks. It tells its parent through a pipe which step
//! failed, so "no such program" and "could not enter the group" are different
//! facts.
//!
//! Order in the child:
//! 1. join the process group, so that the terminal's signals reach the job;
//! 2. ask for SIGKILL when the parent dies, and check that it has not;
//! 3. enter the cgroups, unless it was born in them, so that nothing the job
//!    ever touches is charged elsewhere;
//! 4. rlimits and `oom_score_adj`;
//! 5. the working directory and the standard streams;
//! 6. default dispositions and the caller's signal mask;
//! 7. `exec`; a file that is no program but executable is given to `/bin/sh`,
//!    as execvp(3) does.

use std::cell::Cell;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::sys::signal::SigSet;

use crate::cgroup::Entrance;
use crate::{ByteSize, PidFd, signals};

/// Everything that decides how a job starts.
#[derive(Debug)]
pub struct SpawnRequest<'a> {
    /// The program; without a slash it is looked up in `PATH` of `env`.
    pub program: &'a OsStr,
    /// `argv` without the program's name.
    pub args: &'a [OsString],
    /// The whole environment.
    pub env: &'a [(OsString, OsString)],
    /// Its working directory; the parent's when `None`.
    pub current_dir: Option<&'a Path>,
    /// Its standard input, output and error; the parent's where `None`.
    pub streams: [Option<BorrowedFd<'a>>; 3],
    /// Which of them it starts without, whatever stands above.
    pub closed_streams: [bool; 3],
    /// A process group of this session to join; the parent's when `None`.
    pub process_group: Option<i32>,
    /// Groups to enter before `exec`, one to a hierarchy.
    pub entrances: &'a [Entrance],
    /// RLIMIT_DATA.
    pub data_limit: Option<DataLimit>,
    /// Raised `oom_score_adj` (never lowered), -1000 to 1000.
    pub oom_score_adj: Option<i32>,
    /// The child owns its files in /proc even where this process does not, since it
    /// may not be traced (PR_SET_DUMPABLE of prctl(2)): to raise its score, for one.
    pub owns_its_proc: bool,
    /// The signal mask the job starts with (see [`signals::blocked`]).
    pub signal_mask: u64,
    /// Which of SIGPIPE and SIGCHLD the job starts with ignored (see
    /// [`signals::ignored_at_start`]).
    pub ignored_signals: u64,
}

/// What to do with RLIMIT_DATA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataLimit {
    /// Soft and hard limit, never above the hard limit in force.
    Fixed(ByteSize),
    /// The soft limit alone, unless the one in force is lower already.
    Soft(ByteSize),
}

/// A step between `fork` and `exec`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpawnStep {
    /// Making pipe or process.
    Fork,
    /// Joining the process group.
    ProcessGroup,
    /// Tying the job's life to its parent's.
    ParentDeathSignal,
    /// Entering a cgroup.
    EnterCgroup,
    /// RLIMIT_DATA.
    DataLimit,
    /// Changing to its directory.
    WorkingDirectory,
    /// Taking over its standard streams.
    Streams,
    /// Replacing the process by the program.
    Exec,
}

impl SpawnStep {
    const ALL: [SpawnStep; 8] = [
        SpawnStep::Fork,
        SpawnStep::ProcessGroup,
        SpawnStep::ParentDeathSignal,
        SpawnStep::EnterCgroup,
        SpawnStep::DataLimit,
        SpawnStep::WorkingDirectory,
        SpawnStep::Streams,
        SpawnStep::Exec,
    ];
}

impl std::fmt::Display for SpawnStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            SpawnStep::Fork => "make a process",
            SpawnStep::ProcessGroup => "join the process group",
            SpawnStep::ParentDeathSignal => "set the parent-death signal",
            SpawnStep::EnterCgroup => "enter the cgroup",
            SpawnStep::DataLimit => "set RLIMIT_DATA",
            SpawnStep::WorkingDirectory => "change to the working directory",
            SpawnStep::Streams => "take over the standard streams",
            SpawnStep::Exec => "execute the program",
        })
    }
}

/// A job did not start.
#[derive(Debug, thiserror::Error)]
#[error("failed to {step}")]
pub struct SpawnError {
    /// The step that failed.
    pub step: SpawnStep,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// A started job: an unreaped child of the caller.
#[derive(Debug)]
pub struct Spawned {
    /// Its pid.
    pub pid: i32,
    /// A handle on it; `None` before Linux 5.3.
    pub pidfd: Option<PidFd>,
}

/// Starts a job and waits until its `exec` has succeeded or failed. A child
/// that failed has been reaped when this returns.
///
/// May be called from several threads at once: what the child does is
/// async-signal-safe, and every descriptor made here is closed on `exec`. The
/// parent-death signal is tied to the calling **thread**: the job is killed
/// when that ends.
///
/// # Errors
/// The step that failed, with its errno: ENOENT and EACCES of
/// [`SpawnStep::Exec`] are the user's, the others ours or the host's.
pub fn spawn(request: &SpawnRequest<'_>) -> Result<Spawned, SpawnError> {
    let at_fork = |source: io::Error| SpawnError {
        step: SpawnStep::Fork,
        source,
    };
    let prepared = Prepared::new(request).map_err(at_fork)?;
    let (mut report, report_end) = pipe().map_err(at_fork)?;
    let (pid, pidfd) = prepared
        .make_child(report_end.as_raw_fd())
        .map_err(at_fork)?;
    drop(report_end);
    let mut message = Vec::new();
    // EOF without a byte: `exec` closed the pipe.
    let read = report.read_to_end(&mut message);
    match (read, ChildFailure::decode(&message)) {
        (Ok(0), _) => Ok(Spawned { pid, pidfd }),
        (_, Some(failure)) => {
            reap(pid);
            Err(SpawnError {
                step: failure.step,
                source: failure.source,
            })
        }
        (_, None) => {
            reap(pid);
            Err(at_fork(io::Error::other(
                "the child ended before it could start the program",
            )))
        }
    }
}

fn reap(pid: i32) {
    // SAFETY: waits for our own child; a null status is allowed.
    while unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) } == -1 {
        if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            break;
        }
    }
}

fn pipe() -> io::Result<(File, OwnedFd)> {
    let mut ends: [RawFd; 2] = [-1; 2];
    // SAFETY: `ends` has room for the two descriptors.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: both were made just now and are owned by nobody else.
    unsafe { Ok((File::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1]))) }
}

/// What runs a script without an interpreter line.
const SHELL: &CStr = c"/bin/sh";

struct ChildFailure {
    step: SpawnStep,
    source: io::Error,
}

impl ChildFailure {
    /// One byte for the step, four for errno.
    fn decode(message: &[u8]) -> Option<ChildFailure> {
        let (step, errno) = message.split_first()?;
        let errno = i32::from_ne_bytes(errno.try_into().ok()?);
        let step = *SpawnStep::ALL.get(usize::from(*step))?;
        Some(ChildFailure {
            step,
            source: io::Error::from_raw_os_error(errno),
        })
    }
}

/// Everything the child needs, allocated before `fork`.
struct Prepared<'a> {
    /// Paths to try in order, as execvp(3) does.
    candidates: Vec<CString>,
    /// Owns what `argv` and `envp` point to.
    _strings: Vec<CString>,
    argv: Vec<*const libc::c_char>,
    /// `/bin/sh`, a place for the script, and the arguments.
    shell_argv: Vec<Cell<*const libc::c_char>>,
    envp: Vec<*const libc::c_char>,
    process_group: Option<i32>,
    /// The v2 group's directory and list.
    birthplace: Option<(RawFd, RawFd)>,
    /// Lists of other groups.
    lists: Vec<RawFd>,
    current_dir: Option<CString>,
    /// Descriptors to become 0, 1 and 2; none of them is one of these itself.
    streams: [Option<RawFd>; 3],
    closed_streams: [bool; 3],
    /// Copies of such as were.
    _lifted: Vec<OwnedFd>,
    data_limit: Option<libc::rlimit>,
    oom_score_adj: Option<Vec<u8>>,
    owns_its_proc: bool,
    mask: SigSet,
    ignored_signals: u64,
    parent: i32,
    request: std::marker::PhantomData<&'a ()>,
}

impl<'a> Prepared<'a> {
    fn new(request: &SpawnRequest<'a>) -> io::Result<Prepared<'a>> {
        let c_string = |text: &OsStr| {
            CString::new(text.as_bytes())
                .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a NUL byte in a word"))
        };
        let mut strings = vec![c_string(request.program)?];
        for arg in request.args {
            strings.push(c_string(arg)?);
        }
        let arg_count = strings.len();
        for (name, value) in request.env {
            let mut pair = name.clone();
            pair.push("=");
            pair.push(value);
            strings.push(c_string(&pair)?);
        }
        let pointers = |strings: &[CString]| {
            strings
                .iter()
                .map(|s| s.as_ptr())
                .chain([std::ptr::null()])
                .collect::<Vec<_>>()
        };
        let shell_argv = [SHELL.as_ptr(), std::ptr::null()]
            .into_iter()
            .chain(pointers(&strings[1..arg_count]))
            .map(Cell::new)
            .collect();
        let mut lifted = Vec::new();
        let mut streams = [None; 3];
        for (place, stream) in streams.iter_mut().zip(request.streams) {
            *place = stream
                .map(|fd| above_streams(fd, &mut lifted))
                .transpose()?;
        }
        Ok(Prepared {
            current_dir: request
                .current_dir
                .map(|dir| c_string(dir.as_os_str()))
                .transpose()?,
            streams,
            closed_streams: request.closed_streams,
            _lifted: lifted,
            shell_argv,
            candidates: candidates(request.program, request.env)?,
            argv: pointers(&strings[..arg_count]),
            envp: pointers(&strings[arg_count..]),
            _strings: strings,
            process_group: request.process_group,
            birthplace: request
                .entrances
                .iter()
                .find_map(|entrance| Some((entrance.directory()?, entrance.list()))),
            lists: request
                .entrances
                .iter()
                .filter(|entrance| entrance.directory().is_none())
                .map(Entrance::list)
                .collect(),
            data_limit: data_limit(request.data_limit)?,
            oom_score_adj: raised_oom_score(request.oom_score_adj),
            owns_its_proc: request.owns_its_proc,
            mask: signals::set_from_bits(request.signal_mask),
            ignored_signals: request.ignored_signals,
            parent: i32::try_from(std::process::id()).unwrap_or(0),
            request: std::marker::PhantomData,
        })
    }

    /// Makes the child, in its v2 group where the kernel can do that, else
    /// outside and on its way there.
    fn make_child(&self, report: RawFd) -> io::Result<(i32, Option<PidFd>)> {
        // Refused by an older kernel, a filter of system calls, or the group:
        // then the child finds out, which step failed included.
        if let Some((directory, _)) = self.birthplace
            && let Ok((pid, pidfd)) = self.bear_in(directory, report)
        {
            return Ok((pid, Some(pidfd)));
        }
        // SAFETY: the child only runs `run_child`, which makes
        // async-signal-safe calls on memory prepared before and never returns.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => self.run_child(report, self.birthplace.map(|(_, list)| list)),
            pid => Ok((pid, PidFd::open(pid).ok())),
        }
    }

    /// As [`clone_into`], for a child that goes on to `exec`.
    fn bear_in(&self, directory: RawFd, report: RawFd) -> io::Result<(i32, PidFd)> {
        // SAFETY: the child only runs `run_child`; see `make_child`.
        match unsafe { clone_into(directory) }? {
            None => self.run_child(report, None),
            Some(born) => Ok(born),
        }
    }

    /// The child's whole life up to `exec`. `v2`: a list that is still to be
    /// entered.
    fn run_child(&self, report: RawFd, v2: Option<RawFd>) -> ! {
        let step = self.place_and_exec(v2);
        let errno = io::Error::last_os_error()
            .raw_os_error()
            .unwrap_or(libc::EIO);
        let [a, b, c, d] = errno.to_ne_bytes();
        let message = [step as u8, a, b, c, d];
        // SAFETY: five bytes from a live array to a descriptor we own.
        unsafe { libc::write(report, message.as_ptr().cast(), message.len()) };
        // SAFETY: ends the child without running anybody's exit handlers.
        unsafe { libc::_exit(127) }
    }

    /// The step that failed, with errno still set. Returning is failing.
    fn place_and_exec(&self, v2: Option<RawFd>) -> SpawnStep {
        if let Some(group) = self.process_group {
            // SAFETY: plain numbers.
            if unsafe { libc::setpgid(0, group) } == -1 {
                return SpawnStep::ProcessGroup;
            }
        }
        if !tie_to_parent(self.parent) {
            return SpawnStep::ParentDeathSignal;
        }
        for list in v2.iter().chain(&self.lists) {
            if !enter(*list) {
                return SpawnStep::EnterCgroup;
            }
        }
        if let Some(limit) = &self.data_limit {
            // SAFETY: points to a live rlimit.
            if unsafe { libc::setrlimit(libc::RLIMIT_DATA, limit) } == -1 {
                return SpawnStep::DataLimit;
            }
        }
        if self.owns_its_proc {
            // SAFETY: plain numbers; it is this child's memory alone.
            unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1) };
        }
        if let Some(score) = &self.oom_score_adj {
            raise_oom_score(score);
        }
        if let Some(dir) = &self.current_dir {
            // SAFETY: a NUL-terminated string that lives as long as `self`.
            if unsafe { libc::chdir(dir.as_ptr()) } == -1 {
                return SpawnStep::WorkingDirectory;
            }
        }
        for (number, stream) in (0..).zip(self.streams) {
            // The copy stays open over `exec`.
            // SAFETY: plain numbers; the caller holds the source.
            if stream.is_some_and(|fd| unsafe { libc::dup2(fd, number) } == -1) {
                return SpawnStep::Streams;
            }
        }
        for (number, closed) in (0..).zip(self.closed_streams) {
            if closed {
                // SAFETY: a descriptor that nothing in this child needs.
                unsafe { libc::close(number) };
            }
        }
        self.restore_signals();
        self.exec();
        SpawnStep::Exec
    }

    fn restore_signals(&self) {
        for signal in signals::REMEMBERED {
            let ignored = self.ignored_signals >> (signal - 1) & 1 == 1;
            let disposition = if ignored {
                libc::SIG_IGN
            } else {
                libc::SIG_DFL
            };
            // SAFETY: a valid signal with a standard disposition.
            unsafe { libc::signal(signal, disposition) };
        }
        // SAFETY: points to a live set; the old one is not asked for.
        unsafe {
            libc::sigprocmask(libc::SIG_SETMASK, self.mask.as_ref(), std::ptr::null_mut());
        }
    }

    /// Tries every candidate; errno tells the most useful failure, as in
    /// execvp(3): EACCES anywhere beats "not found".
    fn exec(&self) {
        let mut denied = false;
        for candidate in &self.candidates {
            // SAFETY: NUL-terminated strings and null-terminated arrays that
            // live as long as `self`.
            unsafe { libc::execve(candidate.as_ptr(), self.argv.as_ptr(), self.envp.as_ptr()) };
            match io::Error::last_os_error().raw_os_error() {
                Some(libc::EACCES) => denied = true,
                Some(libc::ENOEXEC) => {
                    self.shell_argv[1].set(candidate.as_ptr());
                    // `Cell<T>` has the layout of `T`.
                    let argv = self.shell_argv.as_ptr().cast();
                    // SAFETY: as above.
                    unsafe { libc::execve(SHELL.as_ptr(), argv, self.envp.as_ptr()) };
                    return;
                }
                Some(libc::ENOENT | libc::ENOTDIR) => {}
                _ => return,
            }
        }
        if denied {
            // SAFETY: errno belongs to this thread.
            unsafe { *libc::__errno_location() = libc::EACCES };
        }
    }
}

/// clone3(2) into a v2 group: a handle on what it made, `None` in the child.
///
/// # Safety
/// The child has a copy of this thread alone: until `exec` or `_exit` it may only
/// make async-signal-safe calls.
pub(crate) unsafe fn clone_into(directory: RawFd) -> io::Result<Option<(i32, PidFd)>> {
    /// The constant of the libc crate has lost this bit.
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    let mut handle: RawFd = -1;
    // SAFETY: plain numbers; all zero is a valid value.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = CLONE_INTO_CGROUP | u64::from(libc::CLONE_PIDFD.unsigned_abs());
    arguments.pidfd = &raw mut handle as u64;
    arguments.exit_signal = u64::from(libc::SIGCHLD.unsigned_abs());
    arguments.cgroup = u64::from(directory.unsigned_abs());
    let size = size_of::<libc::clone_args>();
    // SAFETY: points to a live structure of the size it states; without a
    // stack of its own and without CLONE_VM the child goes on from here
    // with a copy of our memory, as after `fork`.
    match unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size) } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        pid => {
            let pid = i32::try_from(pid).map_err(io::Error::other)?;
            // SAFETY: the kernel has just made this descriptor for us.
            let handle = PidFd::from(unsafe { OwnedFd::from_raw_fd(handle) });
            Ok(Some((pid, handle)))
        }
    }
}

/// Makes the calling process, which is to be a child of `parent`, die with that.
/// Whether it is one still.
pub(crate) fn tie_to_parent(parent: i32) -> bool {
    // SAFETY: plain numbers.
    if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } == -1 {
        return false;
    }
    // The parent may have died before the tie was made.
    // SAFETY: no arguments.
    unsafe { libc::getppid() == parent }
}

/// Enters the group whose list this is. Whether that worked.
pub(crate) fn enter(list: RawFd) -> bool {
    // SAFETY: one byte from a static to a descriptor the caller holds.
    unsafe { libc::write(list, c"0".as_ptr().cast(), 1) == 1 }
}

/// The descriptor, or a copy with a number of its own: one that is 0, 1 or 2
/// would be overwritten while the streams are put in place.
fn above_streams(fd: BorrowedFd<'_>, lifted: &mut Vec<OwnedFd>) -> io::Result<RawFd> {
    if fd.as_raw_fd() > 2 {
        return Ok(fd.as_raw_fd());
    }
    // The standard library gives copies numbers from 3 on.
    let copy = fd.try_clone_to_owned()?;
    let number = copy.as_raw_fd();
    lifted.push(copy);
    Ok(number)
}

/// Writes the score; failing to is no reason not to run the job.
pub(crate) fn raise_oom_score(score: &[u8]) {
    // SAFETY: a NUL-terminated static path.
    let fd = unsafe { libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY) };
    if fd != -1 {
        // SAFETY: bytes from a live slice to a descriptor opened just now.
        unsafe { libc::write(fd, score.as_ptr().cast(), score.len()) };
        // SAFETY: closes that descriptor.
        unsafe { libc::close(fd) };
    }
}

/// The text to write, unless the score is that high already.
fn raised_oom_score(wanted: Option<i32>) -> Option<Vec<u8>> {
    let wanted = wanted?;
    let now: i32 = std::fs::read_to_string("/proc/self/oom_score_adj")
        .ok()?
        .trim()
        .parse()
        .ok()?;
    (now < wanted).then(|| wanted.to_string().into_bytes())
}

/// The limit to set; `None` where there is nothing to change.
fn data_limit(wanted: Option<DataLimit>) -> io::Result<Option<libc::rlimit>> {
    use nix::sys::resource::{Resource, getrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_DATA)?;
    Ok(match wanted {
        Some(DataLimit::Fixed(wanted)) => {
            let value = wanted.bytes().min(hard);
            Some(libc::rlimit {
                rlim_cur: value,
                rlim_max: value,
            })
        }
        Some(DataLimit::Soft(wanted)) if wanted.bytes() < soft => Some(libc::rlimit {
            rlim_cur: wanted.bytes(),
            rlim_max: hard,
        }),
        Some(DataLimit::Soft(_)) | None => None,
    })
}

/// Where the program may be, as execvp(3) searches; an absent PATH means
/// `/bin:/usr/bin`.
fn candidates(program: &OsStr, env: &[(OsString, OsString)]) -> io::Result<Vec<CString>> {
    let bytes = program.as_bytes();
    let nul = |_| io::Error::new(io::ErrorKind::InvalidInput, "a NUL byte in a word");
    // An empty name is looked up nowhere; `exec` says that it is not there.
    if bytes.is_empty() || bytes.contains(&b'/') {
        return Ok(vec![CString::new(bytes).map_err(nul)?]);
    }
    let path = env
        .iter()
        .find(|(name, _)| name == "PATH")
        .map(|(_, value)| value.as_os_str());
    std::env::split_paths(path.unwrap_or(OsStr::new("/bin:/usr/bin")))
        .map(|dir| {
            let dir = if dir.as_os_str().is_empty() {
                Path::new(".")
            } else {
                &dir
            };
            CString::new(dir.join(program).as_os_str().as_bytes()).map_err(nul)
        })
        .collect()
}

#[cfg(test)]
mod tests;
