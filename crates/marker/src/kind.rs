//! What kind of document a file is, as marker will see it: by its content
//! first, then by its name (`marker/providers/registry.py`). Pure.
//!
//! Only a PDF has pages that can be chosen. All others are turned into a PDF by
//! marker itself, or are one image; how many pages that makes is not known
//! before, so they are converted in one piece.

use std::ffi::OsStr;
use std::fmt;

use serde::Serialize;

use crate::version::Version;

/// A kind of document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DocumentKind {
    /// A PDF.
    Pdf,
    /// One image: JPEG, PNG, TIFF and others.
    Image,
    /// An electronic book.
    Epub,
    /// A text of Microsoft Word and its relatives.
    Docx,
    /// A spreadsheet.
    Xlsx,
    /// Slides.
    Pptx,
    /// A web page.
    Html,
}

impl fmt::Display for DocumentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DocumentKind::Pdf => "a PDF",
            DocumentKind::Image => "an image",
            DocumentKind::Epub => "an EPUB book",
            DocumentKind::Docx => "a docx document",
            DocumentKind::Xlsx => "an xlsx spreadsheet",
            DocumentKind::Pptx => "pptx slides",
            DocumentKind::Html => "an HTML page",
        })
    }
}

impl DocumentKind {
    /// The kind of a file that begins with `head` and is called `name`; `None`
    /// where marker would take it for a PDF that it is not.
    pub fn of(head: &[u8], name: &OsStr) -> Option<DocumentKind> {
        let by_name = by_name(name);
        match by_content(head) {
            // A name that ends in .pdf and a page of a web server that says
            // why it sent no PDF: marker would convert that message.
            Some(DocumentKind::Html) if by_name == Some(DocumentKind::Pdf) => None,
            Some(kind) => Some(kind),
            None => by_name.filter(|kind| *kind != DocumentKind::Pdf),
        }
    }

    /// The first release that takes it. From the providers in the published
    /// wheels.
    pub fn since(self) -> Version {
        match self {
            DocumentKind::Pdf => Version::new(0, 0, 0),
            DocumentKind::Image => Version::new(1, 3, 0),
            DocumentKind::Epub
            | DocumentKind::Docx
            | DocumentKind::Xlsx
            | DocumentKind::Pptx
            | DocumentKind::Html => Version::new(1, 6, 0),
        }
    }

    /// Whether marker needs packages for it that a plain installation lacks.
    pub fn needs_extras(self) -> bool {
        match self {
            DocumentKind::Pdf | DocumentKind::Image => false,
            DocumentKind::Epub
            | DocumentKind::Docx
            | DocumentKind::Xlsx
            | DocumentKind::Pptx
            | DocumentKind::Html => true,
        }
    }
}

fn by_content(head: &[u8]) -> Option<DocumentKind> {
    if is_image(head) {
        return Some(DocumentKind::Image);
    }
    if is_pdf(head) {
        return Some(DocumentKind::Pdf);
    }
    archive(head).or_else(|| is_html(head).then_some(DocumentKind::Html))
}

/// Images that marker's `filetype` package knows, by the first bytes, and where
/// these are not at the very beginning, their offset.
const IMAGES: [(usize, &[u8]); 17] = [
    (0, b"\xff\xd8\xff"),
    (0, b"\x89PNG"),
    (0, b"GIF"),
    (8, b"WEBPVP"),
    (0, b"II*\0"),
    (0, b"MM\0*"),
    (0, b"BM"),
    (0, b"8BPS"),
    (0, b"II\xbc"),
    (0, b"\0\0\x01\0"),
    (0, b"gimp xcf v"),
    (0, b"AC10"),
    (16, b"ftypjp2 "),
    (4, b"ftypheic"),
    (4, b"ftypavif"),
    (4, b"ftypmif1"),
    (128, b"DICM"),
];

fn is_image(head: &[u8]) -> bool {
    let begins = |(offset, magic): &(usize, &[u8])| {
        head.get(*offset..)
            .is_some_and(|rest| rest.starts_with(magic))
    };
    IMAGES.iter().any(begins)
}

/// Readers look for the header in the first 1024 bytes; marker itself only at
/// the beginning, but what it does not know it takes for a PDF.
fn is_pdf(head: &[u8]) -> bool {
    let window = &head[..head.len().min(1024)];
    window.windows(5).any(|bytes| bytes == b"%PDF-")
}

