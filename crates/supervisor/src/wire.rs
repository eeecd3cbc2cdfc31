//! What the embedding program and the keeper tell each other: one JSON object
//! per line over a socket pair.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::fd::RawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use memcap_linux::{ByteSize, ProcessId};
use memcap_probe::trial::HarmlessTrial;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::budget::Ticket;
use crate::evidence::Evidence;
use crate::plan::Placement;
use crate::throttle::Rules;
use crate::{Moment, Rejected};

/// A word of a command line: a string where it is UTF-8, `{"hex": "…"}` of its
/// bytes otherwise. The encoding of reports too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word(pub OsString);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum EncodedWord {
    Text(String),
    Bytes { hex: String },
}

impl Serialize for Word {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let encoded = match self.0.to_str() {
            Some(text) => EncodedWord::Text(text.to_owned()),
            None => EncodedWord::Bytes {
                hex: to_hex(&self.0),
            },
        };
        encoded.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Word, D::Error> {
        match EncodedWord::deserialize(deserializer)? {
            EncodedWord::Text(text) => Ok(Word(text.into())),
            EncodedWord::Bytes { hex } => from_hex(&hex)
                .map(Word)
                .ok_or_else(|| serde::de::Error::custom("odd hex")),
        }
    }
}

fn to_hex(word: &OsStr) -> String {
    use std::fmt::Write as _;
    word.as_bytes().iter().fold(String::new(), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn from_hex(hex: &str) -> Option<OsString> {
    let digits = hex.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits
        .map(byte)
        .collect::<Option<Vec<u8>>>()
        .map(OsString::from_vec)
}

/// Everything the keeper needs for one run. The environment and the streams are
/// the keeper's own, and so become the job's.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Spec {
    pub(crate) program: Word,
    pub(crate) args: Vec<Word>,
    /// The job's working directory; the keeper's own when `None`.
    pub(crate) current_dir: Option<Word>,
    pub(crate) placement: Placement,
    /// The limit is to be tried beside the job's place first.
    pub(crate) trial: bool,
    pub(crate) containment_base: Option<PathBuf>,
    pub(crate) surroundings: Surroundings,
    pub(crate) limit: ByteSize,
    /// What may be in swap beside it.
    pub(crate) swap: ByteSize,
    pub(crate) soft: Option<Rules>,
    pub(crate) time: Option<Duration>,
    pub(crate) cpu: Option<Duration>,
    /// Processes and threads.
    pub(crate) processes: Option<u64>,
    /// What stays available on the machine; zero for no reserve.
    pub(crate) keep_free: ByteSize,
    pub(crate) grace: Duration,
    pub(crate) sample_every: Option<Duration>,
    /// Keep a timeline and the largest processes.
    pub(crate) record: bool,
    /// Where a trace of the governor goes.
    pub(crate) trace: Option<Word>,
    /// Leases are wanted.
    pub(crate) lease: bool,
    /// The job is a member of a budget.
    pub(crate) budget: Option<Seating>,
    /// The embedding program, whose death ends the run.
    pub(crate) host: Option<ProcessId>,
    /// Whether the embedding program stops and goes on with the job.
    pub(crate) mirrors_stops: bool,
    /// Standard streams that the job is started without.
    pub(crate) closed_streams: [bool; 3],
    pub(crate) signal_mask: u64,
    pub(crate) ignored_signals: u64,
}

impl Spec {
    /// Whether leases are given: they are the watchdog's.
    pub(crate) fn leases(&self) -> bool {
        self.lease && matches!(self.placement, Placement::Watchdog)
    }
}

/// A keeper's place among those of a budget.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Seating {
    /// Where it sits at the table.
    pub(crate) ticket: Ticket,
    /// What all members may hold together.
    pub(crate) total: ByteSize,
    /// What of theirs may be in swap beside it.
    pub(crate) swap: ByteSize,
    /// The name of the group around all of them.
    pub(crate) group: String,
    /// Descriptors of table and bell, as a keeper process has inherited them.
    pub(crate) descriptors: [RawFd; 2],
}

/// The groups around the job, nearest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Surroundings {
    /// In the unified hierarchy.
    pub(crate) v2: Vec<PathBuf>,
    /// In the v1 memory hierarchy.
    pub(crate) v1: Vec<PathBuf>,
}

/// From the embedding program to the keeper.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ToKeeper {
    /// Set up and run. Sent again with another placement after a refusal.
    Start(Box<Spec>),
    /// Pass a signal to the main process.
    Signal(i32),
    /// Pass SIGTSTP to the main process, unless both have been stopped since this
    /// process last went on, if it did.
    StopAsked { went_on: Option<Moment> },
    /// Let the main process go on, unless both have been stopped since.
    ContinueAsked { seen: Moment },
    /// End the job: SIGTERM, grace, SIGKILL.
    Stop,
    /// End the tree at once.
    Kill,
    /// Measure the tree and say [`FromKeeper::Looked`].
    Look,
}

