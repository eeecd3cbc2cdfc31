//! Why a program could not be executed, where its file tells more than the
//! error does.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::errno::Errno;

/// The kernel reads no more of a script to find its interpreter.
const FIRST_LINE: usize = 256;

/// What is wrong with `program`, that `execve` refused with `errno` in
/// `directory` (`None`: ours). `None` where nothing more is known; a name
/// without a slash was looked for in many places.
pub(super) fn why(program: &OsStr, directory: Option<&Path>, errno: i32) -> Option<String> {
    if !program.as_bytes().contains(&b'/') {
        return None;
    }
    let path = &directory.unwrap_or(Path::new("")).join(program);
    let found = match fs::metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            return Some("a folder on the way to it may not be entered".to_owned());
        }
        Err(_) => return None,
    };
    match Errno::from_raw(errno) {
        Errno::EACCES if found.is_dir() => Some("it is a directory".to_owned()),
        Errno::EACCES if found.permissions().mode() & 0o111 == 0 => {
            Some("it has no execute permission".to_owned())
        }
        Errno::ENOENT => {
            let mut start = [0; FIRST_LINE];
            let length = File::open(path).ok()?.read(&mut start).ok()?;
            Some(match interpreter(&start[..length]) {
                Some(name) => format!("its interpreter `{name}` is not there"),
                None => "the loader that it names is not there".to_owned(),
            })
        }
        _ => None,
    }
}

/// The first word behind `#!`.
fn interpreter(start: &[u8]) -> Option<String> {
    let line = start
        .strip_prefix(b"#!")?
        .split(|byte| *byte == b'\n')
        .next()?;
    let line = String::from_utf8_lossy(line);
    line.split_whitespace().next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpreters_are_the_first_word_of_the_first_line() {
        let cases: [(&[u8], Option<&str>); 5] = [
            (b"#!/bin/sh\necho", Some("/bin/sh")),
            (b"#! /usr/bin/env  python3\n", Some("/usr/bin/env")),
            (b"#!\n/bin/sh", None),
            (b"#!", None),
            (b"\x7fELF", None),
        ];
        for (start, expected) in cases {
            assert_eq!(interpreter(start).as_deref(), expected, "{start:?}");
        }
    }

    #[test]
    fn the_file_tells_why() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("script");
        fs::write(&path, "#!/no/such\r\n").expect("written");
        let name = path.as_os_str();
        let [enoent, eacces] = [Errno::ENOENT as i32, Errno::EACCES as i32];
        assert_eq!(
            why(name, None, enoent).as_deref(),
            Some("its interpreter `/no/such` is not there")
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("changed");
        assert_eq!(
            why(name, None, eacces).as_deref(),
            Some("it has no execute permission")
        );
        assert_eq!(
            why(folder.path().as_os_str(), None, eacces).as_deref(),
            Some("it is a directory")
        );
        assert_eq!(
            why(OsStr::new("./script"), Some(folder.path()), eacces).as_deref(),
            Some("it has no execute permission")
        );
        assert_eq!(why(OsStr::new("./script"), None, eacces), None);
        assert_eq!(why(OsStr::new("sh"), None, enoent), None);
        assert_eq!(why(OsStr::new("/no/such"), None, enoent), None);
    }
}
