//! When requests to stop and to continue are passed on. Decides only.
//!
//! Who stops a process group (`kill -TSTP %1`) stops the job by a signal of its
//! own, and we are stopped with it: then there is nothing to pass on. Only a
//! request that has not had this effect after a while was meant for us alone. Here
//! is the one place that knows whether we were stopped meanwhile: to run again we
//! must be sent SIGCONT, whose handler runs before anything else does.

use std::time::{Duration, Instant};

use memcap_supervisor::Moment;
use signal_hook::consts::{SIGCONT, SIGTSTP};

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

/// Which of the two signals came last, from anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Latest {
    Neither,
    Stop,
    Continue,
}

impl Latest {
    /// From the last signal's number, zero for none.
    pub(super) fn of(signal: usize) -> Latest {
        match i32::try_from(signal) {
            Ok(SIGTSTP) => Latest::Stop,
            Ok(SIGCONT) => Latest::Continue,
            Ok(_) | Err(_) => Latest::Neither,
        }
    }
}

/// What the keeper is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PassOn {
    /// To stop, from us who have not been stopped since we were last continued.
    Stop { went_on: Option<Moment> },
    /// To go on.
    Continue,
}

/// What is held back, and since when it could be of use.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// When a request to stop is to be passed on.
    due: Option<Instant>,
    /// When we were seen to have been continued last.
    went_on: Option<Moment>,
}

impl Requests {
    /// When it is to be asked again at the latest.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Takes note of what came, or that the time is over; it is `now`.
    pub(super) fn hear(
        &mut self,
        heard: Heard,
        latest: Latest,
        now: (Instant, Moment),
    ) -> Option<PassOn> {
        let (now, moment) = now;
        if heard.continued {
            // Whoever continued us: what had been asked before is done with.
            self.due = None;
            self.went_on = Some(moment);
        }
        match latest {
            Latest::Neither => None,
            Latest::Continue => {
                self.due = None;
                heard.go_on.then_some(PassOn::Continue)
            }
            Latest::Stop => {
                // One to continue that came before is superseded, but we go on by
                // it, and the job perhaps not.
                if heard.stop || heard.go_on {
                    self.due = Some(now + HOLD);
                }
                let went_on = self.went_on;
                let due = self.due.take_if(|due| *due <= now);
                due.map(|_| PassOn::Stop { went_on })
            }
        }
    }
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

    /// Milliseconds, what is heard, what came last, what is passed on.
    type Step = (u64, Heard, Latest, Passed);

    #[track_caller]
    fn expect(steps: &[Step]) {
        let begin = Instant::now();
        let mut requests = Requests::default();
        for (milliseconds, heard, latest, expected) in steps {
            let now = begin + Duration::from_millis(*milliseconds);
            let passed = match requests.hear(*heard, *latest, (now, Moment::now())) {
                None => Passed::Nothing,
                Some(PassOn::Stop { went_on: None }) => Passed::Stop,
                Some(PassOn::Stop { went_on: Some(_) }) => Passed::StopOfAContinued,
                Some(PassOn::Continue) => Passed::Continue,
            };
            let step = format!("at {milliseconds} ms: {heard:?}, {latest:?}");
            assert_eq!(passed, *expected, "{step}");
        }
        assert_eq!(requests.due(), None, "nothing is held back for ever");
    }

    #[test]
    fn a_request_to_us_alone_is_passed_on_after_a_while() {
        expect(&[
            (0, STOP, Latest::Stop, Passed::Nothing),
            (49, NOTHING, Latest::Stop, Passed::Nothing),
            (50, NOTHING, Latest::Stop, Passed::Stop),
            (90, GO_ON, Latest::Continue, Passed::Continue),
            (91, STOP, Latest::Stop, Passed::Nothing),
            (141, NOTHING, Latest::Stop, Passed::StopOfAContinued),
        ]);
    }

    #[test]
    fn a_request_that_has_stopped_us_is_not_passed_on() {
        // Continued by a signal to the group, and by the keeper with the job.
        for (heard, passed) in [(GO_ON, Passed::Continue), (CONTINUED, Passed::Nothing)] {
            expect(&[
                (0, STOP, Latest::Stop, Passed::Nothing),
                (80, heard, Latest::Continue, passed),
                (81, NOTHING, Latest::Continue, Passed::Nothing),
            ]);
        }
    }

    #[test]
    fn the_next_one_is_held_back_anew() {
        // We were continued and asked again before we could look.
        expect(&[
            (0, STOP, Latest::Stop, Passed::Nothing),
            (80, BOTH, Latest::Stop, Passed::Nothing),
            (130, NOTHING, Latest::Stop, Passed::StopOfAContinued),
        ]);
        // The second was the terminal's.
        expect(&[
            (0, STOP, Latest::Stop, Passed::Nothing),
            (80, CONTINUED, Latest::Stop, Passed::Nothing),
        ]);
        expect(&[
            (0, STOP, Latest::Stop, Passed::Nothing),
            (40, STOP, Latest::Stop, Passed::Nothing),
            (50, NOTHING, Latest::Stop, Passed::Nothing),
            (90, NOTHING, Latest::Stop, Passed::Stop),
        ]);
    }

    #[test]
    fn of_two_that_came_together_the_later_counts() {
        expect(&[(0, BOTH, Latest::Continue, Passed::Continue)]);
        expect(&[
            (0, BOTH, Latest::Stop, Passed::Nothing),
            (50, NOTHING, Latest::Stop, Passed::StopOfAContinued),
        ]);
    }

    #[test]
    fn one_whose_successor_is_not_heard_yet_waits_for_it() {
        // The handler of the other has run since the signals were collected.
        expect(&[
            (0, STOP, Latest::Continue, Passed::Nothing),
            (0, GO_ON, Latest::Continue, Passed::Continue),
        ]);
        expect(&[
            (0, GO_ON, Latest::Stop, Passed::Nothing),
            (1, STOP, Latest::Stop, Passed::Nothing),
            (51, NOTHING, Latest::Stop, Passed::StopOfAContinued),
        ]);
    }

    #[test]
    fn what_the_terminal_stops_is_not_passed_on() {
        expect(&[(0, NOTHING, Latest::Stop, Passed::Nothing)]);
    }
}
