//! The real marker on a document with one page that is too large for the limit,
//! whatever is tried, with memcap killed on the way.

use std::fs;
use std::path::Path;
use std::time::Duration;

use integration_tests::harness::{Running, poll_until};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::support::{environment, files, finish, journal, memcap, pages_of, scene, words};

/// Enough for the ordinary pages at once and too little for [`MONSTROUS`] at any
/// resolution: its picture at 96 dpi alone takes 1.1 GiB.
const LIMIT: &str = "1400M";
/// US letter, in points.
const LETTER: (u32, u32) = (612, 792);
/// 200 inches, the largest that PDF allows without other units.
const MONSTROUS: (u32, u32) = (14_400, 14_400);
/// Until a chunk is done on two busy cores, after two that failed.
const CHUNK_PATIENCE: Duration = Duration::from_secs(600);

#[test]
fn a_monstrous_page_costs_itself_and_nothing_else() {
    let Some(environment) = environment() else {
        return;
    };
    let scene = scene();
    let (document, output) = (scene.path("plans.pdf"), scene.path("out"));
    fs::write(&document, pdf(&[LETTER, LETTER, MONSTROUS, LETTER])).unwrap();
    let start = || {
        let words = words([
            &"marker",
            &document,
            &"-o",
            &output,
            &"--memory",
            &LIMIT,
            // All at once: the first plan fails.
            &"--chunk-size",
            &"4",
            &"--python",
            &environment.python(),
        ]);
        memcap(&scene, &environment, &words).start()
    };

    let mut killed = start();
    wait_for(&mut killed, || {
        !pages_of(&journal(&output), "done").is_empty()
    });
    killed.signal(Signal::SIGKILL);
    finish(killed);
    scene.assert_nothing_left_soon();
    let at_kill = journal(&output);

    let finished = finish(start());
    finished.expect_code(3);
    scene.assert_nothing_left();
    let at_end = journal(&output);
    let mut done = pages_of(&at_end, "done");
    done.sort();
    assert_eq!(done, ["1-2", "4"], "each once");
    assert_eq!(at_end[..at_kill.len()], at_kill[..]);
    let tried: Vec<&Value> = at_end
        .iter()
        .filter(|record| record["event"] == "failed" && record["pages"] == "3")
        .map(|record| &record["effort"])
        .collect();
    assert_eq!(tried, ["usual", "small-batches", "low-resolution"]);
    assert_eq!(pages_of(&at_end, "gave-up"), ["3"]);
    assert!(finished.stderr_text().contains("page 3"), "{finished}");

    let files = files(&output.join("plans"));
    let text = String::from_utf8(files[Path::new("plans.md")].clone()).unwrap();
    let place = |words: &str| {
        text.find(words)
            .unwrap_or_else(|| panic!("{words}: {text}"))
    };
    let order = [
        place("Ordinary page 1"),
        place("Ordinary page 2"),
        place("Page 3 could not be converted"),
        place("Ordinary page 4"),
    ];
    assert!(order.is_sorted(), "{text}");
    let metadata: Value = serde_json::from_slice(&files[Path::new("plans_meta.json")]).unwrap();
    let stats = metadata["page_stats"].as_array().unwrap();
    let pages: Vec<_> = stats.iter().map(|page| &page["page_id"]).collect();
    assert_eq!(pages, [0, 1, 3]);
}

fn wait_for(running: &mut Running<'_>, condition: impl Fn() -> bool) {
    let reached = poll_until(CHUNK_PATIENCE, || {
        let reached = condition();
        (reached || running.has_ended()).then_some(reached)
    });
    assert_eq!(reached, Some(true), "no chunk was done");
}

/// A document of pages of these sizes, each with lines of text in Helvetica.
fn pdf(sizes: &[(u32, u32)]) -> Vec<u8> {
    let mut objects = vec![
        "<</Type/Catalog/Pages 2 0 R>>".to_owned(),
        String::new(),
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>".to_owned(),
    ];
    let mut kids = String::new();
    for (index, (width, height)) in sizes.iter().enumerate() {
        let line = format!(
            "(Ordinary page {} with words that fill a line of text) Tj T*\n",
            index + 1
        );
        let content = format!(
            "BT /F 12 Tf 16 TL 60 {} Td\n{}ET",
            height - 100,
            line.repeat(30)
        );
        objects.push(format!(
            "<</Length {}>>\nstream\n{content}\nendstream",
            content.len()
        ));
        objects.push(format!(
            "<</Type/Page/Parent 2 0 R/MediaBox[0 0 {width} {height}]/Contents {} 0 R\
             /Resources<</Font<</F 3 0 R>>>>>>",
            objects.len()
        ));
        kids.push_str(&format!("{} 0 R ", objects.len()));
    }
    objects[1] = format!("<</Type/Pages/Count {}/Kids[{kids}]>>", sizes.len());
    let mut file = String::from("%PDF-1.5\n");
    let mut offsets = Vec::new();
    for (index, object) in objects.iter().enumerate() {
        offsets.push(file.len());
        file.push_str(&format!("{} 0 obj\n{object}\nendobj\n", index + 1));
    }
    let start = file.len();
    file.push_str(&format!(
        "xref\n0 {}\n0000000000 65535 f \n",
        objects.len() + 1
    ));
    for offset in offsets {
        file.push_str(&format!("{offset:010} 00000 n \n"));
    }
    let size = objects.len() + 1;
    file.push_str(&format!(
        "trailer\n<</Size {size}/Root 1 0 R>>\nstartxref\n{start}\n%%EOF\n"
    ));
    file.into_bytes()
}
