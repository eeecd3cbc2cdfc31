//! The command line of a job program: options first taken by name, then the
//! rest by position. A mistake ends the program with 64.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fmt::Display;
use std::str::FromStr;

/// How every job program exits when its own arguments are wrong (`EX_USAGE`),
/// a code that no suite expects from a job.
pub const EXIT_USAGE: i32 = 64;

/// The words that are not taken yet.
#[derive(Debug)]
pub struct Arguments {
    program: String,
    words: VecDeque<OsString>,
}

impl Arguments {
    /// The arguments of this process.
    pub fn of_process() -> Self {
        let mut words: VecDeque<OsString> = std::env::args_os().collect();
        let program = words.pop_front().unwrap_or_default();
        Arguments {
            program: program.to_string_lossy().into_owned(),
            words,
        }
    }

    /// Takes the switch `name` (with its dashes); whether it was there.
    pub fn flag(&mut self, name: &str) -> bool {
        let place = self.words.iter().position(|word| word == name);
        place.and_then(|place| self.words.remove(place)).is_some()
    }

    /// Takes the option `name` (with its dashes) and the value behind it.
    pub fn option<T: FromStr>(&mut self, name: &str) -> Option<T>
    where
        T::Err: Display,
    {
        let place = self.words.iter().position(|word| word == name)?;
        self.words.remove(place);
        match self.words.remove(place) {
            Some(word) => Some(self.parse(name, &word)),
            None => self.fail(&format!("{name} needs a value")),
        }
    }

    /// Takes the next word, which is called `what`.
    pub fn positional<T: FromStr>(&mut self, what: &str) -> T
    where
        T::Err: Display,
    {
        match self.words.pop_front() {
            Some(word) => self.parse(what, &word),
            None => self.fail(&format!("{what} is missing")),
        }
    }

    /// Takes the next word, if there is one.
    pub fn next_word(&mut self) -> Option<String> {
        let word = self.words.pop_front()?;
        Some(word.to_string_lossy().into_owned())
    }

    /// Insists that every word was taken.
    pub fn finish(mut self) {
        if let Some(word) = self.words.pop_front() {
            self.fail(&format!("`{}` is not understood", word.display()))
        }
    }

    /// Ends the program with a usage error.
    pub fn fail(&self, message: &str) -> ! {
        eprintln!("{}: {message}", self.program);
        std::process::exit(EXIT_USAGE)
    }

    fn parse<T: FromStr>(&self, what: &str, word: &OsString) -> T
    where
        T::Err: Display,
    {
        let text = word.to_string_lossy();
        text.parse()
            .unwrap_or_else(|error| self.fail(&format!("{what} `{text}`: {error}")))
    }
}
