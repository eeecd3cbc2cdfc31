//! Conversions by a marker that only pretends: what memcap does around it,
//! without the half minute that a start of the real one costs.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use integration_tests::harness::{Invocation, Scene, memcap_binary};
use jsonschema::Validator;
use serde_json::Value;

pub use super::support::scene;

/// US letter, in points.
pub const LETTER: (u32, u32) = (612, 792);

/// A PDF of so many empty letter pages.
pub fn pdf(pages: usize) -> Vec<u8> {
    pdf_of(&vec![LETTER; pages])
}

/// A PDF of empty pages of these sizes, in points.
pub fn pdf_of(sizes: &[(u32, u32)]) -> Vec<u8> {
    let pages = sizes.len();
    let kids: String = (0..pages)
        .map(|page| format!("{} 0 R ", page + 3))
        .collect();
    let mut objects = vec![
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        format!("<< /Type /Pages /Kids [{kids}] /Count {pages} >>"),
    ];
    objects.extend(sizes.iter().map(|(width, height)| {
        format!("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {width} {height}] >>")
    }));
    let mut text = String::from("%PDF-1.4\n");
    let mut offsets = String::new();
    for (index, object) in objects.iter().enumerate() {
        offsets.push_str(&format!("{:010} 00000 n \n", text.len()));
        text.push_str(&format!("{} 0 obj\n{object}\nendobj\n", index + 1));
    }
    let (start, size) = (text.len(), objects.len() + 1);
    text.push_str(&format!(
        "xref\n0 {size}\n0000000000 65535 f \n{offsets}trailer\n<< /Size {size} /Root 1 0 R \
         >>\nstartxref\n{start}\n%%EOF\n"
    ));
    text.into_bytes()
}

/// Makes a folder of documents: their names, and how many pages they have; 0
/// is a file that is no PDF.
pub fn folder(scene: &Scene, documents: &[(&str, usize)]) -> PathBuf {
    let folder = scene.path("in");
    fs::create_dir_all(&folder).expect("a folder");
    for (name, pages) in documents {
        let content = match pages {
            0 => b"no PDF".to_vec(),
            pages => pdf(*pages),
        };
        fs::write(folder.join(name), content).expect("a file");
    }
    folder
}

/// `memcap marker WORDS… --python PRETEND`, in the scene's folder; a process for
/// every chunk unless they say otherwise, since the pretender keeps nothing loaded.
pub fn marker<'scene>(scene: &'scene Scene, words: &[&str]) -> Invocation<'scene> {
    let invocation = scene
        .plain()
        .command(memcap_binary(), arguments(scene, words));
    invocation.directory(scene.path("."))
}

/// The same, started by another program: its words, and then memcap's.
pub fn marker_through<'scene>(
    scene: &'scene Scene,
    through: &[&str],
    words: &[&str],
) -> Invocation<'scene> {
    let (program, before) = through.split_first().expect("a program");
    let mut all: Vec<OsString> = before.iter().map(OsString::from).collect();
    all.push(memcap_binary().into());
    all.extend(arguments(scene, words));
    let invocation = scene.plain().command(program, &all);
    invocation.directory(scene.path("."))
}

fn arguments(scene: &Scene, words: &[&str]) -> Vec<OsString> {
    let mut all: Vec<OsString> = vec!["marker".into()];
    all.extend(words.iter().map(OsString::from));
    let behind = all.iter().position(|word| word == "--");
    let behind = behind.unwrap_or(all.len());
    let python = scene.job("pretend-marker").into();
    let mut ours: Vec<OsString> = vec!["--python".into(), python];
    if !words.contains(&"--drive") {
        ours.extend(["--drive".into(), "fresh".into()]);
    }
    all.splice(behind..behind, ours);
    all
}

/// The JSON in a file.
pub fn json(path: &Path) -> Value {
    let text = fs::read_to_string(path).expect("a file");
    serde_json::from_str(&text).expect("JSON")
}

/// Holds a value against a schema of the documentation.
pub fn check(schema: &str, value: &Value) {
    let schema: Value = serde_json::from_str(schema).expect("a schema");
    let validator: Validator = jsonschema::validator_for(&schema).expect("a valid schema");
    let errors: Vec<String> = validator
        .iter_errors(value)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}\n{value:#}");
}
