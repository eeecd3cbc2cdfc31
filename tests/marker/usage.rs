//! What is typed behind `memcap marker`: a mistake is told in one line with
//! what to write instead, before anything is started.

use std::os::unix::fs::PermissionsExt;

use integration_tests::harness::{Account, Mechanism, Scene, Setting};

use super::pretend::{folder, marker, scene};

#[test]
fn a_mistake_is_told_with_what_to_write_instead() {
    let scene = scene();
    folder(&scene, &[("a.pdf", 3), ("bad.pdf", 0)]);
    let input = ["in/a.pdf", "-o", "out"];
    let cases: [(&[&str], &str, &str); 22] = [
        (&["--memory", "8X"], "--memory: unknown unit `X`", "512M"),
        (&["--memory", "100M"], "too small for marker", "--memory "),
        (&["--jobs", "0"], "--jobs: `0`", "auto"),
        (&["--jobs", "many"], "--jobs: `many`", "auto"),
        (&["--preset", "tiny"], "--preset: `tiny`", "conservative"),
        (
            &["--batch-multiplier", "-1"],
            "--batch-multiplier: `-1`",
            "0.5",
        ),
        (&["--batch-multiplier", "0"], "`0`", "above 0"),
        (&["--chunk-size", "0"], "--chunk-size: `0`", "1 or more"),
        (&["--chunk-time", "-5m"], "--chunk-time: `-5m`", "20m"),
        (&["--chunk-time", "0"], "--chunk-time: ", "20m"),
        (&["--format", "pdf"], "--format: `pdf`", "markdown"),
        (&["--pages", "9"], "page 9 is asked for", "1-3"),
        (&["--pages", "3-1"], "--pages: the range `3-1`", "1-20"),
        (&["--threads", "0"], "--threads: `0`", "from 1"),
        (&["--threads", "-2"], "--threads: `-2`", "from 1"),
        (&["--threads", "many"], "--threads: `many`", "from 1"),
        (&["--ocr-backend", "magic"], "--ocr-backend: ", "vllm"),
        (&["--mechanism", "magic"], "--mechanism: ", "watchdog"),
        (&["--json-events=x"], "--json-events: `x`", "3>FILE"),
        (&["--report", "/nowhere/r"], "`/nowhere/r`", "written"),
        (&["--report", "in"], "`in`: is a directory", "written"),
        (&["--", "--page_range", "1"], "`--page_range`", "--pages"),
    ];
    for (words, message, hint) in cases {
        let finished = marker(&scene, &[&input[..], words].concat()).run();
        finished.expect_code(2);
        let text = finished.stderr_text();
        let [error, advice] = text.lines().collect::<Vec<_>>()[..] else {
            panic!("{words:?}: {finished}")
        };
        assert!(error.contains(message), "{words:?}: {text}");
        assert!(
            advice.starts_with("  hint: ") && advice.contains(hint),
            "{words:?}: {text}"
        );
    }
    assert!(!scene.path("out").exists());
    scene.assert_nothing_left();
}

#[test]
fn documents_that_cannot_be_read_are_told_each_in_its_way() {
    let scene = scene();
    let input = folder(&scene, &[("a.pdf", 1), ("bad.pdf", 0)]);
    std::fs::write(input.join("empty.pdf"), "").expect("a file");
    std::fs::create_dir(scene.path("nothing")).expect("a folder");
    let cases = [
        ("in/no.pdf", "No such file", "path"),
        ("in/empty.pdf", "is empty", "again"),
        ("in/bad.pdf", "bad.pdf`", ""),
        ("nothing", "no document in `nothing`", "empty"),
        ("/dev/null", "not a file", "name"),
    ];
    for (document, message, hint) in cases {
        let finished = marker(&scene, &[document, "-o", "out", "-m", "2G"]).run();
        finished.expect_code(2);
        let text = finished.stderr_text();
        assert!(
            text.contains(message) && text.contains(hint),
            "{document}: {text}"
        );
    }
    scene.assert_nothing_left();
}

#[test]
fn only_root_drops_caches() {
    let Some(scene) = Scene::open(Setting {
        account: Account::Ordinary,
        mechanism: Mechanism::Watchdog,
    }) else {
        return;
    };
    folder(&scene, &[("a.pdf", 1)]);
    let words = ["in/a.pdf", "-o", "out", "-m", "2G", "--drop-caches"];
    let finished = marker(&scene, &words).run();
    finished.expect_code(2);
    let text = finished.stderr_text();
    assert!(
        text.contains("--drop-caches: ") && text.contains("leave it away"),
        "{text}"
    );
    scene.assert_nothing_left();
}

