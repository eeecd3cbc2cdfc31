//! The files of a report and of a plot: known to be writable before the job
//! starts, whole or not there afterwards, and nothing of them left when memcap
//! is killed.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use memcap_linux::{beneath, share_inherited};
use serde::Serialize;
use tempfile::NamedTempFile;

/// A place for a report, or a plot, that will be written.
#[derive(Debug)]
pub(crate) enum ReportFile {
    /// Without a name until it is written; then linked beside the name that was
    /// asked for and renamed.
    Nameless { file: File, name: PathBuf },
    /// Written beside its name and renamed, where a file needs a name.
    Aside { file: NamedTempFile, name: PathBuf },
    /// A device or a pipe: written to as it is.
    Direct { file: File, name: PathBuf },
}

/// The report cannot be written where it was asked for.
#[derive(Debug, thiserror::Error)]
#[error("failed to write `{}`", path.display())]
pub(crate) struct ReportError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl ReportFile {
    /// Makes sure that it can be written.
    pub(crate) fn open(path: &Path) -> Result<ReportFile, ReportError> {
        let failed = |source| ReportError {
            path: path.to_owned(),
            source: beneath(source),
        };
        // As everywhere; whoever wants a file of that name writes `./-`.
        let path = if path == Path::new("-") {
            Path::new("/dev/stdout")
        } else {
            path
        };
        if names_a_descriptor(path) {
            let file = open_stream(path).map_err(failed)?;
            let name = path.to_owned();
            return Ok(ReportFile::Direct { file, name });
        }
        // A link is written through, never replaced.
        let resolved = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let path = resolved.as_path();
        match std::fs::metadata(path) {
            Ok(found) if found.is_dir() => {
                return Err(failed(io::ErrorKind::IsADirectory.into()));
            }
            Ok(found) if !found.is_file() => {
                let file = open_without_waiting(path).map_err(failed)?;
                let name = path.to_owned();
                return Ok(ReportFile::Direct { file, name });
            }
            Ok(_) => {
                // Renaming over it needs no right to write it; respect that.
                OpenOptions::new().append(true).open(path).map_err(failed)?;
            }
            Err(_) => {}
        }
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        // The name must be found after the job has changed our directory's name.
        let name = std::path::absolute(path).map_err(failed)?;
        // Named as it was asked for, not by the temporary file that cannot be made.
        std::fs::metadata(folder).map_err(failed)?;
        if let Some(file) = nameless_in(folder) {
            return Ok(ReportFile::Nameless { file, name });
        }
        let file = beside().tempfile_in(folder).map_err(failed)?;
        Ok(ReportFile::Aside { file, name })
    }

    /// Writes a value as JSON.
    pub(crate) fn write(self, report: &impl Serialize) -> Result<(), ReportError> {
        match serde_json::to_string_pretty(report) {
            Ok(text) => self.write_text(&text),
            Err(error) => Err(ReportError {
                path: self.name(),
                source: io::Error::other(error),
            }),
        }
    }

    fn name(&self) -> PathBuf {
        match self {
            ReportFile::Nameless { name, .. }
            | ReportFile::Aside { name, .. }
            | ReportFile::Direct { name, .. } => name.clone(),
        }
    }

    /// Writes text.
    pub(crate) fn write_text(self, report: &str) -> Result<(), ReportError> {
        match self {
            ReportFile::Nameless { mut file, name } => {
                let failed = |source| ReportError {
                    path: name.clone(),
                    source,
                };
                put(&mut file, report)
                    .and_then(|()| file.sync_all())
                    .map_err(failed)?;
                let folder = name.parent().unwrap_or(Path::new("/"));
                beside()
                    .make_in(folder, |path| link(&file, path))
                    .and_then(|linked| linked.persist(&name).map_err(|error| error.error))
                    .map_err(failed)?;
                Ok(())
            }
            ReportFile::Aside { mut file, name } => {
                let failed = |source| ReportError {
                    path: name.clone(),
                    source,
                };
                put(file.as_file_mut(), report)
                    .and_then(|()| file.as_file().sync_all())
                    .map_err(failed)?;
                file.persist(&name).map_err(|error| failed(error.error))?;
                Ok(())
            }
            ReportFile::Direct { mut file, name } => {
                put(&mut file, report).map_err(|source| ReportError { path: name, source })
            }
        }
    }
}

/// `/dev/stdout` and the like are names of an open stream, whatever that is:
/// what stands behind them must be written to, not replaced.
fn names_a_descriptor(path: &Path) -> bool {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    ["/dev/stdin", "/dev/stdout", "/dev/stderr"]
        .iter()
        .any(|name| absolute == Path::new(name))
        || absolute.starts_with("/dev/fd")
        || absolute.starts_with("/proc")
}

