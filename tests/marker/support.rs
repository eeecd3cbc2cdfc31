//! Starting memcap on the real marker, and reading folders.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use integration_tests::harness::{
    Account, Finished, Invocation, MarkerEnvironment, Mechanism, Requirement, Running, Scene,
    Setting, memcap_binary, poll_until,
};
use serde_json::Value;

/// Longer than a conversion of the sample takes on two busy cores.
const PATIENCE: Duration = Duration::from_secs(900);

/// The stem of the sample's name, and so of marker's files.
pub const STEM: &str = "release-notes";

/// The environment; `None` (and `skipped: reason`) without one.
pub fn environment() -> Option<MarkerEnvironment> {
    Requirement::Marker
        .is_met()
        .then(MarkerEnvironment::find)
        .flatten()
}

/// A scene of whoever runs the suite: the environment is theirs.
pub fn scene() -> Scene {
    let root = nix::unistd::geteuid().is_root();
    let account = if root {
        Account::Root
    } else {
        Account::Ordinary
    };
    // `memcap marker` chooses for itself; the scene asks for what needs nothing.
    Scene::open(Setting {
        account,
        mechanism: Mechanism::Watchdog,
    })
    .expect("needs nothing")
}

/// `memcap WORDS…`, with the checkpoints' variables.
pub fn memcap<'scene>(
    scene: &'scene Scene,
    environment: &MarkerEnvironment,
    words: &[OsString],
) -> Invocation<'scene> {
    with_checkpoints(scene.plain().command(memcap_binary(), words), environment)
}

/// Adds the checkpoints' variables.
pub fn with_checkpoints<'scene>(
    mut invocation: Invocation<'scene>,
    environment: &MarkerEnvironment,
) -> Invocation<'scene> {
    for (name, value) in environment.variables() {
        invocation = invocation.variable(&name, value);
    }
    invocation
}

/// `["marker", words…]`.
pub fn words<const N: usize>(words: [&dyn AsRef<std::ffi::OsStr>; N]) -> Vec<OsString> {
    words.iter().map(|word| word.as_ref().to_owned()).collect()
}

/// Waits as long as a conversion may take.
///
/// # Panics
/// After [`PATIENCE`].
pub fn finish(mut running: Running<'_>) -> Finished {
    let ended = poll_until(PATIENCE, || running.has_ended().then_some(()));
    assert!(ended.is_some(), "no end after {PATIENCE:?}");
    running.wait()
}

/// The work folder below `output`; `None` before there is one.
pub fn work_folder(output: &Path) -> Option<PathBuf> {
    let folders = fs::read_dir(output).ok()?.flatten();
    let is_work = |name: &str| name.starts_with(".memcap-");
    folders.map(|entry| entry.path()).find(|path| {
        path.file_name()
            .and_then(|name| name.to_str())
            .is_some_and(is_work)
    })
}

/// The journal below `output`, as far as its lines are whole.
pub fn journal(output: &Path) -> Vec<Value> {
    let text =
        work_folder(output).and_then(|folder| fs::read_to_string(folder.join("journal")).ok());
    let text = text.unwrap_or_default();
    text.lines()
        .map_while(|line| serde_json::from_str(line).ok())
        .collect()
}

/// The pages of the events of this kind, in order.
pub fn pages_of(journal: &[Value], event: &str) -> Vec<String> {
    let of_kind = journal.iter().filter(|record| record["event"] == event);
    of_kind
        .map(|record| record["pages"].as_str().unwrap_or_default().to_owned())
        .collect()
}

/// Contents by relative path.
pub type Files = BTreeMap<PathBuf, Vec<u8>>;

/// Every file below `folder`.
pub fn files(folder: &Path) -> Files {
    let mut found = BTreeMap::new();
    collect(folder, folder, &mut found);
    found
}

fn collect(root: &Path, folder: &Path, found: &mut Files) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(root, &path, found);
        } else if let (Ok(name), Ok(content)) = (path.strip_prefix(root), fs::read(&path)) {
            found.insert(name.to_owned(), content);
        }
    }
}
