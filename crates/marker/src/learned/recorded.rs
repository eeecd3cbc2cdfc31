//! The model against peaks of the real marker, measured by
//! `scripts/marker-peaks` on ranges of unlike pages.

use memcap_linux::ByteSize;
use serde::Deserialize;

use super::{Sample, Seen, fit};
use crate::estimate::{LayoutIn, Load, PixelShare, Rendering, prior};
use crate::install::PageSize;
use crate::pages::PageSet;
use crate::recovery::Effort;
use crate::runner::Accounting;
use crate::version::Version;
use crate::weights::Weights;

/// Runs of a marker with some models.
struct Runs {
    version: Version,
    /// Pictures that its layout stage takes at once.
    layout_batch: u32,
    lines: &'static str,
    weights: Weights,
}

/// With the models of `scripts/marker-env`.
const TOY: Runs = Runs {
    version: Version::new(1, 10, 2),
    layout_batch: 6,
    lines: include_str!("../../tests/data/peaks-1.10.2-toy.jsonl"),
    weights: Weights::Measured {
        bytes: ByteSize::from_mib(40),
        copied: ByteSize::from_mib(0),
    },
};

/// With random models of 620 million parameters, and the smaller ones of real
/// size too, that are of 16 bits on disk.
const REAL: Runs = Runs {
    version: Version::new(1, 10, 2),
    layout_batch: 6,
    lines: include_str!("../../tests/data/peaks-1.10.2-real.jsonl"),
    weights: Weights::Measured {
        bytes: ByteSize::from_mib(5466),
        copied: ByteSize::from_mib(5466),
    },
};

/// Of marker 2 with its layout model of real size and a toy of the other.
const SERVERS: Runs = Runs {
    version: Version::new(2, 0, 0),
    layout_batch: 8,
    lines: include_str!("../../tests/data/peaks-2.0.0-toy.jsonl"),
    weights: Weights::Measured {
        bytes: ByteSize::from_mib(0),
        copied: ByteSize::from_mib(0),
    },
};

#[derive(Deserialize)]
struct Recorded {
    mechanism: String,
    effort: Effort,
    peak_bytes: ByteSize,
    recognised: u32,
    range: u32,
    pages: Vec<PageSize>,
}

impl Recorded {
    fn sample(&self, of: &Runs) -> Sample {
        let pages = PageSet::all(u32::try_from(self.pages.len()).unwrap());
        let size = |page: u32| self.pages[usize::try_from(page).unwrap()];
        let recognition = self.recognised > 0;
        let rendering = Rendering {
            pixels: PixelShare::USUAL,
            layout_batch: of.layout_batch,
            layout_in: LayoutIn::of(of.version.family()),
        };
        Sample {
            load: Load::of(&pages, self.effort, rendering, recognition, size),
            seen: Seen::Peak(self.peak_bytes),
        }
    }

    /// What recognition takes goes with its batches, which the model does not
    /// know: with batches of one, four pages took no more than without, 753 MiB,
    /// where half as much again is estimated. That is on the safe side, in a run
    /// that follows one that ran out of memory.
    fn recognised_in_small_batches(&self) -> bool {
        self.recognised > 0 && self.effort != Effort::Usual
    }

    fn accounting(&self) -> Accounting {
        match self.mechanism.as_str() {
            "watchdog" => Accounting::Processes,
            _ => Accounting::Group,
        }
    }
}

impl Runs {
    fn recorded(&self) -> impl Iterator<Item = Recorded> {
        self.lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .filter(|run: &Recorded| !run.recognised_in_small_batches())
    }

    /// Those that are counted like this, with the numbers of their ranges.
    fn counted(&self, accounting: Accounting) -> Vec<(u32, Sample)> {
        self.recorded()
            .filter(|run| run.accounting() == accounting)
            .map(|run| (run.range, run.sample(self)))
            .collect()
    }

