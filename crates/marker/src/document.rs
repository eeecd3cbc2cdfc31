//! The document to convert: what it is, checked before anything is started.
//!
//! Pages are counted by PDFium, in marker's environment and under a limit, because
//! marker itself asks it. Where it cannot be asked, lopdf reads trailer and page
//! tree here, which repeats the file's own `/Count` unchecked. It needs the whole
//! file in memory: a copy, since a file that is mapped and then truncated by
//! somebody else ends the process that looks at it (SIGBUS), and this process
//! holds the limit.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use memcap_linux::ByteSize;

use crate::install::PdfFacts;
use crate::kind::DocumentKind;
use crate::page_count::{Pages, QuickCount, plausible, quick_count, readable};
use crate::text::path_text;

/// A file that marker can convert, by its first bytes and its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Where it is; absolute.
    pub path: PathBuf,
    /// The name that marker gives to its result: the file's without the last
    /// extension, cut as Python's `os.path.splitext` cuts it.
    pub stem: OsString,
    /// What it is.
    pub kind: DocumentKind,
    /// Its size in bytes.
    pub bytes: u64,
    /// When it was last changed.
    pub modified: Option<SystemTime>,
}

/// Why a document cannot be converted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// It is missing, or access is denied.
    #[error("cannot read `{}`", path_text(.path))]
    Unreadable {
        /// As given.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A folder, a device, a pipe.
    #[error("`{}` is {what}, not a file", path_text(.path))]
    NotAFile {
        /// As given.
        path: PathBuf,
        /// What it is instead.
        what: &'static str,
    },
    /// It has no bytes.
    #[error("`{}` is empty", path_text(.path))]
    Empty {
        /// As given.
        path: PathBuf,
    },
    /// Neither a PDF nor anything else that marker takes.
    #[error("`{}` is not a PDF, nor anything else that marker converts: it is {what}", path_text(.path))]
    Unknown {
        /// As given.
        path: PathBuf,
        /// What it seems to be.
        what: &'static str,
    },
    /// A user password is needed.
    #[error("`{}` is protected by a password", path_text(.path))]
    Password {
        /// As given.
        path: PathBuf,
    },
    /// The password that was given is none of its own.
    #[error("`{}` does not open with the password that was given", path_text(.path))]
    WrongPassword {
        /// As given.
        path: PathBuf,
    },
    /// PDFium, and with it marker, cannot open it.
    #[error("`{}` is damaged: {reason}", path_text(.path))]
    Malformed {
        /// As given.
        path: PathBuf,
        /// What the reader of the file said.
        reason: String,
    },
    /// It opens, and there is nothing in it.
    #[error("`{}` has no pages", path_text(.path))]
    NoPages {
        /// As given.
        path: PathBuf,
    },
    /// PDFium cannot be asked, and the file is too large to be read here.
    #[error("cannot count the pages of `{}`, which is larger than {largest}: PDFium could not be asked ({reason})", path_text(.path))]
    Uncounted {
        /// As given.
        path: PathBuf,
        /// What would have been read.
        largest: ByteSize,
        /// Why PDFium was not asked.
        reason: String,
    },
}

impl DocumentError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            DocumentError::Password { .. } => {
                Some("give it by --password, or in a file by --password-file FILE".to_owned())
            }
            DocumentError::WrongPassword { .. } => Some(
                "check it; either of its two passwords will do, and their letters' case counts"
                    .to_owned(),
            ),
            DocumentError::Malformed { .. } | DocumentError::NoPages { .. } => {
                Some("qpdf in.pdf out.pdf repairs many damaged files".to_owned())
            }
            DocumentError::Unknown { .. } => Some(
                "name a PDF, or an image, docx, pptx, xlsx, epub or html file; a download may have \
                 gone wrong"
                    .to_owned(),
            ),
            DocumentError::Unreadable { source, .. } => Some(
                match source.kind() {
                    io::ErrorKind::NotFound => "check the path of the document",
                    io::ErrorKind::PermissionDenied => "make the document readable for you",
                    _ => "check the document and the disk that it is on",
                }
                .to_owned(),
            ),
            DocumentError::NotAFile { .. } => Some("name a file".to_owned()),
            DocumentError::Uncounted { .. } => {
                Some("install pypdfium2 in marker's environment, as marker itself does".to_owned())
            }
            DocumentError::Empty { .. } => Some("copy or download the document again".to_owned()),
        }
    }
}

/// Larger files are counted by PDFium alone: what is read here is memory of the
/// process that holds the limit.
pub const LARGEST_LOOK: ByteSize = ByteSize::from_mib(64);

/// How much of a file is looked at to tell what it is: the first names of an
/// archive, the first tag of a web page.
const HEAD: u64 = 32 << 10;

