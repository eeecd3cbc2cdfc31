//! The sample converted by marker alone, in one piece.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use integration_tests::harness::{MarkerEnvironment, sample_pdf};

use super::support::STEM;

/// marker's folder with the unchunked result. Made once for an environment
/// and a document, beside the environment.
///
/// # Panics
/// Where marker fails.
pub fn reference(environment: &MarkerEnvironment) -> PathBuf {
    static REFERENCE: OnceLock<PathBuf> = OnceLock::new();
    REFERENCE.get_or_init(|| find_or_make(environment)).clone()
}

fn find_or_make(environment: &MarkerEnvironment) -> PathBuf {
    let cache = environment
        .folder()
        .parent()
        .expect("it lies in the cache")
        .join("references");
    let kept = cache.join(key(environment, &sample_pdf()));
    if !kept.join(STEM).is_dir() {
        fs::create_dir_all(&cache).expect("a folder in the cache");
        let aside = tempfile::Builder::new()
            .prefix(".making.")
            .tempdir_in(&cache)
            .expect("a folder in the cache");
        convert(environment, aside.path());
        // Whoever was first has made the same.
        let made = fs::rename(aside.path(), &kept);
        assert!(
            made.is_ok() || kept.join(STEM).is_dir(),
            "{}: {made:?}",
            kept.display()
        );
    }
    kept.join(STEM)
}

fn key(environment: &MarkerEnvironment, document: &Path) -> String {
    let mut hasher = DefaultHasher::new();
    fs::read(document)
        .expect("the sample is readable")
        .hash(&mut hasher);
    let name = environment
        .folder()
        .file_name()
        .expect("a folder of the cache");
    format!("{}-{:016x}", name.display(), hasher.finish())
}

fn convert(environment: &MarkerEnvironment, output: &Path) {
    let mut command = Command::new(environment.marker_single());
    command
        .arg(sample_pdf())
        .arg("--output_dir")
        .arg(output)
        .envs(environment.variables());
    let done = command.output().expect("marker_single starts");
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
}
