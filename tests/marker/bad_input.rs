//! What cannot be converted is answered before marker starts: one clear line,
//! and nothing written.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use integration_tests::harness::{Finished, Scene, sample_pdf};

use super::pretend;
use super::support::{environment, files, finish, journal, memcap, pages_of, scene, words};

/// Starting marker takes longer.
const AT_ONCE: Duration = Duration::from_secs(8);

/// `memcap marker DOCUMENT -o OUT OPTIONS…`.
fn convert(scene: &Scene, document: &Path, options: &[&str]) -> Finished {
    let environment = environment().expect("asked before");
    let mut words = words([&"marker", &document, &"-o", &scene.path("out")]);
    words.extend(options.iter().map(Into::into));
    if !options.contains(&"--python") {
        words.extend(["--python".into(), environment.python().into()]);
    }
    finish(memcap(scene, &environment, &words).start())
}

#[track_caller]
fn assert_refused(scene: &Scene, finished: &Finished, codes: &[i32], says: &str) {
    let stderr = finished.stderr_text();
    assert!(codes.contains(&finished.code()), "{finished}");
    let errors = stderr
        .lines()
        .filter(|line| line.contains("error: "))
        .count();
    assert_eq!(errors, 1, "{finished}");
    assert!(
        stderr.to_lowercase().contains(says),
        "nothing of {says:?} in:\n{finished}"
    );
    assert!(!stderr.contains("Traceback"), "{finished}");
    assert!(finished.wall < AT_ONCE, "{finished}");
    assert!(
        files(&scene.path("out")).is_empty(),
        "something was written"
    );
    scene.assert_nothing_left();
}

#[test]
fn documents_that_are_none_are_refused() {
    if environment().is_none() {
        return;
    }
    let sample = fs::read(sample_pdf()).unwrap();
    // Only damage has a remedy worth a hint.
    let damaged = ["header.pdf", "half.pdf"];
    let cases: [(&str, Option<&[u8]>, &str); 5] = [
        ("missing.pdf", None, "missing.pdf"),
        ("empty.pdf", Some(b""), "pdf"),
        ("text.pdf", Some(b"just some words, no document\n"), "pdf"),
        ("header.pdf", Some(b"%PDF-1.5\n"), "pdf"),
        ("half.pdf", Some(&sample[..sample.len() / 2]), "half.pdf"),
    ];
    for (name, content, says) in cases {
        let scene = scene();
        let document = scene.path(name);
        if let Some(content) = content {
            fs::write(&document, content).unwrap();
        }
        let finished = convert(&scene, &document, &["--memory", "2G"]);
        assert_refused(&scene, &finished, &[2, 4], says);
        let hinted = finished.stderr_text().contains("hint:");
        assert!(hinted || !damaged.contains(&name), "{finished}");
    }
}

/// A document of one page with this user password.
fn locked(scene: &Scene, password: &str) -> PathBuf {
    let document = scene.path("locked.pdf");
    let python = environment().expect("asked before").python();
    let made = std::process::Command::new(python)
        .args(["-c", LOCK, password])
        .arg(&document)
        .status();
    assert!(matches!(&made, Ok(status) if status.success()), "{made:?}");
    document
}

#[test]
fn a_password_protected_document_is_named_as_such() {
    if environment().is_none() {
        return;
    }
    let scene = scene();
    let document = locked(&scene, "secret");
    let finished = convert(&scene, &document, &["--memory", "2G"]);
    assert_refused(&scene, &finished, &[2, 4], "password");
    assert!(
        finished.stderr_text().contains("--password-file"),
        "{finished}"
    );
}

/// `memcap marker plan DOCUMENT OPTIONS…`, which asks PDFium for the pages.
fn plan(scene: &Scene, document: &Path, options: &[&str]) -> Finished {
    let environment = environment().expect("asked before");
    let out = scene.path("out");
    let mut words = words([
        &"marker",
        &"plan",
        &document,
        &"-o",
        &out,
        &"--memory",
        &"2G",
    ]);
    words.extend(["--python".into(), environment.python().into()]);
    words.extend(options.iter().map(Into::into));
    memcap(scene, &environment, &words).run()
}

