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
    let mut at = PathBuf::from("/");
    let mut waiting = parts(path);
    let mut links = 0;
    while let Some(part) = waiting.pop() {
        check_folder(&at.symlink_metadata()?)?;
        if part == ".." {
            at.pop();
            continue;
        }
        let next = at.join(part);
        let data = match next.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                waiting.reverse();
                return Ok(next.join(waiting.iter().collect::<PathBuf>()));
            }
            other => other?,
        };
        if !data.is_symlink() {
            at = next;
            continue;
        }
        links += 1;
        if !is_trusted(&data) || links > MOST_LINKS {
            return Err(not_ours());
        }
        let target = next.read_link()?;
        if target.is_absolute() {
            at = PathBuf::from("/");
        }
        waiting.extend(parts(&target));
    }
    check_folder(&at.symlink_metadata()?)?;
    Ok(at)
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

fn check_folder(data: &Metadata) -> io::Result<()> {
    // In a sticky directory only the owner replaces what is there.
    let is_safe = data.mode() & 0o022 == 0 || data.mode() & 0o1000 != 0;
    if data.is_dir() && is_trusted(data) && is_safe {
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