/// What a ZIP archive holds, by the names of its first files.
fn archive(head: &[u8]) -> Option<DocumentKind> {
    const ENTRY: &[u8] = b"PK\x03\x04";
    if !head.starts_with(ENTRY) {
        return None;
    }
    if head
        .get(30..)
        .is_some_and(|name| name.starts_with(b"mimetypeapplication/epub+zip"))
    {
        return Some(DocumentKind::Epub);
    }
    let starts = head.windows(ENTRY.len()).enumerate();
    let entries = starts.filter(|(_, bytes)| *bytes == ENTRY).take(5);
    let mut names = entries.filter_map(|(at, _)| head.get(at + 30..));
    names.find_map(|name| {
        let folders: [(&[u8], DocumentKind); 3] = [
            (b"word/", DocumentKind::Docx),
            (b"xl/", DocumentKind::Xlsx),
            (b"ppt/", DocumentKind::Pptx),
        ];
        let found = folders.iter().find(|(folder, _)| name.starts_with(folder));
        found.map(|(_, kind)| *kind)
    })
}

/// Text with a tag of HTML.
fn is_html(head: &[u8]) -> bool {
    // The head may end within a character.
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    let text = text.to_ascii_lowercase();
    [
        "<!doctype html",
        "<html",
        "<head",
        "<body",
        "<p>",
        "<div",
        "<h1",
        "<table",
    ]
    .iter()
    .any(|tag| text.contains(tag))
}

fn by_name(name: &OsStr) -> Option<DocumentKind> {
    let name = name.to_string_lossy().to_ascii_lowercase();
    let (_, ending) = name.rsplit_once('.')?;
    match ending {
        "pdf" => Some(DocumentKind::Pdf),
        "epub" => Some(DocumentKind::Epub),
        "docx" => Some(DocumentKind::Docx),
        "xlsx" => Some(DocumentKind::Xlsx),
        "pptx" => Some(DocumentKind::Pptx),
        "html" | "htm" => Some(DocumentKind::Html),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use DocumentKind as K;

    #[test]
    fn content_decides_before_the_name() {
        let zip = |name: &str| [b"PK\x03\x04".as_slice(), &[0; 26], name.as_bytes()].concat();
        let office = |folder: &str| {
            let first = zip("[Content_Types].xml");
            [first, zip("_rels/.rels"), zip(&format!("{folder}x.xml"))].concat()
        };
        let cases: [(&[u8], &str, Option<DocumentKind>); 20] = [
            (b"%PDF-1.7", "a.docx", Some(K::Pdf)),
            (b"junk %PDF-1.7", "a", Some(K::Pdf)),
            (b"\xff\xd8\xff\xe0", "a.pdf", Some(K::Image)),
            (b"\x89PNG\r\n", "a", Some(K::Image)),
            (b"RIFF\0\0\0\0WEBPVP8 ", "a", Some(K::Image)),
            (b"\0\0\0\x20ftypavif", "a", Some(K::Image)),
            (&zip("mimetypeapplication/epub+zip"), "a.zip", Some(K::Epub)),
            (&office("word/"), "a", Some(K::Docx)),
            (&office("xl/"), "a.docx", Some(K::Xlsx)),
            (&office("ppt/"), "a", Some(K::Pptx)),
            (&zip("other"), "a.zip", None),
            (&zip("other"), "a.docx", Some(K::Docx)),
            (b"<!DOCTYPE html><html>", "a", Some(K::Html)),
            (b"<html><body>404", "a.pdf", None),
            (b"<html><body>404", "A.PDF", None),
            (b"plain text", "a.pdf", None),
            (b"plain text", "a.txt", None),
            (b"plain text", "a.html", Some(K::Html)),
            (b"1 < 2", "a", None),
            (b"caf\xe9 <p>", "a", None),
        ];
        for (head, name, expected) in cases {
            let found = DocumentKind::of(head, OsStr::new(name));
            assert_eq!(found, expected, "{name}: {}", String::from_utf8_lossy(head));
        }
        let cut = "<p>é".as_bytes();
        assert_eq!(DocumentKind::of(&cut[..4], OsStr::new("a")), Some(K::Html));
    }
}
