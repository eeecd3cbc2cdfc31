//! `cgroupns COMMAND ARGS…`: becomes COMMAND in a cgroup namespace of its own, whose
//! root is the group that it is in. The mounts stay as they are.

use std::os::unix::process::CommandExt;
use std::process::{Command, exit};

use integration_tests::job::Arguments;
use nix::sched::{CloneFlags, unshare};

fn main() {
    let mut arguments = Arguments::of_process();
    let program: String = arguments.positional("COMMAND");
    let mut command = Command::new(program);
    while let Some(word) = arguments.next_word() {
        command.arg(word);
    }
    let failure = match unshare(CloneFlags::CLONE_NEWCGROUP) {
        Ok(()) => command.exec(),
        Err(errno) => errno.into(),
    };
    eprintln!("cgroupns: {failure}");
    exit(1)
}
