//! Trial of a trigger on memory pressure (PSI): the file is opened, the trigger
//! written, and the kernel says that there is something to wait for. Whether it
//! ever fires is not tried: that would take real pressure.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use memcap_linux::cgroup::V2Group;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::aid::{Aid, AidTrial, AidVerdict};
use super::group::Owned;
use crate::Host;

const MACHINE: &str = "/proc/pressure/memory";
/// 150 ms of waiting within 2 s: a window that every user may ask for (Linux 6.4;
/// before, a trigger needs CAP_SYS_RESOURCE).
const TRIGGER: &[u8] = b"some 150000 2000000\0";

/// On the machine's file, and where that is refused on that of a group of ours.
pub(super) fn run(host: &Host) -> AidTrial {
    let refusal = match arm(Path::new(MACHINE)) {
        Ok(_) => return accepted(Path::new(MACHINE)),
        Err(error) => error,
    };
    let base = host.cgroup_v2.value();
    let base = base.and_then(|place| place.containment_base.value());
    let own = base.and_then(|base| {
        let group = Owned::<V2Group>::create(base).ok()?;
        let file = group.group().path().join("memory.pressure");
        let armed = arm(&file).is_ok();
        // An empty group that stays is swept by its name.
        let _ = group.dispose();
        armed.then(|| base.join("…/memory.pressure"))
    });
    match own {
        Some(file) => accepted(&file),
        None => AidTrial::without(
            Aid::PressureTrigger,
            verdict(&refusal),
            format!("{MACHINE}: {refusal}"),
        ),
    }
}

fn accepted(file: &Path) -> AidTrial {
    let seen = format!(
        "a trigger of 150 ms in 2 s was accepted at {}",
        file.display()
    );
    AidTrial::works(Aid::PressureTrigger, seen)
}

/// Opens, arms and asks whether it can be waited for. The trigger goes with the
/// file.
fn arm(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(PathBuf::from(path))?;
    file.write_all(TRIGGER)?;
    let mut fds = [PollFd::new(file.as_fd(), PollFlags::POLLPRI)];
    poll(&mut fds, PollTimeout::ZERO)?;
    let answer = fds[0].revents().unwrap_or(PollFlags::empty());
    if answer.intersects(PollFlags::POLLERR | PollFlags::POLLNVAL) {
        return Err(io::Error::other("the trigger cannot be waited for"));
    }
    Ok(file)
}

/// What a refusal means: no such file, PSI turned off, or not for this user.
fn verdict(error: &io::Error) -> AidVerdict {
    use nix::libc::{EACCES, EINVAL, ENOENT, EOPNOTSUPP, EPERM, EROFS};
    match error.raw_os_error() {
        Some(ENOENT | EOPNOTSUPP | EACCES | EPERM | EROFS | EINVAL) => AidVerdict::NotAvailable,
        Some(_) => AidVerdict::NotTried,
        None => AidVerdict::Fails,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_takes_anything_is_no_proof_of_its_absence() {
        let folder = tempfile::tempdir().expect("a folder");
        let missing = arm(&folder.path().join("memory.pressure")).expect_err("not there");
        assert_eq!(verdict(&missing), AidVerdict::NotAvailable);
        let odd = io::Error::from_raw_os_error(nix::libc::EIO);
        assert_eq!(verdict(&odd), AidVerdict::NotTried);
        assert_eq!(verdict(&io::Error::other("poll")), AidVerdict::Fails);
    }
}
