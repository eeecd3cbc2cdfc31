//! An end of the program at a chosen moment, as `kill -9` would make it: the
//! journal can no longer be written, so nothing more is done.

use std::cell::Cell;
use std::io;

/// The moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Everything that leads to this record is done, and it is not written.
    Before(usize),
    /// It is written, and nothing that follows is done.
    Behind(usize),
}

thread_local! {
    static STOP: Cell<Option<Moment>> = const { Cell::new(None) };
}

/// Sets the moment, counted in records from 1; `None` for no end.
pub(crate) fn at(moment: Option<Moment>) {
    STOP.set(moment);
}

pub(crate) fn before_a_record() -> io::Result<()> {
    match STOP.get() {
        Some(Moment::Before(1)) => Err(killed()),
        _ => Ok(()),
    }
}

pub(crate) fn behind_a_record() -> io::Result<()> {
    let next = match STOP.get() {
        None => None,
        Some(Moment::Behind(1)) => return Err(killed()),
        Some(Moment::Before(records)) => Some(Moment::Before(records - 1)),
        Some(Moment::Behind(records)) => Some(Moment::Behind(records - 1)),
    };
    STOP.set(next);
    Ok(())
}

fn killed() -> io::Error {
    io::Error::other("the test ends here")
}
