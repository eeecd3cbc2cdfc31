//! How many documents are converted at the same time, and how many workers each
//! of them may have. Pure.
//!
//! All of them together have one total. Each gets an equal share of it for its
//! chunks, so what is gained in time is paid for with smaller chunks; and one
//! marker already computes on all cores in most of its stages. Where there are
//! more jobs than documents, those that are left work on chunks of the same ones.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

use memcap_linux::ByteSize;
use serde::{Serialize, Serializer};

use crate::environment::World;
use crate::estimate::{Conditions, FLOOR, MemoryModel};
use crate::install::PageSize;
use crate::pages::PageSet;
use crate::recovery::Effort;
use crate::version::Version;
use crate::weights;
use crate::workers::PROCESSORS_A_WORKER;

/// How many runs of marker there are to be at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Jobs {
    /// As many as memory and cores allow.
    Auto,
    /// So many.
    Exactly(NonZeroUsize),
    /// One after the other.
    #[default]
    One,
}

/// What was written is no number of jobs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JobsError {
    /// Neither a number nor `auto`.
    #[error("`{0}` is no number of jobs")]
    NotANumber(String),
    /// Marker does not fit into the shares.
    #[error(
        "{jobs} jobs leave {share} of {total} for each, and marker needs at least {FLOOR} to start"
    )]
    TooMany {
        /// As asked for.
        jobs: NonZeroUsize,
        /// What each would have.
        share: ByteSize,
        /// What all have.
        total: ByteSize,
    },
}

impl JobsError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            JobsError::NotANumber(_) => "write a number from 1 on, or auto".to_owned(),
            JobsError::TooMany { total, .. } => match total.bytes() / FLOOR.bytes() {
                0 | 1 => "raise --memory, or leave --jobs away".to_owned(),
                most => format!("write --jobs {most} at most, or raise --memory"),
            },
        }
    }
}

impl FromStr for Jobs {
    type Err = JobsError;

    fn from_str(text: &str) -> Result<Jobs, JobsError> {
        match text.trim() {
            "auto" => Ok(Jobs::Auto),
            number => number
                .parse()
                .map(Jobs::Exactly)
                .map_err(|_| JobsError::NotANumber(text.to_owned())),
        }
    }
}

/// What keeps the number of jobs from being another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobsReason {
    /// It was asked for.
    Asked,
    /// There are so many documents.
    Documents(usize),
    /// There are so many processors.
    Processors(usize),
    /// What all may take, and what a usual chunk of each does.
    Memory {
        /// The limit of all of them.
        total: ByteSize,
        /// Of one.
        need: ByteSize,
    },
}

impl fmt::Display for JobsReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JobsReason::Asked => f.write_str("that many were asked for"),
            JobsReason::Documents(1) => f.write_str("there is one document"),
            JobsReason::Documents(count) => write!(f, "there are {count} documents"),
            JobsReason::Processors(count) => write!(
                f,
                "one marker keeps {PROCESSORS_A_WORKER} processors busy, and there are {count}"
            ),
            JobsReason::Memory { total, need } => write!(
                f,
                "one marker usually takes about {need}, and {total} are there for all of them"
            ),
        }
    }
}

impl Serialize for JobsReason {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// How many jobs there are, and what each has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct JobsDecision {
    /// Documents at the same time.
    pub jobs: NonZeroUsize,
    /// Why not another number.
    #[serde(rename = "jobs_because")]
    pub because: JobsReason,
    /// What the chunks of each are cut for.
    #[serde(rename = "share_bytes")]
    pub share: ByteSize,
    /// Workers that each may have, as its plan decides.
    #[serde(skip)]
    pub workers: Jobs,
}

impl Jobs {
    /// Decides for so many documents on a machine with so many cores, where a
    /// usual chunk needs `need`.
    ///
    /// # Errors
    /// Where more jobs are asked for than could start under the total.
    pub fn decide(
        self,
        documents: usize,
        total: ByteSize,
        need: ByteSize,
        cores: usize,
    ) -> Result<JobsDecision, JobsError> {
        let (asked, because) = match self {
            Jobs::One => (1, JobsReason::Asked),
            Jobs::Exactly(jobs) => (jobs.get(), JobsReason::Asked),
            Jobs::Auto => good(total, need, cores),
        };
        // A single document may have several workers for that.
        let because = match asked > documents {
            true => JobsReason::Documents(documents),
            false => because,
        };
        let jobs = asked.min(documents).max(1);
        let jobs = NonZeroUsize::new(jobs).unwrap_or(NonZeroUsize::MIN);
        let count = u64::try_from(jobs.get()).unwrap_or(u64::MAX);
        let share = ByteSize::from_bytes(total.bytes() / count);
        if jobs.get() > 1 && share < FLOOR {
            return Err(JobsError::TooMany { jobs, share, total });
        }
        Ok(JobsDecision {
            jobs,
            because,
            share,
            workers: self.left_for_each(asked, jobs, documents),
        })
    }

    /// What is left of the jobs for each of the documents that are converted at
    /// the same time. How many are good for a single one is known by its plan.
    fn left_for_each(self, asked: usize, at_once: NonZeroUsize, documents: usize) -> Jobs {
        match (self, documents) {
            (Jobs::One, _) => Jobs::One,
            (Jobs::Auto, 1) => Jobs::Auto,
            (Jobs::Auto | Jobs::Exactly(_), _) => match NonZeroUsize::new(asked / at_once) {
                Some(each) if each.get() > 1 => Jobs::Exactly(each),
                Some(_) | None => Jobs::One,
            },
        }
    }
}

