//! Documents that a password keeps shut. Marker has no option for one, so it
//! gets a copy without, in the work folder, for as long as the conversion runs.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::conversion::ConversionError;
use crate::install::INSPECTION_TIME;
use crate::password::Password;
use crate::plan::Plan;
use crate::runner::{Ending, Runner, Step};
use crate::text::last_line;

/// The program for `python -c`.
const PROGRAM: &str = include_str!("unlock.py");

/// A folder with a copy; it is removed with this.
#[derive(Debug)]
pub struct UnlockedCopy {
    folder: PathBuf,
}

impl Drop for UnlockedCopy {
    fn drop(&mut self) {
        // What remains is removed by the next run, and lies in a folder that
        // only its owner can enter.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Writes the copy to `copy`, in an existing folder of its own. `None` where
/// the user wants to stop.
///
/// # Errors
/// When that does not succeed.
pub fn unlock(
    plan: &Plan,
    password: &Password,
    copy: &Path,
    runner: &mut dyn Runner,
) -> Result<Option<UnlockedCopy>, ConversionError> {
    let folder = copy.parent().unwrap_or(copy);
    let guard = UnlockedCopy {
        folder: folder.to_owned(),
    };
    let secret = folder.join("password");
    let io = |source| ConversionError::Io {
        operation: "write",
        path: secret.clone(),
        source,
    };
    password.write(&secret).map_err(io)?;
    let step = step(plan, &secret, copy);
    let report = runner.run(&step, &mut |_| ControlFlow::Continue(()))?;
    std::fs::remove_file(&secret).map_err(io)?;
    match report.ending {
        Ending::Finished { exit_code: 0 } => Ok(Some(guard)),
        Ending::Interrupted => Ok(None),
        ending => Err(ConversionError::Locked {
            document: plan.document.clone(),
            ending,
            last_words: last_line(&std::fs::read(&step.stderr).unwrap_or_default()),
        }),
    }
}

fn step(plan: &Plan, secret: &Path, copy: &Path) -> Step {
    let stream = |name: &str| secret.with_file_name(name);
    Step {
        label: "removing the password from a copy".to_owned(),
        program: plan.marker.python.clone(),
        args: vec![
            "-c".into(),
            PROGRAM.into(),
            plan.document.clone().into(),
            secret.into(),
            copy.into(),
        ],
        env: Vec::new(),
        stdout: stream("unlock.out"),
        stderr: stream("unlock.err"),
        memory: plan.limit,
        estimate: None,
        time_limit: Some(INSPECTION_TIME),
    }
}
