//! `--save` and `--host`: a host as a folder of text.

use std::path::Path;

use memcap_probe::bundle::{Bundle, BundleError, BundleWriter, Redactor, SavedFile};
use memcap_probe::{DoctorReport, Roots, replay};

use super::wrap::wrap;
use crate::error::{CliError, INTERNAL};
use crate::render::printable;

impl From<BundleError> for CliError {
    fn from(error: BundleError) -> CliError {
        let hint = error.hint();
        CliError::new(error, hint, INTERNAL)
    }
}

/// Makes the folder, so that a name that is taken is refused before anything
/// is tried.
pub(super) fn begin(folder: &Path) -> Result<BundleWriter, CliError> {
    let users = people();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    let short = host.split('.').next().unwrap_or_default();
    let redactor = Redactor::new(
        [host, short],
        users.iter().map(|person| person.name.as_str()),
        users.iter().map(|person| person.home.as_str()),
    );
    Ok(BundleWriter::create(folder, redactor)?)
}

/// Fills it. What is in it, for people.
pub(super) fn fill(
    writer: BundleWriter,
    folder: &Path,
    report: &DoctorReport,
    width: usize,
) -> Result<String, CliError> {
    let saved = writer.save(&Roots::default(), report)?;
    Ok(list(folder, &saved, width))
}

/// The examination of a saved host.
pub(super) fn examine_saved(folder: &Path) -> Result<DoctorReport, CliError> {
    Ok(replay(&Bundle::open(folder)?))
}

/// Every file by name, since people should know what they hand on; those of a
/// group together.
fn list(folder: &Path, saved: &[SavedFile], width: usize) -> String {
    let head = format!(
        "saved {} files in {}. Names of this host and of its users are replaced; look through \
         it before you hand it on:",
        saved.len(),
        folder.display()
    );
    let mut lines = vec![wrap("", &head, width)];
    let together = |one: &SavedFile, next: &SavedFile| {
        one.path.starts_with("/sys/fs/cgroup") && one.path.parent() == next.path.parent()
    };
    for files in saved.chunk_by(together) {
        let [file] = files else {
            let folder = files.first().and_then(|file| file.path.parent());
            let folder = folder.unwrap_or(Path::new("/")).display();
            let names = files.iter().filter_map(|file| file.path.file_name());
            let names: Vec<_> = names.map(|name| name.to_string_lossy()).collect();
            lines.push(format!("  {}", printable(&format!("{folder}/"))));
            lines.push(wrap("    ", &names.join(" "), width));
            continue;
        };
        let line = format!("{} ({})", file.path.display(), file.part);
        lines.push(format!("  {}", printable(&line)));
    }
    lines.join("\n")
}

/// Somebody whose name and home should not be handed on.
struct Person {
    name: String,
    home: String,
}

/// Everybody with an account for people, and whoever we are.
fn people() -> Vec<Person> {
    /// Lower numbers are the system's own (login.defs), this one is nobody.
    const FIRST: u32 = 1000;
    const NOBODY: u32 = 65534;
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let ourselves = nix::unistd::getuid().as_raw();
    let listed = passwd.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let uid: u32 = fields.get(2)?.parse().ok()?;
        let is_person = (FIRST..NOBODY).contains(&uid) || uid == ourselves;
        is_person.then(|| Person {
            name: fields[0].to_owned(),
            home: fields.get(5).copied().unwrap_or_default().to_owned(),
        })
    });
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let named = ["USER", "LOGNAME", "SUDO_USER"].map(|name| Person {
        name: variable(name),
        home: variable("HOME"),
    });
    listed.chain(named).collect()
}
