//! Which documents are meant by the files and folders that were named.
//!
//! A file that is named is always taken, whatever it is called: planning says
//! what is wrong with it. Of a folder only its own files are taken, in the
//! order of their names; what is left out is listed with the reason.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::Metadata;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

use crate::document;
use crate::text::path_text;

/// Endings of files that marker converts, in lower case.
const KINDS: [&str; 16] = [
    "pdf", "png", "jpg", "jpeg", "gif", "bmp", "tif", "tiff", "webp", "avif", "docx", "pptx",
    "xlsx", "epub", "html", "htm",
];

/// The documents that are meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inputs {
    /// In the order in which they were named, a folder's by name.
    pub documents: Vec<PathBuf>,
    /// What is not converted, and why.
    pub skipped: Vec<Skipped>,
}

/// Something that is not converted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Its path.
    #[serde(serialize_with = "crate::text::serialize_path")]
    pub path: PathBuf,
    /// Why.
    pub because: SkipReason,
}

/// Why something is not converted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SkipReason {
    /// Its name begins with a dot.
    Hidden,
    /// A folder within a folder.
    Folder,
    /// Its ending is none that marker converts.
    Unsupported,
    /// A pipe, a device or a socket.
    NotAFile,
    /// It was there before, by this name.
    Twice(PathBuf),
    /// Its result would have the name of this one's.
    NameTaken(PathBuf),
    /// A link that leads nowhere or in a circle, or a file that cannot be seen.
    Unreadable(String),
}

impl SkipReason {
    /// Whether somebody who named it would miss its result.
    pub fn is_failure(&self) -> bool {
        match self {
            SkipReason::NameTaken(_) | SkipReason::Unreadable(_) => true,
            SkipReason::Hidden
            | SkipReason::Folder
            | SkipReason::Unsupported
            | SkipReason::NotAFile
            | SkipReason::Twice(_) => false,
        }
    }
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SkipReason::Hidden => f.write_str("hidden"),
            SkipReason::Folder => f.write_str("a folder; only the files of a folder are taken"),
            SkipReason::Unsupported => f.write_str("not a kind of file that marker converts"),
            SkipReason::NotAFile => f.write_str("not a file"),
            SkipReason::Twice(first) => write!(f, "the same file as `{}`", path_text(first)),
            SkipReason::NameTaken(other) => write!(
                f,
                "its result would have the name of that of `{}`; convert it into another folder",
                path_text(other)
            ),
            SkipReason::Unreadable(reason) => f.write_str(reason),
        }
    }
}

impl Serialize for SkipReason {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// Nothing can be converted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputsError {
    /// A folder cannot be listed.
    #[error("cannot list `{}`", path_text(.path))]
    Unlistable {
        /// The folder.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// There are only folders, and none of them holds a document.
    #[error("there is no document in `{}`", path_text(.path))]
    NoDocuments {
        /// The first folder.
        path: PathBuf,
        /// How many entries it has.
        entries: usize,
    },
}

impl InputsError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            InputsError::Unlistable { .. } => "name a folder that you may read".to_owned(),
            InputsError::NoDocuments { entries: 0, .. } => {
                "it is empty; name a folder with PDF files, or the files themselves".to_owned()
            }
            InputsError::NoDocuments { .. } => format!(
                "files ending in {} are looked for, not those of folders within it; a file of \
                 another name can be named by itself",
                KINDS.join(", ")
            ),
        }
    }
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// A file; device and inode tell it from others.
    File(u64, u64),
    Folder,
    Other,
    Broken(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    path: PathBuf,
    kind: Kind,
}

/// One argument.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Named {
    File(Entry),
    Folder(PathBuf, Vec<Entry>),
}

/// Looks up what was named.
///
/// # Errors
/// When a folder cannot be listed, or there is nothing to convert in any.
pub fn find(names: &[PathBuf]) -> Result<Inputs, InputsError> {
    let named = names
        .iter()
        .map(|name| look(name))
        .collect::<Result<Vec<_>, _>>()?;
    let inputs = resolve(&named);
    match named.first() {
        Some(Named::Folder(path, entries)) if inputs.documents.is_empty() => {
            Err(InputsError::NoDocuments {
                path: path.clone(),
                entries: entries.len(),
            })
        }
        _ => Ok(inputs),
    }
}

