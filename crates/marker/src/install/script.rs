//! What kind of program a `marker_single` is, told from its first bytes.
//! Reads no files.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// How a script leads to its interpreter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Script {
    /// The interpreter is written down: an ordinary `#!` line (pip, uv tools,
    /// pipx, conda), or a `sh` trampoline for paths that are too long for one.
    Python(PathBuf),
    /// `#!/usr/bin/env NAME`: the interpreter is looked up on `PATH`.
    OnPath(OsString),
    /// A trampoline to an interpreter beside the script itself (uv's
    /// relocatable environments); the path is relative to the script's folder.
    Beside(PathBuf),
    /// A shell wrapper that ends by executing another script (Nix).
    Wrapper(PathBuf),
    /// A pyenv shim, which asks pyenv for the version that is active.
    PyenvShim {
        /// `PYENV_ROOT`, where the shim names it.
        root: Option<PathBuf>,
    },
    /// Something else: a binary, or a script of unknown kind.
    Unknown,
}

/// Classifies a script by its text.
pub fn classify(text: &[u8]) -> Script {
    let Some(line) = text.strip_prefix(b"#!").and_then(|rest| lines(rest).next()) else {
        return Script::Unknown;
    };
    let mut words = line
        .split(|byte| matches!(byte, b' ' | b'\t'))
        .filter(|word| !word.is_empty());
    let Some(interpreter) = words.next() else {
        return Script::Unknown;
    };
    let name = file_name(interpreter);
    match name {
        b"env" => match words.find(|word| *word != b"-S") {
            Some(program) if is_shell(file_name(program)) => classify_shell(text),
            Some(program) if program.starts_with(b"/") => Script::Python(path(program)),
            Some(program) => Script::OnPath(OsString::from_vec(program.to_vec())),
            None => Script::Unknown,
        },
        shell if is_shell(shell) => classify_shell(text),
        _ if interpreter.starts_with(b"/") => Script::Python(path(interpreter)),
        _ => Script::Unknown,
    }
}

fn is_shell(name: &[u8]) -> bool {
    matches!(name, b"sh" | b"bash" | b"dash")
}

fn classify_shell(text: &[u8]) -> Script {
    if lines(text).any(|line| contains(line, b"pyenv") && contains(line, b" exec ")) {
        return Script::PyenvShim {
            root: pyenv_root(text),
        };
    }
    lines(text)
        .skip(1)
        .find_map(executed)
        .unwrap_or(Script::Unknown)
}

/// `export PYENV_ROOT="/home/someone/.pyenv"`
fn pyenv_root(text: &[u8]) -> Option<PathBuf> {
    lines(text)
        .find_map(|line| trim(line).strip_prefix(b"export PYENV_ROOT="))
        .and_then(|value| unquote(value).map(|(word, _)| path(word)))
}

/// What a line of a shell script executes in its own place.
fn executed(line: &[u8]) -> Option<Script> {
    let line = trim(line);
    // `'''exec'` is a command for the shell and an opening string for Python.
    if let Some(rest) = line.strip_prefix(b"'''exec'") {
        return trampoline(trim(rest));
    }
    let mut rest = trim(line.strip_prefix(b"exec ")?);
    if let Some(behind_name) = rest.strip_prefix(b"-a ") {
        rest = trim(unquote(trim(behind_name))?.1);
    }
    let (program, _) = unquote(rest)?;
    program
        .starts_with(b"/")
        .then(|| Script::Wrapper(path(program)))
}

/// The interpreter behind `'''exec'`.
fn trampoline(rest: &[u8]) -> Option<Script> {
    const BESIDE: &[u8] = br#""$(dirname -- "$(realpath -- "$0")")"/"#;
    if let Some(name) = rest.strip_prefix(BESIDE) {
        return unquote(name).map(|(word, _)| Script::Beside(path(word)));
    }
    let (program, _) = unquote(rest)?;
    program
        .starts_with(b"/")
        .then(|| Script::Python(path(program)))
}

/// The first word of a shell line and what follows it. Only whole quotes are
/// understood, which is all that installers write.
fn unquote(text: &[u8]) -> Option<(&[u8], &[u8])> {
    match text.first()? {
        quote @ (b'"' | b'\'') => {
            let end = text[1..].iter().position(|byte| byte == quote)? + 1;
            Some((&text[1..end], &text[end + 1..]))
        }
        _ => {
            let end = text
                .iter()
                .position(u8::is_ascii_whitespace)
                .unwrap_or(text.len());
            Some((&text[..end], &text[end..]))
        }
    }
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

fn trim(text: &[u8]) -> &[u8] {
    text.trim_ascii()
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

fn file_name(bytes: &[u8]) -> &[u8] {
    Path::new(OsStr::from_bytes(bytes))
        .file_name()
        .map_or(b"", OsStrExt::as_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_lead_to_their_interpreters() {
        let python = |path: &str| Script::Python(path.into());
        let cases: [(&str, Script); 15] = [
            (
                "#!/venv/bin/python\nimport sys\n",
                python("/venv/bin/python"),
            ),
            (
                "#!/venv/bin/python3.11 -sP\r\nimport sys\n",
                python("/venv/bin/python3.11"),
            ),
            (
                "#! /nix/store/x/bin/python3\n",
                python("/nix/store/x/bin/python3"),
            ),
            ("#!/usr/bin/env python3\n", Script::OnPath("python3".into())),
            (
                "#!/usr/bin/env -S python3 -I\n",
                Script::OnPath("python3".into()),
            ),
            (
                "#!/bin/sh\n'''exec' \"/a long path/bin/python\" \"$0\" \"$@\"\n' '''\nimport sys\n",
                python("/a long path/bin/python"),
            ),
            (
                "#!/bin/sh\n'''exec' '/a long path/bin/python' \"$0\" \"$@\"\n' '''\n",
                python("/a long path/bin/python"),
            ),
            (
                "#!/bin/sh\n'''exec' /long/bin/python \"$0\" \"$@\"\n",
                python("/long/bin/python"),
            ),
            (
                "#!/bin/sh\n'''exec' \"$(dirname -- \"$(realpath -- \"$0\")\")\"/'python3' \"$0\" \"$@\"\n",
                Script::Beside("python3".into()),
            ),
            (
                "#! /nix/store/y/bin/bash -e\nexport A='b'\nexec -a \"$0\" \"/nix/store/z/bin/.marker_single-wrapped\"  \"$@\"\n",
                Script::Wrapper("/nix/store/z/bin/.marker_single-wrapped".into()),
            ),
            (
                "#!/usr/bin/env bash\nset -e\nprogram=\"${0##*/}\"\nexport PYENV_ROOT=\"/home/a/.pyenv\"\nexec \"/home/a/.pyenv/libexec/pyenv\" exec \"$program\" \"$@\"\n",
                Script::PyenvShim {
                    root: Some("/home/a/.pyenv".into()),
                },
            ),
            ("\x7fELF", Script::Unknown),
            ("", Script::Unknown),
            ("#!\n", Script::Unknown),
            ("#!/bin/sh\necho hello\n", Script::Unknown),
        ];
        for (text, script) in cases {
            assert_eq!(classify(text.as_bytes()), script, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in proptest::collection::vec(proptest::num::u8::ANY, 0..80)) {
            let _ = classify(&[b"#!/bin/sh\n'''exec'".as_slice(), &text].concat());
            let _ = classify(&text);
        }
    }
}
