//! The spelling of marker-pdf-optimized.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use integration_tests::harness::{Invocation, Scene, memcap_binary, sample_pdf};

use super::pretend::{folder, pdf};
use super::support::{STEM, environment, finish, scene, with_checkpoints, words};

/// The program of this spelling, built where it has not been.
fn program() -> PathBuf {
    let program = memcap_binary().with_file_name("marker-pdf-optimized");
    if !program.is_file() {
        let status = std::process::Command::new(env!("CARGO"))
            .args([
                "build",
                "--quiet",
                "--package",
                "memcap",
                "--bins",
                "--target-dir",
            ])
            .arg(
                memcap_binary()
                    .ancestors()
                    .nth(2)
                    .expect("below a target directory"),
            )
            .status();
        assert!(
            matches!(&status, Ok(status) if status.success()),
            "{status:?}"
        );
    }
    program
}

/// `marker-pdf-optimized LINE`, as somebody would type it, with a marker that
/// pretends on `PATH`.
fn typed<'scene>(scene: &'scene Scene, line: &str) -> Invocation<'scene> {
    let script = scene.path("bin/marker_single");
    fs::create_dir_all(scene.path("bin")).expect("a folder");
    let pretender = scene.job("pretend-marker");
    fs::write(&script, format!("#!{}\n", pretender.display())).expect("a script");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("its owner");
    let words: Vec<&str> = line.split_whitespace().collect();
    let invocation = scene.plain().command(program(), &words);
    invocation
        .variable("PATH", scene.path("bin"))
        .directory(scene.path("."))
}

#[test]
fn the_originals_examples_work_word_for_word() {
    let lines = [
        "marker_single input.pdf output/",
        "marker_single input.pdf output/ --batch-multiplier 0.25 --chunk-size 25 --auto-chunk",
        "marker_single input.pdf output/ \
         --pytorch-config max_split_size_mb:128,garbage_collection_threshold:0.6",
        "marker_single input.pdf output/ -- --force_ocr",
    ];
    for line in lines {
        let scene = scene();
        fs::write(scene.path("input.pdf"), pdf(3)).expect("written");
        typed(&scene, line).run().expect_code(0);
        assert!(scene.path("output/input/input.md").is_file(), "{line}");
    }
}

#[test]
fn the_environment_sets_what_no_option_does() {
    let scene = scene();
    fs::write(scene.path("input.pdf"), pdf(6)).expect("written");
    let finished = typed(&scene, "marker_single input.pdf output/")
        .variable("MARKER_BATCH_MULTIPLIER", "0.25")
        .variable("MARKER_CHUNK_SIZE", "3")
        .run();
    finished.expect_code(0);
    let told = finished.stderr_text();
    assert!(told.contains("6 pages in 2 chunks"), "{told}");
}

#[test]
fn a_folder_is_converted_by_the_folder_command() {
    let scene = scene();
    folder(&scene, &[("a.pdf", 3), ("b.pdf", 2)]);
    typed(&scene, "marker in output").run().expect_code(0);
    for result in ["output/a/a.md", "output/b/b.md"] {
        assert!(scene.path(result).is_file(), "{result}");
    }
}

#[test]
fn a_mistake_is_told_with_what_to_write() {
    let scene = scene();
    for (line, message, hint) in [
        (
            "marker_single a.pdf out --force_ocr",
            "`--force_ocr`",
            "-- --force_ocr",
        ),
        (
            "marker_single a.pdf out --page_range 0-3",
            "`--page_range`",
            "--pages 1-20",
        ),
        ("marker_server", "`marker_server`", "--help` lists"),
        ("marker_single a.pdf out --batch-multiplier 0", "`0`", "0.5"),
    ] {
        let finished = typed(&scene, line).run();
        finished.expect_code(2);
        let told = finished.stderr_text();
        assert!(told.contains(message) && told.contains(hint), "{told}");
    }
}

#[test]
fn three_pages_in_the_drop_in_spelling() {
    let Some(environment) = environment() else {
        return;
    };
    let scene = scene();
    // A short document, since what is tested is the spelling: the sample's
    // first pages, cut out by the PDF library that marker itself uses.
    let short = scene.path("short.pdf");
    let cut = "import sys, pypdfium2 as p; d = p.PdfDocument.new(); \
               d.import_pages(p.PdfDocument(sys.argv[1]), [0, 1, 2]); d.save(sys.argv[2])";
    let made = std::process::Command::new(environment.python())
        .args(["-c", cut])
        .arg(sample_pdf())
        .arg(&short)
        .status();
    assert!(matches!(&made, Ok(status) if status.success()), "{made:?}");

    let output = scene.path("out");
    let words = words([
        &"marker_single",
        &short,
        &output,
        &"--batch-multiplier",
        &"0.5",
        &"--chunk-size",
        &"25",
        &"--auto-chunk",
    ]);
    let venv = environment.python().parent().expect("bin").to_owned();
    let path = std::env::var("PATH").unwrap_or_default();
    let invocation = scene
        .plain()
        .command(program(), &words)
        .variable("PATH", format!("{}:{path}", venv.display()));
    finish(with_checkpoints(invocation, &environment).start()).expect_code(0);
    let text = fs::read_to_string(output.join("short/short.md")).unwrap();
    assert!(text.contains("Release Notes"), "{STEM}: {text}");
    scene.assert_nothing_left();
}
