//! The password of locked documents: from a file, or asked for. Never from the
//! command line, which every user of the machine can read.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use memcap_marker::Password;
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

use super::refuse;
use crate::error::CliError;

#[derive(Debug, Default, Args)]
pub(super) struct PasswordArgs {
    /// Ask for the password of documents that are locked: on the terminal, or
    /// from the first line of standard input.
    #[arg(long, help_heading = "Marker", conflicts_with = "password_file")]
    password: bool,
    /// The file whose first line is the password of documents that are locked.
    #[arg(long, value_name = "FILE", help_heading = "Marker")]
    password_file: Option<PathBuf>,
}

impl PasswordArgs {
    /// Reads it from where it is said to be.
    pub(super) fn read(&self) -> Result<Option<Password>, CliError> {
        if let Some(file) = &self.password_file {
            return from_file(file).map(Some);
        }
        if !self.password {
            return Ok(None);
        }
        let asked = ask().map_err(|error| {
            let hint = "give it in a file: --password-file FILE";
            refuse(format!("--password: cannot be read: {error}"), hint)
        })?;
        Ok(Some(Password::new(&asked)))
    }
}

fn from_file(file: &Path) -> Result<Password, CliError> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        let hint = "name a file whose first line is the password";
        refuse(
            format!("--password-file: cannot read {}: {error}", file.display()),
            hint,
        )
    })?;
    Ok(Password::new(
        text.split_inclusive('\n').next().unwrap_or_default(),
    ))
}

fn ask() -> io::Result<String> {
    let stdin = io::stdin();
    let silence = stdin.is_terminal().then(Silence::begin).transpose()?;
    let mut line = String::new();
    let read = stdin.lock().read_line(&mut line);
    if silence.is_some() {
        // The line break that was typed is not shown either.
        writeln!(io::stderr())?;
    }
    match read? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(line),
    }
}

/// The terminal does not show what is typed until this is dropped.
struct Silence(Termios);

impl Silence {
    fn begin() -> io::Result<Silence> {
        let before = tcgetattr(io::stdin())?;
        let mut quiet = before.clone();
        quiet.local_flags.remove(LocalFlags::ECHO);
        write!(io::stderr(), "password: ")?;
        tcsetattr(io::stdin(), SetArg::TCSAFLUSH, &quiet)?;
        Ok(Silence(before))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        // There is nothing better to do with a terminal that refuses.
        let _ = tcsetattr(io::stdin(), SetArg::TCSAFLUSH, &self.0);
    }
}
