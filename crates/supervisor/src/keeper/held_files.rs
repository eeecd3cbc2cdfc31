//! Shared memory and files in memory that the tree holds, whoever of it has touched them.
//! What a process has written to a file without mapping it, or has touched in shared
//! memory and ended, shows in no process: the files themselves are asked, where the
//! machine's figure says that there is more than the processes show.

use std::time::{Duration, Instant, SystemTime};

use memcap_linux::proc::{Baseline, MemoryFiles};
use memcap_linux::{ByteSize, meminfo};

use super::recorder::cpu_time;

/// Less is not looked for: the machine's figure is rounded by some hundred pages for each
/// processor.
const STEP: ByteSize = ByteSize::from_mib(4);
/// The files are not asked again before this many times what that cost has passed.
const PATIENCE: u32 = 20;
/// The same where they had nothing new to say, as long as the machine has not so much
/// more: what it has was others', or touched by members a moment before they showed it.
const PATIENCE_WITH_OTHERS: u32 = 200;
const STEP_WITH_OTHERS: ByteSize = ByteSize::from_mib(32);
/// What they said is believed for so long where it counts.
const STANDS_FOR: Duration = Duration::from_secs(1);
/// How far a file's time may be behind the clock: a tick of the slowest kernel.
const COARSE: Duration = Duration::from_millis(10);
/// Less is not worth a word.
const NOTEWORTHY: ByteSize = ByteSize::from_mib(32);

/// What the tree holds in such files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Held {
    /// At the least.
    pub(super) certain: ByteSize,
    /// At the most, so far as processes show what came since the files were asked.
    pub(super) possible: ByteSize,
}

/// What the processes and the machine show at a look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Shown {
    /// All files in memory of the machine.
    machine: ByteSize,
    /// Shared memory of the tree's processes, a page once for each.
    touched: ByteSize,
}

/// What the tree's processes show at a look.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Touched {
    /// Shared memory of all of them, a page once for each.
    pub(super) all: ByteSize,
    /// The most that one of them has.
    pub(super) largest: ByteSize,
    /// What they have given back since the last look, by ending or otherwise.
    pub(super) given_back: ByteSize,
}

/// The last time the files were asked.
#[derive(Debug, Clone, Copy)]
struct Asked {
    ended: Duration,
    cost: Duration,
    shown: Shown,
    held: ByteSize,
    /// They said something else than before.
    is_news: bool,
}

/// What files said, and what else bounds what they hold.
#[derive(Debug, Clone, Copy)]
struct Answer {
    /// By the files that tell.
    told: ByteSize,
    /// What the others span.
    untold: ByteSize,
    /// What the tree's processes have touched of shared memory, at the most.
    touched: ByteSize,
    /// What the machine has more of it than others had.
    growth: ByteSize,
}

impl Answer {
    /// What the tree holds: of files that do not tell, the least of all bounds.
    fn held(self) -> ByteSize {
        let beside = self.growth.saturating_sub(self.told);
        let untold = self.untold.min(self.touched).min(beside);
        self.told.saturating_add(untold)
    }
}

/// When the files are worth being asked, and what may be believed of what they said.
#[derive(Debug, Default)]
struct Ledger {
    asked: Option<Asked>,
    /// The least that the machine has had since, beyond what processes showed.
    lowest: Option<i128>,
}

impl Ledger {
    /// Takes note of a look; by how much the files may say more, or less, than they did.
    fn look(&mut self, shown: Shown) -> i128 {
        let beyond = difference(shown.machine, shown.touched);
        let lowest = self.lowest.map_or(beyond, |lowest| lowest.min(beyond));
        self.lowest = Some(lowest);
        let fallen = match self.asked {
            Some(asked) if asked.held > shown.touched => {
                difference(asked.shown.machine, shown.machine)
            }
            _ => 0,
        };
        fallen.max(beyond - lowest)
    }

    fn is_due(&mut self, shown: Shown, now: Duration) -> bool {
        let change = self.look(shown);
        let is_at_least = |step: ByteSize| change >= i128::from(step.bytes());
        let Some(asked) = self.asked else {
            return is_at_least(STEP);
        };
        let is_over = |patience| now >= asked.ended + asked.cost * patience;
        let is_old = asked.held > shown.touched && now >= asked.ended + STANDS_FOR;
        let is_news = is_at_least(STEP) && asked.is_news || is_at_least(STEP_WITH_OTHERS);
        (is_old || is_news) && is_over(PATIENCE)
            || is_at_least(STEP) && is_over(PATIENCE_WITH_OTHERS)
    }

