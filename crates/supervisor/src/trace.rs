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
    /// When it wanted to be told again at the latest.
    #[serde(with = "maybe_nanos")]
    pub(crate) next: Option<Duration>,
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
    /// How long the tree could grow unnoticed: from the beginning of the last look
    /// that found it below its limit, or of the last measurement that did not prove
    /// it there, to the halt.
    #[serde(with = "nanos")]
    pub(crate) exposed: Duration,
    /// The fastest growth from one look to the next, per second.
    pub(crate) fastest: ByteSize,
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
    /// What the job itself wrote down that it had touched; added by
    /// `scripts/record-traces`.
    Touched(ByteSize),
}

/// Takes steps down.
#[derive(Debug)]
pub(crate) struct Tracer {
    file: PathBuf,
    steps: Vec<Step>,
    left_out: u64,
    exposure: Exposure,
}

impl Tracer {
    /// To be written to `file` in the end.
    pub(crate) fn new(file: PathBuf) -> Tracer {
        Tracer {
            file,
            steps: Vec::with_capacity(MOST_STEPS),
            left_out: 0,
            exposure: Exposure::default(),
        }
    }

    /// The governor was told `input`, found out since `began`, and answered.
    pub(crate) fn step(
        &mut self,
        governor: &Governor,
        began: Duration,
        (at, input, action): (Duration, Input, Action),
    ) {
        if input == Input::Tick && action == Action::Wait {
            return;
        }
        self.exposure.note(governor, began, input);
        let next = governor.wake_at();
        if self.steps.len() < MOST_STEPS {
            self.steps.push(Step {
                at,
                input,
                action,
                next,
            });
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
            exposed: halted.saturating_sub(self.exposure.below_at),
            fastest: self.exposure.fastest,
            left_out: self.left_out,
        }))?;
        out.flush()
    }
}

/// How far a tree could have grown unseen.
#[derive(Debug, Default)]
struct Exposure {
    /// When the last look or measurement began that did not find it at its limit.
    below_at: Duration,
    /// The last look: when it began, what it found, and what had been written.
    last: Option<(Duration, ByteSize, ByteSize)>,
    fastest: ByteSize,
}

impl Exposure {
    /// Growth between looks that are closer says more of the looks.
    const CLOSEST: Duration = Duration::from_micros(250);

    fn note(&mut self, governor: &Governor, began: Duration, input: Input) {
        let (held, sum) = match input {
            // Of a sum, all of it may be there.
            Input::Sum(sum) => (governor.bounds(sum).1, Some(sum)),
            Input::Bounds(measured) | Input::Exact(measured) => (measured.least, None),
            _ => return,
        };
        let limit = governor.rules().sampled_limit;
        if limit.is_some_and(|limit| held < limit) {
            self.below_at = began;
        }
        let Some(sum) = sum else {
            // What was written is counted anew from here on.
            self.last = None;
            return;
        };
        // What newcomers have inherited, nobody has touched just now.
        let own = sum.total().saturating_sub(sum.inherited);
        if let Some((before, held, written)) = self.last {
            let within = began.saturating_sub(before);
            if within < Self::CLOSEST {
                return;
            }
            let grown = own.saturating_sub(held);
            let grown = grown.saturating_add(sum.written.saturating_sub(written));
            let per_second = u128::from(grown.bytes()) * 1_000_000_000 / within.as_nanos();
            let per_second = u64::try_from(per_second).unwrap_or(u64::MAX);
            self.fastest = self.fastest.max(ByteSize::from_bytes(per_second));
        }
        self.last = Some((began, own, sum.written));
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

/// The same where there may be none.
mod maybe_nanos {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        duration
            .map(|duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
            .serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        let nanos = Option::<u64>::deserialize(deserializer)?;
        Ok(nanos.map(Duration::from_nanos))
    }
}