/// What is told where results cannot be put into `output`, of one document and of
/// a folder, converted and planned alike.
fn refused_output(scene: &Scene, output: &str, message: &str) {
    let lines: [&[&str]; 3] = [&["in/a.pdf"], &["in"], &["plan", "in/a.pdf"]];
    for words in lines {
        let words = [words, &["-o", output, "-m", "2G"]].concat();
        let finished = marker(scene, &words).run();
        finished.expect_code(2);
        let text = finished.stderr_text();
        let [error, advice] = text.lines().collect::<Vec<_>>()[..] else {
            panic!("{words:?}: {finished}")
        };
        assert!(error.contains(message), "{words:?}: {text}");
        assert!(error.contains(output), "{words:?}: {text}");
        assert!(advice.starts_with("  hint: choose"), "{words:?}: {text}");
    }
}

#[test]
fn an_output_folder_that_cannot_be_made_is_told_before_anything_else() {
    let scene = scene();
    folder(&scene, &[("a.pdf", 1), ("b.pdf", 1), ("notes.txt", 0)]);
    let cases = [
        ("in/a.pdf", "a.pdf`: not a directory"),
        ("in/a.pdf/out", "a.pdf`: not a directory"),
        ("/proc/nowhere", "because of `/proc`: "),
    ];
    for (output, message) in cases {
        refused_output(&scene, output, message);
    }
    scene.assert_nothing_left();
}

#[test]
fn an_output_folder_that_cannot_be_written_is_told_before_anything_else() {
    let Some(scene) = Scene::open(Setting {
        account: Account::Ordinary,
        mechanism: Mechanism::Watchdog,
    }) else {
        return;
    };
    folder(&scene, &[("a.pdf", 1), ("notes.txt", 0)]);
    let output = scene.path("locked");
    std::fs::create_dir(&output).expect("a folder");
    let read_only = std::fs::Permissions::from_mode(0o555);
    std::fs::set_permissions(&output, read_only).expect("ours");
    refused_output(&scene, "locked", "locked`: Permission denied");
    refused_output(&scene, "locked/new", "locked`: Permission denied");
    scene.assert_nothing_left();
}

