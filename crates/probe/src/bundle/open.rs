//! Reading a bundle, which may come from anybody.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{BUNDLE_VERSION, BundleError, MANIFEST, Manifest};
use crate::facts::read;
use crate::trial::Trials;
use crate::{Observed, Roots};

/// More than any bundle has: files and folders, levels of folders, bytes of
/// one file.
const MOST_ENTRIES: usize = 20_000;
const DEEPEST: usize = 64;
const LARGEST: u64 = 4 << 20;

/// A captured host.
#[derive(Debug)]
pub struct Bundle {
    dir: PathBuf,
    observed: Observed,
    trials: Option<Trials>,
    saved_by: String,
}

impl Bundle {
    /// Opens a folder that [`super::BundleWriter`] made. Files that are missing
    /// in it are facts that are not known.
    ///
    /// # Errors
    /// When it is no bundle, or holds what no bundle holds.
    pub fn open(dir: &Path) -> Result<Bundle, BundleError> {
        let path = dir.join(MANIFEST);
        let unreadable = |source| BundleError::Read {
            path: dir.to_owned(),
            source,
        };
        let no_bundle = |why| BundleError::NoBundle {
            path: dir.to_owned(),
            why,
        };
        if !fs::metadata(dir).map_err(unreadable)?.is_dir() {
            return Err(no_bundle("it is not a folder"));
        }
        match path.symlink_metadata() {
            Ok(data) if data.is_file() => {}
            Ok(_) => return Err(no_bundle("its bundle.json is not a file")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(no_bundle("there is no bundle.json in it"));
            }
            Err(source) => return Err(BundleError::Read { path, source }),
        }
        // Before anything is read: opening a pipe would wait for ever, and a
        // link would show this machine's files as another's.
        inspect(dir)?;
        let text = read::text(&path).map_err(|source| BundleError::Read {
            path: path.clone(),
            source,
        })?;
        let garbled = |source| BundleError::Garbled {
            path: path.clone(),
            source,
        };
        let value: serde_json::Value = serde_json::from_str(&text).map_err(garbled)?;
        let version = value
            .get("bundle_version")
            .and_then(|number| number.as_u64());
        match version {
            Some(version) if version != u64::from(BUNDLE_VERSION) => {
                return Err(BundleError::Version {
                    path: dir.to_owned(),
                    found: u32::try_from(version).unwrap_or(u32::MAX),
                });
            }
            Some(_) | None => {}
        }
        let manifest: Manifest = serde_json::from_value(value).map_err(garbled)?;
        Ok(Bundle {
            dir: dir.to_owned(),
            observed: manifest.observed,
            trials: manifest.trials,
            saved_by: manifest.memcap,
        })
    }

    /// Where to read the host's facts.
    pub fn roots(&self) -> Roots {
        Roots::captured(&self.dir, self.observed.clone())
    }

    /// The outcome of the trials on that host; absent where none were made.
    pub fn trials(&self) -> Option<&Trials> {
        self.trials.as_ref()
    }

    /// The version of memcap that saved it.
    pub fn saved_by(&self) -> &str {
        &self.saved_by
    }
}

/// Whether a folder holds only what a bundle holds.
fn inspect(dir: &Path) -> Result<(), BundleError> {
    let mut waiting = vec![(dir.to_owned(), 0)];
    let mut entries = 0;
    while let Some((folder, depth)) = waiting.pop() {
        let unreadable = |source| BundleError::Read {
            path: folder.clone(),
            source,
        };
        for entry in fs::read_dir(&folder).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let foreign = |why| BundleError::Foreign {
                path: entry.path(),
                why,
            };
            entries += 1;
            if entries > MOST_ENTRIES {
                return Err(foreign("there are too many files"));
            }
            // Of the link itself, not of what it points to.
            let data = entry.metadata().map_err(unreadable)?;
            if data.is_dir() && depth < DEEPEST {
                waiting.push((entry.path(), depth + 1));
            } else if data.is_dir() {
                return Err(foreign("the folders are too deep"));
            } else if !data.is_file() {
                return Err(foreign("it is neither a file nor a folder"));
            } else if data.len() > LARGEST {
                return Err(foreign("it is larger than 4 MiB"));
            }
        }
    }
    Ok(())
}
