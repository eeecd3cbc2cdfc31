//! What the governor of a run was fed and what it answered, as JSON lines: for
//! finding out why a run went as it did, and for replaying it as a test.
//!
//! The first line holds the [`Rules`]; then one [`Step`] a line, those left out
//! that change nothing; then the [`End`]. Times are nanoseconds since the job's
//! start. Kept in memory until the job is over, so that it costs the loop no
//! system call and no allocation.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::time::Duration;

use memcap_linux::ByteSize;
use serde::{Deserialize, Serialize};

use crate::evidence::Cause;
use crate::governor::{Action, Governor, Input, Rules};

/// How many steps are kept; a longer run's later ones are left out.
const MOST_STEPS: usize = 32 << 10;

/// One thing that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Step {
    /// When it was told.
    #[serde(with = "nanos")]
    pub(crate) at: Duration,
    pub(crate) input: Input,
    pub(crate) action: Action,
}

/// How it came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct End {
    /// Why the tree was ended by us, if it was.
    pub(crate) cause: Option<Cause>,
    /// When the last measurement, of the halted tree, was over.
    #[serde(with = "nanos")]
    pub(crate) halted: Duration,
    /// The largest size seen, that one included.
    pub(crate) peak: ByteSize,
    /// Steps that were not kept.
    pub(crate) left_out: u64,
}

/// A line of a trace.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Line {
    Rules(Rules),
    Step(Step),
    End(End),
}

/// Takes steps down.
#[derive(Debug)]
pub(crate) struct Tracer {
    file: PathBuf,
    steps: Vec<Step>,
    left_out: u64,
}

impl Tracer {
    /// To be written to `file` in the end.
    pub(crate) fn new(file: PathBuf) -> Tracer {
        Tracer {
            file,
            steps: Vec::with_capacity(MOST_STEPS),
            left_out: 0,
        }
    }

    pub(crate) fn step(&mut self, at: Duration, input: Input, action: Action) {
        if input == Input::Tick && action == Action::Wait {
            return;
        }
        if self.steps.len() < MOST_STEPS {
            self.steps.push(Step { at, input, action });
        } else {
            self.left_out += 1;
        }
    }

    /// Writes it all.
    ///
    /// # Errors
    /// When the file cannot be made or written.
    pub(crate) fn write(
        self,
        governor: &Governor,
        halted: Duration,
        peak: ByteSize,
    ) -> io::Result<()> {
        let mut out = BufWriter::new(std::fs::File::create(&self.file)?);
        let mut line = |line: &Line| -> io::Result<()> {
            serde_json::to_writer(&mut out, line)?;
            out.write_all(b"\n")
        };
        line(&Line::Rules(*governor.rules()))?;
        for step in self.steps {
            line(&Line::Step(step))?;
        }
        line(&Line::End(End {
            cause: governor.cause(),
            halted,
            peak,
            left_out: self.left_out,
        }))?;
        out.flush()
    }
}

/// A duration as whole nanoseconds.
pub(crate) mod nanos {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        duration: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_nanos)
    }
}