#[test]
fn a_plan_of_one_document_and_of_many() {
    let scene = scene();
    folder(
        &scene,
        &[("a.pdf", 30), ("b.pdf", 2), ("bad.pdf", 0), ("x.txt", 0)],
    );
    let settings = [
        "-o",
        "out",
        "--memory",
        "8G",
        "--preset",
        "minimal",
        "--precision",
        "float16",
        "--chunk-size",
        "10",
    ];
    let one = marker(&scene, &[&["plan", "in/a.pdf"], &settings[..]].concat()).run();
    one.expect_code(0);
    let told = String::from_utf8_lossy(&one.stdout).into_owned();
    for words in [
        "30 pages",
        "marker 1.10.2",
        "float16",
        "21-30",
        "limit 8 GiB",
        "computes on the processor, because",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    let many = marker(&scene, &[&["plan", "in"], &settings[..]].concat()).run();
    many.expect_code(3);
    let told = String::from_utf8_lossy(&many.stdout).into_owned();
    for words in [
        "3 documents, one after the other, each within 8 GiB",
        "b.pdf",
        "bad.pdf",
        "skipped: in/x.txt",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    let of_all = "no model checkpoint was found on disk";
    assert_eq!(told.matches(of_all).count(), 1, "{told}");
    assert!(!told.contains("documents at once"), "nobody asked: {told}");
    let settings = [&settings[..], &["--jobs", "auto"]].concat();
    let many = marker(&scene, &[&["plan", "in"], &settings[..]].concat()).run();
    let told = String::from_utf8_lossy(&many.stdout).into_owned();
    let why = told
        .lines()
        .find(|line| line.starts_with("documents at once: "));
    assert!(
        why.is_some_and(|line| line.contains(", because ")),
        "{told}"
    );
    let json = marker(&scene, &[&["plan", "in", "--json"], &settings[..]].concat()).run();
    json.expect_code(3);
    let plans: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(plans["documents"][0]["document_pages"], 30);
    let because = plans["jobs_because"].as_str().expect("a reason");
    assert!(!because.contains("asked for"), "{plans}");
    let levers = plans["documents"][0]["settings"].as_array();
    let names: Vec<&str> = levers
        .expect("levers")
        .iter()
        .map(|lever| lever["name"].as_str().expect("a name"))
        .collect();
    let distinct: std::collections::BTreeSet<&&str> = names.iter().collect();
    assert_eq!(distinct.len(), names.len(), "{names:?}");
    assert!(plans["documents"][2]["error"].is_string(), "{plans}");
    assert!(!scene.path("out").exists());
    scene.assert_nothing_left();
}

/// What a plan says of freed memory, in one line.
fn told_of_freed_memory(scene: &Scene, settings: &[&str]) -> String {
    let words = [&["plan", "in/a.pdf", "-o", "out"], settings].concat();
    let finished = marker(scene, &words).run();
    finished.expect_code(0);
    let told = String::from_utf8_lossy(&finished.stdout).into_owned();
    let words: Vec<&str> = told.split_whitespace().collect();
    let told = words.join(" ");
    let (_, from) = told.split_once("freed memory: ").expect("a choice");
    let (sentence, _) = from.split_once(" at once: ").expect("another choice");
    sentence.to_owned()
}

#[test]
fn a_plan_says_what_becomes_of_freed_memory_and_why() {
    let scene = scene();
    folder(&scene, &[("a.pdf", 20)]);
    let cases: [(&[&str], &str, &str); 4] = [
        (&["-m", "8G"], "kept for later", "of 8 GiB, at most half"),
        (
            &["-m", "1536M"],
            "given back at once",
            "of 1.5 GiB, more than half",
        ),
        (
            &["-m", "8G", "--preset", "conservative"],
            "given back at once",
            "smaller batches than marker's own were asked for",
        ),
        (
            &["-m", "8G", "--preset", "default"],
            "kept for later",
            "at most half",
        ),
    ];
    for (settings, value, because) in cases {
        let told = told_of_freed_memory(&scene, settings);
        assert!(told.starts_with(value), "{settings:?}: {told}");
        let (_, reason) = told.split_once(", because ").expect("a reason");
        assert!(reason.contains(because), "{settings:?}: {told}");
    }
    scene.assert_nothing_left();
}

#[test]
fn pages_of_what_has_none_are_refused_by_name() {
    let scene = scene();
    let input = folder(&scene, &[("a.pdf", 3)]);
    std::fs::write(input.join("scan.png"), b"\x89PNG\r\n\x1a\nand more").expect("a file");
    let settings = ["--pages", "1", "-o", "out", "-m", "2G"];
    let message = "scan.png` is an image: pages can be chosen of a PDF only";

    let one = marker(&scene, &[&["in/scan.png"], &settings[..]].concat())
        .variable("PATH", "/nowhere")
        .run();
    one.expect_code(2);
    let text = one.stderr_text();
    assert!(text.contains(message), "{text}");
    assert!(text.contains("hint: convert it without --pages"), "{text}");
    assert_eq!(text.lines().count(), 2, "{text}");

    let words = ["in", "--report", "r.json"];
    let all = marker(&scene, &[&words, &settings[..]].concat()).run();
    all.expect_code(3);
    let text = all.stderr_text();
    assert!(text.contains(message), "{text}");
    assert!(text.contains("1 document complete, 1 failed"), "{text}");
    let report = super::pretend::json(&scene.path("r.json"));
    let failed = &report["documents"][1];
    assert_eq!(failed["status"], "failed");
    let hint = failed["hint"].as_str().expect("a hint");
    assert!(hint.contains("without --pages"), "{hint}");
    scene.assert_nothing_left();
}

#[test]
fn a_document_whose_name_is_like_an_option_needs_a_folder_before_it() {
    let scene = scene();
    let input = folder(&scene, &[("--help.pdf", 1), ("--notes", 1)]);
    let run = |words: &[&str]| {
        let words = [words, &["-o", "out", "-m", "2G"]].concat();
        marker(&scene, &words).directory(input.clone()).run()
    };
    for (words, hint) in [
        (&["--help.pdf"][..], "hint: write ./--help.pdf "),
        (&["--notes"], "hint: write ./--notes "),
        (&["plan", "--help.pdf"], "hint: write ./--help.pdf "),
        (&["--gone.pdf"], "hint: write ./--gone.pdf "),
        (&["--gone"], "hint: `memcap marker --help`"),
    ] {
        let refused = run(words);
        refused.expect_code(2);
        let text = refused.stderr_text();
        assert!(text.contains(hint), "{words:?}: {text}");
    }
    run(&["./--help.pdf"]).expect_code(0);
    assert!(input.join("out/--help/--help.md").is_file());
    scene.assert_nothing_left();
}

#[test]
fn too_few_open_files_are_told_with_what_to_do() {
    let scene = scene();
    folder(&scene, &[("a.pdf", 1)]);
    let settings = ["in/a.pdf", "-o", "out", "-m", "2G"];
    let commands = [settings.to_vec(), [&["plan"], &settings[..]].concat()];
    // Where it is felt depends on the mechanism.
    for (most, words) in (5..=20).flat_map(|most| commands.each_ref().map(|words| (most, words))) {
        let script = format!("ulimit -n {most}; exec \"$0\" \"$@\"");
        let finished = super::pretend::marker_through(&scene, &["sh", "-c", &script], words).run();
        let text = finished.stderr_text();
        if finished.code() == 0 {
            assert!(most > 9, "{words:?}: {text}");
        } else {
            assert!(text.contains("Too many open files"), "{most}: {text}");
            assert!(
                text.contains("hint: allow more open files: ulimit -n"),
                "{most}: {text}"
            );
            // Nobody has made a mistake.
            finished.expect_code(125);
        }
        scene.assert_nothing_left();
    }
}