/// What is already open is shared, so that a file that a stream goes to is written
/// from where the job has come to, and not from its beginning.
pub(crate) fn open_stream(path: &Path) -> io::Result<File> {
    match descriptor_of(&std::path::absolute(path)?) {
        Some(number) => {
            let file = File::from(share_inherited(number)?);
            refuse_unwritable(&file)?;
            Ok(file)
        }
        None => OpenOptions::new().append(true).open(path),
    }
}

/// The number of the descriptor of ours that is named so.
fn descriptor_of(path: &Path) -> Option<RawFd> {
    match path.to_str()? {
        "/dev/stdin" => Some(0),
        "/dev/stdout" => Some(1),
        "/dev/stderr" => Some(2),
        name => ["/dev/fd/", "/proc/self/fd/"]
            .iter()
            .find_map(|folder| name.strip_prefix(folder)?.parse().ok()),
    }
}

/// A descriptor for reading alone fails now, and not at the end.
fn refuse_unwritable(file: &File) -> io::Result<()> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let flags = OFlag::from_bits_retain(fcntl(file, FcntlArg::F_GETFL)?);
    match flags & OFlag::O_ACCMODE {
        OFlag::O_RDONLY => Err(io::Error::other("it is open for reading alone")),
        _ => Ok(()),
    }
}

/// A device or a pipe. A pipe that nobody reads is an error, where a plain open would
/// wait for a reader, before the job has begun and without a word.
fn open_without_waiting(path: &Path) -> io::Result<File> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let opened = OpenOptions::new()
        .write(true)
        .custom_flags(nix::libc::O_NONBLOCK)
        .open(path);
    let file = opened.map_err(|error| match error.raw_os_error() {
        Some(nix::libc::ENXIO) => {
            io::Error::other("nobody reads from this pipe; start its reader first")
        }
        _ => error,
    })?;
    let flags = OFlag::from_bits_retain(fcntl(&file, FcntlArg::F_GETFL)?);
    fcntl(&file, FcntlArg::F_SETFL(flags - OFlag::O_NONBLOCK))?;
    Ok(file)
}

fn beside() -> tempfile::Builder<'static, 'static> {
    let mut names = tempfile::Builder::new();
    names.prefix(".memcap-report-");
    names
}

/// A file that is gone with its last descriptor; `None` where the filesystem
/// has none, or where /proc cannot give it a name later.
fn nameless_in(folder: &Path) -> Option<File> {
    let file = OpenOptions::new()
        .write(true)
        .mode(0o600)
        .custom_flags(nix::libc::O_TMPFILE)
        .open(folder)
        .ok()?;
    std::fs::symlink_metadata(descriptor(&file)).ok()?;
    Some(file)
}

fn link(file: &File, name: &Path) -> io::Result<()> {
    use nix::fcntl::{AT_FDCWD, AtFlags};
    let from = descriptor(file);
    nix::unistd::linkat(
        AT_FDCWD,
        from.as_path(),
        AT_FDCWD,
        name,
        AtFlags::AT_SYMLINK_FOLLOW,
    )?;
    Ok(())
}

fn descriptor(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

fn put(file: &mut File, text: &str) -> io::Result<()> {
    file.write_all(text.as_bytes())?;
    if text.ends_with('\n') {
        return Ok(());
    }
    file.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_written_through_and_stays() {
        let dir = tempfile::tempdir().expect("a folder");
        let (link, target) = (dir.path().join("link"), dir.path().join("target"));
        std::fs::write(&target, "old").expect("a file");
        std::os::unix::fs::symlink(&target, &link).expect("a link");
        let report = ReportFile::open(&link).expect("writable");
        report
            .write(&serde_json::json!({"new": true}))
            .expect("written");
        assert!(
            std::fs::symlink_metadata(&link)
                .expect("there")
                .is_symlink()
        );
        assert!(
            std::fs::read_to_string(&target)
                .expect("there")
                .contains("new")
        );
    }

    #[test]
    fn nothing_is_there_until_it_is_whole() {
        let dir = tempfile::tempdir().expect("a folder");
        let entries = || std::fs::read_dir(dir.path()).expect("listed").count();
        let name = dir.path().join("report.json");
        let report = ReportFile::open(&name).expect("writable");
        if matches!(report, ReportFile::Nameless { .. }) {
            assert_eq!(entries(), 0);
        }
        std::fs::write(&name, "old").expect("a file");
        report.write_text("new").expect("written");
        assert_eq!(std::fs::read_to_string(&name).expect("there"), "new\n");
        assert_eq!(entries(), 1);
    }

    #[test]
    fn streams_are_told_by_their_names() {
        let cases = [
            ("/dev/stdout", true, Some(1)),
            ("/dev/fd/3", true, Some(3)),
            ("/proc/self/fd/12", true, Some(12)),
            ("/proc/self/fd/x", true, None),
            ("/proc/1/fd/1", true, None),
            ("report.json", false, None),
        ];
        for (name, is_one, number) in cases {
            let path = Path::new(name);
            assert_eq!(names_a_descriptor(path), is_one, "{name}");
            assert_eq!(descriptor_of(path), number, "{name}");
        }
    }
}
