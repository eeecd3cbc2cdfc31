//! The pid namespace that /proc shows: whether it is ours, and who was born last.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::OnceLock;

use super::PROC;

/// Whether /proc shows the pid namespace that this process is in. Where it does
/// not (a new namespace with the old mount, or no mount at all), a number in it
/// is somebody else's. Looked up once.
pub fn is_ours() -> bool {
    static OURS: OnceLock<bool> = OnceLock::new();
    *OURS.get_or_init(|| {
        std::fs::read_link(Path::new(PROC).join("self"))
            .is_ok_and(|link| link.to_str() == Some(&std::process::id().to_string()))
    })
}

/// The pid that was given out last in our namespace: while it stays, nobody is
/// born. The file is held open.
#[derive(Debug)]
pub struct NewestPid(File);

impl NewestPid {
    /// Opens /proc/loadavg, whose last field it is.
    ///
    /// # Errors
    /// When there is no such file.
    pub fn open() -> io::Result<NewestPid> {
        File::open(Path::new(PROC).join("loadavg")).map(NewestPid)
    }

    /// Reads it; `None` where it cannot be understood.
    pub fn read(&self) -> Option<u64> {
        use std::os::unix::fs::FileExt;
        let mut text = [0; 128];
        let length = self.0.read_at(&mut text, 0).ok()?;
        let text = std::str::from_utf8(&text[..length]).ok()?;
        text.split_ascii_whitespace().next_back()?.parse().ok()
    }
}
