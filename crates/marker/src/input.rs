//! The name under which marker sees the document.
//!
//! Python hands names to PDFium as UTF-8, so marker cannot open a file whose
//! path is something else. Such a document gets a second, plain name in the
//! work folder: a hard link, or a copy where the file system allows none. So
//! does one with a dot in its stem where marker would name the folder of its
//! result differently from the files in it.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use crate::conversion::ConversionError;
use crate::document::Document;
use crate::password::Password;
use crate::plan::Plan;
use crate::runner::Runner;
use crate::unlock::{UnlockedCopy, unlock};
use crate::version::Capabilities;
use crate::work_folder::{WorkFolder, WorkFolderError};

/// The document as marker is to see it.
#[derive(Debug)]
pub struct Input {
    /// An absolute path.
    pub path: PathBuf,
    /// The name that marker derives from it for its files.
    pub stem: OsString,
    /// Held until the end, if this is a copy without a password.
    _unlocked: Option<UnlockedCopy>,
}

impl Input {
    /// A copy without the document's password; `None` where the user wants to
    /// stop.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn unlocked(
        plan: &Plan,
        password: &Password,
        folder: &WorkFolder,
        runner: &mut dyn Runner,
    ) -> Result<Option<Input>, ConversionError> {
        let path = folder.fresh_input()?.join("document.pdf");
        let copy = unlock(plan, password, &path, runner)?;
        Ok(copy.map(|copy| Input {
            path,
            stem: "document".into(),
            _unlocked: Some(copy),
        }))
    }

    /// The document itself, or its second name; `marker` tells whether dots
    /// in a name matter.
    ///
    /// # Errors
    /// When the second name cannot be made.
    pub fn of(
        document: &Document,
        folder: &WorkFolder,
        marker: Capabilities,
    ) -> Result<Input, WorkFolderError> {
        let has_dot = document.stem.as_encoded_bytes().contains(&b'.');
        let misnamed = marker.cuts_folder_names && has_dot;
        if document.path.to_str().is_some() && !misnamed {
            return Ok(Input {
                path: document.path.clone(),
                stem: document.stem.clone(),
                _unlocked: None,
            });
        }
        // With the ending, by which marker may tell what it is.
        let ending = document.path.extension().and_then(OsStr::to_str);
        let name = format!("document.{}", ending.unwrap_or("pdf"));
        let path = folder.fresh_input()?.join(name);
        let linked = std::fs::canonicalize(&document.path)
            .and_then(|original| std::fs::hard_link(original, &path));
        if linked.is_err() {
            std::fs::copy(&document.path, &path).map_err(|source| WorkFolderError::Io {
                operation: "copy the document to",
                path: path.clone(),
                source,
            })?;
        }
        if path.to_str().is_none() {
            return Err(WorkFolderError::NotUtf8 { path });
        }
        Ok(Input {
            path,
            stem: "document".into(),
            _unlocked: None,
        })
    }
}
