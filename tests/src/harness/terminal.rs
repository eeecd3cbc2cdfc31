//! A run on a terminal of its own.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};

use super::scene::Scene;
use super::wait::{PATIENCE, poll_until};

/// How long a text may take to appear, on a machine under full load.
const DEADLINE: Duration = Duration::from_secs(20);

/// A command whose controlling terminal is a fresh pseudo-terminal. The
/// methods panic where the terminal or the command does not do its part.
#[derive(Debug)]
pub struct Terminal<'scene> {
    scene: &'scene Scene,
    master: File,
    child: Child,
    /// Read, and not yet given to anybody.
    unread: Vec<u8>,
}

impl<'scene> Terminal<'scene> {
    /// Starts `command`, which is a setsid(1): only the process itself can take
    /// a controlling terminal. It has 24 rows of 80 columns.
    pub(super) fn start(scene: &'scene Scene, mut command: Command) -> Terminal<'scene> {
        let (master, end) = open_pair().unwrap_or_else(|error| panic!("terminal: {error}"));
        set_size(&master, 24, 80);
        let slave = || match end.try_clone() {
            Ok(descriptor) => Stdio::from(descriptor),
            Err(error) => panic!("the terminal's other end: {error}"),
        };
        command.stdin(slave()).stdout(slave()).stderr(slave());
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Terminal {
            scene,
            master,
            child,
            unread: Vec::new(),
        }
    }

    /// Types `keys`.
    pub fn press(&mut self, keys: &[u8]) {
        let typed = self.master.write_all(keys);
        assert!(typed.is_ok(), "typing: {typed:?}");
    }

    /// Makes the window another size, which its foreground is told of.
    pub fn resize(&mut self, rows: u16, columns: u16) {
        set_size(&self.master, rows, columns);
    }

    /// What is written up to and with `text`.
    pub fn read_until(&mut self, text: &str) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let found = self
                .unread
                .windows(text.len())
                .position(|window| window == text.as_bytes());
            if let Some(begin) = found {
                // Whatever runs by now is known, should the check fail later.
                self.scene.note_keepers();
                let taken: Vec<u8> = self.unread.drain(..begin + text.len()).collect();
                return String::from_utf8_lossy(&taken).into_owned();
            }
            let more = self.read_more(deadline, text);
            assert!(more, "closed without {text:?}: {}", self.shown());
        }
    }

    /// What is written until every holder of the terminal has closed it, which
    /// this end sees as EIO.
    pub fn read_to_end(&mut self) -> String {
        let deadline = Instant::now() + DEADLINE;
        while self.read_more(deadline, "its end") {}
        let text = self.shown();
        self.unread.clear();
        text
    }

    /// Reads once; false when everybody has closed the terminal.
    fn read_more(&mut self, deadline: Instant, wanted: &str) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut polled = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
        match poll(&mut polled, timeout) {
            Err(Errno::EINTR) => return true,
            ready => assert!(
                matches!(ready, Ok(1..)),
                "{ready:?}, {DEADLINE:?} without {wanted:?}: {:?}\n{:?}",
                self.shown(),
                self.scene.processes(),
            ),
        }
        let mut block = [0; 4096];
        match self.master.read(&mut block) {
            Ok(count @ 1..) => {
                self.unread.extend_from_slice(&block[..count]);
                true
            }
            Ok(0) | Err(_) => false,
        }
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.unread).into_owned()
    }

    /// Waits for the command's exit code, as a shell shows it.
    pub fn code(&mut self) -> i32 {
        let status = poll_until(PATIENCE, || self.child.try_wait().ok().flatten());
        let Some(status) = status else {
            panic!("the command on the terminal does not end")
        };
        status
            .code()
            .unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
    }
}

fn set_size(master: &File, rows: u16, columns: u16) {
    let size = libc::winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: TIOCSWINSZ reads one `winsize`, which lives through the call.
    let set = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    assert_eq!(set, 0, "size: {}", std::io::Error::last_os_error());
}

/// Both ends, closed on `exec` from the first moment on: openpty(3) would leak
/// them into programs that other tests start meanwhile.
fn open_pair() -> std::io::Result<(File, File)> {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let master = posix_openpt(flags)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let end = File::options()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NOCTTY)
        .open(ptsname_r(&master)?)?;
    // SAFETY: the descriptor was just given up by its only owner.
    let master = unsafe { File::from_raw_fd(master.into_raw_fd()) };
    Ok((master, end))
}
