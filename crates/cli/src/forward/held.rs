//! When requests to stop and to continue are passed on. Decides only.
//!
//! Who stops a process group (`kill -TSTP %1`) stops the job by a signal of its
//! own, and we are stopped with it: then there is nothing to pass on. Only a
//! request that has not had this effect after a while was meant for us alone. Here
//! is the one place that knows whether we were stopped meanwhile: to run again we
//! must be sent SIGCONT, whose handler runs before anything else does.

use std::time::{Duration, Instant};

use memcap_supervisor::Moment;
/// Longer than a job on a busy machine takes to stop, and short for who asks.
const HOLD: Duration = Duration::from_millis(50);

/// What came together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// SIGTSTP that the job may not have got.
    pub(super) stop: bool,
    /// SIGCONT that the job may not have got.
    pub(super) go_on: bool,
    /// SIGCONT from anybody.
    pub(super) continued: bool,
}

/// What the keeper is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PassOn {
    /// To stop, from us who have not been stopped since we were last continued.
    Stop { went_on: Option<Moment> },
    /// To go on, as was seen at this moment.
    Continue { seen: Moment },
}

/// What is held back, if anything.
#[derive(Debug, Default)]
pub(super) struct Requests {
    held: Option<Held>,
    /// When we were seen to have been continued last.
    went_on: Option<Moment>,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    what: PassOn,
    due: Instant,
}

impl Requests {
    /// When it is to be asked again at the latest.
    pub(super) fn due(&self) -> Option<Instant> {
        self.held.map(|held| held.due)
    }

    /// Takes note of what came, or that the time is over; it is `now`.
    ///
    /// Which of two came last cannot be known: a signal that arrives while the
    /// handler of another is about to run is handled before that one. It need not,
    /// where both went to a group: the keeper stops us when the job has stopped, or we
    /// run on. Where both came to us alone, the job goes on.
    pub(super) fn hear(&mut self, heard: Heard, now: (Instant, Moment)) -> Option<PassOn> {
        let (now, seen) = now;
        if heard.continued {
            self.went_on = Some(seen);
        }
        // Whoever continues us: what had been asked before is done with.
        let stop_before = match heard.continued {
            true => self.held.take(),
            false => self.held,
        };
        let hold = |what| Held {
            what,
            due: now + HOLD,
        };
        match heard {
            Heard {
                go_on: true, stop, ..
            } if stop || is_stop(stop_before) => {
                self.held = Some(hold(PassOn::Continue { seen }));
                None
            }
            Heard { go_on: true, .. } => Some(PassOn::Continue { seen }),
            Heard { stop: true, .. } => {
                let went_on = self.went_on;
                self.held = Some(hold(PassOn::Stop { went_on }));
                None
            }
            Heard { .. } => {
                let held = self.held.take_if(|held| held.due <= now);
                held.map(|held| held.what)
            }
        }
    }
}

fn is_stop(held: Option<Held>) -> bool {
    held.is_some_and(|held| matches!(held.what, PassOn::Stop { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Heard = Heard {
        stop: false,
        go_on: false,
        continued: false,
    };
    const STOP: Heard = Heard {
        stop: true,
        ..NOTHING
    };
    const GO_ON: Heard = Heard {
        go_on: true,
        continued: true,
        ..NOTHING
    };
    /// By the keeper, with the job.
    const CONTINUED: Heard = Heard {
        continued: true,
        ..NOTHING
    };
    const BOTH: Heard = Heard {
        stop: true,
        ..GO_ON
    };

    /// What is passed on, with whether we have been continued.
    #[derive(Debug, PartialEq)]
    enum Passed {
        Nothing,
        Stop,
        StopOfAContinued,
        Continue,
    }

    /// Milliseconds, what is heard, what is passed on.
    type Step = (u64, Heard, Passed);

    #[track_caller]
    fn expect(steps: &[Step]) {
        let begin = Instant::now();
        let mut requests = Requests::default();
        for (milliseconds, heard, expected) in steps {
            let now = begin + Duration::from_millis(*milliseconds);
            let passed = match requests.hear(*heard, (now, Moment::now())) {
                None => Passed::Nothing,
                Some(PassOn::Stop { went_on: None }) => Passed::Stop,
                Some(PassOn::Stop { went_on: Some(_) }) => Passed::StopOfAContinued,
                Some(PassOn::Continue { .. }) => Passed::Continue,
            };
            assert_eq!(passed, *expected, "at {milliseconds} ms: {heard:?}");
        }
        assert_eq!(requests.due(), None, "nothing is held back for ever");
    }

    #[test]
    fn a_request_to_us_alone_is_passed_on_after_a_while() {
        expect(&[
            (0, STOP, Passed::Nothing),
            (49, NOTHING, Passed::Nothing),
            (50, NOTHING, Passed::Stop),
            (90, GO_ON, Passed::Continue),
            (91, STOP, Passed::Nothing),
            (141, NOTHING, Passed::StopOfAContinued),
        ]);
    }

    #[test]
    fn a_request_that_has_stopped_us_is_not_passed_on() {
        // Continued by the keeper, with the job.
        expect(&[(0, STOP, Passed::Nothing), (80, CONTINUED, Passed::Nothing)]);
        // By somebody, who may have continued us alone.
        expect(&[
            (0, STOP, Passed::Nothing),
            (80, GO_ON, Passed::Nothing),
            (130, NOTHING, Passed::Continue),
        ]);
    }

    #[test]
    fn the_next_one_is_held_back_anew() {
        expect(&[
            (0, STOP, Passed::Nothing),
            (40, STOP, Passed::Nothing),
            (50, NOTHING, Passed::Nothing),
            (90, NOTHING, Passed::Stop),
        ]);
        expect(&[
            (0, STOP, Passed::Nothing),
            (80, GO_ON, Passed::Nothing),
            (85, STOP, Passed::Nothing),
            (135, NOTHING, Passed::StopOfAContinued),
        ]);
    }

    #[test]
    fn of_two_that_came_together_nothing_is_left_but_to_go_on() {
        expect(&[(0, BOTH, Passed::Nothing), (50, NOTHING, Passed::Continue)]);
        // We were stopped, and continued with the job.
        expect(&[(0, BOTH, Passed::Nothing), (80, CONTINUED, Passed::Nothing)]);
        expect(&[(0, BOTH, Passed::Nothing), (80, GO_ON, Passed::Continue)]);
    }

    #[test]
    fn what_the_terminal_stops_is_not_passed_on() {
        expect(&[(0, NOTHING, Passed::Nothing)]);
    }
}
