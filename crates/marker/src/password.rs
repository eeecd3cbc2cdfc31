//! The password of a document. It is handed on in a file that only its owner
//! can read, never in a command line or the environment, and is written nowhere
//! else.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// A password; its text is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// This text, without a line break at its end.
    pub fn new(text: &str) -> Password {
        let text = text.strip_suffix('\n').unwrap_or(text);
        Password(text.strip_suffix('\r').unwrap_or(text).to_owned())
    }

    /// Writes it into a new file, 0600.
    ///
    /// # Errors
    /// When the file exists or cannot be written.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?
            .write_all(self.0.as_bytes())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_a_line_and_is_not_shown() {
        for text in ["secret", "secret\n", "secret\r\n"] {
            assert_eq!(Password::new(text), Password("secret".to_owned()));
        }
        assert_eq!(Password::new(" a\n\n"), Password(" a\n".to_owned()));
        assert_eq!(format!("{:?}", Password::new("secret")), "Password");
    }
}
