//! Who is stopped, who is to be: keeps the front (the embedding program, where it
//! mirrors stops) and the job's main process in the same state. Decides only; the
//! keeper sends the signals.
//!
//! Whoever stops or continues a process group (a shell's `kill -TSTP %1`) reaches
//! front and job both, and the front passes its copy on, since it cannot know that
//! the job has one too. A copy that comes late must not undo what came after it:
//!
//! ```text
//!   group     SIGTSTP ──────────────────────── SIGCONT ───────────────────
//!   job         └─ stopped ───┐                   └─ goes on        ┌─ stopped, wrongly
//!   keeper                    └─ SIGSTOP ─┐                         │
//!   front       └─ seen ──────────────────┴─ stopped ┴─ passed on ──┘
//! ```
//!
//! A stop takes effect some time after its signal was sent: one thread of the front
//! takes that, and the others, among them the one that passes requests on, run until
//! then. So times alone do not tell what is late. What does: a front that was stopped
//! runs again only when it was continued, and says of a request to stop when that
//! was. One that it had before it was continued, or before it has been stopped for the
//! last time, is fulfilled. One to continue carries the moment it was seen, and is
//! obsolete when the front was stopped later. What was passed on all the same can
//! always be taken back: requests arrive in the front's order.

use nix::sys::signal::Signal;

use crate::Moment;

/// What is known of stops, and what follows.
#[derive(Debug)]
pub(super) struct JobControl {
    /// Whether stops of the main process are told at all.
    is_told: bool,
    /// Whether the main process was stopped when it was last told of.
    main_is_stopped: bool,
    /// A request to stop was passed to the main process, which has not gone on since.
    passed_on: bool,
    /// When the signal that last stopped the front was sent, at the earliest.
    front_stopped: Option<Moment>,
    /// The front has not been continued by us since.
    front_is_stopped: bool,
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// The main process was stopped by this signal.
    MainStopped(Signal),
    /// The main process went on.
    MainContinued,
    /// A signal that stops the front was sent, not before this moment.
    FrontStopped { at: Moment },
    /// The front was asked to stop, and has not been since it last went on, if it did.
    StopAsked { went_on: Option<Moment> },
    /// The front was asked, at this moment at the latest, to go on.
    ContinueAsked { seen: Moment },
}

/// What the keeper is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Nothing,
    /// Pass SIGTSTP to the main process.
    StopMain,
    /// Let the main process go on if it is still stopped.
    ContinueMain,
    /// Let the main process go on even if it is not stopped yet.
    TakeBack,
    /// Send this to the front, and tell of it by [`Event::FrontStopped`].
    StopFront(Signal),
    /// Let the front go on if it does not.
    ContinueFront,
}

impl JobControl {
    /// With a main process that runs. Where nobody tells of its stops
    /// (`is_told`), requests are passed on as they come.
    pub(super) fn new(is_told: bool) -> JobControl {
        JobControl {
            is_told,
            main_is_stopped: false,
            passed_on: false,
            front_stopped: None,
            front_is_stopped: false,
        }
    }

    /// Takes note of `event`.
    pub(super) fn on(&mut self, event: Event) -> Act {
        match event {
            Event::MainStopped(signal) => {
                // Told twice of a stop, we missed a continuation between.
                self.passed_on &= !self.main_is_stopped;
                self.main_is_stopped = true;
                Act::StopFront(shown(signal))
            }
            Event::MainContinued => {
                self.main_is_stopped = false;
                self.passed_on = false;
                self.continue_front()
            }
            Event::FrontStopped { at } => {
                self.front_stopped = Some(at);
                self.front_is_stopped = true;
                Act::Nothing
            }
            Event::StopAsked { went_on } => self.asked_to_stop(went_on),
            Event::ContinueAsked { seen } => self.asked_to_continue(seen),
        }
    }

    /// Whether a signal could meet a main process that does not run.
    pub(super) fn main_may_be_stopped(&self) -> bool {
        !self.is_told || self.main_is_stopped || self.passed_on
    }

    fn asked_to_stop(&mut self, went_on: Option<Moment>) -> Act {
        let is_fulfilled = self.front_stopped.is_some() && went_on < self.front_stopped;
        if is_fulfilled {
            Act::Nothing
        } else if self.main_is_stopped {
            // The front alone went on, and is to stop again.
            Act::StopFront(Signal::SIGSTOP)
        } else {
            self.passed_on = true;
            Act::StopMain
        }
    }

    fn asked_to_continue(&mut self, seen: Moment) -> Act {
        let is_obsolete = self.front_stopped > Some(seen);
        // What we passed on was asked for before, whenever its stop is told of.
        let takes_back = std::mem::take(&mut self.passed_on);
        if takes_back && !self.main_is_stopped {
            Act::TakeBack
        } else if takes_back || (self.main_may_be_stopped() && !is_obsolete) {
            Act::ContinueMain
        } else {
            Act::Nothing
        }
    }

    /// A front that we have not stopped is left alone.
    fn continue_front(&mut self) -> Act {
        if std::mem::take(&mut self.front_is_stopped) {
            Act::ContinueFront
        } else {
            Act::Nothing
        }
    }
}