fn look(name: &Path) -> Result<Named, InputsError> {
    let entry = entry(name.to_owned());
    if entry.kind != Kind::Folder {
        return Ok(Named::File(entry));
    }
    let unlistable = |source| InputsError::Unlistable {
        path: name.to_owned(),
        source,
    };
    let mut entries = Vec::new();
    for found in std::fs::read_dir(name).map_err(unlistable)? {
        entries.push(self::entry(found.map_err(unlistable)?.path()));
    }
    entries.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(Named::Folder(name.to_owned(), entries))
}

fn entry(path: PathBuf) -> Entry {
    let kind = match std::fs::metadata(&path) {
        Ok(metadata) => kind(&metadata),
        Err(error) => Kind::Broken(error.to_string()),
    };
    Entry { path, kind }
}

fn kind(metadata: &Metadata) -> Kind {
    if metadata.is_file() {
        Kind::File(metadata.dev(), metadata.ino())
    } else if metadata.is_dir() {
        Kind::Folder
    } else {
        Kind::Other
    }
}

/// Decides about every entry.
fn resolve(named: &[Named]) -> Inputs {
    let mut chosen = Chosen::default();
    for name in named {
        match name {
            Named::File(entry) => chosen.consider(entry, None),
            Named::Folder(_, entries) => {
                for entry in entries {
                    chosen.consider(entry, left_out(entry));
                }
            }
        }
    }
    chosen.inputs
}

/// Why an entry of a folder is no document.
fn left_out(entry: &Entry) -> Option<SkipReason> {
    let name = entry.path.file_name().unwrap_or_default();
    if name.as_bytes().starts_with(b".") {
        return Some(SkipReason::Hidden);
    }
    match &entry.kind {
        Kind::Folder => Some(SkipReason::Folder),
        Kind::Other => Some(SkipReason::NotAFile),
        Kind::File(..) | Kind::Broken(_) if !is_supported(&entry.path) => {
            Some(SkipReason::Unsupported)
        }
        Kind::Broken(reason) => Some(SkipReason::Unreadable(reason.clone())),
        Kind::File(..) => None,
    }
}

fn is_supported(path: &Path) -> bool {
    let ending = path.extension().and_then(OsStr::to_str).unwrap_or_default();
    KINDS.iter().any(|kind| ending.eq_ignore_ascii_case(kind))
}

#[derive(Default)]
struct Chosen {
    inputs: Inputs,
    by_identity: HashMap<(u64, u64), PathBuf>,
    by_stem: HashMap<OsString, PathBuf>,
}

impl Chosen {
    fn consider(&mut self, entry: &Entry, left_out: Option<SkipReason>) {
        let reason = left_out.or_else(|| self.clashes(entry));
        let path = entry.path.clone();
        match reason {
            Some(because) => self.inputs.skipped.push(Skipped { path, because }),
            None => self.inputs.documents.push(path),
        }
    }

    /// Whether a document before it is the same, or takes the place of its
    /// result. The first one keeps it.
    fn clashes(&mut self, entry: &Entry) -> Option<SkipReason> {
        if let Kind::File(device, inode) = entry.kind {
            let first = self.by_identity.get(&(device, inode));
            if let Some(first) = first {
                return Some(SkipReason::Twice(first.clone()));
            }
            self.by_identity.insert((device, inode), entry.path.clone());
        }
        let stem = document::stem(entry.path.file_name().unwrap_or_default());
        if let Some(other) = self.by_stem.get(&stem) {
            return Some(SkipReason::NameTaken(other.clone()));
        }
        self.by_stem.insert(stem, entry.path.clone());
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, inode: u64) -> Entry {
        Entry {
            path: path.into(),
            kind: Kind::File(1, inode),
        }
    }

