//! What a test needs of the machine: as in the suites, a test that cannot run
//! says so and passes, unless `MEMCAP_REQUIRE` (a list with commas) names what is
//! missing.

use std::io::Write;

/// Says that the running test cannot run here, because there is no `facility`.
///
/// # Panics
/// Where `MEMCAP_REQUIRE` names it.
pub(crate) fn skip(facility: &str, reason: &str) {
    let required = std::env::var("MEMCAP_REQUIRE").unwrap_or_default();
    assert!(
        required.split(',').all(|name| name.trim() != facility),
        "MEMCAP_REQUIRE names {facility}, but {reason}"
    );
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("test");
    // Past the test runner, which would keep it to itself.
    let _ = writeln!(std::io::stderr(), "skipped: {reason} ({test})");
}