/// A chunk of pages that leaves marker enough to judge by: from about ten on it
/// finds repeated headers, which take more than three repeats, and levels of
/// headings, which take more than four of them (marker 1.10.2 and 2.0.0). A
/// choice, not a measurement.
const USUAL_PAGES: u32 = 10;

/// The limit that a chunk of ten letter pages needs with the models that are
/// on this machine. No marker has been looked for yet, so it is taken to be 1.10.2:
/// of the two that were measured it is the one whose documents can have several
/// workers. What it takes is that release's estimate ([`MemoryModel`]), whose
/// constants say where they were measured; what runs have taught is not in it.
pub fn usual_need(world: &World) -> ByteSize {
    let conditions = Conditions::least(Version::new(1, 10, 2), weights::find(world));
    let model = MemoryModel::new(conditions, &[]);
    let run = model.run(&PageSet::all(USUAL_PAGES), Effort::Usual, |_| {
        PageSize::LETTER
    });
    model.limit_for(run)
}

/// As many as have memory and processors, the scarcer of which is why.
fn good(total: ByteSize, need: ByteSize, cores: usize) -> (usize, JobsReason) {
    let by_memory = total.bytes() / need.bytes().max(1);
    let by_memory = usize::try_from(by_memory).unwrap_or(usize::MAX);
    let by_processors = cores / PROCESSORS_A_WORKER;
    match by_memory < by_processors {
        true => (by_memory, JobsReason::Memory { total, need }),
        false => (by_processors, JobsReason::Processors(cores)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jobs(text: &str) -> Jobs {
        text.parse().unwrap()
    }

    #[test]
    fn jobs_are_bounded_by_documents_memory_and_cores() {
        let gib = ByteSize::from_gib;
        let each = |count| Jobs::Exactly(NonZeroUsize::new(count).unwrap());
        // Asked for, documents, total, cores: jobs, workers of each.
        let cases = [
            ("auto", 9, 16, 16, 4, Jobs::One),
            ("auto", 3, 16, 16, 3, Jobs::One),
            ("auto", 2, 16, 16, 2, each(2)),
            ("auto", 1, 16, 16, 1, Jobs::Auto),
            ("auto", 9, 7, 16, 2, Jobs::One),
            ("auto", 9, 2, 16, 1, Jobs::One),
            ("auto", 9, 16, 2, 1, Jobs::One),
            ("3", 9, 16, 1, 3, Jobs::One),
            ("3", 2, 16, 1, 2, Jobs::One),
            ("3", 1, 16, 1, 1, each(3)),
            ("1", 9, 1, 1, 1, Jobs::One),
        ];
        for (asked, documents, total, cores, expected, workers) in cases {
            let decision = jobs(asked).decide(documents, gib(total), gib(3), cores);
            let decision = decision.unwrap();
            assert_eq!(decision.jobs.get(), expected, "{asked} of {documents}");
            let share = gib(total).bytes() / expected as u64;
            assert_eq!(decision.share.bytes(), share);
            assert_eq!(decision.workers, workers, "{asked} of {documents}");
        }
        assert_eq!(Jobs::default(), Jobs::One);
    }

    #[test]
    fn the_scarcest_is_why_there_are_no_more_jobs() {
        let gib = ByteSize::from_gib;
        // As asked, documents, total in GiB, processors.
        let cases = [
            (
                "auto",
                9,
                16,
                16,
                "4 one marker keeps 4 processors busy, and there are 16",
            ),
            (
                "auto",
                9,
                16,
                2,
                "1 one marker keeps 4 processors busy, and there are 2",
            ),
            (
                "auto",
                9,
                8,
                16,
                "2 one marker usually takes about 3 GiB, and 8 GiB are there for all of them",
            ),
            ("auto", 2, 16, 16, "2 there are 2 documents"),
            ("3", 9, 16, 1, "3 that many were asked for"),
            ("3", 2, 16, 1, "2 there are 2 documents"),
        ];
        for (asked, documents, total, cores, expected) in cases {
            let decided = jobs(asked).decide(documents, gib(total), gib(3), cores);
            let decided = decided.unwrap();
            assert_eq!(format!("{} {}", decided.jobs, decided.because), expected);
        }
    }

    #[test]
    fn shares_that_marker_cannot_start_in_are_refused() {
        let total = ByteSize::from_gib(3);
        let decide = |text: &str| jobs(text).decide(9, total, total, 8);
        assert!(decide("4").is_ok());
        let error = decide("5").unwrap_err();
        assert_eq!(
            error.to_string(),
            "5 jobs leave 614 MiB of 3 GiB for each, and marker needs at least 640 MiB to start"
        );
        assert!(
            error.hint().starts_with("write --jobs 4"),
            "{}",
            error.hint()
        );
    }

    #[test]
    fn words_that_are_no_number_are_refused() {
        for text in ["", "0", "-1", "1.5", "all"] {
            let error = text.parse::<Jobs>().unwrap_err();
            assert!(error.hint().contains("auto"), "{error}");
        }
    }
}
