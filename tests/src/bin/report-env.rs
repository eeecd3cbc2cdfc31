//! `report-env`: writes what a job can see of its surroundings as one JSON
//! object, so that a run with and without memcap can be compared.
//!
//! SIGPIPE is left out: the language's runtime ignores it before `main`. The
//! suites read it from `/proc/self/status` of a plain `cat`.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};

use integration_tests::job::{Arguments, alarm};
use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::{getpgrp, getpid, getppid, getsid};
use serde_json::{Value, json};

const LIMITS: [(&str, Resource); 12] = [
    ("as", Resource::RLIMIT_AS),
    ("core", Resource::RLIMIT_CORE),
    ("cpu", Resource::RLIMIT_CPU),
    ("data", Resource::RLIMIT_DATA),
    ("fsize", Resource::RLIMIT_FSIZE),
    ("locks", Resource::RLIMIT_LOCKS),
    ("memlock", Resource::RLIMIT_MEMLOCK),
    ("msgqueue", Resource::RLIMIT_MSGQUEUE),
    ("nofile", Resource::RLIMIT_NOFILE),
    ("nproc", Resource::RLIMIT_NPROC),
    ("sigpending", Resource::RLIMIT_SIGPENDING),
    ("stack", Resource::RLIMIT_STACK),
];

fn main() {
    alarm();
    Arguments::of_process().finish();
    let report = json!({
        "descriptors": descriptors(),
        "pid": getpid().as_raw(),
        "group": getpgrp().as_raw(),
        "session": getsid(None).map(nix::unistd::Pid::as_raw).ok(),
        "parent": read(&format!("/proc/{}/comm", getppid())),
        "signals": status_lines(&["SigBlk", "SigIgn", "SigCgt", "SigPnd", "ShdPnd"]),
        "privileges": status_lines(&["Uid", "Gid", "Groups", "CapEff", "NoNewPrivs", "Umask"]),
        "nice": stat_field(18),
        "limits": limits(),
        "directory": std::env::current_dir().ok(),
        "environment": environment(),
        "terminal": [
            std::io::stdin().is_terminal(),
            std::io::stdout().is_terminal(),
            std::io::stderr().is_terminal(),
        ],
    });
    if writeln!(std::io::stdout(), "{report}").is_err() {
        std::process::exit(1)
    }
}

/// Open descriptors and what they lead to; the one used for listing is not
/// among them, since it is closed again when its link is read.
fn descriptors() -> BTreeMap<u32, String> {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else {
        return BTreeMap::new();
    };
    let numbers: Vec<u32> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    numbers
        .into_iter()
        .filter_map(|number| {
            let target = std::fs::read_link(format!("/proc/self/fd/{number}")).ok()?;
            Some((number, target.to_string_lossy().into_owned()))
        })
        .collect()
}

fn status_lines(names: &[&str]) -> BTreeMap<String, String> {
    let status = read("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(name, _)| names.contains(name))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect()
}

/// Field number `number` of `/proc/self/stat` (proc(5) counts from 1), for
/// fields behind the parenthesised name.
fn stat_field(number: usize) -> Option<i64> {
    let stat = read("/proc/self/stat")?;
    let (_, behind) = stat.rsplit_once(") ")?;
    // The first field behind the name is number 3.
    behind.split(' ').nth(number.checked_sub(3)?)?.parse().ok()
}

/// Soft and hard limits; unlimited is the largest number.
fn limits() -> BTreeMap<&'static str, Value> {
    LIMITS
        .into_iter()
        .filter_map(|(name, resource)| {
            let (soft, hard) = getrlimit(resource).ok()?;
            Some((name, json!([soft, hard])))
        })
        .collect()
}

/// The variables, in the order of their names; bytes that are no UTF-8 are
/// replaced.
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .map(|(name, value)| {
            (
                name.to_string_lossy().into_owned(),
                value.to_string_lossy().into_owned(),
            )
        })
        .collect()
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path)
        .ok()
        .map(|text| text.trim_end().to_owned())
}
