//! Where the programs under test are.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The job program `name`, built by cargo together with the suites.
///
/// # Panics
/// Where it is not beside the running test.
pub(super) fn job_binary(name: &str) -> PathBuf {
    let path = profile_directory().join(name);
    assert!(path.is_file(), "job program missing: {}", path.display());
    path
}

/// The memcap binary: `MEMCAP_BIN`, or the one of this workspace, brought up
/// to date once per test program, with its other spelling beside it, so that no
/// stale binary is ever tested.
///
/// # Panics
/// Where it cannot be built or `MEMCAP_BIN` names no file.
pub fn memcap_binary() -> PathBuf {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(locate_memcap).clone()
}

fn locate_memcap() -> PathBuf {
    let path = match std::env::var_os("MEMCAP_BIN") {
        Some(path) => PathBuf::from(path),
        None => {
            build(&["--package", "memcap", "--bins"]);
            profile_directory().join("memcap")
        }
    };
    assert!(path.is_file(), "no memcap binary: {}", path.display());
    path
}

/// An example of the supervisor's, brought up to date.
///
/// # Panics
/// Where it cannot be built.
pub fn example_binary(name: &str) -> PathBuf {
    build(&["--package", "memcap-supervisor", "--example", name]);
    profile_directory().join("examples").join(name)
}

fn build(what: &[&str]) {
    let profile = profile_directory();
    let target = profile.parent().unwrap_or(&profile);
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet"]).args(what);
    command.arg("--target-dir").arg(target);
    if profile.ends_with("release") {
        command.arg("--release");
    }
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let status = command.current_dir(manifest).status();
    assert!(
        matches!(&status, Ok(status) if status.success()),
        "cargo build {what:?}: {status:?}"
    );
}

/// `target/debug` or `target/release`: the running test is in its `deps`.
fn profile_directory() -> PathBuf {
    let test = std::env::current_exe().unwrap_or_else(|error| panic!("current_exe: {error}"));
    match test.ancestors().nth(2) {
        Some(directory) => directory.to_owned(),
        None => panic!("{} is not below a target directory", test.display()),
    }
}
