//! Whether results can be put where they are wanted, before anything is done for
//! them.

use std::io;
use std::path::Path;

use memcap_linux::beneath;

use super::{PREFIX, WorkFolderError};

/// Makes sure that the output folder, as an absolute path, can be written, or made
/// where it is not there yet. Nothing is left of the trial.
///
/// # Errors
/// [`WorkFolderError::Output`] and [`WorkFolderError::NoOutput`].
pub fn check_output(output: &Path) -> Result<(), WorkFolderError> {
    let Some(place) = output.ancestors().find(|place| stands(place)) else {
        return Ok(());
    };
    let tried = match std::fs::metadata(place) {
        Ok(found) if found.is_dir() => try_to_write(place).map_err(beneath),
        Ok(_) => Err(io::ErrorKind::NotADirectory.into()),
        Err(error) => Err(error),
    };
    let path = output.to_owned();
    tried.map_err(|source| match place == output {
        true => WorkFolderError::Output { path, source },
        false => WorkFolderError::NoOutput {
            path,
            place: place.to_owned(),
            source,
        },
    })
}

/// Whether something has this name, be it a link that leads nowhere. What cannot
/// be looked at is known by what is above it.
fn stands(place: &Path) -> bool {
    std::fs::symlink_metadata(place).is_ok()
}

/// Rights alone do not tell: root has them in `/proc` and on a disk that is
/// read-only. A folder is what will be made.
fn try_to_write(place: &Path) -> io::Result<()> {
    let mut trial = tempfile::Builder::new();
    trial.prefix(PREFIX).tempdir_in(place)?.close()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_made_is_not_made_yet() {
        let folder = tempfile::tempdir().unwrap();
        check_output(folder.path()).unwrap();
        check_output(&folder.path().join("new/out")).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_in_the_way_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("file"), "").unwrap();
        std::os::unix::fs::symlink(at("gone"), at("link")).unwrap();
        for name in ["file", "link"] {
            let itself = check_output(&at(name)).unwrap_err();
            assert!(matches!(itself, WorkFolderError::Output { .. }), "{itself}");
            let below = check_output(&at(name).join("new/out")).unwrap_err();
            let told = below.to_string();
            assert!(
                told.contains(&format!("{name}/new/out` because of")),
                "{told}"
            );
            assert!(told.ends_with(&format!("/{name}`")), "{told}");
            assert!(below.hint().is_some());
        }
        let error = check_output(Path::new("/proc/nowhere")).unwrap_err();
        assert!(matches!(error, WorkFolderError::NoOutput { .. }), "{error}");
    }
}
