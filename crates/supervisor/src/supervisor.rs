//! Who starts jobs, and how they are kept.

use std::path::PathBuf;

use crate::keeper;
use crate::proof_cache::ProofCache;

/// Starts runs. One is enough for a whole program; it may be shared between
/// threads.
///
/// ```no_run
/// use memcap_supervisor::{Job, Limits, Request, Stream, Supervisor};
///
/// let supervisor = Supervisor::new();
/// let job = Job::new("sort").arg("big.txt").stdout(Stream::Piped);
/// let handle = supervisor.spawn(Request::new(job, Limits::memory("1G".parse()?)?))?;
/// let (outcome, output) = handle.wait_with_output()?;
/// println!("{}: {} bytes sorted", outcome.verdict.kind, output.stdout.len());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// In the host process nothing changes: no signal handler, no signal mask, no
/// subreaper, no working directory. It may ignore SIGCHLD, reap all its children
/// with `waitpid(-1)`, block signals (a job inherits the mask of the thread that
/// starts it, as with [`std::process::Command`]) and fork.
#[derive(Debug, Clone)]
pub struct Supervisor {
    pub(crate) keeping: Keeping,
    pub(crate) owns_children: bool,
    pub(crate) forks_keeper: bool,
    pub(crate) mirrors_stops: bool,
    pub(crate) proofs: ProofCache,
    /// The group below which jobs are to be, where one was named.
    pub(crate) below: Option<PathBuf>,
}

#[derive(Debug, Clone)]
pub(crate) enum Keeping {
    /// By a process of this executable.
    Program(PathBuf),
    /// By a thread of ours.
    Thread,
}

impl Default for Supervisor {
    fn default() -> Self {
        Supervisor::new()
    }
}

impl Supervisor {
    /// The keeper is this very program if it has called [`keeper::hook`], else
    /// `memcap` on `PATH`.
    pub fn new() -> Supervisor {
        Supervisor {
            keeping: Keeping::Program(keeper::own_program().unwrap_or_else(|| "memcap".into())),
            owns_children: false,
            forks_keeper: false,
            mirrors_stops: false,
            proofs: ProofCache::default(),
            below: None,
        }
    }

    /// Without a keeper process: a thread of this program prepares, starts and
    /// watches each job (Linux 5.4).
    ///
    /// Weaker where this program dies: then nobody watches. The main process is
    /// killed with it; its descendants live on, without a limit under
    /// [`crate::Mechanism::Watchdog`], until the next start sweeps their group. And
    /// where [`crate::Plan::containment`] says [`crate::Containment::InProcess`], a
    /// descendant that flees (`setsid`, double fork) before it was first seen
    /// outlives the job.
    pub fn in_process() -> Supervisor {
        Supervisor {
            keeping: Keeping::Thread,
            owns_children: false,
            forks_keeper: false,
            mirrors_stops: false,
            proofs: ProofCache::default(),
            below: None,
        }
    }

    /// Names the keeper's executable: `memcap`, or a program that begins with
    /// [`keeper::hook`].
    #[must_use]
    pub fn keeper(self, executable: impl Into<PathBuf>) -> Supervisor {
        Supervisor {
            keeping: Keeping::Program(executable.into()),
            ..self
        }
    }

    /// Makes this process a subreaper when a job starts, and lets it end every
    /// descendant it has should the keeper be killed: orphans of the job come
    /// here then. Only for a program that does nothing but run one job.
    #[must_use]
    pub fn owns_all_children(self) -> Supervisor {
        Supervisor {
            owns_children: true,
            ..self
        }
    }

    /// Forks the keeper off this process instead of executing its program,
    /// which saves most of what starting a run costs. Only while this process
    /// has a single thread, and for jobs that take its streams and environment
    /// as they are; otherwise the program is executed all the same. The keeper
    /// then shares this process's memory until either writes to it: for a
    /// program that is small when it starts jobs.
    #[must_use]
    pub fn forks_keeper(self) -> Supervisor {
        Supervisor {
            forks_keeper: true,
            ..self
        }
    }

    /// Stops this process when the job's main process stops (Ctrl-Z, SIGSTOP, a
    /// background job that reads the terminal) and continues it with the job,
    /// so that whoever waits for this process sees what it would see of the
    /// job. For a program that stands in for one job, as a shell's child.
    #[must_use]
    pub fn mirrors_stops(self) -> Supervisor {
        Supervisor {
            mirrors_stops: true,
            ..self
        }
    }

    /// Keeps in this folder what the trial before a run has shown, so that later
    /// programs of the same user need none until the machine, its layout of groups
    /// or the place of the job changes. Without it a supervisor remembers for itself
    /// alone, and writes no file.
    ///
    /// The folder is made (0700) when there is something to keep. Nothing is
    /// believed of a folder or file that anybody else could have written, and one
    /// that cannot be written costs a later run its own trial, of a few
    /// milliseconds.
    #[must_use]
    pub fn proof_cache(self, folder: impl Into<PathBuf>) -> Supervisor {
        Supervisor {
            proofs: self.proofs.in_folder(folder.into()),
            ..self
        }
    }

    /// Makes the trial before each run anew, whatever is known, and keeps what
    /// that shows.
    #[must_use]
    pub fn renews_proofs(self) -> Supervisor {
        Supervisor {
            proofs: self.proofs.renewing(),
            ..self
        }
    }

    /// Puts jobs below the control group with this directory, one that this program
    /// manages, instead of below its own: `/sys/fs/cgroup/runner/jobs`. Each job has a
    /// group with its limit there, and never more than that group and those around it
    /// leave; the limits around this program itself are not the jobs' then.
    ///
    /// The group is in a mounted v2 hierarchy (where it grants memory to its children,
    /// or can: no process is in it) or in v1's memory hierarchy. It is asked for, not
    /// preferred: where it can hold no limit, starting a job fails. A keeper stays
    /// where this program is.
    #[must_use]
    pub fn below(self, group: impl Into<PathBuf>) -> Supervisor {
        Supervisor {
            below: Some(group.into()),
            ..self
        }
    }

    /// As [`Supervisor::below`], with a group as the crate cgroups-rs has it. What it
    /// holds by other controllers than memory holds for the jobs too only in v2.
    ///
    /// # Errors
    /// When it has no memory controller.
    #[cfg(feature = "cgroups-rs")]
    pub fn below_cgroup(
        self,
        group: &cgroups_rs::fs::Cgroup,
    ) -> Result<Supervisor, crate::SupervisorError> {
        use cgroups_rs::fs::Controller;
        use cgroups_rs::fs::memory::MemController;

        let memory: Option<&MemController> = group.controller_of();
        let no_memory = || memcap_probe::NotAGroup {
            path: group.path().into(),
            reason: "it has no memory controller".into(),
        };
        Ok(self.below(memory.ok_or_else(no_memory)?.path()))
    }
}
