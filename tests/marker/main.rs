//! The real marker on a real PDF, through the command line of memcap.
//!
//! A start of marker costs 10 to 30 seconds, so one conversion is shared by
//! all tests of its result: it is interrupted twice on the way (see
//! `conversion`). The document converted without memcap and without chunks is
//! the reference; it is kept in the cache beside the environment.
//!
//! Needs `scripts/marker-env`; where it was not run, every test of the real
//! marker says `skipped`, and fails if `MEMCAP_REQUIRE` names `marker`. The same
//! holds for `scripts/marker-env 2.0.0`, marker 2 and `marker-2`. What memcap
//! does around marker is tested with one that pretends (`pretend`).

mod bad_input;
mod compare;
mod comparison;
mod conversion;
mod discovery;
mod drop_in;
mod formats;
mod many;
mod pretend;
mod progress;
mod recovery;
mod reference;
mod result;
mod servers;
mod support;
mod together;
mod usage;
mod versions;
mod worker;
