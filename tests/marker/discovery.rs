//! Where marker is found: every way in which people install it, laid out as
//! the installers do it, with a marker that pretends behind.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use integration_tests::harness::{Invocation, Scene, memcap_binary};
use serde_json::Value;

use super::pretend::{folder, scene};
use super::support::{environment, memcap, words};

/// Folders in which a way of installing is laid out.
struct Layout<'scene> {
    scene: &'scene Scene,
    variables: Vec<(&'static str, PathBuf)>,
    /// The interpreter that must be found, and the script that must be
    /// started.
    python: PathBuf,
    script: Option<PathBuf>,
}

impl<'scene> Layout<'scene> {
    /// `PATH` has `bin` of the scene and nothing else; what whoever runs the
    /// suite has active is not.
    fn new(scene: &'scene Scene) -> Layout<'scene> {
        let bin = scene.path("bin");
        fs::create_dir_all(&bin).expect("a folder");
        Layout {
            scene,
            variables: vec![
                ("PATH", bin),
                ("HOME", scene.path("home")),
                ("VIRTUAL_ENV", PathBuf::new()),
                ("PYENV_ROOT", PathBuf::new()),
                ("PYENV_VERSION", PathBuf::new()),
            ],
            python: PathBuf::new(),
            script: None,
        }
    }

    /// A virtual environment at `place`: an interpreter, and a script beside it
    /// that names it.
    fn environment(&mut self, place: &str) -> PathBuf {
        let bin = self.scene.path(place).join("bin");
        fs::create_dir_all(&bin).expect("a folder");
        self.python = bin.join("python");
        symlink(self.scene.job("pretend-marker"), &self.python).expect("a link");
        let script = bin.join("marker_single");
        place_script(&script, &format!("#!{}\n", self.python.display()));
        self.script = Some(script.clone());
        script
    }

    /// `marker_single` on `PATH` with this content.
    fn on_path(&self, content: &str) -> PathBuf {
        let script = self.scene.path("bin/marker_single");
        place_script(&script, content);
        script
    }

    fn command(&self, words: &[&str]) -> Invocation<'scene> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        let mut invocation = self.scene.plain().command(memcap_binary(), &words);
        for (name, value) in &self.variables {
            invocation = invocation.variable(name, value);
        }
        invocation.directory(self.scene.path("."))
    }

    /// What `memcap marker plan` says about the marker it found.
    fn found(&self, more: &[&str]) -> Value {
        folder(self.scene, &[("a.pdf", 3)]);
        let words = ["marker", "plan", "in/a.pdf", "-o", "out", "--json"];
        let finished = self.command(&[&words, more].concat()).run();
        finished.expect_code(0);
        let plans: Value = serde_json::from_slice(&finished.stdout).expect("JSON");
        plans["documents"][0]["marker"].clone()
    }

    fn expect(&self, found_by: &str) {
        self.expect_with(found_by, &[]);
    }

    fn expect_with(&self, found_by: &str, more: &[&str]) {
        let marker = self.found(more);
        assert_eq!(marker["found_by"], found_by, "{marker}");
        assert_eq!(marker["python"], text(&self.python), "{marker}");
        let script = self.script.as_deref().map(text);
        assert_eq!(marker["marker_single"].as_str(), script.as_deref());
    }
}

fn text(path: &Path) -> String {
    path.to_str().expect("UTF-8").to_owned()
}

fn place_script(script: &Path, content: &str) {
    fs::create_dir_all(script.parent().expect("a folder")).expect("a folder");
    fs::write(script, content).expect("a script");
    fs::set_permissions(script, fs::Permissions::from_mode(0o755)).expect("its owner");
}

#[test]
fn a_script_of_pip_names_its_interpreter() {
    let scene = scene();
    let mut layout = Layout::new(&scene);
    layout.environment("venv");
    let script = layout.on_path(&format!("#!{}\nimport sys\n", layout.python.display()));
    layout.script = Some(script);
    layout.expect("marker-single");
    // It is what is started, too.
    let words = ["marker", "in/a.pdf", "-o", "out", "--drive", "fresh"];
    layout.command(&words).run().expect_code(0);
    assert!(scene.path("out/a/a.md").is_file());
}

#[test]
fn pipx_and_uv_tool_link_to_the_script_of_their_environment() {
    for place in [
        "home/.local/pipx/venvs/marker-pdf",
        "home/.local/share/uv/tools/marker-pdf",
    ] {
        let scene = scene();
        let mut layout = Layout::new(&scene);
        let real = layout.environment(place);
        let link = scene.path("bin/marker_single");
        symlink(real, &link).expect("a link");
        layout.script = Some(link);
        layout.expect("marker-single");
    }
}

#[test]
fn an_active_conda_environment_is_on_the_path() {
    let scene = scene();
    let mut layout = Layout::new(&scene);
    layout.environment("conda/envs/marker");
    layout.variables[0].1 = scene.path("conda/envs/marker/bin");
    layout
        .variables
        .push(("CONDA_PREFIX", scene.path("conda/envs/marker")));
    layout.expect("marker-single");
}

