//! A peak as a sum of parts, fitted to what was seen. Pure.
//!
//! ```text
//! peak = base + area * letter pages + page * pages
//!        + layout * patches and masks + image * layout images
//!        + recognition, where text is recognised
//!        + heap, where freed memory is kept
//! ```
//!
//! Seven unknowns and, at first, very few samples: so each part starts from a
//! constant with a deviation, and the samples pull it from there, in the
//! directions that they tell about. That is least squares with one more row for
//! each constant. A sample that is far off pulls no harder than one that is
//! somewhat off (Huber), and a limit that was met is only a bound.

use serde::Serialize;

use super::sample::{Sample, Seen};
use crate::estimate::Load;

/// How many parts a peak has.
const PARTS: usize = 7;

/// The parts of a peak, in MiB.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Coefficients {
    /// Whatever the pages are.
    pub base: f64,
    /// For each letter page of area.
    pub area: f64,
    /// For each page of any size: its text.
    pub page: f64,
    /// For each MiB of [`Load::layout`].
    pub layout: f64,
    /// For each picture that the layout stage takes at once, in its models.
    pub image: f64,
    /// Once, where text is recognised.
    pub recognition: f64,
    /// Once, where freed memory is kept.
    pub heap: f64,
}

/// What is expected without samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prior {
    /// The constants.
    pub expected: Coefficients,
    /// How far each may well be off.
    pub deviation: Coefficients,
}

/// What samples have made of a prior.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fitted {
    /// The parts.
    pub coefficients: Coefficients,
    /// How far peaks were from their sum, as a share of it: the standard
    /// deviation.
    pub spread: f64,
}

impl Coefficients {
    /// The peak of a run with this load, in MiB.
    pub fn peak(&self, load: &Load) -> f64 {
        dot(&self.parts(), &row(load))
    }

    fn parts(&self) -> [f64; PARTS] {
        [
            self.base,
            self.area,
            self.page,
            self.layout,
            self.image,
            self.recognition,
            self.heap,
        ]
    }

    fn of([base, area, page, layout, image, recognition, heap]: [f64; PARTS]) -> Coefficients {
        Coefficients {
            base,
            area,
            page,
            layout,
            image,
            recognition,
            heap,
        }
    }
}

/// How far a run is usually from the sum, as a share of its peak. The same run
/// differs by less than 0.1 %; what is not known before is how much text pages
/// have, which made 4 % of the recorded runs (`recorded`).
const NOISE: f64 = 0.03;

/// The spread before there are samples, and how many samples it counts for:
/// the constants were within 7 % of the peaks of real documents (TeX manuals of
/// 26 and 44 pages, toy models).
const FIRST_SPREAD: f64 = 0.05;
const FIRST_WEIGHT: f64 = 3.0;

/// Deviations, in units of the noise, from which on a sample pulls no harder.
const HUBER: f64 = 2.0;

/// Rounds of reweighting; the fourth changes nothing any more.
const ROUNDS: usize = 8;

/// Fits the parts to the samples.
pub fn fit(prior: &Prior, samples: &[Sample]) -> Fitted {
    let mut coefficients = prior.expected;
    for _ in 0..ROUNDS {
        coefficients = bounded_least_squares(prior, samples, &coefficients);
    }
    Fitted {
        coefficients,
        spread: spread(&coefficients, samples),
    }
}

/// One round: each sample weighs by how far off the last round's estimate was.
/// Parts that leave their bounds are put on them, and the others fitted again.
fn bounded_least_squares(prior: &Prior, samples: &[Sample], last: &Coefficients) -> Coefficients {
    let bounds = bounds(prior);
    let mut pinned: [Option<f64>; PARTS] = [None; PARTS];
    loop {
        let parts = least_squares(prior, samples, last, &pinned);
        let outside = (0..PARTS).find(|part| {
            pinned[*part].is_none() && !(bounds[*part].0..=bounds[*part].1).contains(&parts[*part])
        });
        match outside {
            Some(part) => pinned[part] = Some(parts[part].clamp(bounds[part].0, bounds[part].1)),
            None => return Coefficients::of(parts),
        }
    }
}