    fn note(&mut self, asked: Asked) {
        self.asked = Some(asked);
        self.lowest = None;
        self.look(asked.shown);
    }

    fn held(&self, shown: Shown) -> Held {
        let Some(asked) = self.asked else {
            return Held::default();
        };
        let freed = asked.shown.machine.saturating_sub(shown.machine);
        let certain = asked.held.saturating_sub(freed);
        let more = shown.machine.saturating_sub(asked.shown.machine);
        let touched = shown.touched.saturating_sub(asked.shown.touched);
        Held {
            certain,
            possible: certain.saturating_add(more.min(touched)),
        }
    }
}

fn difference(one: ByteSize, other: ByteSize) -> i128 {
    i128::from(one.bytes()) - i128::from(other.bytes())
}

/// Looks at the machine's figure at each look, and asks the files now and then.
#[derive(Debug)]
pub(super) struct HeldFiles {
    began: Instant,
    since: SystemTime,
    /// What the job was given, and what it found.
    before: Baseline,
    /// What others have at the most: as little as the machine ever had beside what was
    /// the tree's for certain. They may have grown since.
    others: ByteSize,
    /// All shared memory that processes have given back, though others may have it.
    given_back: ByteSize,
    /// The most that a process had of it at the last look.
    largest: ByteSize,
    ledger: Ledger,
    shown: Shown,
    most_unseen: ByteSize,
}

impl HeldFiles {
    /// Before the job starts.
    pub(super) fn begin() -> HeldFiles {
        let now = SystemTime::now();
        let since = now.checked_sub(COARSE).unwrap_or(now);
        let mut before = MemoryFiles::since(since);
        if let Ok(ourselves) = i32::try_from(std::process::id()) {
            // What is open here may be the job's too.
            let _ = before.add_open(ourselves);
        }
        let shown = Shown {
            machine: meminfo::shared(),
            touched: ByteSize::ZERO,
        };
        let mut ledger = Ledger::default();
        ledger.look(shown);
        HeldFiles {
            began: Instant::now(),
            since,
            before: before.as_baseline(),
            others: shown.machine,
            given_back: ByteSize::ZERO,
            largest: ByteSize::ZERO,
            ledger,
            shown,
            most_unseen: ByteSize::ZERO,
        }
    }

    /// What the tree holds.
    pub(super) fn look(&mut self, members: impl Iterator<Item = i32>, touched: Touched) -> Held {
        let machine = meminfo::shared();
        if touched.given_back > ByteSize::ZERO {
            // Who has ended since the last look may have touched more than it was seen to.
            let more = machine.saturating_sub(self.shown.machine);
            let given_back = touched.given_back.saturating_add(more);
            self.given_back = self.given_back.saturating_add(given_back);
        }
        self.largest = touched.largest;
        self.shown = Shown {
            machine,
            touched: touched.all,
        };
        let certain = self.ledger.held(self.shown).certain;
        self.others = self.others.min(machine.saturating_sub(certain));
        if self.ledger.is_due(self.shown, self.began.elapsed()) {
            self.ask(members);
        }
        let held = self.ledger.held(self.shown);
        let unseen = held.certain.saturating_sub(touched.all);
        self.most_unseen = self.most_unseen.max(unseen);
        held
    }

    /// What the files say now, where that may be other than they said.
    pub(super) fn measure(&mut self, members: impl Iterator<Item = i32>) -> ByteSize {
        let held = self.ledger.held(self.shown);
        let is_news = self.ledger.look(self.shown) >= i128::from(STEP.bytes());
        if is_news || held.possible > ByteSize::ZERO {
            self.ask(members);
        }
        self.ledger.held(self.shown).certain
    }

    fn ask(&mut self, members: impl Iterator<Item = i32>) {
        let begin = cpu_time();
        let mut files = MemoryFiles::since(self.since);
        for member in members {
            // Gone, or not ours to look into: what it holds is not known.
            let _ = files.add(member);
        }
        let held = Answer {
            told: files.held_beyond(&mut self.before),
            untold: files.untold(),
            // By one that is there, or by some that were.
            touched: self.largest.saturating_add(self.given_back),
            growth: self.shown.machine.saturating_sub(self.others),
        }
        .held();
        let before = self.ledger.asked.map_or(ByteSize::ZERO, |asked| asked.held);
        self.ledger.note(Asked {
            ended: self.began.elapsed(),
            cost: cpu_time().saturating_sub(begin),
            shown: self.shown,
            held,
            is_news: held.bytes().abs_diff(before.bytes()) >= STEP.bytes() / 2,
        });
    }

