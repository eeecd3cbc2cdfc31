//! How marker is run for a chunk. The conversion decides what is tried next and
//! what an end means; a driver gets one attempt carried out.

mod fresh;
mod meter;
mod warm;

use std::path::PathBuf;
use std::str::FromStr;

use memcap_linux::ByteSize;
use serde::{Deserialize, Serialize};

use fresh::Fresh;
use warm::{Stay, Warm};

use crate::command::{self, Paths};
use crate::conversion::{ConversionError, wrap};
use crate::pages::PageSet;
use crate::plan::Plan;
use crate::recovery::Effort;
use crate::runner::{Runner, Step, StepReport, Watch};
use crate::servers;
use crate::tuning::Heap;
use crate::version::{Capabilities, Version};

/// How marker is run for the chunks of a document. The result is the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Drive {
    /// [`Drive::Warm`] where the installed version can, else [`Drive::Fresh`].
    #[default]
    Auto,
    /// A process for every chunk: nothing is kept in memory between them.
    Fresh,
    /// One process that loads the models once and converts chunk after chunk.
    /// A version that cannot is driven fresh all the same.
    Warm,
}

/// A word that names no way to run marker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no way to run marker")]
pub struct ParseDriveError(String);

impl ParseDriveError {
    /// What to write instead.
    pub fn hint(&self) -> &'static str {
        "write auto, fresh or warm"
    }
}

impl FromStr for Drive {
    type Err = ParseDriveError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Drive::Auto),
            "fresh" => Ok(Drive::Fresh),
            "warm" => Ok(Drive::Warm),
            other => Err(ParseDriveError(other.to_owned())),
        }
    }
}

/// What marker is to do in one attempt.
pub(crate) struct Assignment<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) pages: PageSet,
    /// What the attempt may cost.
    pub(crate) effort: Effort,
    /// What becomes of memory that it frees.
    pub(crate) heap: Heap,
    pub(crate) paths: Paths,
    /// What it is expected to take at its peak.
    pub(crate) estimate: ByteSize,
}

/// Where a driver keeps what belongs to no chunk.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// What a worker writes before its first chunk.
    pub(crate) worker_log: PathBuf,
    /// The home of marker's servers, where it has any.
    pub(crate) home: Option<PathBuf>,
}

impl Places {
    /// Makes them ready for a process that is about to start.
    fn prepare(&self) -> Result<(), ConversionError> {
        match &self.home {
            Some(home) => servers::make_home(home).map_err(wrap("make", home)),
            None => Ok(()),
        }
    }
}

impl Assignment<'_> {
    /// As a run of `marker_single`.
    fn step(self, places: &Places) -> Result<Step, ConversionError> {
        let config = self.paths.config.clone();
        let mut step = command::step(self.plan, &self.pages, self.effort, self.heap, self.paths)
            .map_err(wrap("write", &config))?;
        // Who is known to fit may wait, frozen, until there is room; where a worker
        // is to answer within a time, that would be its chunk's fault.
        step.estimate = step.time_limit.is_none().then_some(self.estimate);
        if let Some(home) = &places.home {
            step.env.extend(self.plan.server_variables.iter().cloned());
            step.env.push(("HOME".into(), Some(home.into())));
        }
        Ok(step)
    }
}

/// How an attempt went, before it is judged.
pub(crate) struct Ran {
    pub(crate) report: StepReport,
    /// The end of what marker wrote to standard error.
    pub(crate) errors: Vec<u8>,
    /// Where all of it is.
    pub(crate) log: PathBuf,
}

/// Gets attempts carried out, one after the other. What it keeps running ends
/// when it is dropped.
pub(crate) trait Driver {
    /// Carries out one attempt, telling `watch` what its tree holds.
    ///
    /// # Errors
    /// When it could not be carried out at all; a failing marker is no error.
    fn drive(
        &mut self,
        assignment: Assignment<'_>,
        runner: &mut dyn Runner,
        watch: &mut Watch<'_>,
    ) -> Result<Ran, ConversionError>;
}

/// The driver for what was asked for.
pub(crate) fn driver(drive: Drive, version: Version, places: Places) -> Box<dyn Driver> {
    let Capabilities { warm, servers, .. } = version.capabilities();
    match drive {
        Drive::Auto | Drive::Warm if warm => Box::new(Warm::new(Stay::Always, places)),
        Drive::Fresh if servers => Box::new(Warm::new(Stay::Never, places)),
        Drive::Auto | Drive::Fresh | Drive::Warm => Box::new(Fresh(places)),
    }
}
