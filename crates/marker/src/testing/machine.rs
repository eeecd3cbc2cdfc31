//! A folder with an installed marker, a document and an output folder.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use memcap_linux::ByteSize;

use super::pdf;
use crate::environment::World;
use crate::plan::Request;

pub(crate) struct Machine {
    folder: tempfile::TempDir,
}

impl Machine {
    pub(crate) fn new() -> Self {
        let machine = Machine {
            folder: tempfile::tempdir().unwrap(),
        };
        machine.place("venv/bin/python", "");
        let script = format!("#!{}\n", machine.python().display());
        machine.place("bin/marker_single", &script);
        machine
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn python(&self) -> PathBuf {
        self.path().join("venv/bin/python")
    }

    pub(crate) fn output(&self) -> PathBuf {
        self.path().join("out")
    }

    /// No model cache, no GPU.
    pub(crate) fn world(&self) -> World {
        let mut world = World::new(
            [("PATH".into(), self.path().join("bin").into())],
            self.path(),
        );
        world.root = self.path().to_owned();
        world
    }

    /// A request to convert a new document of so many letter pages under 8 GiB.
    pub(crate) fn request(&self, name: impl AsRef<OsStr>, pages: u32) -> Request {
        let document = self.path().join(Path::new(name.as_ref()));
        std::fs::write(&document, pdf::letter_pages(pages)).unwrap();
        Request::new(document, self.output(), ByteSize::from_gib(8))
    }

    fn place(&self, name: &str, text: &str) {
        let file = self.path().join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
}