/// From the keeper to the embedding program.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FromKeeper {
    /// The enclosure stands and its limits were read back.
    Prepared(Prepared),
    /// The mechanism could not be set up; nothing was started.
    Refused(Rejected),
    /// The job runs.
    Started { pid: i32 },
    /// The job could not be started.
    NotStarted {
        step: String,
        errno: Option<i32>,
        reason: String,
    },
    /// The tree's memory now.
    Sample { current: ByteSize, peak: ByteSize },
    /// The same, because it was asked for.
    Looked { current: ByteSize, peak: ByteSize },
    /// The tree is gone and so are its groups.
    Ended(Box<Evidence>),
}

/// What the keeper has made.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Prepared {
    /// v2 directories, the job's own first.
    pub(crate) v2: Vec<PathBuf>,
    /// v1 memory directories.
    pub(crate) v1: Vec<PathBuf>,
    /// The leaf that the embedding program was moved into to make room.
    pub(crate) room: Option<PathBuf>,
    /// What was read back, for the report.
    pub(crate) proof: Option<String>,
    /// What the trial before it has shown, where one was made.
    pub(crate) trial: Option<HarmlessTrial>,
    /// Things that went less well than hoped.
    pub(crate) notes: Vec<String>,
}

impl Prepared {
    /// Adds what was read back.
    pub(crate) fn prove(&mut self, line: String) {
        self.proof = Some(match self.proof.take() {
            Some(proof) => format!("{proof}; {line}"),
            None => line,
        });
    }
}

/// Sends one message, waiting while the channel is full.
pub(crate) fn send<T: Serialize>(stream: &UnixStream, message: &T) -> io::Result<()> {
    let mut line = serde_json::to_vec(message).map_err(io::Error::other)?;
    line.push(b'\n');
    let mut stream = stream;
    let mut rest = line.as_slice();
    while !rest.is_empty() {
        match stream.write(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => wait_writable(stream)?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn wait_writable(stream: &UnixStream) -> io::Result<()> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd;
    let mut fds = [PollFd::new(stream.as_fd(), PollFlags::POLLOUT)];
    match poll(&mut fds, PollTimeout::NONE) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Collects bytes until a whole line is there.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    buffer: Vec<u8>,
    closed: bool,
}

impl Inbox {
    /// Whether the other end is gone and everything it said has been taken.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Reads what is there, once. On a blocking stream this waits for
    /// something; on a non-blocking one it may bring nothing.
    pub(crate) fn fill(&mut self, stream: &UnixStream) -> io::Result<()> {
        let mut chunk = [0; 4096];
        let mut stream = stream;
        match stream.read(&mut chunk) {
            Ok(0) => self.closed = true,
            Ok(count) => self.buffer.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => self.closed = true,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
                ) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// The next whole message, if one is there.
    pub(crate) fn take<T: for<'de> Deserialize<'de>>(&mut self) -> io::Result<Option<T>> {
        let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') else {
            return Ok(None);
        };
        let line: Vec<u8> = self.buffer.drain(..=end).collect();
        serde_json::from_slice(&line)
            .map(Some)
            .map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_any_bytes_are_read_back() {
        for bytes in [b"plain".to_vec(), b"\xff\x00new\nline".to_vec(), Vec::new()] {
            let word = Word(OsString::from_vec(bytes));
            let text = serde_json::to_string(&word).expect("encodes");
            assert_eq!(
                serde_json::from_str::<Word>(&text).expect("decodes"),
                word,
                "{text}"
            );
        }
    }

    #[test]
    fn messages_may_arrive_in_pieces() {
        let (near, far) = UnixStream::pair().expect("a pair");
        let mut inbox = Inbox::default();
        (&far).write_all(b"{\"signal\":").expect("half");
        inbox.fill(&near).expect("reads");
        assert!(inbox.take::<ToKeeper>().expect("no message yet").is_none());
        (&far).write_all(b"15}\n\"stop\"\n").expect("rest");
        drop(far);
        inbox.fill(&near).expect("reads");
        assert!(matches!(inbox.take(), Ok(Some(ToKeeper::Signal(15)))));
        assert!(matches!(inbox.take(), Ok(Some(ToKeeper::Stop))));
        inbox.fill(&near).expect("reads");
        assert!(inbox.is_closed());
    }
}