#[test]
fn a_shim_of_pyenv_stands_for_the_active_version() {
    let scene = scene();
    let mut layout = Layout::new(&scene);
    layout.environment("home/.pyenv/versions/3.11.9");
    let root = scene.path("home/.pyenv");
    fs::write(root.join("version"), "3.11.9\n").expect("written");
    layout.on_path(&format!(
        "#!/usr/bin/env bash\nset -e\n[ -n \"$PYENV_DEBUG\" ] && set -x\n\nprogram=\"${{0##*/}}\"\n\n\
         export PYENV_ROOT=\"{0}\"\nexec \"{0}/libexec/pyenv\" exec \"$program\" \"$@\"\n",
        root.display()
    ));
    layout.expect("marker-single");
}

#[test]
fn a_wrapper_of_nix_is_kept_and_seen_through() {
    let scene = scene();
    let mut layout = Layout::new(&scene);
    let real = layout.environment("nix/store/env");
    let hidden = real.with_file_name(".marker_single-wrapped");
    fs::rename(&real, &hidden).expect("renamed");
    let wrapper = layout.on_path(&format!(
        "#! /bin/bash -e\nexport PYTHONNOUSERSITE='true'\nexec -a \"$0\" \"{}\"  \"$@\"\n",
        hidden.display()
    ));
    layout.script = Some(wrapper);
    layout.expect("marker-single");
}

#[test]
fn a_binary_wrapper_is_refused_with_what_to_name() {
    let scene = scene();
    let layout = Layout::new(&scene);
    layout.on_path("\x7fELF\x02\x01\x01 makeCWrapper '/nix/store/x/bin/.marker_single-wrapped'");
    folder(&scene, &[("a.pdf", 3)]);
    let finished = layout
        .command(&["marker", "plan", "in/a.pdf", "-o", "out"])
        .run();
    finished.expect_code(2);
    let told = finished.stderr_text();
    assert!(told.contains("cannot tell which Python"), "{told}");
    assert!(told.contains("--python"), "{told}");
}

#[test]
fn a_path_too_long_for_one_line_is_in_a_trampoline() {
    let scene = scene();
    let mut layout = Layout::new(&scene);
    layout.environment(&format!("{}/with blanks", "long/".repeat(30)));
    let script = layout.on_path(&format!(
        "#!/bin/sh\n'''exec' \"{}\" \"$0\" \"$@\"\n' '''\nimport sys\n",
        layout.python.display()
    ));
    layout.script = Some(script);
    layout.expect("marker-single");
}

#[test]
fn an_active_environment_needs_no_path() {
    let scene = scene();
    let mut layout = Layout::new(&scene);
    layout.environment("venv");
    layout.variables.push(("VIRTUAL_ENV", scene.path("venv")));
    layout.expect("virtual-env");
}

#[test]
fn the_python_that_is_named_wins() {
    let scene = scene();
    let mut layout = Layout::new(&scene);
    layout.environment("other");
    layout.variables.push(("VIRTUAL_ENV", scene.path("other")));
    layout.environment("named");
    let named = text(&layout.python);
    layout.expect_with("explicit", &["--python", &named]);
}

#[test]
fn settings_in_the_file_beside_marker_decide_which_work_is_gone_on_with() {
    let Some(environment) = environment() else {
        return;
    };
    let scene = scene();
    folder(&scene, &[("a.pdf", 3)]);
    // An early marker in front of the one that is installed.
    let python = scene.path("python");
    for (name, content) in [
        ("marker/__init__.py", ""),
        (
            "marker_pdf-0.3.10.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: marker-pdf\nVersion: 0.3.10\n",
        ),
    ] {
        let file = python.join(name);
        fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        fs::write(file, content).expect("a file");
    }
    let folder_with = |settings: &str| {
        fs::write(python.join("local.env"), settings).expect("a file");
        let words = words([
            &"marker",
            &"plan",
            &"in/a.pdf",
            &"-o",
            &"out",
            &"--json",
            &"--python",
            &environment.python(),
        ]);
        let finished = memcap(&scene, &environment, &words)
            .variable("PYTHONPATH", &python)
            .directory(scene.path("."))
            .run();
        finished.expect_code(0);
        let plans: Value = serde_json::from_slice(&finished.stdout).expect("JSON");
        let plan = &plans["documents"][0];
        assert_eq!(plan["marker"]["version"], "0.3.10");
        assert!(!plans.to_string().contains("quite secret"), "{plans:#}");
        plan["work_folder"].as_str().expect("a path").to_owned()
    };
    let usual = folder_with("# Nothing.\n");
    assert_eq!(
        folder_with("TORCH_DEVICE=cpu\nSOME_API_KEY='quite secret'\n"),
        usual
    );
    let paginated = folder_with("PAGINATE_OUTPUT=true\n");
    assert_ne!(paginated, usual);
    assert_ne!(folder_with("paginate_output=false # no\n"), paginated);
    assert_eq!(folder_with(""), usual);
}