/// What no samples can make of a part, whatever they say: more than four times
/// the constant, or less than a third of it, unless its deviation says that it
/// may well be less. What a page costs beside its area, what recognition does and
/// what is kept are hardly known.
fn bounds(prior: &Prior) -> [(f64, f64); PARTS] {
    let Prior {
        expected,
        deviation,
    } = prior;
    let usual = |expected: f64, deviation: f64| {
        let least = (expected / 3.0).min(expected - 2.0 * deviation);
        (least.max(0.0), expected * 4.0)
    };
    [
        usual(expected.base, deviation.base),
        usual(expected.area, deviation.area),
        (0.0, expected.page * 4.0 + deviation.page * 4.0),
        usual(expected.layout, deviation.layout),
        usual(expected.image, deviation.image),
        (0.0, expected.recognition + deviation.recognition * 10.0),
        (0.0, expected.heap + deviation.heap * 10.0),
    ]
}

fn least_squares(
    prior: &Prior,
    samples: &[Sample],
    last: &Coefficients,
    pinned: &[Option<f64>; PARTS],
) -> [f64; PARTS] {
    let mut matrix = [[0.0; PARTS]; PARTS];
    let mut right = [0.0; PARTS];
    let mut add = |row: [f64; PARTS], value: f64, weight: f64| {
        for line in 0..PARTS {
            for column in 0..PARTS {
                matrix[line][column] += weight * row[line] * row[column];
            }
            right[line] += weight * row[line] * value;
        }
    };
    for (part, (expected, deviation)) in prior
        .expected
        .parts()
        .into_iter()
        .zip(prior.deviation.parts())
        .enumerate()
    {
        let mut row = [0.0; PARTS];
        row[part] = 1.0;
        match pinned[part] {
            Some(value) => add(row, value, 1e12),
            None => add(row, expected, deviation.max(1e-3).powi(-2)),
        }
    }
    for sample in samples {
        let estimate = last.peak(&sample.load);
        if let Some(weight) = weight(sample, estimate) {
            add(row(&sample.load), sample.seen.mib(), weight);
        }
    }
    solve(matrix, right)
}

/// How hard a sample pulls; `None` for a bound that holds.
fn weight(sample: &Sample, estimate: f64) -> Option<f64> {
    let seen = sample.seen.mib();
    match sample.seen {
        Seen::AtMost(_) if estimate <= seen => return None,
        Seen::MoreThan(_) if estimate > seen => return None,
        Seen::Peak(_) | Seen::AtMost(_) | Seen::MoreThan(_) => {}
    }
    let noise = NOISE * seen;
    let off = ((seen - estimate) / noise).abs();
    Some(noise.powi(-2) * (HUBER / off.max(HUBER)))
}

fn spread(coefficients: &Coefficients, samples: &[Sample]) -> f64 {
    let squares: Vec<f64> = samples
        .iter()
        .filter(|sample| matches!(sample.seen, Seen::Peak(_)))
        .map(|sample| {
            let estimate = coefficients.peak(&sample.load);
            ((sample.seen.mib() - estimate) / estimate)
                .clamp(-0.5, 0.5)
                .powi(2)
        })
        .collect();
    let first = FIRST_WEIGHT * FIRST_SPREAD.powi(2);
    let weight = FIRST_WEIGHT + squares.len() as f64;
    ((first + squares.iter().sum::<f64>()) / weight).sqrt()
}

fn row(load: &Load) -> [f64; PARTS] {
    [
        1.0,
        load.area,
        f64::from(load.pages),
        load.layout,
        load.images,
        f64::from(u8::from(load.recognition)),
        f64::from(u8::from(load.kept_heap)),
    ]
}

