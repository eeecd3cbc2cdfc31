//! Joining folders like those marker writes.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::{ChunkOutput, MergeError, Merged, Part, UnconvertedPage};
use crate::format::OutputFormat;
use crate::testing::require;

/// Makes a chunk's folder with a text and one image for each page.
fn chunk(
    root: &Path,
    stem: &OsStr,
    pages: std::ops::RangeInclusive<u32>,
    text: &str,
) -> ChunkOutput {
    let folder = root.join(format!("chunk-{}", pages.start()));
    fs::create_dir(&folder).unwrap();
    let stats: Vec<String> = pages
        .clone()
        .map(|page| format!("{{\"page_id\": {page}}}"))
        .collect();
    let metadata = format!(
        "{{\"table_of_contents\": [], \"page_stats\": [{}]}}",
        stats.join(", ")
    );
    fs::write(named(&folder, stem, ".md"), text).unwrap();
    fs::write(named(&folder, stem, "_meta.json"), metadata).unwrap();
    for page in pages.clone() {
        fs::write(
            folder.join(format!("_page_{page}_Picture_1.jpeg")),
            format!("{page}"),
        )
        .unwrap();
    }
    ChunkOutput {
        first_page: *pages.start(),
        last_page: *pages.end(),
        folder,
    }
}

/// Joins chunks of Markdown.
fn merge(stem: &OsStr, chunks: &[ChunkOutput], into: &Path) -> Result<Merged, MergeError> {
    let parts: Vec<Part> = chunks.iter().cloned().map(Part::Chunk).collect();
    super::merge(stem, OutputFormat::Markdown, &parts, into)
}

fn named(folder: &Path, stem: &OsStr, ending: &str) -> PathBuf {
    let mut name = stem.to_owned();
    name.push(ending);
    folder.join(name)
}

fn empty(root: &Path) -> PathBuf {
    let folder = root.join("merged");
    fs::create_dir(&folder).unwrap();
    folder
}

#[test]
fn chunks_become_one_document() {
    let root = tempfile::tempdir().unwrap();
    // Not UTF-8, with a dot: the stem is the caller's, byte for byte.
    let stem = OsStr::from_bytes(b"b\xffok.v2");
    let chunks = [
        chunk(root.path(), stem, 0..=1, "one [x](#page-2-0)"),
        chunk(root.path(), stem, 2..=4, "two"),
    ];
    let into = empty(root.path());
    let merged = merge(stem, &chunks, &into).unwrap();

    let text = fs::read_to_string(into.join(&merged.text)).unwrap();
    assert_eq!(text, "one [x](#page-2)\n\n<span id=\"page-2\"></span>two");
    let metadata = fs::read_to_string(into.join(&merged.metadata)).unwrap();
    let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
    let pages: Vec<u64> = metadata["page_stats"]
        .as_array()
        .unwrap()
        .iter()
        .map(|page| page["page_id"].as_u64().unwrap())
        .collect();
    assert_eq!(pages, [0, 1, 2, 3, 4]);
    assert_eq!(
        (
            merged.pages.len(),
            merged.images.len(),
            merged.links.retargeted
        ),
        (5, 5, 1)
    );
    for (page, image) in (0..5).zip(&merged.images) {
        assert_eq!(
            fs::read_to_string(into.join(image)).unwrap(),
            format!("{page}")
        );
    }
    assert_eq!(fs::read_dir(&into).unwrap().count(), 7);
}

#[test]
fn a_selection_may_have_gaps() {
    let root = tempfile::tempdir().unwrap();
    let stem = OsStr::new("a");
    let chunks = [
        chunk(root.path(), stem, 3..=3, "x"),
        chunk(root.path(), stem, 9..=9, "y"),
    ];
    assert_eq!(
        merge(stem, &chunks, &empty(root.path())).unwrap().pages,
        [3, 9]
    );
}

#[test]
fn disorder_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let stem = OsStr::new("a");
    let one = chunk(root.path(), stem, 0..=2, "x");
    let two = chunk(root.path(), stem, 3..=4, "y");
    let overlap = ChunkOutput {
        first_page: 2,
        ..two.clone()
    };
    let backwards = ChunkOutput {
        first_page: 5,
        ..two.clone()
    };
    let into = empty(root.path());
    for chunks in [
        vec![two.clone(), one.clone()],
        vec![one.clone(), overlap],
        vec![backwards],
    ] {
        assert!(
            matches!(merge(stem, &chunks, &into), Err(MergeError::Order)),
            "{chunks:?}"
        );
    }
    assert!(matches!(merge(stem, &[], &into), Err(MergeError::Nothing)));
    assert_eq!(
        fs::read_dir(&into).unwrap().count(),
        0,
        "nothing was written"
    );
}

