//! Making a bundle.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::files::{self, Part};
use super::{BUNDLE_VERSION, BundleError, MANIFEST, Manifest, Redactor};
use crate::facts::{self, read};
use crate::trial::Trials;
use crate::{DoctorReport, Host, Observed, Roots};

/// A file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedFile {
    /// Where it is on the host, names replaced.
    pub path: PathBuf,
    /// How much of it was copied, for people.
    pub part: &'static str,
}

/// A bundle that is being made. Dropped before [`BundleWriter::save`], it is
/// removed again.
#[derive(Debug)]
pub struct BundleWriter {
    dir: PathBuf,
    redactor: Redactor,
    saved: Vec<SavedFile>,
    writable: Vec<PathBuf>,
    undelegated: Vec<PathBuf>,
    is_whole: bool,
}

impl BundleWriter {
    /// Makes the folder, for us alone.
    ///
    /// # Errors
    /// [`BundleError::Exists`] where there is anything of that name.
    pub fn create(dir: &Path, redactor: Redactor) -> Result<BundleWriter, BundleError> {
        match DirBuilder::new().mode(0o700).create(dir) {
            Ok(()) => Ok(BundleWriter {
                dir: dir.to_owned(),
                redactor,
                saved: Vec::new(),
                writable: Vec::new(),
                undelegated: Vec::new(),
                is_whole: false,
            }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(BundleError::Exists {
                    path: dir.to_owned(),
                })
            }
            Err(source) => Err(BundleError::Write {
                path: dir.to_owned(),
                source,
            }),
        }
    }

    /// Copies what the facts were read from, and what else is known. Returns
    /// the list of files. `trials` are absent where none were made.
    ///
    /// # Errors
    /// When something cannot be written. What cannot be read is left out.
    pub fn save(
        mut self,
        roots: &Roots,
        report: &DoctorReport,
    ) -> Result<Vec<SavedFile>, BundleError> {
        for (path, part) in files::HOST {
            self.host_file(roots, path, *part)?;
        }
        let release = report.host.kernel.value();
        if let Some(text) = facts::kernel_config(roots, release).value() {
            let kept = files::config(text);
            self.write(
                Path::new("/proc/config"),
                &kept,
                "options of memory control",
            )?;
        }
        self.groups(roots)?;
        self.mounted(roots, report)?;
        let observed = self.observed(roots, report);
        self.manifest(observed, report.trials())?;
        self.is_whole = true;
        Ok(std::mem::take(&mut self.saved))
    }

    fn host_file(&mut self, roots: &Roots, path: &str, part: Part) -> Result<(), BundleError> {
        let source = roots.at(Path::new(path));
        let text = match part {
            Part::Folder if source.is_dir() => return self.folder(Path::new(path), part.text()),
            Part::Mark if source.exists() => String::new(),
            Part::Folder | Part::Mark => return Ok(()),
            Part::Whole | Part::Only(..) => match (read::text(&source), part) {
                (Ok(text), Part::Only(keep, _)) => keep(&text),
                (Ok(text), Part::Whole | Part::Mark | Part::Folder) => text,
                // What is not there, or not for us to read, is not in it.
                (Err(_), _) => return Ok(()),
            },
        };
        self.write(Path::new(path), &text, part.text())
    }

    /// Our own groups of both hierarchies, those around them, and those where a
    /// user's limits would be.
    fn groups(&mut self, roots: &Roots) -> Result<(), BundleError> {
        // As they are read, not as they are shown.
        let host = Host::observe(roots);
        if let Some(place) = host.cgroup_v2.value() {
            let elsewhere = facts::slices_of(roots, place);
            for dir in place.lineage().into_iter().chain(elsewhere) {
                self.group(roots, &dir, files::V2)?;
            }
        }
        if let Some(place) = host.cgroup_v1.value() {
            for dir in place.lineage() {
                self.group(roots, &dir, files::V1)?;
            }
        }
        Ok(())
    }

    /// What a mount shows at its top tells which controllers there are, also where
    /// our own group cannot be seen in it.
    fn mounted(&mut self, roots: &Roots, report: &DoctorReport) -> Result<(), BundleError> {
        let mounts = report.facts.mounts.value().into_iter().flatten();
        for mount in mounts.filter(|mount| mount.version == 2) {
            self.group(roots, &roots.at(&mount.mount_point), files::V2)?;
        }
        Ok(())
    }