impl Document {
    /// Looks at the file and its first bytes. `path` must be absolute.
    ///
    /// # Errors
    /// When it is not a readable regular file, or nothing that marker takes.
    pub fn open(path: &Path) -> Result<Document, DocumentError> {
        let owned = || path.to_owned();
        let unreadable = |source| DocumentError::Unreadable {
            path: owned(),
            source,
        };
        // Before opening: opening a pipe would wait for its writer.
        let metadata = std::fs::metadata(path).map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(DocumentError::NotAFile {
                path: owned(),
                what: kind_of(&metadata),
            });
        }
        let mut head = Vec::new();
        let file = File::open(path).map_err(unreadable)?;
        file.take(HEAD).read_to_end(&mut head).map_err(unreadable)?;
        if head.is_empty() {
            return Err(DocumentError::Empty { path: owned() });
        }
        let name = path.file_name().unwrap_or_default();
        let kind = DocumentKind::of(&head, name).ok_or_else(|| DocumentError::Unknown {
            path: owned(),
            what: seems(&head),
        })?;
        Ok(Document {
            path: owned(),
            stem: stem(name),
            kind,
            bytes: metadata.len(),
            modified: metadata.modified().ok(),
        })
    }

    /// Whether the file still has the size and the time of [`Document::open`].
    pub fn is_unchanged(&self) -> bool {
        std::fs::metadata(&self.path).is_ok_and(|metadata| {
            metadata.len() == self.bytes && metadata.modified().ok() == self.modified
        })
    }

    /// The blake3 hash of the content, read through a buffer of 64 KiB.
    ///
    /// # Errors
    /// When the file cannot be read to its end.
    pub fn hash(&self) -> Result<blake3::Hash, DocumentError> {
        let unreadable = |source| DocumentError::Unreadable {
            path: self.path.clone(),
            source,
        };
        let file = File::open(&self.path).map_err(unreadable)?;
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(file).map_err(unreadable)?;
        Ok(hasher.finalize())
    }

    /// What a quick look at the page tree says of a file of up to
    /// [`LARGEST_LOOK`], which is held in memory for that long.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn quick_count(&self) -> Result<QuickCount, DocumentError> {
        let unreadable = |source| DocumentError::Unreadable {
            path: self.path.clone(),
            source,
        };
        if self.bytes > LARGEST_LOOK.bytes() {
            return Ok(QuickCount::TooLarge);
        }
        let file = File::open(&self.path).map_err(unreadable)?;
        let mut content = Vec::new();
        file.take(LARGEST_LOOK.bytes())
            .read_to_end(&mut content)
            .map_err(unreadable)?;
        Ok(quick_count(&content))
    }

    /// The pages by PDFium's answer, or where it has none, by a quick look.
    ///
    /// # Errors
    /// When PDFium refuses the file, or it has no pages, or nobody can count
    /// them.
    pub fn pages(&self, pdfium: PdfFacts) -> Result<Pages, DocumentError> {
        let quick = match &pdfium {
            PdfFacts::Pages { .. } | PdfFacts::Password => {
                QuickCount::Doubtful("nobody has looked".to_owned())
            }
            PdfFacts::Malformed { .. } | PdfFacts::NoPdfium { .. } => self.quick_count()?,
        };
        self.pages_by(quick, pdfium)
    }

    fn pages_by(&self, quick: QuickCount, pdfium: PdfFacts) -> Result<Pages, DocumentError> {
        let path = || self.path.clone();
        match (pdfium, quick) {
            (PdfFacts::Pages { count, sizes }, _) => {
                readable(plausible(count, &sizes, self.bytes), sizes)
                    .ok_or_else(|| DocumentError::NoPages { path: path() })
            }
            (PdfFacts::Malformed { .. } | PdfFacts::NoPdfium { .. }, QuickCount::Empty) => {
                Err(DocumentError::NoPages { path: path() })
            }
            (PdfFacts::Password, _) | (PdfFacts::NoPdfium { .. }, QuickCount::NeedsPassword) => {
                Err(DocumentError::Password { path: path() })
            }
            (PdfFacts::Malformed { reason }, _) => Err(DocumentError::Malformed {
                path: path(),
                reason,
            }),
            (PdfFacts::NoPdfium { reason }, QuickCount::Pages(count)) => Ok(Pages {
                count,
                sizes: Vec::new(),
                warning: Some(format!(
                    "PDFium could not be asked ({reason}): the count of {count} pages is the \
                     file's own"
                )),
            }),
            (PdfFacts::NoPdfium { .. }, QuickCount::Doubtful(reason)) => {
                Err(DocumentError::Malformed {
                    path: path(),
                    reason,
                })
            }
            (PdfFacts::NoPdfium { reason }, QuickCount::TooLarge) => {
                Err(DocumentError::Uncounted {
                    path: path(),
                    largest: LARGEST_LOOK,
                    reason,
                })
            }
        }
    }
}

/// `os.path.splitext(name)[0]`: dots that begin a name begin no extension.
pub(crate) fn stem(name: &OsStr) -> OsString {
    let bytes = name.as_bytes();
    let dots = bytes.iter().take_while(|byte| **byte == b'.').count();
    let end = bytes[dots..]
        .iter()
        .rposition(|byte| *byte == b'.')
        .map_or(bytes.len(), |i| dots + i);
    OsString::from_vec(bytes[..end].to_vec())
}