    /// What there was at the most, in words.
    pub(super) fn note_in_words(&self) -> Option<String> {
        (self.most_unseen > NOTEWORTHY).then(|| {
            format!(
                "up to {} counted that no process showed: shared memory that others had \
                 touched, and open files in memory (memfd, tmpfs)",
                self.most_unseen
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(machine: u64, touched: u64) -> Shown {
        let [machine, touched] = [machine, touched].map(ByteSize::from_mib);
        Shown { machine, touched }
    }

    const fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// A ledger that has seen nothing but what others have.
    fn fresh() -> Ledger {
        let mut ledger = Ledger::default();
        ledger.look(shown(500, 0));
        ledger
    }

    fn asked(ledger: &mut Ledger, shown: Shown, held: u64, is_news: bool) {
        ledger.note(Asked {
            ended: at(100),
            cost: at(1),
            shown,
            held: ByteSize::from_mib(held),
            is_news,
        });
    }

    #[test]
    fn the_files_are_asked_where_the_machine_has_more_than_processes_show() {
        let cases = [
            // Touched by one, by four, and not touched.
            (vec![shown(800, 300)], false),
            (vec![shown(800, 1200)], false),
            (vec![shown(800, 0)], true),
            // Touched by who has ended, and counted four times before that.
            (vec![shown(800, 300), shown(800, 0)], true),
            (vec![shown(800, 1200), shown(800, 600)], true),
            // Freed with the last who had it.
            (vec![shown(800, 300), shown(500, 0)], false),
            // Too little.
            (vec![shown(503, 0)], false),
        ];
        for (looks, expected) in cases {
            let mut ledger = fresh();
            let mut is_due = false;
            for look in &looks {
                is_due = ledger.is_due(*look, at(1));
            }
            assert_eq!(is_due, expected, "{looks:?}");
        }
    }

    #[test]
    fn what_files_said_is_asked_again_where_it_may_have_changed() {
        let cases = [
            (shown(800, 0), at(110), false),
            (shown(900, 0), at(110), false),
            (shown(900, 0), at(121), true),
            (shown(790, 0), at(121), true),
            (shown(800, 0), at(1101), true),
            // All of it shows in processes by now.
            (shown(800, 300), at(1101), false),
        ];
        for (look, now, expected) in cases {
            let mut ledger = fresh();
            asked(&mut ledger, shown(800, 0), 300, true);
            assert_eq!(ledger.is_due(look, now), expected, "{look:?} {now:?}");
        }
    }

    #[test]
    fn files_that_do_not_tell_count_as_the_least_that_bounds_them() {
        let held = |[told, untold, touched, growth]: [u64; 4]| {
            let [told, untold, touched, growth] =
                [told, untold, touched, growth].map(ByteSize::from_mib);
            Answer {
                told,
                untold,
                touched,
                growth,
            }
            .held()
            .mib()
        };
        // Filled by who has ended.
        assert_eq!(held([0, 800, 800, 800]), 800);
        // Mapped and hardly touched, while others write to files in memory.
        assert_eq!(held([0, 1024, 303, 1300]), 303);
        // Touched, and freed again.
        assert_eq!(held([0, 1024, 900, 100]), 100);
        // What tells is a part of the growth.
        assert_eq!(held([300, 800, 800, 500]), 500);
        assert_eq!(held([300, 0, 800, 100]), 300);
    }

    #[test]
    fn what_is_others_is_asked_for_less_often() {
        let mut ledger = fresh();
        asked(&mut ledger, shown(800, 0), 0, false);
        assert!(!ledger.is_due(shown(810, 0), at(299)));
        assert!(ledger.is_due(shown(810, 0), at(301)));
        // So much more is worth it all the same.
        assert!(!ledger.is_due(shown(840, 0), at(119)));
        assert!(ledger.is_due(shown(840, 0), at(121)));
    }

    #[test]
    fn what_is_held_falls_with_the_machines_and_may_grow_with_the_processes() {
        let mut ledger = fresh();
        assert_eq!(ledger.held(shown(900, 400)), Held::default());
        asked(&mut ledger, shown(800, 0), 300, true);
        let cases = [
            (shown(800, 0), (300, 300)),
            // Touched, and nothing new.
            (shown(800, 200), (300, 300)),
            (shown(900, 100), (300, 400)),
            // Somebody else's.
            (shown(900, 0), (300, 300)),
            (shown(700, 0), (200, 200)),
            (shown(100, 0), (0, 0)),
        ];
        for (look, (certain, possible)) in cases {
            let [certain, possible] = [certain, possible].map(ByteSize::from_mib);
            assert_eq!(ledger.held(look), Held { certain, possible }, "{look:?}");
        }
    }
}