fn dot(a: &[f64; PARTS], b: &[f64; PARTS]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Solves `matrix * x = right` by elimination. The matrix is symmetric and
/// positive definite, because every part has its constant in it.
fn solve(mut matrix: [[f64; PARTS]; PARTS], mut right: [f64; PARTS]) -> [f64; PARTS] {
    for pivot in 0..PARTS {
        for line in pivot + 1..PARTS {
            let factor = matrix[line][pivot] / matrix[pivot][pivot];
            let above = matrix[pivot];
            for (cell, above) in matrix[line].iter_mut().zip(above).skip(pivot) {
                *cell -= factor * above;
            }
            right[line] -= factor * right[pivot];
        }
    }
    let mut solution = [0.0; PARTS];
    for line in (0..PARTS).rev() {
        let known: f64 = (line + 1..PARTS)
            .map(|column| matrix[line][column] * solution[column])
            .sum();
        solution[line] = (right[line] - known) / matrix[line][line];
    }
    solution
}

#[cfg(test)]
mod tests {
    use super::*;
    use memcap_linux::ByteSize;

    const PRIOR: Prior = Prior {
        expected: Coefficients {
            base: 1040.0,
            area: 26.0,
            page: 4.0,
            layout: 1.0,
            image: 25.0,
            recognition: 390.0,
            heap: 120.0,
        },
        deviation: Coefficients {
            base: 200.0,
            area: 8.0,
            page: 3.0,
            layout: 0.1,
            image: 12.0,
            recognition: 200.0,
            heap: 60.0,
        },
    };

    fn load(area: f64, pages: u32) -> Load {
        Load {
            area,
            pages,
            layout: 25.0 * f64::from(pages.min(6)),
            images: f64::from(pages.min(6)),
            recognition: false,
            kept_heap: false,
        }
    }

    fn sample(load: Load, seen: impl Fn(ByteSize) -> Seen, mib: f64) -> Sample {
        let bytes = ByteSize::from_bytes(mib.round().to_string().parse::<u64>().unwrap() << 20);
        Sample {
            load,
            seen: seen(bytes),
        }
    }

    /// Runs of a marker that is truly like this.
    fn runs(truth: Coefficients, loads: &[Load]) -> Vec<Sample> {
        loads
            .iter()
            .map(|load| sample(*load, Seen::Peak, truth.peak(load)))
            .collect()
    }

    #[test]
    fn without_samples_the_constants_hold() {
        let fitted = fit(&PRIOR, &[]);
        for (fitted, expected) in fitted
            .coefficients
            .parts()
            .into_iter()
            .zip(PRIOR.expected.parts())
        {
            assert!((fitted - expected).abs() < 1e-9);
        }
        assert_eq!(fitted.spread, FIRST_SPREAD);
    }

    #[test]
    fn three_runs_show_a_marker_that_is_unlike_the_constants() {
        let truth = Coefficients {
            base: 1500.0,
            area: 35.0,
            page: 2.0,
            layout: 1.0,
            image: 60.0,
            recognition: 0.0,
            heap: 0.0,
        };
        let seen = runs(truth, &[load(10.0, 10), load(24.0, 12), load(5.0, 16)]);
        let fitted = fit(&PRIOR, &seen);
        for unseen in [load(1.0, 1), load(60.0, 60), load(32.0, 8), load(40.0, 60)] {
            let (estimate, truth) = (fitted.coefficients.peak(&unseen), truth.peak(&unseen));
            let off = (estimate - truth).abs() / truth;
            assert!(off < 0.1, "{unseen:?}: {estimate} for {truth}");
        }
        assert!(fitted.spread < FIRST_SPREAD);
    }

    #[test]
    fn one_run_that_is_far_off_changes_little() {
        let mut seen = runs(
            PRIOR.expected,
            &[load(10.0, 10), load(24.0, 12), load(5.0, 16)],
        );
        seen.push(sample(load(10.0, 10), Seen::Peak, 9000.0));
        let fitted = fit(&PRIOR, &seen);
        let (expected, ten) = (PRIOR.expected.peak(&load(10.0, 10)), load(10.0, 10));
        let off = fitted.coefficients.peak(&ten) / expected - 1.0;
        assert!((0.0..0.1).contains(&off), "{off}");
        assert!(fitted.spread > 0.15, "{}", fitted.spread);
    }

    #[test]
    fn limits_that_were_met_are_bounds() {
        let ten = load(10.0, 10);
        let expected = PRIOR.expected.peak(&ten);
        let after = |sample| fit(&PRIOR, &[sample]).coefficients.peak(&ten);
        let unchanged = |peak: f64| (peak - expected).abs() < 1.0;
        assert!(unchanged(after(sample(ten, Seen::AtMost, 9000.0))));
        assert!(unchanged(after(sample(ten, Seen::MoreThan, 200.0))));
        let less = after(sample(ten, Seen::AtMost, 1100.0));
        assert!((1100.0..1250.0).contains(&less), "{less}");
        let more = after(sample(ten, Seen::MoreThan, 2000.0));
        assert!((1800.0..2000.0).contains(&more), "{more}");
    }

    #[test]
    fn nothing_leads_out_of_the_bounds() {
        let lies = [1.0, 1e6].map(|mib| {
            let many = vec![sample(load(10.0, 10), Seen::Peak, mib); 40];
            fit(&PRIOR, &many).coefficients
        });
        let bounds = bounds(&PRIOR);
        for lie in lies {
            for (part, (low, high)) in lie.parts().into_iter().zip(bounds) {
                assert!((low - 1e-3..=high + 1e-3).contains(&part), "{lie:?}");
            }
        }
    }
}
