//! The system's own error beneath one that names a file too.

use std::io;

/// What the system said. The tempfile crate adds the names of its files, which say
/// nothing to people who have named another one, and keeps the cause in its text alone.
pub fn beneath(error: io::Error) -> io::Error {
    match number_before_a_path(&error.to_string()) {
        Some(number) => io::Error::from_raw_os_error(number),
        None => error,
    }
}

fn number_before_a_path(text: &str) -> Option<i32> {
    let (_, rest) = text.split_once(" (os error ")?;
    let (number, _) = rest.split_once(") at path ")?;
    number.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_were_added_are_left_out() {
        let added = tempfile::tempdir_in("/proc").expect_err("nothing can be made there");
        assert!(added.to_string().contains(" at path "), "{added}");
        assert!(!beneath(added).to_string().contains("/proc"));
    }

    #[test]
    fn an_error_without_another_stays() {
        let plain = beneath(io::Error::other("no number"));
        assert_eq!(plain.to_string(), "no number");
        let numbered = beneath(io::Error::from_raw_os_error(libc::ENOSPC));
        assert_eq!(numbered.raw_os_error(), Some(libc::ENOSPC));
    }
}
