//! What was learned, from one run of memcap to the next: a JSON file in the
//! user's state folder.
//!
//! It saves time and is never needed: whatever is wrong with it, estimates
//! start from the constants, and a warning says so. What it says is believed
//! within bounds only, and it names no document.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use memcap_linux::ByteSize;
use serde::{Deserialize, Serialize};

use super::sample::Sample;
use crate::device::Device;
use crate::drive::Drive;
use crate::environment::World;
use crate::runner::Accounting;
use crate::text::path_text;

/// What samples must have in common to tell about each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// Version of marker.
    pub marker: String,
    /// Where it computes.
    pub device: Device,
    /// Its models.
    pub weights: ByteSize,
    /// What peaks count.
    pub accounting: Option<Accounting>,
    /// How marker is run.
    pub drive: Drive,
    /// A hash over whatever else changes its memory.
    pub settings: String,
}

/// Where samples are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// The file; `None` where the user has no place for one.
    path: Option<PathBuf>,
}

/// What the store knows of a subject.
#[derive(Debug, Default, PartialEq)]
pub struct Recalled {
    /// From the eldest to the newest.
    pub samples: Vec<Sample>,
    /// Why nothing is known although there is a file.
    pub warning: Option<String>,
}

/// The file.
#[derive(Serialize, Deserialize)]
struct Content {
    version: u32,
    learned: Vec<Lesson>,
}

#[derive(Serialize, Deserialize)]
struct Lesson {
    subject: Subject,
    samples: Vec<Sample>,
}

const VERSION: u32 = 1;

/// The newest samples of a subject that are kept, and the subjects that were
/// last added to.
const MAX_SAMPLES: usize = 48;
const MAX_SUBJECTS: usize = 32;

/// More than [`MAX_SUBJECTS`] times [`MAX_SAMPLES`] samples take.
const MAX_BYTES: u64 = 1 << 20;

impl Store {
    /// `marker-memory.json` below `memcap` in `XDG_STATE_HOME`, else in
    /// `~/.local/state`.
    pub fn of(world: &World) -> Store {
        let state = match world.variable("XDG_STATE_HOME").map(Path::new) {
            Some(folder) if folder.is_absolute() => Some(folder.to_owned()),
            Some(_) | None => world
                .variable("HOME")
                .map(|home| world.absolute(Path::new(home)).join(".local/state")),
        };
        Store {
            path: state.map(|folder| folder.join("memcap/marker-memory.json")),
        }
    }

    /// What is known of `subject`.
    pub fn recall(&self, subject: &Subject) -> Recalled {
        let Some(path) = &self.path else {
            return Recalled::default();
        };
        match read(path) {
            Ok(content) => Recalled {
                samples: content.samples_of(subject),
                warning: None,
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Recalled::default(),
            Err(error) => Recalled {
                samples: Vec::new(),
                warning: Some(format!(
                    "what was learned about memory is not used: `{}`: {error}",
                    path_text(path)
                )),
            },
        }
    }

    /// Adds a sample. A file that cannot be understood is replaced; one that
    /// another memcap is writing is waited for, which takes milliseconds.
    ///
    /// # Errors
    /// When the file cannot be written. Nothing is lost but the sample.
    pub fn remember(&self, subject: &Subject, sample: Sample) -> io::Result<()> {
        let Some(path) = &self.path else {
            return Ok(());
        };
        let folder = path.parent().unwrap_or(path);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.with_extension("lock"))?;
        lock.lock()?;
        let mut content = read(path).unwrap_or_else(|_| Content::empty());
        content.add(subject, sample);
        replace(path, folder, &content)
    }
}

impl Content {
    fn empty() -> Content {
        Content {
            version: VERSION,
            learned: Vec::new(),
        }
    }

    fn samples_of(self, subject: &Subject) -> Vec<Sample> {
        self.learned
            .into_iter()
            .find(|lesson| lesson.subject == *subject)
            .map_or_else(Vec::new, |lesson| lesson.samples)
            .into_iter()
            .filter(Sample::is_plausible)
            .collect()
    }

    /// The subject comes last, behind those that were added to before it.
    fn add(&mut self, subject: &Subject, sample: Sample) {
        let known = self
            .learned
            .iter()
            .position(|lesson| lesson.subject == *subject);
        let mut lesson = match known {
            Some(position) => self.learned.remove(position),
            None => Lesson {
                subject: subject.clone(),
                samples: Vec::new(),
            },
        };
        lesson.samples.push(sample);
        keep_last(&mut lesson.samples, MAX_SAMPLES);
        self.learned.push(lesson);
        keep_last(&mut self.learned, MAX_SUBJECTS);
    }
}

fn keep_last<T>(list: &mut Vec<T>, count: usize) {
    list.drain(..list.len().saturating_sub(count));
}

fn read(path: &Path) -> io::Result<Content> {
    // A link is not followed, and a pipe not opened.
    let metadata = std::fs::symlink_metadata(path)?;
    if !metadata.is_file() || metadata.mode() & 0o022 != 0 || metadata.len() > MAX_BYTES {
        return Err(io::Error::other(
            "it is no small file that only its owner can write",
        ));
    }
    let mut text = Vec::new();
    File::open(path)?.take(MAX_BYTES).read_to_end(&mut text)?;
    let content: Content = serde_json::from_slice(&text)?;
    if content.version != VERSION {
        return Err(io::Error::other(format!(
            "it is of version {}, which this memcap does not know",
            content.version
        )));
    }
    Ok(content)
}

fn replace(path: &Path, folder: &Path, content: &Content) -> io::Result<()> {
    // Made with the mode 0600.
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    new.write_all(&serde_json::to_vec(content)?)?;
    let file: File = new.persist(path).map_err(|error| error.error)?;
    file.sync_data()
}
