//! The terminal as it was, for a job that was killed while it had changed it:
//! an editor leaves no echo behind, an interactive shell a foreground group
//! that is gone.

use std::fs::{File, OpenOptions};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, tcgetpgrp, tcsetpgrp};

/// A controlling terminal whose foreground we were in.
pub(crate) struct Terminal {
    file: File,
    modes: Termios,
}

impl Terminal {
    /// Notes how it is. `None` without a terminal, or in its background: then
    /// nothing of it is ours to restore.
    pub(crate) fn remember() -> Option<Terminal> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/tty")
            .ok()?;
        if tcgetpgrp(&file) != Ok(getpgrp()) {
            return None;
        }
        let modes = tcgetattr(&file).ok()?;
        Some(Terminal { file, modes })
    }

    /// Makes it what it was, unless somebody who lives has it by now.
    pub(crate) fn restore(&self) {
        let Ok(foreground) = tcgetpgrp(&self.file) else {
            return;
        };
        let is_ours = foreground == getpgrp();
        if !is_ours && killpg(foreground, None) != Err(Errno::ESRCH) {
            return;
        }
        // From outside the foreground, both calls would stop us.
        let mut quiet = SigSet::empty();
        quiet.add(Signal::SIGTTOU);
        let Ok(before) = quiet.thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_BLOCK) else {
            return;
        };
        // A terminal that is hung up needs nothing.
        let _ = tcsetpgrp(&self.file, getpgrp());
        let _ = tcsetattr(&self.file, SetArg::TCSADRAIN, &self.modes);
        let _ = before.thread_set_mask();
    }
}
