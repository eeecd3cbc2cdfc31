//! The user's wish to stop, and the steps that it concerns.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use memcap_supervisor::Control;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Shared by everything that runs steps.
#[derive(Default)]
pub(super) struct Interruption {
    /// Whether it was said, from the instant of the signal on: a step that ends by
    /// the same signal may be judged before the listening thread gets to run.
    said: Arc<AtomicBool>,
    /// How often it was said, as far as steps were told.
    asked: AtomicUsize,
    running: Mutex<Running>,
}

#[derive(Default)]
struct Running {
    next: u64,
    controls: BTreeMap<u64, Control>,
}

impl Interruption {
    /// Takes over the signals that ask us to stop.
    pub(super) fn listening() -> io::Result<Arc<Interruption>> {
        let interruption = Arc::new(Interruption::default());
        let stopping = [SIGINT, SIGTERM, SIGHUP];
        for signal in stopping {
            signal_hook::flag::register(signal, Arc::clone(&interruption.said))?;
        }
        let mut signals = Signals::new(stopping)?;
        let asked = Arc::clone(&interruption);
        std::thread::Builder::new().spawn(move || {
            for _ in signals.forever() {
                asked.ask();
            }
        })?;
        Ok(interruption)
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.said.load(Ordering::SeqCst)
    }

    fn ask(&self) {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let running = self.running();
        running.controls.values().for_each(|step| self.end(step));
    }

    /// Who asks again does not want to wait.
    fn end(&self, control: &Control) {
        match self.asked.load(Ordering::SeqCst) {
            0 => {}
            1 => control.stop(),
            _ => control.kill(),
        }
    }

    /// Has this step stopped when the user asks, until the guard is dropped;
    /// at once if it was asked for while the step was being started.
    pub(super) fn concerns(self: &Arc<Self>, control: Control) -> Concern {
        let mut running = self.running();
        let number = running.next;
        running.next += 1;
        self.end(&control);
        running.controls.insert(number, control);
        Concern {
            interruption: Arc::clone(self),
            number,
        }
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        // A thread that panicked has left nothing half done.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A step that ends when the user asks.
pub(super) struct Concern {
    interruption: Arc<Interruption>,
    number: u64,
}

impl Drop for Concern {
    fn drop(&mut self) {
        self.interruption.running().controls.remove(&self.number);
    }
}
