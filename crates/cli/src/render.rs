//! What is said on standard error. Standard output belongs to the job, or to
//! data.

use std::io::Write;

use memcap_linux::one_line;
use memcap_supervisor::{JobEnd, Outcome, PeakSource, Plan, SizeSpec, VerdictKind};

use crate::error::{CliError, usual_advice};

/// An error with its causes in one line, and a hint.
pub(crate) fn error(error: &CliError) {
    let message = one_line(error.source.as_ref());
    say(&format!("memcap: error: {}", printable(&message)));
    if let Some(text) = &error.hint {
        hint(text);
    }
}

fn hint(text: &str) {
    say(&format!("  hint: {}", printable(text)));
}

/// Something the user should know before the job starts.
pub(crate) fn warning(text: &str) {
    say(&format!("memcap: warning: {}", printable(text)));
}

/// Why less than asked for is given, where it is. Who asks for `max` asks for what
/// fits.
pub(crate) fn clamp(plan: &Plan) {
    let (Some(clamp), SizeSpec::Bytes(_) | SizeSpec::Percent(_)) = (&plan.clamped, plan.asked)
    else {
        return;
    };
    let (requested, limit) = (plan.requested, plan.limit);
    let whose = match &clamp.file {
        Some(file) => format!("the limit of {} in {}", clamp.ceiling, file.display()),
        None if clamp.budget => format!("the budget's total of {}", clamp.ceiling),
        None => format!("the machine's memory of {}", clamp.ceiling),
    };
    warning(&format!(
        "{requested} leaves too little room below {whose}, which must not be hit first; \
         limited to {limit}"
    ));
}

/// The one line at the end: mechanism, peak, verdict. A job that did not start
/// has neither peak nor mechanism worth telling.
pub(crate) fn ending(outcome: &Outcome, program: &std::ffi::OsStr) {
    let plan = &outcome.plan;
    if outcome.verdict.kind == VerdictKind::NotStarted {
        let evidence = outcome.verdict.evidence.join("; ");
        let program = printable(&program.to_string_lossy());
        say(&format!(
            "memcap: error: `{program}` was not started: {}",
            printable(&evidence)
        ));
        say(&format!(
            "  hint: {}",
            match outcome.exit_code() {
                127 => absent_hint(&program),
                _ if evidence.contains("may not be entered") => {
                    "ask for the right to enter it, or name another program".to_owned()
                }
                _ => "name a program, or a script behind its interpreter: sh SCRIPT".to_owned(),
            }
        ));
        return;
    }
    let peak = match (outcome.peak, outcome.peak_source) {
        (Some(peak), Some(PeakSource::Sampled)) => format!("peak {peak} (sampled)"),
        (Some(peak), _) => format!("peak {peak}"),
        (None, _) => "peak unknown".to_owned(),
    };
    say(&format!(
        "memcap: {} ({}), {peak} of {}, {}",
        plan.mechanism,
        plan.guarantee,
        plan.limit,
        verdict(outcome)
    ));
    if let Some(advice) = failure_hint(outcome) {
        hint(advice);
    }
    for note in &outcome.notes {
        warning(note);
    }
    for left in &outcome.left_running {
        let command = left.command.as_deref().unwrap_or("unknown command");
        warning(&format!(
            "could not end process {}: {}",
            left.process.pid,
            printable(command)
        ));
    }
}

/// Words that only a shell understands, as far as people write them in front.
const OF_THE_SHELL: [&str; 9] = [
    "alias", "cd", "eval", "exec", "export", "set", "source", "ulimit", "umask",
];

/// What to do about a program that was not found.
fn absent_hint(program: &str) -> String {
    if program.is_empty() {
        return "an empty word stands where the command should; is a variable unset?".to_owned();
    }
    if program.contains(char::is_whitespace) {
        return format!(
            "that is one word; write it without quotes, or have a shell read it: sh -c '{program}'"
        );
    }
    if OF_THE_SHELL.contains(&program) {
        return format!("only a shell knows it: sh -c '{program} …'");
    }
    "check its name, and that PATH or its path leads to it".to_owned()
}

/// What helps against a failure of memcap, where what was seen tells.
fn failure_hint(outcome: &Outcome) -> Option<&'static str> {
    let failed = outcome.verdict.kind == VerdictKind::InternalError;
    let mut seen = outcome.verdict.evidence.iter();
    seen.find_map(|text| usual_advice(text)).filter(|_| failed)
}

fn verdict(outcome: &Outcome) -> String {
    use VerdictKind as K;
    let kind = outcome.verdict.kind;
    match kind {
        K::MemoryLimit | K::PartialKill => match outcome.verdict.by {
            Some(memcap_supervisor::By::Kernel) => format!("{kind} (held by the kernel)"),
            Some(memcap_supervisor::By::Watchdog) => format!("{kind} (held by the watchdog)"),
            Some(memcap_supervisor::By::Reserve) => {
                let evidence = outcome.verdict.evidence.join("; ");
                format!("{kind} (held by the reserve): {evidence}")
            }
            Some(memcap_supervisor::By::Budget) => {
                let evidence = outcome.verdict.evidence.join("; ");
                format!("{kind} (held by the budget): {evidence}")
            }
            None => kind.to_string(),
        },
        K::Finished if outcome.may_have_been_refused() => format!(
            "finished{}, and a lease was all but used up: it may have been refused memory \
             (exit code {})",
            match outcome.job {
                Some(JobEnd::Exited(code)) => format!(" with {code}"),
                Some(JobEnd::Signaled(_)) | None => String::new(),
            },
            outcome.exit_code()
        ),
        K::Finished => format!("finished with {}", outcome.exit_code()),
        K::Signaled | K::Interrupted => format!("{kind} (exit code {})", outcome.exit_code()),
        K::OuterLimit
        | K::MachineOom
        | K::KilledByOther
        | K::TimeLimit
        | K::CpuLimit
        | K::ProcessLimit
        | K::Stalled
        | K::NotStarted
        | K::InternalError
        | K::Unexplained => {
            let evidence = outcome.verdict.evidence.join("; ");
            format!("{kind}: {}", printable(&evidence))
        }
    }
}

/// Names come from anywhere: control characters must not reach the terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let escaped: Vec<char> = if c.is_control() {
                c.escape_default().collect()
            } else {
                vec![c]
            };
            escaped
        })
        .collect()
}

/// A line of data on standard output.
///
/// # Errors
/// As [`written`].
pub(crate) fn data(line: &str) -> Result<(), CliError> {
    written(writeln!(anstream::stdout(), "{line}"))
}

/// Whether data reached standard output. A closed pipe is the reader's choice.
///
/// # Errors
/// When it did not, on a full disk for one.
pub(crate) fn written(result: std::io::Result<()>) -> Result<(), CliError> {
    match result {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(CliError::new(
            format!("failed to write to standard output: {error}"),
            Some("what is there is not complete".to_owned()),
            crate::error::INTERNAL,
        )),
        _ => Ok(()),
    }
}

pub(crate) fn say(line: &str) {
    // Nobody reads it: nobody is told.
    let _ = writeln!(anstream::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_found_is_told_by_what_it_looks_like() {
        for (program, hint) in [
            ("", "a variable unset"),
            ("ls -l", "sh -c 'ls -l'"),
            ("cd", "sh -c 'cd …'"),
            ("./cd", "check its name"),
            ("nothing", "check its name"),
        ] {
            assert!(absent_hint(program).contains(hint), "{program}");
        }
    }
}
