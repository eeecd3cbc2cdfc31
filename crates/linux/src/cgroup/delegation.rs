//! The mark that systemd leaves on a group which is not its own any more.

use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Whether systemd has marked the group as delegated (CGROUP_DELEGATION.md): for root
/// by `trusted.delegate`, for everybody by `user.delegate` (systemd 251). An
/// ordinary user cannot see the mark of older ones. A user's own manager marks nothing.
pub fn is_marked_delegated(group: &Path) -> bool {
    [c"user.delegate", c"trusted.delegate"]
        .iter()
        .any(|name| is_set(group, name))
}

/// Whether an extended attribute is there and true.
fn is_set(path: &Path, name: &CStr) -> bool {
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else {
        return false;
    };
    let mut value = [0u8; 1];
    // SAFETY: both names end in NUL, and the kernel writes at most the length given.
    let length = unsafe {
        libc::getxattr(
            path.as_ptr(),
            name.as_ptr(),
            value.as_mut_ptr().cast(),
            value.len(),
        )
    };
    length == 1 && value == *b"1"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_seen_and_its_absence_too() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(!is_marked_delegated(folder.path()));
        assert!(!is_marked_delegated(Path::new("/nonexistent")));
        let path = CString::new(folder.path().as_os_str().as_bytes()).expect("a path");
        for (value, is_marked) in [(b"1", true), (b"0", false)] {
            // SAFETY: the names end in NUL, and the value has the length given.
            let outcome = unsafe {
                libc::setxattr(
                    path.as_ptr(),
                    c"user.delegate".as_ptr(),
                    value.as_ptr().cast(),
                    value.len(),
                    0,
                )
            };
            if outcome != 0 {
                // A file system without attributes of users: tmpfs before Linux 6.6.
                return;
            }
            assert_eq!(is_marked_delegated(folder.path()), is_marked);
        }
    }
}
