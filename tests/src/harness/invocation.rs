//! A command line of memcap in the making.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::running::{Finished, Running};
use super::scene::Scene;
use super::terminal::Terminal;

/// What is run, by whom, with which options. Nothing happens before
/// [`Invocation::start`].
#[derive(Debug)]
pub struct Invocation<'scene> {
    scene: &'scene Scene,
    memcap: Option<PathBuf>,
    mechanism: Option<OsString>,
    report: Option<PathBuf>,
    options: Vec<OsString>,
    job: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
    directory: Option<PathBuf>,
    input: Option<PathBuf>,
}

impl<'scene> Invocation<'scene> {
    pub(super) fn of_memcap(scene: &'scene Scene, binary: &Path) -> Self {
        Invocation {
            memcap: Some(binary.to_owned()),
            mechanism: Some(scene.setting().mechanism.name().into()),
            report: Some(scene.path("report.json")),
            ..Invocation::plain(scene)
        }
    }

    pub(super) fn plain(scene: &'scene Scene) -> Self {
        Invocation {
            scene,
            memcap: None,
            mechanism: None,
            report: None,
            options: Vec::new(),
            job: Vec::new(),
            variables: Vec::new(),
            directory: None,
            input: None,
        }
    }

    /// Adds `--memory size`.
    pub fn memory(self, size: &str) -> Self {
        self.option("--memory").option(size)
    }

    /// Adds one word before the `--`.
    pub fn option(mut self, word: impl Into<OsString>) -> Self {
        self.options.push(word.into());
        self
    }

    /// Asks for `name` in place of the scene's mechanism.
    pub fn mechanism(mut self, name: &str) -> Self {
        self.mechanism = Some(name.into());
        self
    }

    /// Writes the report to `path` in place of the scene's.
    pub fn report(mut self, path: impl Into<PathBuf>) -> Self {
        self.report = Some(path.into());
        self
    }

    /// Runs the job program `name`.
    pub fn job<A: AsRef<OsStr>>(self, name: &str, arguments: impl IntoIterator<Item = A>) -> Self {
        let program = self.scene.job(name);
        self.command(program, arguments)
    }

    /// Runs any `program`.
    pub fn command<A: AsRef<OsStr>>(
        mut self,
        program: impl Into<OsString>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        self.job = vec![program.into()];
        self.job
            .extend(arguments.into_iter().map(|word| word.as_ref().to_owned()));
        self
    }

    /// Runs `script` in `sh`.
    pub fn shell(self, script: &str) -> Self {
        self.command("sh", ["-c", script])
    }

    /// Sets one variable of memcap's environment.
    pub fn variable(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.variables
            .push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// Starts it in `path` in place of the scene's folder.
    pub fn directory(mut self, path: impl Into<PathBuf>) -> Self {
        self.directory = Some(path.into());
        self
    }

    /// Gives it the file at `path` as standard input, in place of nothing.
    pub fn input(mut self, path: impl Into<PathBuf>) -> Self {
        self.input = Some(path.into());
        self
    }

    /// The words of the whole command line.
    pub fn words(&self) -> Vec<OsString> {
        let Some(memcap) = &self.memcap else {
            return self.job.clone();
        };
        let mut words: Vec<OsString> = vec![memcap.into(), "run".into()];
        if let Some(mechanism) = &self.mechanism {
            words.extend(["--mechanism".into(), mechanism.clone()]);
        }
        if let Some(report) = &self.report {
            words.extend(["--report".into(), report.into()]);
        }
        words.extend(self.options.iter().cloned());
        words.push("--".into());
        words.extend(self.job.iter().cloned());
        words
    }

    /// The same as a line for a shell.
    pub fn line(&self) -> String {
        let quoted = |word: &OsString| {
            let word = word.to_string_lossy();
            format!("'{}'", word.replace('\'', r"'\''"))
        };
        self.words()
            .iter()
            .map(quoted)
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// A command of `words`, with input from nowhere or from the file asked
    /// for.
    fn build(&self, words: &[OsString]) -> Command {
        let mut command = self.scene.command(Path::new(&words[0]));
        command.args(&words[1..]);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        command.stdin(match &self.input {
            None => Stdio::null(),
            Some(path) => match File::open(path) {
                Ok(file) => file.into(),
                Err(error) => panic!("{}: {error}", path.display()),
            },
        });
        command
    }

    /// Starts it with its output collected.
    ///
    /// # Panics
    /// Where it cannot be started.
    pub fn start(self) -> Running<'scene> {
        if let Some(report) = &self.report {
            // A report of an earlier run must not pass for this one's.
            drop(std::fs::remove_file(report));
        }
        // A group of its own lets a suite play the terminal's Ctrl-C.
        let mut command = self.build(&self.words());
        command.process_group(0);
        Running::start(self.scene, command, self.report)
    }

    /// Starts it as the leader of a session on a terminal of its own.
    ///
    /// # Panics
    /// Where there is no pseudo-terminal or it cannot be started.
    pub fn start_on_terminal(self) -> Terminal<'scene> {
        let mut words: Vec<OsString> = ["setsid", "-c"].map(OsString::from).into();
        words.extend(self.words());
        Terminal::start(self.scene, self.build(&words))
    }

    /// Starts it and waits for its end.
    ///
    /// # Panics
    /// As [`Invocation::start`] and [`Running::wait`].
    pub fn run(self) -> Finished {
        self.start().wait()
    }
}
