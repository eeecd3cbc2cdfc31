//! How file names and marker's own words are put into text.
//!
//! Names on Linux are bytes. In JSON and messages, bytes that are not UTF-8
//! are written as `\xNN` and control characters as Rust writes them (`\n`,
//! `\u{1b}`), so that a name can neither break a line nor drive a terminal.
//! A backslash stays as it is: the text is for people and for reports, it is
//! never read back as a name.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::Serializer;

/// The name as one line of printable text.
pub fn os_text(name: &OsStr) -> String {
    let mut text = String::new();
    for chunk in name.as_bytes().utf8_chunks() {
        push_printable(&mut text, chunk.valid());
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02X}"));
        }
    }
    text
}

/// The path as one line of printable text.
pub fn path_text(path: &Path) -> String {
    os_text(path.as_os_str())
}

/// The last line of `output` that says anything, as printable text of at most
/// 300 characters.
pub fn last_line(output: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(output);
    let line = text
        .split(['\n', '\r'])
        .map(str::trim)
        .rfind(|line| !line.is_empty())?;
    let mut printable = String::new();
    push_printable(&mut printable, &line.chars().take(300).collect::<String>());
    Some(printable)
}

fn push_printable(text: &mut String, part: &str) {
    for character in part.chars() {
        if character.is_control() {
            text.extend(character.escape_default());
        } else {
            text.push(character);
        }
    }
}

/// For `#[serde(serialize_with)]` on paths.
pub(crate) fn serialize_path<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&path_text(path))
}

/// For `#[serde(serialize_with)]` on paths that may be absent.
pub(crate) fn serialize_optional_path<S: Serializer>(
    path: &Option<PathBuf>,
    to: S,
) -> Result<S::Ok, S::Error> {
    match path {
        Some(path) => serialize_path(path, to),
        None => to.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_one_printable_line() {
        let cases: [(&[u8], &str); 5] = [
            (b"/a b/c.pdf", "/a b/c.pdf"),
            (b"caf\xc3\xa9", "café"),
            (b"caf\xe9", "caf\\xE9"),
            (b"two\nlines", "two\\nlines"),
            (b"\x1b[31mred", "\\u{1b}[31mred"),
        ];
        for (bytes, text) in cases {
            assert_eq!(os_text(OsStr::from_bytes(bytes)), text);
        }
    }

    #[test]
    fn the_last_line_that_says_anything_is_found() {
        assert_eq!(
            last_line(b"a\nValueError: x\n\n"),
            Some("ValueError: x".into())
        );
        assert_eq!(last_line(b"10%|#\r20%|##\r"), Some("20%|##".into()));
        assert_eq!(last_line(b" \n"), None);
    }
}