/// What a file is that marker does not take.
fn seems(head: &[u8]) -> &'static str {
    match std::str::from_utf8(head) {
        Ok(text) if text.contains("<") && text.contains("</") => "a web page",
        Ok(_) => "plain text",
        Err(_) if head.starts_with(b"PK\x03\x04") => "an archive of unknown kind",
        Err(_) => "of an unknown kind",
    }
}

fn kind_of(metadata: &Metadata) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    let kind = metadata.file_type();
    if kind.is_dir() {
        "a folder"
    } else if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::install::PageSize;
    use crate::testing::pdf;

    fn open(content: &[u8]) -> Result<Document, DocumentError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.pdf");
        std::fs::write(&path, content).unwrap();
        Document::open(&path)
    }

    #[test]
    fn only_files_that_marker_takes_are_taken() {
        assert!(matches!(open(b""), Err(DocumentError::Empty { .. })));
        assert!(matches!(open(b"hello"), Err(DocumentError::Unknown { .. })));
        assert!(matches!(
            open(&[0; 5000]),
            Err(DocumentError::Unknown { .. })
        ));
        assert!(open(&pdf::letter_pages(1)).is_ok());
        assert!(open(&[b"junk\n".as_slice(), &pdf::letter_pages(1)].concat()).is_ok());

        let folder = tempfile::tempdir().unwrap();
        let missing = Document::open(&folder.path().join("no.pdf"));
        assert!(matches!(missing, Err(DocumentError::Unreadable { .. })));
        let directory = Document::open(folder.path()).unwrap_err();
        assert!(
            directory.to_string().ends_with("is a folder, not a file"),
            "{directory}"
        );
        let device = Document::open(Path::new("/dev/zero")).unwrap_err();
        assert!(
            device.to_string().ends_with("is a device, not a file"),
            "{device}"
        );
    }

    #[test]
    fn pdfium_has_the_last_word() {
        use DocumentError as E;
        let document = open(&pdf::letter_pages(3)).unwrap();
        let said = || PdfFacts::Pages {
            count: 3,
            sizes: vec![PageSize::LETTER; 3],
        };
        let malformed = || PdfFacts::Malformed { reason: "x".into() };
        let no_pdfium = || PdfFacts::NoPdfium {
            reason: "gone".into(),
        };
        let doubtful = || QuickCount::Doubtful("no trailer".into());
        for quick in [QuickCount::Pages(30), QuickCount::Empty, doubtful()] {
            assert_eq!(document.pages_by(quick, said()).unwrap().count, 3);
        }
        let own = document
            .pages_by(QuickCount::Pages(3), no_pdfium())
            .unwrap();
        assert_eq!(own.count, 3);
        assert!(own.warning.is_some());

        let refused = |quick, facts| document.pages_by(quick, facts).unwrap_err();
        assert!(matches!(
            refused(QuickCount::Empty, malformed()),
            E::NoPages { .. }
        ));
        assert!(matches!(
            refused(doubtful(), PdfFacts::Password),
            E::Password { .. }
        ));
        assert!(matches!(
            refused(QuickCount::NeedsPassword, no_pdfium()),
            E::Password { .. }
        ));
        assert!(matches!(
            refused(doubtful(), no_pdfium()),
            E::Malformed { .. }
        ));
        let error = refused(QuickCount::Pages(3), malformed());
        assert!(error.to_string().ends_with("is damaged: x"), "{error}");
    }

    #[test]
    fn a_file_that_is_too_large_to_read_is_left_to_pdfium() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("large.pdf");
        std::fs::write(&path, pdf::letter_pages(3)).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        file.set_len(LARGEST_LOOK.bytes() + 1).unwrap();
        let document = Document::open(&path).unwrap();
        assert_eq!(document.quick_count().unwrap(), QuickCount::TooLarge);
        let said = PdfFacts::Pages {
            count: 3,
            sizes: vec![PageSize::LETTER; 3],
        };
        assert_eq!(document.pages(said).unwrap().count, 3);
        let gone = PdfFacts::NoPdfium {
            reason: "gone".into(),
        };
        let error = document.pages(gone).unwrap_err();
        assert!(
            error.to_string().ends_with("not be asked (gone)"),
            "{error}"
        );
        assert!(error.hint().unwrap().contains("pypdfium2"));
    }

    #[test]
    fn a_file_that_shrinks_after_it_was_looked_at_is_only_shorter() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cut.pdf");
        std::fs::write(&path, pdf::letter_pages(3)).unwrap();
        let document = Document::open(&path).unwrap();
        std::fs::write(&path, "%PDF-1.4").unwrap();
        let count = document.quick_count().unwrap();
        assert!(matches!(count, QuickCount::Doubtful(_)), "{count:?}");
    }

    #[test]
    fn stems_are_cut_as_python_cuts_them() {
        // From os.path.splitext.
        for (name, expected) in [
            ("a.pdf", "a"),
            ("a.b.pdf", "a.b"),
            ("book", "book"),
            (".pdf", ".pdf"),
            ("..pdf", "..pdf"),
            (".a.pdf", ".a"),
            ("a.", "a"),
            ("--help.pdf", "--help"),
        ] {
            assert_eq!(stem(OsStr::new(name)), expected, "{name}");
        }
    }
}
