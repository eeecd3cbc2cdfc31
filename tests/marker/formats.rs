//! All four formats, converted in chunks, beside the same pages converted by
//! marker in one piece: a document with links, tables, images, turned pages and
//! pages of many sizes. What may differ is listed in `docs/chunking.md`.

use std::collections::BTreeSet;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use integration_tests::harness::{MarkerEnvironment, mixed_pdf};
use serde_json::Value;

use super::comparison::differences;
use super::support::{Files, environment, files, finish, memcap, scene, words};

/// As marker counts them.
const RANGE: &str = "0-31";
/// As memcap counts them.
const PAGES: &str = "1-32";
const PAGE_COUNT: usize = 32;
/// Three chunks.
const CHUNK_PAGES: &str = "12";
const STEM: &str = "mixed";

/// What marker writes in one piece, in each format; kept beside the
/// environment.
fn whole(environment: &MarkerEnvironment, format: &str) -> Files {
    static WHOLE: OnceLock<PathBuf> = OnceLock::new();
    let folder = WHOLE.get_or_init(|| find_or_make(environment));
    files(&folder.join(format))
}

fn find_or_make(environment: &MarkerEnvironment) -> PathBuf {
    let cache = environment.folder().parent().expect("it lies in the cache");
    let cache = cache.join("references");
    fs::create_dir_all(&cache).expect("a folder in the cache");
    let aside = tempfile::Builder::new()
        .prefix(".making.")
        .tempdir_in(&cache);
    let aside = aside.expect("a folder in the cache");
    let document = aside.path().join(format!("{STEM}.pdf"));
    mixed_pdf(&document);
    let mut hasher = DefaultHasher::new();
    fs::read(&document).expect("just written").hash(&mut hasher);
    RANGE.hash(&mut hasher);
    include_str!("four_formats.py").hash(&mut hasher);
    let name = environment.folder().file_name().expect("a folder");
    let kept = cache.join(format!("{}-mixed-{:016x}", name.display(), hasher.finish()));
    if kept.is_dir() {
        return kept;
    }
    let output = aside.path().join("formats");
    let mut command = Command::new(environment.python());
    command.args(["-c", include_str!("four_formats.py")]);
    command.args([document.as_os_str(), RANGE.as_ref(), output.as_os_str()]);
    let done = command.envs(environment.variables()).output();
    let done = done.expect("Python starts");
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    // Whoever was first has made the same.
    let made = fs::rename(&output, &kept);
    assert!(
        made.is_ok() || kept.is_dir(),
        "{}: {made:?}",
        kept.display()
    );
    kept
}

/// What memcap makes of the same pages in chunks.
fn chunked(environment: &MarkerEnvironment, format: &str) -> Files {
    let scene = scene();
    let document = scene.path(&format!("{STEM}.pdf"));
    mixed_pdf(&document);
    let output = scene.path("out");
    let words = words([
        &"marker",
        &document,
        &"-o",
        &output,
        &"--memory",
        &"4G",
        &"--chunk-size",
        &CHUNK_PAGES,
        &"--pages",
        &PAGES,
        &"--format",
        &format,
        &"--python",
        &environment.python(),
    ]);
    finish(memcap(&scene, environment, &words).start()).expect_code(0);
    scene.assert_nothing_left();
    files(&output.join(STEM))
}

fn text(files: &Files, ending: &str) -> String {
    let name = PathBuf::from(format!("{STEM}{ending}"));
    String::from_utf8(files[&name].clone()).expect("marker writes UTF-8")
}

fn json(files: &Files, ending: &str) -> Value {
    serde_json::from_str(&text(files, ending)).expect("JSON")
}

/// Names and contents of all but text and metadata.
fn images(files: &Files) -> Vec<(&Path, &[u8])> {
    let is_image = |(path, _): &(&PathBuf, _)| !path.to_string_lossy().starts_with(STEM);
    let images = files.iter().filter(is_image);
    images
        .map(|(path, content)| (path.as_path(), content.as_slice()))
        .collect()
}

/// HTML without what chunking may change in it: anchors, numbers of links
/// inside the document, levels of headings.
fn comparable(html: &str) -> String {
    let mut plain = String::new();
    let mut rest = html;
    while let Some(at) = rest.find(['<', '#']) {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(behind) = rest.strip_prefix("<span id=\"page-") {
            rest = behind.split_once("</span>").map_or("", |(_, rest)| rest);
            // On a line of its own in HTML that is indented.
            let blank = rest.len() - rest.trim_start().len();
            if rest[..blank].contains('\n') {
                rest = &rest[blank..];
            }
        } else if let Some(behind) = rest.strip_prefix("#page-") {
            let digits = behind.trim_start_matches(|c: char| c.is_ascii_digit());
            plain.push_str(&rest[..rest.len() - digits.len()]);
            rest = digits.trim_start_matches(|c: char| c.is_ascii_digit() || c == '-');
        } else if let Some(level) = ["<h", "</h"].iter().find_map(|tag| {
            let level = rest.strip_prefix(tag)?.chars().next()?;
            ('1'..='6').contains(&level).then_some(tag.len())
        }) {
            plain.push_str(&rest[..level]);
            rest = &rest[level + 1..];
        } else {
            plain.push_str(&rest[..1]);
            rest = &rest[1..];
        }
    }
    plain.push_str(rest);
    plain
}

