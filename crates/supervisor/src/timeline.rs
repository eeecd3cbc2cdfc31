//! The tree's memory over time in bounded memory, whatever the length of the
//! run: intervals of equal length, each with its least and its largest sample,
//! so that no peak is lost when intervals are joined.

use std::time::Duration;

use memcap_linux::ByteSize;
use serde::{Deserialize, Serialize};

/// Intervals are joined in pairs when there would be more.
const MOST_POINTS: usize = 512;
/// The length of an interval at first.
const FINEST: Duration = Duration::from_millis(5);
/// Events beyond this many are counted, not kept.
const MOST_EVENTS: usize = 128;

/// Memory over time, and what happened meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeline {
    interval: Duration,
    points: Vec<Point>,
    events: Vec<TimedEvent>,
    events_left_out: u64,
}

/// One interval that has samples; one without is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    /// Which interval: it begins at `index` times [`Timeline::interval`].
    index: u64,
    least: ByteSize,
    most: ByteSize,
}

/// Something that happened to the job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimedEvent {
    /// Since the job's start.
    pub at: Duration,
    /// What.
    pub what: Happening,
}

/// What can happen to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Happening {
    /// Its main process ended.
    MainEnded,
    /// It was asked to end: SIGTERM.
    AskedToEnd,
    /// It was frozen to be measured or held back.
    Frozen,
    /// It goes on after a freeze.
    Thawed,
    /// Our memory limit was reached.
    LimitReached,
    /// Another of our limits was reached: time, CPU time, processes, or the
    /// time it may be held back.
    OtherLimitReached,
    /// What was left of it is being killed.
    Ending,
    /// Its last process is gone.
    Ended,
}

impl Happening {
    /// The name used in reports and plots.
    pub fn name(self) -> &'static str {
        match self {
            Happening::MainEnded => "main process ended",
            Happening::AskedToEnd => "asked to end",
            Happening::Frozen => "frozen",
            Happening::Thawed => "thawed",
            Happening::LimitReached => "memory limit reached",
            Happening::OtherLimitReached => "another limit reached",
            Happening::Ending => "ending the tree",
            Happening::Ended => "tree empty",
        }
    }
}

/// The samples of one interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    /// When it begins, since the job's start.
    pub begin: Duration,
    /// The least sample in it.
    pub least: ByteSize,
    /// The largest.
    pub most: ByteSize,
}

impl Default for Timeline {
    fn default() -> Self {
        Timeline {
            interval: FINEST,
            points: Vec::new(),
            events: Vec::new(),
            events_left_out: 0,
        }
    }
}

impl Timeline {
    /// How long each interval is.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// The intervals that have samples, in order; at most 512.
    pub fn intervals(&self) -> impl Iterator<Item = Interval> + '_ {
        self.points.iter().map(|point| Interval {
            begin: self.begin_of(point.index),
            least: point.least,
            most: point.most,
        })
    }

    /// What happened, in order; at most 128 are kept.
    pub fn events(&self) -> &[TimedEvent] {
        &self.events
    }

    /// How many more events there were.
    pub fn events_left_out(&self) -> u64 {
        self.events_left_out
    }

    /// Takes a sample. Times do not go back.
    pub(crate) fn sample(&mut self, at: Duration, bytes: ByteSize) {
        let mut index = self.index_of(at);
        if let Some(last) = self.points.last_mut()
            && index <= last.index
        {
            last.least = last.least.min(bytes);
            last.most = last.most.max(bytes);
            return;
        }
        if self.points.len() == MOST_POINTS {
            self.coarsen();
            index = self.index_of(at);
            if self.points.last().is_some_and(|last| index <= last.index) {
                return self.sample(at, bytes);
            }
        }
        self.points.push(Point {
            index,
            least: bytes,
            most: bytes,
        });
    }

    pub(crate) fn event(&mut self, at: Duration, what: Happening) {
        if self.events.len() < MOST_EVENTS {
            self.events.push(TimedEvent { at, what });
        } else {
            self.events_left_out += 1;
        }
    }

    fn begin_of(&self, index: u64) -> Duration {
        let micros = u64::try_from(self.interval.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(micros.saturating_mul(index))
    }

    fn index_of(&self, at: Duration) -> u64 {
        u64::try_from(at.as_micros() / self.interval.as_micros().max(1)).unwrap_or(u64::MAX)
    }

    /// Doubles the interval until there is room for one more point: sparse
    /// points need not fall together at the first doubling.
    fn coarsen(&mut self) {
        while self.points.len() >= MOST_POINTS {
            self.interval *= 2;
            let mut joined: Vec<Point> = Vec::with_capacity(MOST_POINTS);
            for point in &self.points {
                let index = point.index / 2;
                match joined.last_mut() {
                    Some(last) if last.index == index => {
                        last.least = last.least.min(point.least);
                        last.most = last.most.max(point.most);
                    }
                    _ => joined.push(Point { index, ..*point }),
                }
            }
            self.points = joined;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(n: u64) -> ByteSize {
        ByteSize::from_bytes(n)
    }

    #[test]
    fn samples_of_one_interval_keep_their_extremes() {
        let mut timeline = Timeline::default();
        for (micros, size) in [(0, 5), (1000, 9), (4999, 2), (5000, 3)] {
            timeline.sample(Duration::from_micros(micros), bytes(size));
        }
        let seen: Vec<_> = timeline
            .intervals()
            .map(|i| (i.begin.as_millis(), i.least.bytes(), i.most.bytes()))
            .collect();
        assert_eq!(seen, [(0, 2, 9), (5, 3, 3)]);
    }

    #[test]
    fn events_are_bounded_and_counted() {
        let mut timeline = Timeline::default();
        for n in 0..200 {
            timeline.event(Duration::from_millis(n), Happening::Frozen);
        }
        assert_eq!(timeline.events().len(), 128);
        assert_eq!(timeline.events_left_out(), 72);
    }

    proptest! {
        #[test]
        fn no_peak_is_lost_and_memory_is_bounded(
            steps in proptest::collection::vec((0u64..400_000, 0u64..1_000_000), 1..3000)
        ) {
            let mut timeline = Timeline::default();
            let mut at = Duration::ZERO;
            let mut seen = Vec::new();
            for (step, size) in &steps {
                at += Duration::from_micros(*step);
                timeline.sample(at, bytes(*size));
                seen.push((at, *size));
            }
            let intervals: Vec<Interval> = timeline.intervals().collect();
            prop_assert!(intervals.len() <= MOST_POINTS);
            prop_assert!(intervals.is_sorted_by(|a, b| a.begin + timeline.interval() <= b.begin));
            let most = steps.iter().map(|(_, size)| *size).max();
            prop_assert_eq!(intervals.iter().map(|i| i.most.bytes()).max(), most);
            for (at, size) in seen {
                let within = intervals.iter().any(|i| {
                    i.begin <= at
                        && at < i.begin + timeline.interval()
                        && (i.least.bytes()..=i.most.bytes()).contains(&size)
                });
                prop_assert!(within, "{at:?} {size}");
            }
        }
    }
}