#[test]
fn nothing_is_overwritten() {
    let root = tempfile::tempdir().unwrap();
    let stem = OsStr::new("a");
    let one = chunk(root.path(), stem, 0..=0, "x");
    let two = chunk(root.path(), stem, 1..=1, "y");
    fs::write(two.folder.join("_page_0_Picture_1.jpeg"), "another").unwrap();
    let into = empty(root.path());
    let error = merge(stem, &[one.clone(), two], &into).unwrap_err();
    assert!(
        matches!(&error, MergeError::Collision { path } if path.ends_with("_page_0_Picture_1.jpeg"))
    );
    assert!(error.hint().is_some());
    assert_eq!(
        fs::read_dir(&into).unwrap().count(),
        0,
        "nothing was written"
    );
    fs::write(into.join("mine"), "").unwrap();
    let error = merge(stem, std::slice::from_ref(&one), &into).unwrap_err();
    assert!(matches!(error, MergeError::NotEmpty { .. }));
    assert_eq!(
        fs::read_to_string(one.folder.join("_page_0_Picture_1.jpeg")).unwrap(),
        "0"
    );
}

#[test]
fn an_image_that_another_chunk_has_too_gets_another_name() {
    // As marker 0.x names images of pages that it read by OCR.
    let root = tempfile::tempdir().unwrap();
    let stem = OsStr::new("a");
    let chunks = [0..=1, 2..=3].map(|pages| {
        let chunk = chunk(root.path(), stem, pages, "![0_image_0.png](0_image_0.png)");
        fs::write(
            chunk.folder.join("0_image_0.png"),
            format!("of {}", chunk.first_page),
        )
        .unwrap();
        chunk
    });
    let into = empty(root.path());
    let merged = merge(stem, &chunks, &into).unwrap();
    let text = fs::read_to_string(into.join("a.md")).unwrap();
    let expected = "![0_image_0.png](0_image_0.png)\n\n![0_image_0.png](pages_3_4_0_image_0.png)";
    assert_eq!(text, expected);
    for (name, content) in [
        ("0_image_0.png", "of 0"),
        ("pages_3_4_0_image_0.png", "of 2"),
    ] {
        assert!(merged.images.contains(&name.into()));
        assert_eq!(fs::read_to_string(into.join(name)).unwrap(), content);
    }
}

#[test]
fn a_page_that_was_not_converted_shows() {
    let root = tempfile::tempdir().unwrap();
    let stem = OsStr::new("a");
    let page = UnconvertedPage {
        page: 2,
        because: "marker was *killed*".to_owned(),
        width: 612,
        height: 792,
    };
    let parts = [
        Part::Chunk(chunk(root.path(), stem, 0..=1, "one [x](#page-2-5)")),
        Part::Placeholder(page),
        Part::Chunk(chunk(root.path(), stem, 3..=4, "two")),
    ];
    let into = empty(root.path());
    let merged = super::merge(stem, OutputFormat::Markdown, &parts, &into).unwrap();
    assert_eq!(merged.pages, [0, 1, 3, 4]);
    let text = fs::read_to_string(into.join("a.md")).unwrap();
    let expected = "one [x](#page-2-0)\n\n> <span id=\"page-2-0\"></span>**Page 3 could not be \
                    converted**: marker was \\*killed\\*\n\ntwo";
    assert_eq!(text, expected);
    let metadata = fs::read_to_string(into.join("a_meta.json")).unwrap();
    let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
    assert_eq!(metadata["placeholders"][0]["page_id"], 2);
}

#[test]
fn what_marker_does_not_write_is_refused() {
    let stem = OsStr::new("a");
    type Spoil = fn(&Path);
    let cases: [(&str, Spoil); 6] = [
        ("failed to read", |folder| {
            fs::remove_file(folder.join("a.md")).unwrap();
        }),
        ("failed to read", |folder| {
            fs::remove_file(folder.join("a_meta.json")).unwrap();
        }),
        ("failed to read", |folder| {
            fs::write(folder.join("a.md"), b"\xff").unwrap();
        }),
        ("unexpected metadata", |folder| {
            fs::write(folder.join("a_meta.json"), "{").unwrap();
        }),
        ("unexpected metadata", |folder| {
            fs::write(folder.join("a_meta.json"), r#"{"page_stats": []}"#).unwrap();
        }),
        ("not a regular file", |folder| {
            symlink("/etc/passwd", folder.join("x.jpeg")).unwrap();
        }),
    ];
    for (expected, spoil) in cases {
        let root = tempfile::tempdir().unwrap();
        let one = chunk(root.path(), stem, 0..=0, "x");
        spoil(&one.folder);
        let error = merge(stem, &[one], &empty(root.path())).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn another_file_system_gets_copies() {
    let root = tempfile::tempdir().unwrap();
    let Ok(elsewhere) = tempfile::tempdir_in("/dev/shm") else {
        return require::skip("dev-shm", "there is no /dev/shm");
    };
    let stem = OsStr::new("a");
    let one = chunk(root.path(), stem, 0..=1, "x");
    let merged = merge(stem, &[one], elsewhere.path()).unwrap();
    assert_eq!(
        fs::read_to_string(elsewhere.path().join(&merged.images[1])).unwrap(),
        "1"
    );
}