    fn other(path: &str, kind: Kind) -> Entry {
        Entry {
            path: path.into(),
            kind,
        }
    }

    fn folder(entries: Vec<Entry>) -> Named {
        Named::Folder("in".into(), entries)
    }

    fn told(inputs: &Inputs) -> Vec<String> {
        let taken = inputs.documents.iter().map(|path| path_text(path));
        let skipped = inputs
            .skipped
            .iter()
            .map(|skipped| format!("{}: {}", path_text(&skipped.path), skipped.because));
        taken.chain(skipped).collect()
    }

    #[test]
    fn of_a_folder_only_its_own_documents_are_taken() {
        let broken = Kind::Broken("Too many levels of symbolic links".to_owned());
        let named = [folder(vec![
            file("in/.hidden.pdf", 1),
            file("in/B.PDF", 2),
            file("in/a.pdf", 3),
            file("in/notes.txt", 4),
            file("in/scan.jpeg", 5),
            other("in/more", Kind::Folder),
            other("in/loop.pdf", broken.clone()),
            other("in/loop", broken),
            other("in/pipe.pdf", Kind::Other),
        ])];
        let inputs = resolve(&named);
        assert_eq!(
            told(&inputs),
            [
                "in/B.PDF",
                "in/a.pdf",
                "in/scan.jpeg",
                "in/.hidden.pdf: hidden",
                "in/notes.txt: not a kind of file that marker converts",
                "in/more: a folder; only the files of a folder are taken",
                "in/loop.pdf: Too many levels of symbolic links",
                "in/loop: not a kind of file that marker converts",
                "in/pipe.pdf: not a file",
            ]
        );
        let failures = inputs.skipped.iter().filter(|one| one.because.is_failure());
        assert_eq!(failures.count(), 1);
    }

    #[test]
    fn what_is_named_is_taken_whatever_it_is() {
        let named = [
            Named::File(file("data", 1)),
            Named::File(other("gone.pdf", Kind::Broken("No such file".to_owned()))),
            Named::File(file(".secret.pdf", 2)),
        ];
        assert_eq!(told(&resolve(&named)), ["data", "gone.pdf", ".secret.pdf"]);
    }

    #[test]
    fn nothing_is_converted_twice_or_over_another() {
        let named = [
            Named::File(file("x/a.pdf", 1)),
            folder(vec![
                file("in/a.docx", 2),
                file("in/a.pdf", 3),
                file("in/link.pdf", 1),
            ]),
            Named::File(file("./x/a.pdf", 1)),
        ];
        assert_eq!(
            told(&resolve(&named)),
            [
                "x/a.pdf",
                "in/a.docx: its result would have the name of that of `x/a.pdf`; convert it into \
                 another folder",
                "in/a.pdf: its result would have the name of that of `x/a.pdf`; convert it into \
                 another folder",
                "in/link.pdf: the same file as `x/a.pdf`",
                "./x/a.pdf: the same file as `x/a.pdf`",
            ]
        );
    }

    #[test]
    fn folders_are_listed_by_name_and_must_hold_something() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("in");
        std::fs::create_dir(&folder).unwrap();
        let found = || find(std::slice::from_ref(&folder));
        let error = found().unwrap_err();
        assert!(error.hint().starts_with("it is empty"), "{error}");
        std::fs::write(folder.join("notes.txt"), "").unwrap();
        let error = found().unwrap_err();
        assert!(error.hint().contains("pdf, png"), "{error}");
        for name in ["c.pdf", "a.pdf", "b.pdf"] {
            std::fs::write(folder.join(name), "").unwrap();
        }
        std::os::unix::fs::symlink("round.pdf", folder.join("round.pdf")).unwrap();
        let inputs = found().unwrap();
        let expected = ["a.pdf", "b.pdf", "c.pdf"].map(|name| folder.join(name));
        assert_eq!(inputs.documents, expected);
        let reason = &inputs.skipped[1].because;
        assert!(matches!(reason, SkipReason::Unreadable(_)), "{reason}");
    }
}