/// Links to pages that were converted lead somewhere, and no anchor is there
/// twice. `quote` is what stands around values of attributes.
fn check_links(text: &str, link: &str, anchor: &str) {
    let names = |before: &str| -> Vec<String> {
        let behind = text.split(before).skip(1);
        let name = |rest: &str| {
            rest.chars()
                .take_while(|c| c.is_ascii_digit() || *c == '-')
                .collect()
        };
        behind.map(name).collect()
    };
    let anchors = names(anchor);
    let distinct: BTreeSet<&String> = anchors.iter().collect();
    assert_eq!(anchors.len(), distinct.len(), "an anchor is there twice");
    let links = names(link);
    assert!(links.len() > 50, "{} links are few", links.len());
    let dangling: Vec<_> = links
        .iter()
        .filter(|name| name.split('-').next().and_then(|page| page.parse().ok()) < Some(PAGE_COUNT))
        .filter(|name| !distinct.contains(name))
        .collect();
    assert!(dangling.is_empty(), "{dangling:?}");
}

/// The metadata, but for the numbers of anchors, which marker counts as blocks.
fn comparable_metadata(files: &Files) -> Value {
    let mut metadata = json(files, "_meta.json");
    for page in metadata["page_stats"].as_array_mut().expect("a list") {
        let counts = page["block_counts"].as_array_mut().expect("a list");
        counts.retain(|count| count[0] != "Reference");
        counts.sort_by_key(|count| count[0].to_string());
    }
    metadata
}

#[test]
fn markdown_is_that_of_the_whole() {
    let Some(environment) = environment() else {
        return;
    };
    let (whole, chunked) = (
        whole(&environment, "markdown"),
        chunked(&environment, "markdown"),
    );
    let found = differences(&text(&whole, ".md"), &text(&chunked, ".md"), 2);
    assert_eq!(found, [""; 0], "{} differences", found.len());
    check_links(&text(&chunked, ".md"), "](#page-", "<span id=\"page-");
    assert!(images(&whole) == images(&chunked));
    assert_eq!(comparable_metadata(&whole), comparable_metadata(&chunked));
}

#[test]
fn html_is_that_of_the_whole() {
    let Some(environment) = environment() else {
        return;
    };
    let (whole, chunked) = (whole(&environment, "html"), chunked(&environment, "html"));
    let (expected, found) = (text(&whole, ".html"), text(&chunked, ".html"));
    for (line, (expected, found)) in comparable(&expected)
        .lines()
        .zip(comparable(&found).lines())
        .enumerate()
    {
        // An anchor in a heading or paragraph changes how far it is indented.
        assert_eq!(expected.trim(), found.trim(), "line {line}");
    }
    assert_eq!(
        comparable(&expected).lines().count(),
        comparable(&found).lines().count()
    );
    check_links(&found, "href=\"#page-", "<span id=\"page-");
    let shown = images(&chunked);
    assert!(images(&whole) == shown);
    for (name, _) in shown {
        assert!(
            found.contains(&format!("src=\"{}\"", name.display())),
            "{}",
            name.display()
        );
    }
    assert_eq!(comparable_metadata(&whole), comparable_metadata(&chunked));
}

/// Compares blocks field by field, their children too.
fn compare_blocks(whole: &[Value], chunked: &[Value]) {
    assert_eq!(whole.len(), chunked.len());
    for (expected, found) in whole.iter().zip(chunked) {
        let id = &expected["id"];
        let keys = |value: &Value| {
            value
                .as_object()
                .map(|object| object.keys().cloned().collect::<Vec<_>>())
        };
        assert_eq!(keys(expected), keys(found), "{id}");
        for (key, value) in expected.as_object().expect("a block") {
            let other = &found[key];
            match (key.as_str(), value, other) {
                ("html", Value::String(html), Value::String(other)) => {
                    assert_eq!(comparable(html), comparable(other), "{id}");
                }
                // Numbered by the blocks of the page, anchors among them.
                ("id", Value::String(id), Value::String(other)) if id.contains("/Page/") => {
                    assert_eq!(
                        id.rsplit_once('/').map(|(id, _)| id),
                        other.rsplit_once('/').map(|(id, _)| id)
                    );
                }
                ("page", ..) => {}
                // Which headings there are depends on their levels; the last
                // one is there in any case.
                ("section_hierarchy", Value::Object(sections), Value::Object(other)) => {
                    assert_eq!(
                        sections.values().next_back(),
                        other.values().next_back(),
                        "{id}"
                    );
                }
                ("children", Value::Array(blocks), Value::Array(other)) => {
                    compare_blocks(blocks, other);
                }
                _ => assert_eq!(value, other, "{key} of {id}"),
            }
        }
    }
}

fn blocks<'a>(value: &'a Value, list: &str) -> &'a [Value] {
    value[list].as_array().expect("a list")
}

#[test]
fn json_is_that_of_the_whole() {
    let Some(environment) = environment() else {
        return;
    };
    let (whole, chunked) = (whole(&environment, "json"), chunked(&environment, "json"));
    let (expected, found) = (json(&whole, ".json"), json(&chunked, ".json"));
    assert_eq!(blocks(&found, "children").len(), PAGE_COUNT);
    compare_blocks(blocks(&expected, "children"), blocks(&found, "children"));
    assert_eq!(expected["block_type"], found["block_type"]);
    check_links(&text(&chunked, ".json"), "href=\\\"#page-", "id=\\\"page-");
    assert_eq!(comparable_metadata(&whole), comparable_metadata(&chunked));
}

#[test]
fn the_list_of_chunks_is_that_of_the_whole() {
    let Some(environment) = environment() else {
        return;
    };
    let (whole, chunked) = (
        whole(&environment, "chunks"),
        chunked(&environment, "chunks"),
    );
    let (expected, found) = (json(&whole, ".json"), json(&chunked, ".json"));
    compare_blocks(blocks(&expected, "blocks"), blocks(&found, "blocks"));
    assert_eq!(expected["page_info"], found["page_info"]);
    check_links(&text(&chunked, ".json"), "href=\\\"#page-", "id=\\\"page-");
    assert_eq!(comparable_metadata(&whole), comparable_metadata(&chunked));
}
