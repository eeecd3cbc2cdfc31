//! Folders of ours, and what others put into their place.

use super::*;
use crate::testing::require;

#[test]
fn the_folder_is_private_locked_and_found_again() {
    let output = tempfile::tempdir().unwrap();
    let nested = output.path().join("new/out");
    let folder = WorkFolder::open(&nested, "k").unwrap();
    let path = WorkFolder::place(&nested, "k");
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
    assert!(matches!(
        WorkFolder::open(&nested, "k"),
        Err(WorkFolderError::Busy { .. })
    ));
    assert!(WorkFolder::open(&nested, "other").is_ok());
    drop(folder);
    assert!(WorkFolder::open(&nested, "k").is_ok());
}

#[test]
fn an_unknown_version_is_refused_and_left_alone() {
    let output = tempfile::tempdir().unwrap();
    let path = WorkFolder::place(output.path(), "k");
    drop(WorkFolder::open(output.path(), "k").unwrap());
    std::fs::write(path.join("version"), "memcap work folder 2\n").unwrap();
    std::fs::write(path.join("running"), "precious").unwrap();
    let error = WorkFolder::open(output.path(), "k").unwrap_err();
    assert!(matches!(error, WorkFolderError::UnknownVersion { .. }));
    assert!(path.join("running").exists());
    std::fs::remove_file(path.join("version")).unwrap();
    let error = WorkFolder::open(output.path(), "k").unwrap_err();
    assert!(matches!(error, WorkFolderError::UnknownVersion { .. }));
}

#[test]
fn links_are_not_followed() {
    let output = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let path = WorkFolder::place(output.path(), "k");
    std::os::unix::fs::symlink(elsewhere.path(), &path).unwrap();
    let error = WorkFolder::open(output.path(), "k").unwrap_err();
    assert!(matches!(error, WorkFolderError::NotAFolder { .. }));
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}

#[test]
fn an_output_that_cannot_be_written_is_refused() {
    let output = tempfile::tempdir().unwrap();
    let file = output.path().join("file");
    std::fs::write(&file, "").unwrap();
    for place in [file.clone(), file.join("below")] {
        let error = WorkFolder::open(&place, "k").unwrap_err();
        assert!(matches!(error, WorkFolderError::Output { .. }), "{error}");
    }
}

/// What stands in the place of our folder, and elsewhere something that must
/// stay as it is.
struct Trap {
    output: tempfile::TempDir,
    elsewhere: tempfile::TempDir,
}

impl Trap {
    fn new() -> Trap {
        let trap = Trap {
            output: tempfile::tempdir().unwrap(),
            elsewhere: tempfile::tempdir().unwrap(),
        };
        for name in ["running", "merged", "input", "pages-00001-00001"] {
            std::fs::create_dir(trap.elsewhere.path().join(name)).unwrap();
            std::fs::write(trap.elsewhere.path().join(name).join("mine"), "mine").unwrap();
        }
        std::fs::write(trap.elsewhere.path().join("file"), "mine").unwrap();
        trap
    }

    fn folder(&self) -> PathBuf {
        WorkFolder::place(self.output.path(), "k")
    }

    fn open(&self) -> Result<WorkFolder, WorkFolderError> {
        WorkFolder::open(self.output.path(), "k")
    }

    fn begin(&self) -> Result<(), WorkFolderError> {
        self.open()?.make_room()
    }

    #[track_caller]
    fn assert_untouched(&self) {
        let count = |path: &Path| std::fs::read_dir(path).unwrap().count();
        assert_eq!(count(self.elsewhere.path()), 5);
        for name in ["running", "merged", "input", "pages-00001-00001"] {
            let file = self.elsewhere.path().join(name).join("mine");
            assert_eq!(std::fs::read_to_string(file).unwrap(), "mine");
        }
        let file = self.elsewhere.path().join("file");
        assert_eq!(std::fs::read_to_string(file).unwrap(), "mine");
    }
}

