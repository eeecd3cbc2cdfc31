//! The worker that loads the models once, in the real marker.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use integration_tests::harness::{MarkerEnvironment, Scene, sample_pdf};

use super::support::{Files, STEM, environment, files, finish, memcap, scene, words};

/// Enough for a few pages and whatever a leak adds.
const LIMIT: &str = "3G";

/// `memcap marker SAMPLE …` over these pages in chunks of so many.
fn arguments(
    environment: &MarkerEnvironment,
    output: &Path,
    drive: &str,
    pages: &str,
    chunk: &str,
) -> Vec<OsString> {
    words([
        &"marker",
        &sample_pdf(),
        &"-o",
        &output,
        &"--memory",
        &LIMIT,
        &"--drive",
        &drive,
        &"--pages",
        &pages,
        &"--chunk-size",
        &chunk,
        &"--python",
        &environment.python(),
    ])
}

fn converted(scene: &Scene, environment: &MarkerEnvironment, drive: &str) -> Files {
    let output = scene.path(drive);
    let words = arguments(environment, &output, drive, "1-8", "4");
    finish(memcap(scene, environment, &words).start()).expect_code(0);
    scene.assert_nothing_left();
    files(&output.join(STEM))
}

#[test]
fn a_worker_and_a_process_for_every_chunk_give_the_same_bytes() {
    let Some(environment) = environment() else {
        return;
    };
    let scene = scene();
    let warm = converted(&scene, &environment, "warm");
    let fresh = converted(&scene, &environment, "fresh");
    let names = |files: &Files| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&warm), names(&fresh));
    for (name, content) in &fresh {
        assert!(warm[name] == *content, "{} differs", name.display());
    }
    assert!(
        fresh.len() > 8,
        "a picture for every page: {:?}",
        names(&fresh)
    );
}

/// Lets every worker keep 150 MiB more with each chunk, and tells its pid. It
/// hooks the cleaning up between chunks, which no other process comes to.
const LEAK: &str = r#"
import gc, os, sys

if "marker_single" not in sys.argv[:1]:
    kept, collect = [], gc.collect

    def leak(*arguments):
        if sys._getframe(1).f_code.co_name == "tidy":
            kept.append(bytearray(os.urandom(1)) * (150 << 20))
            with open(os.environ["LEAK_LOG"], "a") as log:
                log.write(f"{os.getpid()}\n")
        return collect(*arguments)

    gc.collect = leak
"#;

#[test]
fn a_worker_that_leaks_is_replaced() {
    let Some(environment) = environment() else {
        return;
    };
    let scene = scene();
    let (output, log) = (scene.path("out"), scene.path("leaks"));
    fs::create_dir(scene.path("python")).expect("a folder");
    fs::write(scene.path("python/sitecustomize.py"), LEAK).expect("a file");
    let words = arguments(&environment, &output, "warm", "1-4", "1");
    let run = memcap(&scene, &environment, &words)
        .variable("PYTHONPATH", scene.path("python"))
        .variable("LEAK_LOG", &log);
    finish(run.start()).expect_code(0);
    scene.assert_nothing_left();
    let log = fs::read_to_string(&log).expect("workers leaked");
    let pids: Vec<&str> = log.lines().collect();
    let workers: BTreeSet<&str> = pids.iter().copied().collect();
    // The second chunk leaves more than 15 % above what the first one left.
    assert_eq!((pids.len(), workers.len()), (4, 2), "{pids:?}");
    assert!(pids[0] == pids[1] && pids[2] == pids[3], "{pids:?}");
}

/// Puts marker's package, as a link, into a folder of the scene that comes before its
/// own place, with these settings beside it.
fn package_with_settings(
    scene: &Scene,
    environment: &MarkerEnvironment,
    settings: &str,
) -> PathBuf {
    let libraries = fs::read_dir(environment.folder().join("venv/lib")).expect("a folder");
    let package = libraries
        .flatten()
        .map(|python| python.path().join("site-packages/marker"))
        .find(|package| package.is_dir());
    let folder = scene.path("package");
    fs::create_dir(&folder).expect("a folder");
    symlink(package.expect("marker"), folder.join("marker")).expect("a link");
    fs::write(folder.join("local.env"), settings).expect("a file");
    folder
}

#[test]
fn a_worker_has_the_settings_beside_marker_s_package_and_none_of_the_current_folder() {
    let Some(environment) = environment() else {
        return;
    };
    let scene = scene();
    let package = package_with_settings(&scene, &environment, "OUTPUT_IMAGE_FORMAT=PNG\n");
    // Where a program without a file of its own would look for them.
    fs::write(scene.path("local.env"), "OUTPUT_IMAGE_FORMAT=GIF\n").expect("a file");
    let converted = |drive: &str| {
        let output = scene.path(drive);
        let words = arguments(&environment, &output, drive, "1", "1");
        let run = memcap(&scene, &environment, &words)
            .directory(scene.path("."))
            .variable("PYTHONPATH", &package);
        finish(run.start()).expect_code(0);
        scene.assert_nothing_left();
        files(&output.join(STEM))
    };
    let (warm, fresh) = (converted("warm"), converted("fresh"));
    let is_png = |name: &&PathBuf| name.extension().is_some_and(|extension| extension == "png");
    assert!(warm.keys().any(|name| is_png(&name)), "{:?}", warm.keys());
    assert_eq!(
        warm.keys().collect::<Vec<_>>(),
        fresh.keys().collect::<Vec<_>>()
    );
    for (name, content) in &fresh {
        assert!(warm[name] == *content, "{} differs", name.display());
    }
}
