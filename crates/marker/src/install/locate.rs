//! Where marker may be installed, in the order in which a user would expect
//! it to be found. Starts nothing.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::script::{Script, classify};
use crate::environment::{World, is_executable};

/// How an interpreter was come by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FoundBy {
    /// It was named by the user.
    Explicit,
    /// `marker_single` on `PATH` leads to it.
    MarkerSingle,
    /// The active virtual environment has it.
    VirtualEnv,
    /// It is `python3` on `PATH`.
    Path,
}

/// An interpreter that may have marker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The interpreter, as an absolute path that keeps its links (a virtual
    /// environment is known by the path of its `python`).
    pub python: PathBuf,
    /// The console script, where there is one.
    pub marker_single: Option<PathBuf>,
    /// How it was found.
    pub found_by: FoundBy,
}

/// What lies where marker could be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Located {
    /// Interpreters to ask, best first.
    pub candidates: Vec<Candidate>,
    /// A `marker_single` on `PATH` that leads to no interpreter.
    pub broken: Option<BrokenScript>,
}

/// A `marker_single` that leads to no interpreter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenScript {
    /// The script on `PATH`.
    pub script: PathBuf,
    /// The interpreter that it names, which is no executable file; `None` where
    /// it cannot be told which it names.
    pub interpreter: Option<PathBuf>,
}

/// All interpreters worth asking, each of them an executable file. An explicit
/// one is the only candidate.
pub fn locate(explicit: Option<&Path>, world: &World) -> Located {
    if let Some(python) = explicit {
        let python = named_program(python, world);
        return Located {
            candidates: Some(python)
                .filter(|python| is_executable(python))
                .map(|python| beside(python, FoundBy::Explicit))
                .into_iter()
                .collect(),
            broken: None,
        };
    }
    let mut located = Located::default();
    if let Some(script) = world.find_program("marker_single") {
        match interpreter_of(&script, world, 0) {
            Some((python, script)) if is_executable(&python) => {
                located.candidates.push(Candidate {
                    python,
                    marker_single: Some(script),
                    found_by: FoundBy::MarkerSingle,
                });
            }
            found => {
                located.broken = Some(BrokenScript {
                    script,
                    interpreter: found.map(|(python, _)| python),
                });
            }
        }
    }
    if let Some(environment) = world.variable("VIRTUAL_ENV") {
        let python = world.absolute(Path::new(environment)).join("bin/python");
        located.candidates.push(beside(python, FoundBy::VirtualEnv));
    }
    if let Some(python) = world.find_program("python3") {
        located.candidates.push(beside(python, FoundBy::Path));
    }
    let mut seen = Vec::new();
    located.candidates.retain(|candidate| {
        let new = !seen.contains(&candidate.python) && is_executable(&candidate.python);
        seen.push(candidate.python.clone());
        new
    });
    located
}

/// `python3.11` is looked up on `PATH`, anything with a slash is a path.
fn named_program(program: &Path, world: &World) -> PathBuf {
    let bare = program.components().count() == 1 && !world.absolute(program).exists();
    program
        .to_str()
        .filter(|_| bare)
        .and_then(|name| world.find_program(name))
        .unwrap_or_else(|| world.absolute(program))
}

/// The interpreter together with the script that pip puts beside it.
fn beside(python: PathBuf, found_by: FoundBy) -> Candidate {
    let script = python.with_file_name("marker_single");
    let marker_single = is_executable(&script).then_some(script);
    Candidate {
        python,
        marker_single,
        found_by,
    }
}

/// Wrappers that lead to wrappers are followed this far.
const MAX_WRAPPERS: u32 = 4;

/// The interpreter behind a script, and the script to start: a shim is
/// replaced by what it stands for, while a wrapper is kept, because it sets
/// the environment that its script needs.
fn interpreter_of(script: &Path, world: &World, depth: u32) -> Option<(PathBuf, PathBuf)> {
    if depth > MAX_WRAPPERS {
        return None;
    }
    let keep = |python: PathBuf| Some((python, script.to_owned()));
    match classify(&head_of(script)?) {
        Script::Python(python) => keep(python),
        Script::OnPath(name) => keep(world.find_program(name.to_str()?)?),
        Script::Beside(name) => keep(std::fs::canonicalize(script).ok()?.with_file_name(name)),
        Script::Wrapper(inner) => keep(interpreter_of(&inner, world, depth + 1)?.0),
        Script::PyenvShim { root } => {
            let real = pyenv_program(root, world)?;
            interpreter_of(&real, world, depth + 1)
        }
        Script::Unknown => None,
    }
}

/// The first 8 KiB, which hold the whole of every wrapper known.
fn head_of(script: &Path) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    std::fs::File::open(script)
        .ok()?
        .take(8 << 10)
        .read_to_end(&mut head)
        .ok()?;
    Some(head)
}

