//! The formats in which marker writes a document.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::version::Version;

/// What marker writes a document as.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutputFormat {
    /// Markdown, images in files beside it.
    #[default]
    Markdown,
    /// One HTML document, images in files beside it.
    Html,
    /// The tree of blocks as JSON, images within it.
    Json,
    /// A flat list of blocks as JSON, images within it.
    Chunks,
}

/// A word that names no format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no format of marker")]
pub struct FormatError(String);

impl FormatError {
    /// What to write instead.
    pub fn hint(&self) -> &'static str {
        "write markdown, html, json or chunks"
    }
}

impl OutputFormat {
    /// All of them.
    pub const ALL: [OutputFormat; 4] = [
        OutputFormat::Markdown,
        OutputFormat::Html,
        OutputFormat::Json,
        OutputFormat::Chunks,
    ];

    /// Marker's word for it, the value of `--output_format`.
    pub fn word(self) -> &'static str {
        match self {
            OutputFormat::Markdown => "markdown",
            OutputFormat::Html => "html",
            OutputFormat::Json => "json",
            OutputFormat::Chunks => "chunks",
        }
    }

    /// How the name of the main file ends. Marker gives both kinds of JSON the
    /// same name.
    pub fn extension(self) -> &'static str {
        match self {
            OutputFormat::Markdown => "md",
            OutputFormat::Html => "html",
            OutputFormat::Json | OutputFormat::Chunks => "json",
        }
    }

    /// The first release that writes it. From the published wheels: before 1.0
    /// there was no choice, and `chunks` came with 1.8.
    pub fn since(self) -> Version {
        match self {
            OutputFormat::Markdown => Version::new(0, 0, 0),
            OutputFormat::Html | OutputFormat::Json => Version::new(1, 0, 0),
            OutputFormat::Chunks => Version::new(1, 8, 0),
        }
    }
}

impl fmt::Display for OutputFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for OutputFormat {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        OutputFormat::ALL
            .into_iter()
            .find(|format| format.word() == text)
            .ok_or_else(|| FormatError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_named_as_marker_names_them() {
        for format in OutputFormat::ALL {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        let error = "md".parse::<OutputFormat>().unwrap_err();
        assert_eq!(error.to_string(), "`md` is no format of marker");
        assert!(OutputFormat::Chunks.since() > OutputFormat::Json.since());
    }
}