    fn group(&mut self, roots: &Roots, dir: &Path, names: &[&str]) -> Result<(), BundleError> {
        if !dir.is_dir() {
            return Ok(());
        }
        self.note_writable(roots, dir);
        if roots.is_undelegated_unit(dir) {
            let shown = self.clean_path(&roots.shown(dir));
            self.undelegated.push(shown);
        }
        for name in names {
            let source = dir.join(name);
            let Ok(text) = read::text(&source) else {
                continue;
            };
            // The only ones whose being ours tells anything.
            if matches!(*name, "cgroup.procs" | "cgroup.subtree_control") {
                self.note_writable(roots, &source);
            }
            self.write(&roots.shown(&source), &text, Part::Whole.text())?;
        }
        Ok(())
    }

    fn note_writable(&mut self, roots: &Roots, path: &Path) {
        if roots.is_writable(path) {
            let shown = self.clean_path(&roots.shown(path));
            if !self.writable.contains(&shown) {
                self.writable.push(shown);
            }
        }
    }

    fn observed(&self, roots: &Roots, report: &DoctorReport) -> Observed {
        let facts = &report.facts;
        let resident = facts
            .limits_around
            .iter()
            .filter_map(|group| Some((self.clean_path(&group.dir), group.resident?)));
        Observed {
            pid: Some(roots.pid()),
            uid: roots.uid(),
            writable: Some(self.writable.clone()),
            undelegated: self.undelegated.clone(),
            sockets: Some(facts.sockets.clone()),
            features: Some(facts.features.clone()),
            resident: resident.collect(),
            machine_kills: facts.machine_kills,
            scope: report.host.systemd.clone(),
        }
    }

    fn manifest(&mut self, observed: Observed, trials: Option<Trials>) -> Result<(), BundleError> {
        let path = self.dir.join(MANIFEST);
        let failed = |source: serde_json::Error| BundleError::Write {
            path: path.clone(),
            source: source.into(),
        };
        let manifest = Manifest {
            bundle_version: BUNDLE_VERSION,
            memcap: env!("CARGO_PKG_VERSION").to_owned(),
            observed,
            trials,
        };
        let mut value = serde_json::to_value(&manifest).map_err(failed)?;
        self.redactor.clean_value(&mut value);
        let text = serde_json::to_string_pretty(&value).map_err(failed)? + "\n";
        self.put(&path, &text)?;
        self.saved.push(SavedFile {
            path: MANIFEST.into(),
            part: "answers of the kernel and of systemd, outcomes of trials",
        });
        Ok(())
    }

    fn clean_path(&self, path: &Path) -> PathBuf {
        PathBuf::from(self.redactor.clean(&path.to_string_lossy()))
    }

    fn write(&mut self, path: &Path, text: &str, part: &'static str) -> Result<(), BundleError> {
        let shown = self.clean_path(path);
        if self.saved.iter().any(|file| file.path == shown) {
            // Two names that became one, or a group that is in both lists.
            return Ok(());
        }
        let text = self.redactor.clean(text);
        self.put(&self.inside(&shown), &text)?;
        self.saved.push(SavedFile { path: shown, part });
        Ok(())
    }

    /// With an empty file in it, since archives and version control may leave
    /// empty folders out.
    fn folder(&mut self, path: &Path, part: &'static str) -> Result<(), BundleError> {
        let shown = self.clean_path(path);
        self.put(&self.inside(&shown).join("present"), "")?;
        self.saved.push(SavedFile { path: shown, part });
        Ok(())
    }

    fn inside(&self, shown: &Path) -> PathBuf {
        self.dir.join(shown.strip_prefix("/").unwrap_or(shown))
    }

    fn put(&self, path: &Path, text: &str) -> Result<(), BundleError> {
        if let Some(parent) = path.parent() {
            self.make_folders(parent)?;
        }
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|source| BundleError::Write {
            path: path.to_owned(),
            source,
        })
    }

    fn make_folders(&self, path: &Path) -> Result<(), BundleError> {
        let made = DirBuilder::new().mode(0o700).recursive(true).create(path);
        made.map_err(|source| BundleError::Write {
            path: path.to_owned(),
            source,
        })
    }
}

impl Drop for BundleWriter {
    fn drop(&mut self) {
        if !self.is_whole {
            // We made it, and nobody else can write there. What cannot be
            // removed stays, without the file that would make it a bundle.
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}
