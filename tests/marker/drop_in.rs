//! The spelling of marker-pdf-optimized.

use std::fs;

use integration_tests::harness::{memcap_binary, sample_pdf};

use super::support::{STEM, environment, finish, scene, with_checkpoints, words};

#[test]
fn three_pages_in_the_drop_in_spelling() {
    let Some(environment) = environment() else {
        return;
    };
    let scene = scene();
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
        .command(program, &words)
        .variable("PATH", format!("{}:{path}", venv.display()));
    finish(with_checkpoints(invocation, &environment).start()).expect_code(0);
    let text = fs::read_to_string(output.join("short/short.md")).unwrap();
    assert!(text.contains("Release Notes"), "{STEM}: {text}");
    scene.assert_nothing_left();
}
