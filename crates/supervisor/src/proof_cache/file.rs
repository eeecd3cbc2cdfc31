//! The file: read and replaced, and trusted only where nobody else could have
//! written it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, openat};
use nix::libc::{O_DIRECTORY, O_NOFOLLOW};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::Mode;
use serde::{Deserialize, Serialize};

use super::Entry;
use super::way::{self, is_own, not_ours};

const NAME: &str = "proofs.json";
/// Raised when the form changes: another one is not read.
const VERSION: u32 = 1;
/// Far more than our entries take.
const LARGEST: u64 = 256 << 10;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    version: u32,
    proofs: Vec<Entry>,
}

/// What the file of a folder says; nothing where it cannot be read, is not ours
/// alone, or makes no sense.
pub(super) fn read(folder: &Path) -> Vec<Entry> {
    let text = open(folder).and_then(|folder| read_in(&folder));
    text.ok()
        .and_then(|text| serde_json::from_slice(&text).ok())
        .filter(|contents: &Contents| contents.version == VERSION)
        .map(|contents| contents.proofs)
        .unwrap_or_default()
}

/// Replaces the file, whole or not at all; makes the folder where there is none.
pub(super) fn write(folder: &Path, entries: &[Entry]) -> io::Result<()> {
    let contents = Contents {
        version: VERSION,
        proofs: entries.to_vec(),
    };
    let text = serde_json::to_vec(&contents)?;
    let length = u64::try_from(text.len()).unwrap_or(u64::MAX);
    // Beyond `ulimit -f` a write would be answered with SIGXFSZ.
    let (longest, _) = getrlimit(Resource::RLIMIT_FSIZE)?;
    if length > longest.min(LARGEST) {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let folder = match open(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(way::safe(folder)?)?;
            open(folder)?
        }
        other => other?,
    };
    let mut file = tempfile::Builder::new()
        .prefix(".proofs-")
        .tempfile_in(inside(&folder))?;
    file.write_all(&text)?;
    file.persist(inside(&folder).join(NAME))
        .map_err(|error| error.error)?;
    Ok(())
}

/// The folder, held open from here on.
fn open(path: &Path) -> io::Result<File> {
    let folder = OpenOptions::new()
        .read(true)
        .custom_flags(O_DIRECTORY | O_NOFOLLOW)
        .open(way::safe(path)?)?;
    let data = folder.metadata()?;
    // Others may look.
    if !is_own(&data) || data.mode() & 0o022 != 0 {
        return Err(not_ours());
    }
    Ok(folder)
}

fn read_in(folder: &File) -> io::Result<Vec<u8>> {
    // A pipe must not hold us up.
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = File::from(openat(folder, NAME, flags, Mode::empty())?);
    let data = file.metadata()?;
    let is_plain = data.is_file() && data.nlink() == 1 && data.mode() & 0o077 == 0;
    if !is_plain || !is_own(&data) || data.len() > LARGEST {
        return Err(not_ours());
    }
    // One read, and one that finds the end.
    let length = usize::try_from(data.len()).unwrap_or(0);
    let mut text = Vec::with_capacity(length + 1);
    file.take(LARGEST).read_to_end(&mut text)?;
    Ok(text)
}

/// What is in a folder that is held open, whatever has become of its name.
fn inside(folder: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()))
}
