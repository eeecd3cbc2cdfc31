//! A place for one check: a folder, a mark, and the duty to clean up.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::cgroups::{self, MemcapGroup};
use super::invocation::Invocation;
use super::processes::{self, Process};
use super::programs;
use super::require::SYSTEM_PATH;
use super::setting::{Account, Setting};
use super::wait::{PATIENCE, poll_until};
use crate::job::Ledger;

/// The uid and gid of `nobody` (the kernel's overflow ids).
const NOBODY: u32 = 65534;

/// Where one check runs memcap. Dropping it ends every process it started and
/// removes every cgroup these made.
#[derive(Debug)]
pub struct Scene {
    setting: Setting,
    folder: TempDir,
    session: TempDir,
    mark: String,
    /// The keepers of this scene, by whose pids cgroups are named.
    keepers: Mutex<BTreeSet<i32>>,
}

impl Scene {
    /// A scene for `setting`; `None` (and `skipped: reason`) where this
    /// machine cannot have it.
    ///
    /// # Panics
    /// Where `MEMCAP_REQUIRE` insists, or the folder cannot be made.
    pub fn open(setting: Setting) -> Option<Scene> {
        setting.is_possible().then(|| Scene::new(setting))
    }

    fn new(setting: Setting) -> Scene {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let folder = tempfile::Builder::new().prefix("memcap-test-").tempdir();
        let folder = folder.unwrap_or_else(|error| panic!("temporary folder: {error}"));
        // Whoever runs memcap writes its reports here.
        let opened = fs::set_permissions(folder.path(), Permissions::from_mode(0o777));
        assert!(opened.is_ok(), "{}: {opened:?}", folder.path().display());
        let session = tempfile::Builder::new().prefix("memcap-session-").tempdir();
        let session = session.unwrap_or_else(|error| panic!("temporary folder: {error}"));
        let mark = format!(
            "{}-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed),
            // The folder's random name tells apart runs with recycled pids.
            folder.path().file_name().unwrap_or_default().display(),
        );
        let scene = Scene {
            setting,
            folder,
            session,
            mark,
            keepers: Mutex::default(),
        };
        if scene.becomes_nobody() {
            let given = chown(scene.session(), Some(NOBODY), Some(NOBODY));
            assert!(given.is_ok(), "{}: {given:?}", scene.session().display());
        }
        scene
    }

    /// Its setting.
    pub fn setting(&self) -> Setting {
        self.setting
    }

    /// A path inside the scene's folder, which every user may write.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The folder of the account's session, which nobody else may enter: it has no
    /// other, so that what memcap remembers of one scene says nothing in another.
    pub fn session(&self) -> &Path {
        self.session.path()
    }

    /// [`Scene::path`] as text, for command lines.
    pub fn word(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// An empty ledger called `name`.
    ///
    /// # Panics
    /// Where it cannot be made.
    pub fn ledger(&self, name: &str) -> Ledger {
        Ledger::create(&self.path(name)).unwrap_or_else(|error| panic!("ledger {name}: {error}"))
    }

    /// The path of the job program `name`, where the scene's account can
    /// execute it.
    pub fn job(&self, name: &str) -> PathBuf {
        self.reachable(&programs::job_binary(name))
    }

    /// A run of memcap with this scene's mechanism and a report.
    pub fn memcap(&self) -> Invocation<'_> {
        let binary = self.reachable(&programs::memcap_binary());
        Invocation::of_memcap(self, &binary)
    }

    /// The same commands without memcap, for comparison.
    pub fn plain(&self) -> Invocation<'_> {
        Invocation::plain(self)
    }

    /// A command that runs as the scene's account, in its folder, with its
    /// mark and nothing of the mark's kind from outside.
    pub(super) fn command(&self, program: &Path) -> Command {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new(program);
        command
            .env(processes::MARK_VARIABLE, &self.mark)
            .env("XDG_RUNTIME_DIR", self.session())
            // What is learned in a test is not for others.
            .env("XDG_STATE_HOME", self.folder.path().join("state"))
            .current_dir(self.folder.path());
        if self.becomes_nobody() {
            // The standard library also drops the supplementary groups.
            command
                .uid(NOBODY)
                .gid(NOBODY)
                .env("HOME", self.folder.path())
                .env("PATH", SYSTEM_PATH);
        }
        command
    }

    fn becomes_nobody(&self) -> bool {
        self.setting.account == Account::Ordinary && nix::unistd::geteuid().is_root()
    }

    /// `program`, or a copy of it in the scene's folder where a folder on the
    /// way is closed to other users.
    fn reachable(&self, program: &Path) -> PathBuf {
        let open = |path: &Path| {
            fs::metadata(path).is_ok_and(|data| data.permissions().mode() & 0o001 != 0)
        };
        if !self.becomes_nobody() || program.ancestors().all(open) {
            return program.to_owned();
        }
        let copy = self
            .folder
            .path()
            .join(program.file_name().unwrap_or_default());
        if !copy.exists() {
            // By another process: were the copy open for writing here while
            // another test forks, executing it would fail with ETXTBSY.
            let status = Command::new("cp").arg(program).arg(&copy).status();
            assert!(
                matches!(&status, Ok(status) if status.success()),
                "cp: {status:?}"
            );
        }
        copy
    }

    /// The living processes that this scene started, at any remove. Keepers
    /// among them are noted.
    pub fn processes(&self) -> Vec<Process> {
        let processes = processes::marked(&self.mark);
        let keepers = processes.iter().filter(|process| process.is_keeper());
        keepers.for_each(|keeper| self.note_keeper(keeper.pid));
        processes
    }

    /// Notes the keepers that live now: those of a memcap that a shell or a
    /// terminal has started are nobody's children here.
    pub(super) fn note_keepers(&self) {
        drop(self.processes());
    }

    /// The cgroups that the keepers of this scene have made.
    pub fn cgroups(&self) -> Vec<MemcapGroup> {
        let keepers = self.keepers();
        let mut groups = cgroups::memcap_groups();
        groups.retain(|group| keepers.contains(&group.owner));
        groups
    }

    /// Notes the keeper of a memcap of this scene, or a program that embeds it: one
    /// by whose pid cgroups are named.
    pub fn note_keeper(&self, pid: i32) {
        self.keepers().insert(pid);
    }

    fn keepers(&self) -> MutexGuard<'_, BTreeSet<i32>> {
        self.keepers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Insists that nothing is left when memcap has returned: at once, since
    /// memcap promises to return last.
    ///
    /// # Panics
    /// Naming what is left.
    pub fn assert_nothing_left(&self) {
        self.assert_nothing_left_within(Duration::ZERO);
    }

    /// Insists that nothing is left soon: after the death of memcap itself,
    /// when the keeper is still at work.
    ///
    /// # Panics
    /// Naming what is left after [`PATIENCE`].
    pub fn assert_nothing_left_soon(&self) {
        self.assert_nothing_left_within(PATIENCE);
    }

    fn assert_nothing_left_within(&self, patience: Duration) {
        let is_clean = || self.processes().is_empty() && self.cgroups().is_empty();
        let clean = poll_until(patience, || is_clean().then_some(()));
        assert!(
            clean.is_some(),
            "left running: {:?}\nleft cgroups: {:?}",
            self.processes(),
            self.cgroups()
        );
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // Again and again, since what is found may fork meanwhile.
        poll_until(PATIENCE, || {
            let processes = self.processes();
            for process in &processes {
                process.signal(Signal::SIGKILL);
            }
            processes.is_empty().then_some(())
        });
        poll_until(PATIENCE, || cgroups::remove(&self.cgroups()).then_some(()));
    }
}