/// What the front's parent is shown for a stop of the job by `signal`. SIGTSTP is
/// not among it: the front handles that one in order to pass it on, and would have
/// to stop by itself, later than the job and never if it hangs.
fn shown(signal: Signal) -> Signal {
    match signal {
        // A background job wants the terminal.
        Signal::SIGTTIN | Signal::SIGTTOU => signal,
        _ => Signal::SIGSTOP,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// The moment `milliseconds` after the beginning.
    fn at(milliseconds: u64) -> Moment {
        Moment::from_start(Duration::from_millis(milliseconds))
    }

    const STOPPED: Event = Event::MainStopped(Signal::SIGTSTP);
    const CONTINUED: Event = Event::MainContinued;
    const STOP_FRONT: Act = Act::StopFront(Signal::SIGSTOP);
    /// From a front that was never stopped.
    const STOP: Event = Event::StopAsked { went_on: None };

    /// From a front that was last continued then.
    fn stop_after(went_on: u64) -> Event {
        let went_on = Some(at(went_on));
        Event::StopAsked { went_on }
    }

    fn go_on(seen: u64) -> Event {
        Event::ContinueAsked { seen: at(seen) }
    }

    fn front_stopped(milliseconds: u64) -> Event {
        Event::FrontStopped {
            at: at(milliseconds),
        }
    }

    #[track_caller]
    fn expect(steps: &[(Event, Act)]) -> JobControl {
        follow(JobControl::new(true), steps)
    }

    #[track_caller]
    fn follow(mut control: JobControl, steps: &[(Event, Act)]) -> JobControl {
        for (index, (event, act)) in steps.iter().enumerate() {
            assert_eq!(control.on(*event), *act, "step {index}: {event:?}");
        }
        control
    }

    #[test]
    fn the_front_stops_and_goes_on_with_the_job() {
        let (ttin, tty) = (Signal::SIGTTIN, Act::StopFront(Signal::SIGTTIN));
        expect(&[
            (STOPPED, STOP_FRONT),
            (front_stopped(10), Act::Nothing),
            (CONTINUED, Act::ContinueFront),
            (Event::MainStopped(ttin), tty),
            (front_stopped(20), Act::Nothing),
            (CONTINUED, Act::ContinueFront),
        ]);
    }

    #[test]
    fn a_front_that_was_not_stopped_is_not_continued() {
        // Stopped and continued before anybody looked.
        expect(&[(CONTINUED, Act::Nothing)]);
    }

    #[test]
    fn requests_to_the_front_alone_are_passed_on() {
        expect(&[
            (STOP, Act::StopMain),
            (STOPPED, STOP_FRONT),
            (front_stopped(11), Act::Nothing),
            (go_on(20), Act::ContinueMain),
            (CONTINUED, Act::ContinueFront),
            (stop_after(20), Act::StopMain),
            (STOPPED, STOP_FRONT),
        ]);
        expect(&[
            (STOPPED, STOP_FRONT),
            (front_stopped(11), Act::Nothing),
            (go_on(20), Act::ContinueMain),
            (CONTINUED, Act::ContinueFront),
        ]);
    }

    #[test]
    fn a_request_of_a_front_that_has_been_stopped_since_is_fulfilled() {
        let first = [(STOPPED, STOP_FRONT), (front_stopped(10), Act::Nothing)];
        // However late it comes: the front still runs, or the job goes on already.
        for late in [STOP, stop_after(5)] {
            let late = (late, Act::Nothing);
            let continued = (CONTINUED, Act::ContinueFront);
            expect(&[first[0], first[1], late]);
            expect(&[first[0], first[1], late, continued]);
            expect(&[first[0], first[1], continued, late]);
            let again = (go_on(20), Act::Nothing);
            expect(&[first[0], first[1], continued, late, again]);
            expect(&[first[0], first[1], continued, again, late]);
        }
    }

    #[test]
    fn a_copy_of_what_has_continued_both_does_not_undo_the_next_stop() {
        expect(&[
            (STOPPED, STOP_FRONT),
            (front_stopped(10), Act::Nothing),
            (CONTINUED, Act::ContinueFront),
            (STOPPED, STOP_FRONT),
            (front_stopped(30), Act::Nothing),
            (go_on(20), Act::Nothing),
            (go_on(40), Act::ContinueMain),
        ]);
    }

    #[test]
    fn what_was_passed_on_too_late_is_taken_back() {
        // Both had both signals; the copies come behind, the stop not told of yet.
        expect(&[
            (STOP, Act::StopMain),
            (go_on(10), Act::TakeBack),
            (go_on(10), Act::Nothing),
        ]);
        // It was told of, and has stopped the front after that saw the other.
        expect(&[
            (STOP, Act::StopMain),
            (STOPPED, STOP_FRONT),
            (front_stopped(12), Act::Nothing),
            (go_on(11), Act::ContinueMain),
            (CONTINUED, Act::ContinueFront),
        ]);
    }

    #[test]
    fn a_stop_of_its_own_is_not_taken_back_by_what_was_asked_before() {
        let passed_on = [
            (STOP, Act::StopMain),
            (STOPPED, STOP_FRONT),
            (front_stopped(12), Act::Nothing),
        ];
        let own = [
            (STOPPED, STOP_FRONT),
            (front_stopped(22), Act::Nothing),
            (go_on(20), Act::Nothing),
        ];
        // It went on and stopped itself, both before anybody looked or not.
        let control = follow(expect(&passed_on), &own);
        assert!(control.main_may_be_stopped());
        let control = follow(expect(&passed_on), &[(CONTINUED, Act::ContinueFront)]);
        follow(control, &own);
    }

    #[test]
    fn a_front_that_alone_went_on_stops_again() {
        expect(&[
            (STOPPED, STOP_FRONT),
            (front_stopped(10), Act::Nothing),
            (stop_after(20), STOP_FRONT),
            (front_stopped(21), Act::Nothing),
            // It was late: the job goes on, and so does the front.
            (CONTINUED, Act::ContinueFront),
        ]);
    }

    #[test]
    fn where_nobody_tells_of_stops_all_is_passed_on() {
        let steps = [
            (STOP, Act::StopMain),
            (go_on(10), Act::TakeBack),
            (go_on(20), Act::ContinueMain),
        ];
        let control = follow(JobControl::new(false), &steps);
        assert!(control.main_may_be_stopped());
    }
}
