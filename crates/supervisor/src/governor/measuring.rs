//! When a sum that may count pages twice is worth a measurement, and which: the
//! quick one that gives bounds, or the exact one, during which a tree grows.

use std::time::Duration;

use memcap_linux::ByteSize;
use serde::{Deserialize, Serialize};

use super::sum::{Learned, Sum};

/// From this share of the limit on, in percent, looks ask for what members have
/// written, and measurements come more often.
pub(super) const PREPARE_FROM: u32 = 75;
/// What may be counted twice without being worth a measurement, in percent of
/// the limit.
pub(super) const NEGLIGIBLE: u32 = 2;
/// A measurement is not repeated before this many times its own cost has
/// passed, so that a tree that forks all the time is not measured all the time:
/// at most a fiftieth of a processor far from the limit, a fifth near it.
const PATIENCE_FAR: u32 = 50;
const PATIENCE_NEAR: u32 = 4;
/// Where the last measurement found what was suspected, the next suspicion is
/// as good: half of a processor, while the tree grows towards its limit. The same where
/// what was certain and what has been written since reach the limit together, as long as
/// measurements find what was written.
const PATIENCE_CONFIRMED: u32 = 1;
/// What was found to be counted twice is believed for so long, where it could hide a
/// breach: not everything that ends it is seen (a huge page touched in place of one
/// that was shared is one page fault, a page that is swapped out is shared no more).
const STANDS_FOR: Duration = Duration::from_secs(1);
/// After a measurement that found the tree below its limit, growth of this much
/// brings the next one.
const RECHECK_STEP: ByteSize = ByteSize::from_mib(4);
/// For small limits: this part of the limit.
const RECHECK_SHARE: u64 = 256;
/// What an exact measurement is thought to take before there was one, in ns per
/// MiB: 10 ms per GiB of small pages (measured).
const NANOS_PER_MIB: u64 = 10_000;
/// An exact measurement is not begun while the tree could reach the limit, as
/// it grows now, in this many times what the measurement takes.
const HASTE: u64 = 8;

/// How deep to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    Bounds,
    Exact,
}

/// What a measurement told, shared pages counted once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// The tree holds at least this.
    pub(crate) least: ByteSize,
    /// It holds at most this.
    pub(crate) most: ByteSize,
    /// The sum just before, with what members had written.
    pub(crate) sum: Sum,
    /// How long the measurement took.
    #[serde(with = "crate::trace::nanos")]
    pub(crate) took: Duration,
    /// What it cost: our time on a processor, or the tree's where it stood
    /// still meanwhile.
    #[serde(with = "crate::trace::nanos")]
    pub(crate) cost: Duration,
}

impl Measured {
    /// How much of the sum is counted too much.
    pub(super) fn teaches(self) -> Learned {
        Learned::new(self.least, self.most, self.sum)
    }
}

#[derive(Debug, Clone, Copy)]
struct Last {
    ended: Duration,
    cost: Duration,
}

/// What was measured when.
#[derive(Debug, Default)]
pub(super) struct Measuring {
    bounds: Option<Last>,
    exact: Option<Last>,
    /// What the last exact measurement took per MiB of the sum, in ns.
    nanos_per_mib: Option<u64>,
    /// Up to this much at the most, no further measurement is worth it.
    recheck_above: ByteSize,
    /// What the tree held for certain after the last measurement.
    least: ByteSize,
    /// What it held at the most at the first look after that: a part of what is
    /// written during a measurement is found by it, and counts as written since
    /// it began all the same.
    resumed_at: Option<ByteSize>,
    /// The last measurement found most of the growth that was suspected.
    confirmed: bool,
    /// The last measurement found less than half of what seemed to have been written: the
    /// page faults were others'.
    disappointed: bool,
    /// The last measurement left it open whether the limit is reached.
    open: bool,
    pace: Pace,
}

impl Measuring {
    /// What is worth it after a look.
    pub(super) fn after_look(
        &mut self,
        learned: &Learned,
        sum: Sum,
        limit: ByteSize,
        now: Duration,
    ) -> Option<Depth> {
        let growing = self.pace.look(sum, now);
        let negligible = limit.percent(NEGLIGIBLE);
        let at_most = learned.at_most(sum);
        self.resumed_at.get_or_insert(at_most);
        if at_most < limit {
            // What was written is believed until it matters.
            let unknown = learned.doubt(sum.unwritten());
            if unknown <= negligible && !(sum.total() >= limit && self.is_old(now)) {
                return None;
            }
            // Bounds of one process are exact, and cheaper.
            return if sum.members <= 1 {
                is_due(self.bounds, now, PATIENCE_FAR).then_some(Depth::Bounds)
            } else {
                self.exact_is_due(learned, sum, limit, now)
                    .then_some(Depth::Exact)
            };
        }
        if learned.doubt(sum) <= negligible && growing {
            // Certainty comes by itself, sooner than by a measurement.
            return None;
        }
        let is_likely = learned.at_least(sum).saturating_add(sum.written) >= limit;
        let is_news = is_likely || at_most >= self.recheck_above;
        if is_news && is_due(self.bounds, now, self.patience(is_likely)) {
            return Some(Depth::Bounds);
        }
        (self.open && self.exact_is_due(learned, sum, limit, now)).then_some(Depth::Exact)
    }

