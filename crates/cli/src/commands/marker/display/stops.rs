//! Whether we were stopped (Ctrl-Z) since we last drew. The shell has written below
//! our lines then, and to draw over them would take its words away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::SigId;
use signal_hook::consts::SIGCONT;

/// Listens for what every stop ends with.
pub(super) struct Stops {
    continued: Arc<AtomicBool>,
    listener: Option<SigId>,
}

impl Stops {
    /// Where there is something to draw on. A signal that cannot be listened for
    /// costs a line of the shell's.
    pub(super) fn noticed_where(draws: bool) -> Stops {
        let continued = Arc::new(AtomicBool::new(false));
        let listen = || signal_hook::flag::register(SIGCONT, Arc::clone(&continued)).ok();
        let listener = draws.then(listen).flatten();
        Stops {
            continued,
            listener,
        }
    }

    /// Whether there was one since this was last asked.
    pub(super) fn was_one(&self) -> bool {
        self.continued.swap(false, Ordering::SeqCst)
    }
}

impl Drop for Stops {
    fn drop(&mut self) {
        if let Some(listener) = self.listener {
            signal_hook::low_level::unregister(listener);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_is_told_once() {
        let stops = Stops::noticed_where(true);
        assert!(!stops.was_one());
        signal_hook::low_level::raise(SIGCONT).expect("sent");
        assert!(stops.was_one());
        assert!(!stops.was_one());
    }
}
