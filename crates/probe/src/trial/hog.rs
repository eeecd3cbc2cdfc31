//! The child of a trial: touches memory page by page and says how far it came.
//!
//! It is the same executable started again with a hidden first argument, so a
//! trial needs no other file. Over an inherited socket it sends one byte for
//! each MiB touched and one when done; then it waits, memory in hand, until it
//! is looked at and let go. It can therefore never outlive the trial: with the
//! other end of the socket gone, it ends.

use std::ffi::OsString;
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitCode, Stdio};

/// The hidden first argument that makes an executable the child of a trial.
pub const HOG_ARGUMENT: &str = "__trial-hog";

/// Exit code: everything asked for was touched.
pub const TOUCHED_ALL: u8 = 42;
/// Exit code: an allocation was refused.
pub const REFUSED: u8 = 43;
/// Exit code: it was called wrongly or lost its parent.
pub const BROKEN: u8 = 44;

pub(super) const STEP_DONE: u8 = b'.';
pub(super) const ALL_DONE: u8 = b'!';

/// With the second argument, what the child is to be.
pub(super) const TOUCH: &str = "touch";
pub(super) const WAIT_AND_TOUCH: &str = "wait-and-touch";
pub(super) const TREE: &str = "tree";
pub(super) const SCOPE: &str = "scope";
const LEAVE_ORPHAN: &str = "leave-orphan";
const LINGER: &str = "linger";

/// Bytes reported at once.
pub(super) const STEP: usize = 1 << 20;
const PAGE: usize = 4096;

/// The whole life of a trial's child. `args` follow [`HOG_ARGUMENT`]:
/// `touch BYTES FD`, `wait-and-touch BYTES FD`, `tree FD` or `scope PLACE PROGRAM`.
pub fn hog_main(args: &[OsString]) -> ExitCode {
    let words: Option<Vec<&str>> = args.iter().map(|arg| arg.to_str()).collect();
    let code = match words.as_deref() {
        Some([TOUCH, bytes, fd]) => match (bytes.parse(), link(fd)) {
            (Ok(bytes), Ok(link)) => touch(bytes, link),
            _ => BROKEN,
        },
        Some([WAIT_AND_TOUCH, bytes, fd]) => match (bytes.parse(), link(fd)) {
            (Ok(bytes), Ok(mut link)) => match announce_and_wait(&mut link) {
                TOUCHED_ALL => touch(bytes, link),
                code => code,
            },
            _ => BROKEN,
        },
        Some([TREE, fd]) => link(fd).map_or(BROKEN, tree),
        Some([SCOPE, place, _]) => {
            if super::systemd::in_scope(place, &args[2]) {
                0
            } else {
                BROKEN
            }
        }
        Some([LEAVE_ORPHAN]) => leave_orphan(),
        Some([LINGER]) => linger(),
        _ => BROKEN,
    };
    ExitCode::from(code)
}

fn link(fd: &str) -> io::Result<UnixStream> {
    let number = fd.parse().map_err(io::Error::other)?;
    memcap_linux::adopt_fd(number).map(UnixStream::from)
}

fn touch(bytes: usize, mut link: UnixStream) -> u8 {
    let mut blocks: Vec<Vec<u8>> = Vec::new();
    for _ in 0..bytes.div_ceil(STEP) {
        let mut block = Vec::new();
        if blocks.try_reserve(1).is_err() || block.try_reserve_exact(STEP).is_err() {
            return REFUSED;
        }
        for _ in 0..STEP / PAGE {
            block.extend_from_slice(&[1; PAGE]);
        }
        blocks.push(black_box(block));
        if link.write_all(&[STEP_DONE]).is_err() {
            return BROKEN;
        }
    }
    let code = announce_and_wait(&mut link);
    drop(black_box(blocks));
    code
}

/// Has a descendant that left its session and its parent, and then waits.
fn tree(mut link: UnixStream) -> u8 {
    let orphan_left = itself(LEAVE_ORPHAN)
        .stdin(Stdio::piped())
        .spawn()
        .and_then(|mut middle| {
            // Held open: the orphan ends when we do.
            let hold = middle.stdin.take();
            middle.wait().map(|status| (status, hold))
        });
    match orphan_left {
        Ok((status, _hold)) if status.success() => announce_and_wait(&mut link),
        _ => BROKEN,
    }
}

fn leave_orphan() -> u8 {
    let left = nix::unistd::setsid().map_err(io::Error::from);
    match left.and_then(|_session| itself(LINGER).spawn()) {
        Ok(_orphan) => 0,
        Err(_) => BROKEN,
    }
}

fn linger() -> u8 {
    // Nothing is ever sent: this is waiting for the other end to close.
    let _ = io::stdin().read(&mut [0]);
    TOUCHED_ALL
}

fn itself(role: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg(HOG_ARGUMENT).arg(role);
    command
}

fn announce_and_wait(link: &mut UnixStream) -> u8 {
    let answered = link
        .write_all(&[ALL_DONE])
        .and_then(|()| link.read(&mut [0]));
    match answered {
        Ok(1) => TOUCHED_ALL,
        _ => BROKEN,
    }
}
