//! The conversion that the tests of the result share: started, killed after
//! its first chunk, started again, interrupted after one more, finished.

use std::ffi::OsString;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::time::Duration;

use integration_tests::harness::{MarkerEnvironment, Running, poll_until, sample_pdf};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::support::{Files, STEM, files, finish, journal, memcap, pages_of, scene, words};

/// The whole document takes 2.3 GiB, ten pages 1.5 GiB (docs/chunking.md).
pub const LIMIT: &str = "2000M";
/// [`LIMIT`] in bytes.
pub const LIMIT_BYTES: u64 = 2000 << 20;
/// 36 pages make four chunks of these.
const CHUNK_PAGES: &str = "10";
/// Until a chunk is done on two busy cores.
const CHUNK_PATIENCE: Duration = Duration::from_secs(300);

/// What the conversion left and what was seen on the way.
pub struct Conversion {
    /// The files of `OUT/<stem>`.
    pub result: Files,
    /// The journal at each of the two interruptions, and before the last run
    /// ended.
    pub journals: [Vec<Value>; 3],
    /// The exit code of the run that was interrupted by SIGINT.
    pub interrupted_code: i32,
    /// Its standard error.
    pub interrupted_stderr: String,
    /// Names in the output folder at the end.
    pub output_names: Vec<OsString>,
}

/// The conversion, carried out by the first test that asks.
///
/// # Panics
/// Where it failed, in this test or in the first: it is not tried again.
pub fn conversion(environment: &MarkerEnvironment) -> &'static Conversion {
    static CONVERSION: OnceLock<Option<Conversion>> = OnceLock::new();
    let attempt = || catch_unwind(AssertUnwindSafe(|| convert(environment))).ok();
    let conversion = CONVERSION.get_or_init(attempt).as_ref();
    conversion.expect("the shared conversion failed; the first test that asked shows why")
}

fn convert(environment: &MarkerEnvironment) -> Conversion {
    let scene = scene();
    let output = scene.path("out");
    let start = || {
        let words = words([
            &"marker",
            &sample_pdf(),
            &"-o",
            &output,
            &"--memory",
            &LIMIT,
            &"--chunk-size",
            &CHUNK_PAGES,
            &"--python",
            &environment.python(),
        ]);
        memcap(&scene, environment, &words).start()
    };
    let done_reaches = |running: &mut Running<'_>, count: usize| {
        let reached = poll_until(CHUNK_PATIENCE, || {
            let reached = pages_of(&journal(&output), "done").len() >= count;
            (reached || running.has_ended()).then_some(reached)
        });
        assert_eq!(reached, Some(true), "{count} chunks done");
    };

    let mut killed = start();
    done_reaches(&mut killed, 1);
    killed.signal(Signal::SIGKILL);
    finish(killed);
    scene.assert_nothing_left_soon();
    let at_kill = journal(&output);
    assert!(!output.join(STEM).exists(), "a result before its time");

    let mut interrupted = start();
    done_reaches(&mut interrupted, 2);
    interrupted.signal_group(Signal::SIGINT);
    let interrupted = finish(interrupted);
    scene.assert_nothing_left();
    let at_interrupt = journal(&output);

    let mut last = start();
    done_reaches(&mut last, 4);
    let at_end = journal(&output);
    finish(last).expect_code(0);
    scene.assert_nothing_left();

    let names = fs::read_dir(&output)
        .expect("the output folder is there")
        .flatten()
        .map(|entry| entry.file_name());
    Conversion {
        result: files(&output.join(STEM)),
        journals: [at_kill, at_interrupt, at_end],
        interrupted_code: interrupted.code(),
        interrupted_stderr: interrupted.stderr_text(),
        output_names: names.collect(),
    }
}