#[test]
fn the_password_opens_a_document_and_another_does_not() {
    if environment().is_none() {
        return;
    }
    let scene = scene();
    let document = locked(&scene, "secret");
    let file = scene.path("password");
    let options = ["--password-file", file.to_str().unwrap()];
    for (password, code, says) in [
        ("secret\n", 0, "1 page"),
        ("owner", 0, "1 page"),
        ("Secret", 2, "does not open with the password"),
        ("", 2, "does not open with the password"),
    ] {
        fs::write(&file, password).unwrap();
        let finished = plan(&scene, &document, &options);
        finished.expect_code(code);
        let told = String::from_utf8_lossy(&finished.stdout).into_owned() + &finished.stderr_text();
        assert!(told.contains(says), "{password:?}: {told}");
    }
    fs::remove_file(&file).unwrap();
    let finished = plan(&scene, &document, &options);
    finished.expect_code(2);
    assert!(finished.stderr_text().contains("hint: "), "{finished}");
}

#[test]
fn a_document_with_an_owner_s_password_only_is_open() {
    if environment().is_none() {
        return;
    }
    let scene = scene();
    let document = locked(&scene, "");
    let finished = plan(&scene, &document, &[]);
    finished.expect_code(0);
    assert!(
        String::from_utf8_lossy(&finished.stdout).contains("1 page"),
        "{finished}"
    );
}

/// Writes a PDF with a user password: RC4, 40 bits, PDF 1.7 reference 7.6.3.
/// The page count of such a file can be read, its content cannot.
const LOCK: &str = r#"
import hashlib, sys
pad = bytes.fromhex("28BF4E5E4E758A4164004E56FFFA01082E2E00B6D0683E802F0CA9FE6453697A")
def rc4(key, data):
    s, j, out = list(range(256)), 0, bytearray()
    for i in range(256):
        j = (j + s[i] + key[i % len(key)]) % 256
        s[i], s[j] = s[j], s[i]
    i = j = 0
    for byte in data:
        i = (i + 1) % 256
        j = (j + s[i]) % 256
        s[i], s[j] = s[j], s[i]
        out.append(byte ^ s[(s[i] + s[j]) % 256])
    return bytes(out)
user = (sys.argv[1].encode() + pad)[:32]
owner = rc4(hashlib.md5((b"owner" + pad)[:32]).digest()[:5], user)
ident, rights = b"0123456789abcdef", (-44).to_bytes(4, "little", signed=True)
key = hashlib.md5(user + owner + rights + ident).digest()[:5]
objects = [
    b"<</Type/Catalog/Pages 2 0 R>>",
    b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
    b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]>>",
    b"<</Filter/Standard/V 1/R 2/P -44/O<%s>/U<%s>>>" % (owner.hex().encode(), rc4(key, pad).hex().encode()),
]
file, offsets = b"%PDF-1.4\n", []
for number, body in enumerate(objects, 1):
    offsets.append(len(file))
    file += b"%d 0 obj\n%s\nendobj\n" % (number, body)
start = len(file)
file += b"xref\n0 5\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % at for at in offsets)
file += b"trailer\n<</Size 5/Root 1 0 R/Encrypt 4 0 R/ID[<%s><%s>]>>\nstartxref\n%d\n%%%%EOF\n" % (ident.hex().encode(), ident.hex().encode(), start)
open(sys.argv[-1], "wb").write(file)
"#;

#[test]
fn options_that_make_no_sense_are_refused() {
    if environment().is_none() {
        return;
    }
    let cases: [(&[&str], &str); 8] = [
        (&["--memory", "0"], "memory"),
        (&["--memory", "2X"], "2x"),
        (&["--memory", "2G", "--chunk-size", "0"], "chunk-size"),
        (&["--memory", "2G", "--chunk-size", "ten"], "ten"),
        (&["--memory", "2G", "--batch-multiplier", "-1"], "-1"),
        (&["--memory", "2G", "--pages", "0"], "page"),
        (&["--memory", "2G", "--pages", "5-3"], "5-3"),
        (&["--memory", "2G", "--pages", "30-99"], "36"),
    ];
    for (options, says) in cases {
        let scene = scene();
        let finished = convert(&scene, &sample_pdf(), options);
        assert_refused(&scene, &finished, &[2], says);
    }
}

#[test]
fn a_python_without_marker_is_refused() {
    if environment().is_none() {
        return;
    }
    for python in ["/nonexistent/python", "/bin/sh"] {
        let scene = scene();
        let finished = convert(
            &scene,
            &sample_pdf(),
            &["--memory", "2G", "--python", python],
        );
        assert_refused(&scene, &finished, &[2, 4, 125], python);
        assert!(finished.stderr_text().contains("hint:"), "{finished}");
    }
}

