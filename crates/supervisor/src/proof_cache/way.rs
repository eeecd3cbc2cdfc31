//! The way to a folder, walked link by link: nobody but root and us may have laid
//! or be able to replace a part of it.

use std::ffi::OsString;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// As many as the kernel follows (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// The same folder without symbolic links before its name, such as that of a home
/// that is on another disk. What does not exist yet is taken as it is named.
///
/// # Errors
/// Where another user has laid a link or a folder on the way, or may replace one.
pub(super) fn safe(path: &Path) -> io::Result<PathBuf> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    if !path.is_absolute() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(walk(parent)?.join(name))
}

fn walk(path: &Path) -> io::Result<PathBuf> {
    let mut way = Way::from_root(path);
    while let Some(part) = way.ahead.pop() {
        check_folder(&way.at)?;
        if part == ".." {
            way.at.pop();
            continue;
        }
        let next = way.at.join(part);
        match what_is_at(&next)? {
            None => return Ok(way.rest_below(next)),
            Some(data) if data.is_symlink() => way.follow(&next, &data)?,
            Some(_) => way.at = next,
        }
    }
    check_folder(&way.at)?;
    Ok(way.at)
}

/// How far a walk has come.
struct Way {
    at: PathBuf,
    /// The parts that are still to be walked, the next one last.
    ahead: Vec<OsString>,
    links: usize,
}

impl Way {
    fn from_root(path: &Path) -> Way {
        Way {
            at: PathBuf::from("/"),
            ahead: parts(path),
            links: 0,
        }
    }

    /// Goes on with the parts of what the link at `place` points to.
    fn follow(&mut self, place: &Path, data: &Metadata) -> io::Result<()> {
        self.links += 1;
        if !is_trusted(data) || self.links > MOST_LINKS {
            return Err(not_ours());
        }
        let target = place.read_link()?;
        if target.is_absolute() {
            self.at = PathBuf::from("/");
        }
        self.ahead.extend(parts(&target));
        Ok(())
    }

    /// The rest of the way as it is named, behind a part that does not exist.
    fn rest_below(self, missing: PathBuf) -> PathBuf {
        missing.join(self.ahead.iter().rev().collect::<PathBuf>())
    }
}

/// `None` where there is nothing.
fn what_is_at(place: &Path) -> io::Result<Option<Metadata>> {
    match place.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// The next one last.
fn parts(path: &Path) -> Vec<OsString> {
    let parts = path.components().rev().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    parts.collect()
}

fn check_folder(place: &Path) -> io::Result<()> {
    let data = place.symlink_metadata()?;
    // In a sticky directory only the owner replaces what is there.
    let is_safe = data.mode() & 0o022 == 0 || data.mode() & 0o1000 != 0;
    if data.is_dir() && is_trusted(&data) && is_safe {
        Ok(())
    } else {
        Err(not_ours())
    }
}

fn is_trusted(data: &Metadata) -> bool {
    data.uid() == 0 || is_own(data)
}

pub(super) fn is_own(data: &Metadata) -> bool {
    data.uid() == nix::unistd::geteuid().as_raw()
}

pub(super) fn not_ours() -> io::Error {
    io::ErrorKind::PermissionDenied.into()
}
