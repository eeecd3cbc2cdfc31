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

const VERSION: u32 = 2;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estimate::Load;
    use crate::learned::Seen;
    use std::os::unix::fs::PermissionsExt;

    fn subject(marker: &str) -> Subject {
        Subject {
            marker: marker.to_owned(),
            device: Device::Cpu,
            weights: ByteSize::from_mib(40),
            accounting: Some(Accounting::Group),
            drive: Drive::Fresh,
            settings: "0123456789abcdef".to_owned(),
        }
    }

    fn sample(pages: u32) -> Sample {
        Sample {
            load: Load {
                area: f64::from(pages),
                pages,
                layout: 100.0,
                images: 1.0,
                recognition: false,
                kept_heap: false,
            },
            seen: Seen::Peak(ByteSize::from_mib(900)),
        }
    }

    fn store(folder: &tempfile::TempDir) -> Store {
        let state = folder.path().join("state").into_os_string();
        Store::of(&World::new([("XDG_STATE_HOME".into(), state)], "/"))
    }

    #[test]
    fn what_was_learned_is_kept_by_subject_and_only_for_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        assert_eq!(store.recall(&subject("1.10.2")), Recalled::default());
        for pages in 1..=3 {
            store.remember(&subject("1.10.2"), sample(pages)).unwrap();
        }
        store.remember(&subject("2.0.0"), sample(9)).unwrap();
        let recalled = store.recall(&subject("1.10.2"));
        assert_eq!(recalled.samples, [1, 2, 3].map(sample));
        assert_eq!(recalled.warning, None);
        let file = folder.path().join("state/memcap/marker-memory.json");
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600);
        let folder = file.parent().unwrap();
        assert_eq!(folder.metadata().unwrap().mode() & 0o777, 0o700);
        let names = std::fs::read_dir(folder).unwrap().count();
        assert_eq!(names, 2, "the file and its lock");
    }

    #[test]
    fn only_the_newest_are_kept() {
        let mut content = Content::empty();
        for number in 0..40 {
            for pages in 1..=50 {
                content.add(&subject(&format!("1.0.{number}")), sample(pages));
            }
        }
        assert_eq!(content.learned.len(), MAX_SUBJECTS);
        assert_eq!(content.learned[0].subject, subject("1.0.8"));
        let samples = &content.learned[0].samples;
        assert_eq!(samples.len(), MAX_SAMPLES);
        assert_eq!(samples[0], sample(3));
        assert!(serde_json::to_vec(&content).unwrap().len() as u64 <= MAX_BYTES);
    }

    #[test]
    fn what_cannot_be_understood_counts_as_absent_and_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        store.remember(&subject("1.10.2"), sample(1)).unwrap();
        let file = folder.path().join("state/memcap/marker-memory.json");
        let nonsense = sample(0);
        let of_nonsense = Content {
            version: VERSION,
            learned: vec![Lesson {
                subject: subject("1.10.2"),
                samples: vec![nonsense],
            }],
        };
        let texts = [
            "{\"version\": 2, \"learned\": [{".to_owned(),
            "{\"version\": 1, \"learned\": []}".to_owned(),
            " ".repeat(2 << 20),
        ];
        for text in texts {
            std::fs::write(&file, text).unwrap();
            let recalled = store.recall(&subject("1.10.2"));
            assert_eq!(recalled.samples, []);
            assert!(recalled.warning.unwrap().contains("marker-memory.json"));
        }
        let whole = serde_json::to_vec(&of_nonsense).unwrap();
        std::fs::write(&file, whole).unwrap();
        assert_eq!(store.recall(&subject("1.10.2")), Recalled::default());
        std::fs::write(&file, "torn").unwrap();
        store.remember(&subject("1.10.2"), sample(2)).unwrap();
        let recalled = store.recall(&subject("1.10.2"));
        assert_eq!(recalled.samples, [sample(2)]);
    }

    #[test]
    fn files_that_others_can_write_and_links_are_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        store.remember(&subject("1.10.2"), sample(1)).unwrap();
        let file = folder.path().join("state/memcap/marker-memory.json");
        let everybody = std::fs::Permissions::from_mode(0o666);
        std::fs::set_permissions(&file, everybody).unwrap();
        assert!(store.recall(&subject("1.10.2")).warning.is_some());
        let elsewhere = folder.path().join("elsewhere");
        std::fs::rename(&file, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &file).unwrap();
        assert!(store.recall(&subject("1.10.2")).warning.is_some());
        // Replaced, not written through.
        let before = std::fs::read(&elsewhere).unwrap();
        store.remember(&subject("1.10.2"), sample(2)).unwrap();
        assert_eq!(std::fs::read(&elsewhere).unwrap(), before);
        assert!(!std::fs::symlink_metadata(&file).unwrap().is_symlink());
    }

    #[test]
    fn a_user_without_a_home_learns_nothing() {
        let store = Store::of(&World::new([], "/"));
        store.remember(&subject("1.10.2"), sample(1)).unwrap();
        assert_eq!(store.recall(&subject("1.10.2")), Recalled::default());
    }
}