#[test]
fn links_within_the_folder_are_not_followed() {
    for (name, target) in [
        ("version", "file"),
        ("lock", "file"),
        ("chunks", ""),
        ("logs", ""),
    ] {
        let trap = Trap::new();
        trap.begin().unwrap();
        let _ = std::fs::remove_file(trap.folder().join(name));
        let _ = std::fs::remove_dir_all(trap.folder().join(name));
        let link = trap.folder().join(name);
        std::os::unix::fs::symlink(trap.elsewhere.path().join(target), link).unwrap();
        let error = trap.begin().unwrap_err();
        assert!(
            matches!(error, WorkFolderError::Io { .. }),
            "{name}: {error}"
        );
        trap.assert_untouched();
    }
    let trap = Trap::new();
    drop(trap.open().unwrap());
    for name in ["running", "merged", "input"] {
        let link = trap.folder().join(name);
        std::os::unix::fs::symlink(trap.elsewhere.path().join(name), link).unwrap();
    }
    drop(trap.open().unwrap());
    trap.assert_untouched();
}

#[test]
fn a_file_with_another_name_is_not_written() {
    for name in ["lock", "version"] {
        let trap = Trap::new();
        drop(trap.open().unwrap());
        let file = trap.folder().join(name);
        std::fs::remove_file(&file).unwrap();
        std::fs::hard_link(trap.elsewhere.path().join("file"), file).unwrap();
        let error = trap.open().unwrap_err();
        assert!(
            matches!(error, WorkFolderError::Io { .. }),
            "{name}: {error}"
        );
        trap.assert_untouched();
    }
}

#[test]
fn a_folder_that_is_replaced_meanwhile_is_left_alone() {
    let trap = Trap::new();
    let folder = trap.open().unwrap();
    std::fs::rename(trap.folder(), trap.output.path().join("moved")).unwrap();
    std::os::unix::fs::symlink(trap.elsewhere.path(), trap.folder()).unwrap();
    let page = PageSet::all(1);
    for error in [
        folder.fresh_running(0).unwrap_err(),
        folder.keep_running_as(0, &page).unwrap_err(),
        folder.discard(&page).unwrap_err(),
        folder.clear().unwrap_err(),
    ] {
        assert!(matches!(error, WorkFolderError::Replaced { .. }), "{error}");
        assert!(error.hint().is_some());
    }
    trap.assert_untouched();
}

#[test]
fn the_folder_of_another_user_is_refused() {
    let trap = Trap::new();
    drop(trap.open().unwrap());
    if std::os::unix::fs::chown(trap.folder(), Some(12345), None).is_err() {
        return require::skip("root", "only root can give a folder away");
    }
    let error = trap.open().unwrap_err();
    let foreign = matches!(error, WorkFolderError::ForeignOwner { owner: 12345, .. });
    assert!(foreign, "{error}");
}

#[test]
fn root_works_in_the_output_folder_of_another_user() {
    let trap = Trap::new();
    if std::os::unix::fs::chown(trap.output.path(), Some(12345), None).is_err() {
        return require::skip("root", "only root can give a folder away");
    }
    let folder = trap.open().unwrap();
    assert_eq!(
        std::fs::metadata(trap.folder()).unwrap().mode() & 0o777,
        0o700
    );
    folder.check_in_place().unwrap();
}

#[test]
fn the_work_of_another_conversion_is_refused() {
    let trap = Trap::new();
    let folder = trap.open().unwrap();
    let opened = |key: Option<&str>| Record::Opened {
        memcap: "1".to_owned(),
        marker: "1.10.2".to_owned(),
        pages: PageSet::all(1),
        key: key.map(str::to_owned),
        document: None,
    };
    folder
        .check_belongs_to("k", &[opened(Some("k")), opened(None)])
        .unwrap();
    let error = folder
        .check_belongs_to("k", &[opened(Some("other"))])
        .unwrap_err();
    assert!(matches!(error, WorkFolderError::OtherConversion { .. }));
}