    /// The estimate for `run` after `seen`.
    fn estimate(&self, seen: &[Sample], run: &Sample, accounting: Accounting) -> Estimate {
        let prior = prior(self.version, &self.weights, Some(accounting));
        let fitted = fit(&prior, seen);
        let estimate = fitted.coefficients.peak(&run.load);
        Estimate {
            off: (estimate - run.seen.mib()) / run.seen.mib(),
            spread: fitted.spread,
        }
    }

    /// After each three runs, the estimates for the ranges that are not among
    /// them.
    fn after_three(&self, accounting: Accounting) -> Vec<Estimate> {
        let runs = self.counted(accounting);
        let mut estimates = Vec::new();
        for first in 0..runs.len() {
            for second in first + 1..runs.len() {
                for third in second + 1..runs.len() {
                    let seen = [first, second, third].map(|index| runs[index].1);
                    let known = [first, second, third].map(|index| runs[index].0);
                    let unseen = runs.iter().filter(|(range, _)| !known.contains(range));
                    estimates.extend(unseen.map(|(_, run)| self.estimate(&seen, run, accounting)));
                }
            }
        }
        estimates
    }
}

#[derive(Clone, Copy)]
struct Estimate {
    /// How far it is off, as a share of the peak.
    off: f64,
    /// How far off it takes itself to be, as a standard deviation.
    spread: f64,
}

impl Estimate {
    /// Whether the peak passes the limit that is planned for the estimate.
    fn overflows(self) -> bool {
        (1.0 + self.off) * (1.0 + 2.0 * self.spread) < 1.0
    }
}

fn share(estimates: &[Estimate], is: impl Fn(&Estimate) -> bool) -> f64 {
    estimates.iter().filter(|estimate| is(estimate)).count() as f64 / estimates.len() as f64
}

#[test]
fn three_runs_tell_of_ranges_that_are_unlike_them() {
    // (models, what peaks count, runs, the worst error that was seen)
    let cases = [
        (&TOY, Accounting::Processes, 15, 0.105),
        (&TOY, Accounting::Group, 4, 0.08),
        (&REAL, Accounting::Processes, 6, 0.04),
    ];
    for (models, accounting, runs, worst) in cases {
        let recorded = models.counted(accounting);
        assert!(recorded.len() >= runs, "{} runs", recorded.len());
        let estimates = models.after_three(accounting);
        let off: Vec<f64> = estimates.iter().map(|estimate| estimate.off).collect();
        let (low, high) = off.iter().fold((0.0_f64, 0.0_f64), |(low, high), off| {
            (low.min(*off), high.max(*off))
        });
        println!(
            "{} estimates, {low:.3} to {high:.3}, {:.3} within 4 %, {:.3} overflow",
            off.len(),
            share(&estimates, |estimate| estimate.off.abs() <= 0.04),
            share(&estimates, |estimate| estimate.overflows()),
        );
        assert!(-low <= worst && high <= worst, "{low} to {high}");
        assert!(share(&estimates, |estimate| estimate.off.abs() <= 0.04) >= 0.5);
        // Few chunks that are planned by them have to be halved.
        assert!(share(&estimates, |estimate| estimate.overflows()) <= 0.04);
    }
}

#[test]
fn the_constants_are_near_every_run() {
    for (models, worst) in [(&TOY, 0.08), (&REAL, 0.08), (&SERVERS, 0.06)] {
        for run in models.recorded() {
            let (accounting, sample) = (run.accounting(), run.sample(models));
            let off = models.estimate(&[], &sample, accounting).off;
            assert!(
                off.abs() <= worst,
                "{accounting:?}, range {}: {off}",
                run.range
            );
        }
    }
}

#[test]
fn the_same_range_takes_the_same_again() {
    let runs = TOY.counted(Accounting::Processes);
    let first: Vec<f64> = runs
        .iter()
        .filter(|(range, sample)| *range == 1 && sample.load.images > 1.5)
        .map(|(_, sample)| sample.seen.mib())
        .collect();
    assert!(first.len() >= 2);
    for peak in &first {
        assert!((peak / first[0] - 1.0).abs() < 0.005, "{first:?}");
    }
}