/// `marker_single` of the pyenv version that is active here, by pyenv's own
/// order: `PYENV_VERSION`, the nearest `.python-version`, the global `version`.
fn pyenv_program(shim_root: Option<PathBuf>, world: &World) -> Option<PathBuf> {
    let root = world
        .variable("PYENV_ROOT")
        .map(PathBuf::from)
        .or(shim_root)
        .or_else(|| Some(Path::new(world.variable("HOME")?).join(".pyenv")))?;
    let names = match world.variable("PYENV_VERSION") {
        Some(names) => names.to_str()?.replace(':', "\n"),
        None => world
            .current_dir
            .ancestors()
            .map(|folder| folder.join(".python-version"))
            .chain([root.join("version")])
            .find_map(|file| std::fs::read_to_string(file).ok())?,
    };
    names
        .split_whitespace()
        .map(|name| root.join("versions").join(name).join("bin/marker_single"))
        .find(|program| is_executable(program))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn place(file: &Path, text: &str) -> PathBuf {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755)).unwrap();
        file.to_owned()
    }

    fn world(folder: &Path, more: &[(&str, PathBuf)]) -> World {
        let mut variables = vec![("PATH".into(), folder.join("bin").into())];
        variables.extend(
            more.iter()
                .map(|(name, value)| ((*name).into(), value.clone().into())),
        );
        World::new(variables, folder)
    }

    #[test]
    fn the_script_on_path_comes_before_the_environment_and_the_system() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let venv = place(&root.join("venv/bin/python"), "");
        let system = place(&root.join("bin/python3"), "");
        let tool = place(&root.join("tool/bin/python"), "");
        let script = place(
            &root.join("bin/marker_single"),
            &format!("#!{}\n", tool.display()),
        );
        let world = world(root, &[("VIRTUAL_ENV", root.join("venv"))]);
        let found: Vec<_> = locate(None, &world)
            .candidates
            .into_iter()
            .map(|candidate| (candidate.python, candidate.found_by))
            .collect();
        let expected = [
            (tool, FoundBy::MarkerSingle),
            (venv, FoundBy::VirtualEnv),
            (system, FoundBy::Path),
        ];
        assert_eq!(found, expected);
        assert_eq!(
            locate(None, &world).candidates[0].marker_single,
            Some(script)
        );
    }

    #[test]
    fn an_explicit_interpreter_is_the_only_candidate() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let python = place(&root.join("venv/bin/python"), "");
        let script = place(&root.join("venv/bin/marker_single"), "");
        place(&root.join("bin/python3"), "");
        let found = locate(Some(Path::new("venv/bin/python")), &world(root, &[]));
        let expected = Candidate {
            python,
            marker_single: Some(script),
            found_by: FoundBy::Explicit,
        };
        assert_eq!(found.candidates, [expected]);
        let by_name = locate(Some(Path::new("python3")), &world(root, &[]));
        assert_eq!(by_name.candidates[0].python, root.join("bin/python3"));
    }

    #[test]
    fn shims_and_wrappers_are_followed_to_the_real_script() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let python = place(&root.join("pyenv/versions/3.11.9/bin/python"), "");
        let real = place(
            &root.join("pyenv/versions/3.11.9/bin/marker_single"),
            &format!("#!{}\n", python.display()),
        );
        place(&root.join("pyenv/version"), "3.12.1\n3.11.9\n");
        let shim = format!(
            "#!/usr/bin/env bash\nexport PYENV_ROOT=\"{0}\"\nexec \"{0}/libexec/pyenv\" exec \"$p\" \"$@\"\n",
            root.join("pyenv").display()
        );
        let on_path = place(&root.join("bin/marker_single"), &shim);
        let found = locate(None, &world(root, &[]));
        assert_eq!(found.candidates[0].python, python);
        assert_eq!(found.candidates[0].marker_single, Some(real.clone()));

        let wrapper = format!(
            "#!/bin/bash -e\nexec -a \"$0\" \"{}\" \"$@\"\n",
            real.display()
        );
        place(&on_path, &wrapper);
        let found = locate(None, &world(root, &[]));
        assert_eq!(found.candidates[0].python, python);
        assert_eq!(found.candidates[0].marker_single, Some(on_path.clone()));

        place(&on_path, "\x7fELF");
        let broken = locate(None, &world(root, &[])).broken.unwrap();
        assert_eq!((broken.script, broken.interpreter), (on_path.clone(), None));

        let gone = root.join("removed/bin/python");
        place(&on_path, &format!("#!{}\n", gone.display()));
        let broken = locate(None, &world(root, &[])).broken.unwrap();
        assert_eq!((broken.script, broken.interpreter), (on_path, Some(gone)));
    }

    #[test]
    fn a_wrapper_of_itself_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("bin/marker_single");
        place(
            &script,
            &format!("#!/bin/sh\nexec \"{}\" \"$@\"\n", script.display()),
        );
        let broken = locate(None, &world(folder.path(), &[])).broken.unwrap();
        assert_eq!((broken.script, broken.interpreter), (script, None));
    }
}
