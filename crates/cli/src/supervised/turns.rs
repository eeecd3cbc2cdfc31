//! When a step may start again that had to make room for others in a budget:
//! once another one has ended, or none is left.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use memcap_marker::runner::Ending;

/// How often whoever waits looks whether the user wants to stop.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The steps of one budget.
#[derive(Default)]
pub(super) struct Turns {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    running: usize,
    /// Steps that have ended, those that had to make room left out.
    ended: u64,
}

/// One of those who run steps in the budget, one after the other.
#[derive(Clone)]
pub(super) struct Turn {
    turns: Arc<Turns>,
    /// Where its last step had to make room: how many others had ended by then.
    made_room: Arc<Mutex<Option<u64>>>,
}

/// A step that runs in the budget.
pub(super) struct Member {
    turn: Turn,
    made_room: bool,
}

impl Turns {
    /// Another one who runs steps.
    pub(super) fn turn(self: &Arc<Self>) -> Turn {
        Turn {
            turns: Arc::clone(self),
            made_room: Arc::default(),
        }
    }

    fn wait(&self, ended: u64, is_interrupted: impl Fn() -> bool) {
        let mut state = lock(&self.state);
        while state.running > 0 && state.ended == ended && !is_interrupted() {
            let waited = self.changed.wait_timeout(state, LOOK_EVERY);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Turn {
    /// Begins a step, after a wait where the last one had to make room.
    pub(super) fn begin(&self, is_interrupted: impl Fn() -> bool) -> Member {
        let made_room = lock(&self.made_room).take();
        if let Some(ended) = made_room {
            self.turns.wait(ended, is_interrupted);
        }
        lock(&self.turns.state).running += 1;
        Member {
            turn: self.clone(),
            made_room: false,
        }
    }
}

impl Member {
    /// It has ended like this.
    pub(super) fn ended(mut self, ending: &Ending) {
        self.made_room = *ending == Ending::Requeued;
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut state = lock(&self.turn.turns.state);
        state.running -= 1;
        if self.made_room {
            *lock(&self.turn.made_room) = Some(state.ended);
        } else {
            state.ended += 1;
        }
        drop(state);
        self.turn.turns.changed.notify_all();
    }
}

/// A thread that panicked has left nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_made_room_begins_again_after_another_s_end() {
        let turns = Arc::new(Turns::default());
        let (elder, younger) = (turns.turn(), turns.turn());
        let (first, second) = (elder.begin(|| false), younger.begin(|| false));
        second.ended(&Ending::Requeued);
        let again = std::thread::spawn(move || drop(younger.begin(|| false)));
        first.ended(&Ending::Finished { exit_code: 0 });
        again.join().unwrap();
        assert_eq!(lock(&turns.state).ended, 2);
    }

    #[test]
    fn nobody_waits_for_none_or_against_the_user_s_wish() {
        let turns = Arc::new(Turns::default());
        let alone = turns.turn();
        alone.begin(|| false).ended(&Ending::Requeued);
        alone.begin(|| false).ended(&Ending::Requeued);
        let _other = turns.turn().begin(|| false);
        drop(alone.begin(|| true));
    }
}
