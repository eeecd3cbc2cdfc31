//! The model against peaks of the real marker, measured by
//! `scripts/marker-peaks` on ranges of unlike pages.

use memcap_linux::ByteSize;
use serde::Deserialize;

use super::{Sample, Seen, fit};
use crate::estimate::{Load, PixelShare, prior};
use crate::install::PageSize;
use crate::pages::PageSet;
use crate::recovery::Effort;
use crate::runner::Accounting;
use crate::version::Version;
use crate::weights::Weights;

const TOY: &str = include_str!("../../tests/data/peaks-1.10.2-toy.jsonl");

/// Of the models of `scripts/marker-env`.
const TOY_WEIGHTS: ByteSize = ByteSize::from_mib(40);

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
    fn sample(&self) -> Sample {
        let pages = PageSet::all(u32::try_from(self.pages.len()).unwrap());
        let size = |page: u32| self.pages[usize::try_from(page).unwrap()];
        let recognition = self.recognised > 0;
        let share = PixelShare::USUAL;
        Sample {
            load: Load::of(&pages, self.effort, share, 6, recognition, size),
            seen: Seen::Peak(self.peak_bytes),
        }
    }
}

/// The runs under this mechanism, with the numbers of their ranges.
fn recorded(mechanism: &str) -> Vec<(u32, Sample)> {
    TOY.lines()
        .map(|line| serde_json::from_str::<Recorded>(line).unwrap())
        .filter(|run| run.mechanism == mechanism)
        .map(|run| (run.range, run.sample()))
        .collect()
}

/// How far the estimate for `run` is off, as a share of its peak, after `seen`.
fn off(seen: &[Sample], run: &Sample, accounting: Accounting) -> f64 {
    let weights = Weights::Measured { bytes: TOY_WEIGHTS };
    let prior = prior(Version::new(1, 10, 2), &weights, Some(accounting));
    let estimate = fit(&prior, seen).coefficients.peak(&run.load);
    (estimate - run.seen.mib()) / run.seen.mib()
}

/// Errors after each three runs, on those of the other ranges, ascending.
fn errors_after_three(runs: &[(u32, Sample)], accounting: Accounting) -> Vec<f64> {
    let mut errors = Vec::new();
    for first in 0..runs.len() {
        for second in first + 1..runs.len() {
            for third in second + 1..runs.len() {
                let seen = [first, second, third].map(|index| runs[index].1);
                let known = [first, second, third].map(|index| runs[index].0);
                let unseen = runs.iter().filter(|(range, _)| !known.contains(range));
                errors.extend(unseen.map(|(_, run)| off(&seen, run, accounting).abs()));
            }
        }
    }
    errors.sort_by(f64::total_cmp);
    errors
}

#[test]
fn three_runs_tell_of_ranges_that_are_unlike_them() {
    let runs = recorded("watchdog");
    assert!(runs.len() >= 9, "{}", runs.len());
    let errors = errors_after_three(&runs, Accounting::Processes);
    let share_within = |limit: f64| {
        let within = errors.iter().filter(|error| **error <= limit).count();
        within as f64 / errors.len() as f64
    };
    // Measured: 88 % of them, half within 3.6 %, the worst 16 %.
    assert!(share_within(0.10) >= 0.85, "{}", share_within(0.10));
    assert!(share_within(0.04) >= 0.5, "{}", share_within(0.04));
    assert!(share_within(0.17) >= 1.0, "{:?}", errors.last());
}

#[test]
fn the_constants_are_near_every_run() {
    for (mechanism, accounting) in [
        ("watchdog", Accounting::Processes),
        ("cgroup-v1", Accounting::Group),
    ] {
        let runs = recorded(mechanism);
        assert!(!runs.is_empty());
        for (range, run) in runs {
            let off = off(&[], &run, accounting);
            assert!(off.abs() <= 0.12, "{mechanism}, range {range}: {off}");
        }
    }
}