    /// What is worth it after a measurement that did not find the limit
    /// reached, where `suspected` was thought to be held at the most.
    pub(super) fn after_measurement(
        &mut self,
        depth: Depth,
        measured: Measured,
        suspected: ByteSize,
        limit: ByteSize,
        now: Duration,
    ) -> Option<Depth> {
        let Measured {
            least,
            most,
            sum,
            took,
            cost,
        } = measured;
        self.pace.start_over();
        let last = Some(Last { ended: now, cost });
        match depth {
            Depth::Bounds => self.bounds = last,
            Depth::Exact => {
                self.exact = last;
                let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
                self.nanos_per_mib = Some(nanos / sum.total().mib().max(1));
            }
        }
        let found = least.saturating_sub(self.least).bytes();
        let resumed_at = self.resumed_at.take().unwrap_or(self.least);
        let sought = suspected.saturating_sub(resumed_at).bytes();
        self.confirmed = found >= sought / 2;
        if sum.written > limit.percent(NEGLIGIBLE) {
            self.disappointed = found < sum.written.bytes() / 2;
        }
        self.least = least;
        let step = RECHECK_STEP.bytes().min(limit.bytes() / RECHECK_SHARE);
        // Sooner where less is missing.
        let step = ByteSize::from_bytes(step).min(limit.saturating_sub(least));
        self.recheck_above = most.saturating_add(step);
        self.open = most >= limit && most.saturating_sub(least) > limit.percent(NEGLIGIBLE);
        let learned = measured.teaches();
        (self.open && depth == Depth::Bounds && self.exact_is_due(&learned, sum, limit, now))
            .then_some(Depth::Exact)
    }

    /// Whether the last measurement is no longer believed.
    fn is_old(&self, now: Duration) -> bool {
        let measured = [self.bounds, self.exact].into_iter().flatten();
        let last = measured.map(|last| last.ended).max();
        last.is_some_and(|ended| now >= ended + STANDS_FOR)
    }

    fn patience(&self, is_likely: bool) -> u32 {
        if self.confirmed || is_likely && !self.disappointed {
            PATIENCE_CONFIRMED
        } else {
            PATIENCE_NEAR
        }
    }

    fn exact_is_due(&self, learned: &Learned, sum: Sum, limit: ByteSize, now: Duration) -> bool {
        let patience = if learned.at_most(sum) >= limit.percent(PREPARE_FROM) {
            PATIENCE_NEAR
        } else {
            PATIENCE_FAR
        };
        let headroom = limit.saturating_sub(learned.at_least(sum));
        is_due(self.exact, now, patience) && !self.pace.fills(headroom, self.exact_time(sum))
    }

    /// What an exact measurement would take.
    fn exact_time(&self, sum: Sum) -> Duration {
        let per_mib = self.nanos_per_mib.unwrap_or(NANOS_PER_MIB);
        Duration::from_nanos(per_mib.saturating_mul(sum.total().mib()))
    }
}

fn is_due(last: Option<Last>, now: Duration, patience: u32) -> bool {
    last.is_none_or(|last| now >= last.ended + last.cost * patience)
}

/// How fast the tree touches memory. On a crowded machine it grows by fits and
/// starts: of two looks that are close, nothing can be told.
#[derive(Debug, Default)]
struct Pace {
    last: Option<Sum>,
    /// Everything that was seen to be touched so far.
    touched: ByteSize,
    /// When that was so much: some time ago, and before that.
    since: [Option<(Duration, ByteSize)>; 2],
    now: Duration,
}

impl Pace {
    /// Growth is measured over one to two of these.
    const WINDOW: Duration = Duration::from_millis(8);

    /// Takes note of a look; true where private memory has grown since the last
    /// one. More shared memory is more doubt.
    fn look(&mut self, sum: Sum, now: Duration) -> bool {
        self.now = now;
        let Some(last) = self.last.replace(sum) else {
            self.since[0] = Some((now, self.touched));
            return sum.private > ByteSize::ZERO;
        };
        // What newcomers have inherited, nobody has touched just now.
        let own = |sum: Sum| sum.total().saturating_sub(sum.inherited);
        let written = sum.written.saturating_sub(last.written);
        let grown = own(sum).saturating_sub(own(last)).saturating_add(written);
        self.touched = self.touched.saturating_add(grown);
        let is_old = |(at, _)| now.saturating_sub(at) >= Self::WINDOW;
        if self.since[0].is_none_or(is_old) {
            self.since = [Some((now, self.touched)), self.since[0]];
        }
        sum.private > last.private
    }

    /// What counts from the last measurement on starts over.
    fn start_over(&mut self) {
        if let Some(last) = &mut self.last {
            last.inherited = ByteSize::ZERO;
            last.written = ByteSize::ZERO;
        }
    }

    /// Whether `room` would be filled in a few times `time`.
    fn fills(&self, room: ByteSize, time: Duration) -> bool {
        let Some((since, before)) = self.since[1].or(self.since[0]) else {
            return false;
        };
        let grown = self.touched.saturating_sub(before);
        let within = self.now.saturating_sub(since);
        let product = |bytes: ByteSize, time: Duration| u128::from(bytes.bytes()) * time.as_nanos();
        product(grown, time) * u128::from(HASTE) > product(room, within)
    }
}