#[test]
fn an_output_folder_that_is_a_file_is_refused_and_kept() {
    let Some(environment) = environment() else {
        return;
    };
    let scene = scene();
    let output = scene.path("out");
    fs::write(&output, "mine").unwrap();
    let words = words([
        &"marker",
        &sample_pdf(),
        &"-o",
        &output,
        &"--memory",
        &"2G",
        &"--python",
        &environment.python(),
    ]);
    let finished = finish(memcap(&scene, &environment, &words).start());
    assert!([2, 4, 125].contains(&finished.code()), "{finished}");
    assert!(finished.stderr_text().contains("error: "), "{finished}");
    assert_eq!(fs::read_to_string(&output).unwrap(), "mine");
}

#[test]
fn a_document_named_like_an_option_is_a_document() {
    let Some(environment) = environment() else {
        return;
    };
    let scene = scene();
    fs::copy(sample_pdf(), scene.path("--help.pdf")).unwrap();
    // What follows `--` is for marker, so a bare `--help.pdf` cannot be said.
    let words = words([
        &"marker",
        &"plan",
        &"./--help.pdf",
        &"-o",
        &scene.path("out"),
        &"--memory",
        &"2G",
        &"--python",
        &environment.python(),
    ]);
    let finished = memcap(&scene, &environment, &words).run();
    finished.expect_code(0);
    let told = String::from_utf8_lossy(&finished.stdout).into_owned();
    assert!(
        told.contains("36"),
        "a plan names the pages:\n{told}\n{finished}"
    );
    assert!(!scene.path("out").exists(), "a plan writes nothing");
}

/// What the disk takes of a file, in blocks of 512 bytes: enough for some chunks
/// of the document below, and not for all that is written for it.
const FEW_BLOCKS: u32 = 6;

#[test]
fn a_full_disk_loses_nothing() {
    let scene = scene();
    pretend::folder(&scene, &[("a.pdf", 40)]);
    let arguments = [
        "in/a.pdf",
        "-o",
        "out",
        "--memory",
        "2G",
        "--chunk-size",
        "4",
    ];
    let usual = |scene| pretend::marker(scene, &arguments);
    // A limit for the size of files is the full disk that anybody may make. The
    // signal that comes with it is ignored, as a program may ask.
    let script = format!("trap '' XFSZ; ulimit -f {FEW_BLOCKS}; exec \"$0\" \"$@\"");
    let full = pretend::marker_through(&scene, &["/bin/sh", "-c", &script], &arguments).run();
    full.expect_code(125);
    let stderr = full.stderr_text();
    assert_eq!(stderr.matches("error: ").count(), 1, "{full}");
    assert!(stderr.contains("run the same command again"), "{full}");
    assert!(!scene.path("out/a").exists(), "a part of a result");
    scene.assert_nothing_left();
    let done = pages_of(&journal(&scene.path("out")), "done");
    assert!(!done.is_empty() && done.len() < 10, "{done:?}");

    usual(&scene).run().expect_code(0);
    let all = pages_of(&journal(&scene.path("out")), "done");
    let distinct: BTreeSet<&String> = all.iter().collect();
    assert_eq!(
        (all.len(), distinct.len()),
        (10, 10),
        "each chunk once: {all:?}"
    );
    let text = fs::read_to_string(scene.path("out/a/a.md")).unwrap();
    assert!(text.contains("40"), "{text}");
}

#[test]
fn a_document_that_is_cut_meanwhile_is_told_and_costs_nothing_that_is_done() {
    // While it is planned, and while its first chunk is converted.
    for (moment, chunks) in [("inspect", 0), ("convert", 1)] {
        let scene = scene();
        pretend::folder(&scene, &[("a.pdf", 20)]);
        let options = [
            "in/a.pdf",
            "-o",
            "out",
            "--memory",
            "4G",
            "--chunk-size",
            "10",
        ];
        let cut = pretend::marker(&scene, &options)
            .variable("PRETEND_CUT", moment)
            .run();
        // Ended by itself, and not by a signal such as SIGBUS.
        cut.expect_code(4);
        let told = cut.stderr_text();
        let errors: Vec<&str> = told.lines().filter(|line| line.contains("error")).collect();
        assert_eq!(errors.len(), 1, "{cut}");
        assert!(
            errors[0].contains("a.pdf` was changed during the conversion"),
            "{cut}"
        );
        assert!(told.contains("hint: start again"), "{cut}");
        let done = pages_of(&journal(&scene.path("out")), "done");
        assert_eq!(done.len(), chunks, "{moment}: {done:?}");
        assert!(!scene.path("out/a").exists(), "no result is claimed");
        scene.assert_nothing_left();
    }
}
