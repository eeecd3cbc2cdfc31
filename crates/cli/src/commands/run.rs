//! `memcap run`: a command under a limit.

use std::ffi::{OsStr, OsString};
use std::num::NonZeroU8;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use memcap_linux::{ParseSizeError, SizeSpec, closed_at_start, one_line, share_one_heap};
use memcap_supervisor::{
    Job, LeasePolicy, LimitError, Limits, MechanismChoice, Outcome, Plan, Report, ReportedRequest,
    Request, SCHEMA_VERSION, Stream, Supervisor, SupervisorError, VerdictKind,
};

use crate::error::{CliError, INTERNAL};
use crate::forward::Forwarder;
use crate::report_file::ReportFile;
use crate::terminal::Terminal;
use crate::{explain, plot, proof_folder, render};

const MORE: &str = "\
Sizes: 512M, 8G and 1.5GiB are powers of 1024, 500MB of 1000, a number alone is in
bytes; 75% is a share of what is effectively there, max is what fits.

Exit code: the command's own; 137 after a kill for memory or for too many processes,
124 when the time or the CPU time was over or nothing moved above --soft, 125 for a
failure of memcap, 126 and 127 when the command could not be executed or was not found.

Examples:
  memcap run -m 8G -- make -j8
  memcap run -m 75% --time 2h --report report.json -- python3 train.py
  memcap run -m 2G -- sh -c 'gzip -dc data.gz | sort'
  memcap run -m 2G --explain -- true

More is in docs/mechanisms.md and docs/exit-codes.md.";

/// Run a command and everything it starts under one memory limit.
#[derive(Debug, Args)]
#[command(after_help = MORE)]
pub(crate) struct RunArgs {
    /// Memory limit for the whole process tree, swap included: 512M, 8G,
    /// 1.5GiB, 75% or max.
    #[arg(short, long, value_name = "SIZE", allow_hyphen_values = true)]
    memory: String,
    /// Slow the tree down from this size on, well before its limit.
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    soft: Option<String>,
    /// End a tree that makes no progress above --soft for so long; it is let go
    /// after a minute unless given.
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    stall: Option<String>,
    /// Wall time after which the tree is ended: 90s, 10m, 2h.
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    time: Option<String>,
    /// CPU time, of all processes on all processors together, after which the
    /// tree is ended.
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    cpu: Option<String>,
    /// From SIGTERM to SIGKILL when the time is over.
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "2s",
        allow_hyphen_values = true
    )]
    grace: String,
    /// Processes and threads at a time; a tree that wants more is ended.
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    processes: Option<String>,
    /// What may be in swap beside the memory limit; 0 unless given.
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    swap: Option<String>,
    /// End the tree when less than this is available on the machine, whoever
    /// uses the rest.
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    keep_free: Option<String>,
    /// How to hold the limit: auto, cgroup-v2, systemd, cgroup-v1, watchdog or
    /// rlimit.
    #[arg(long, value_name = "NAME", default_value = "auto")]
    mechanism: String,
    /// Bound what processes may map between two looks of the watchdog: what the
    /// tree has no room for is refused (malloc fails) instead of ending the job.
    #[arg(long, overrides_with = "no_lease")]
    lease: bool,
    /// Refuse no mapping; the default.
    #[arg(long)]
    no_lease: bool,
    /// Exit with this code, 1 to 255, where a lease was all but used up and the
    /// command failed by itself: it may have been refused memory.
    #[arg(long, value_name = "CODE", allow_hyphen_values = true)]
    refusal_exit: Option<String>,
    /// Try the limit anew before the job starts, whatever an earlier trial has
    /// shown.
    #[arg(long)]
    fresh: bool,
    /// Print what would be done, and why, and stop; nothing is started.
    #[arg(long)]
    explain: bool,
    /// Write what happened as JSON to this file, or to standard output by -; with
    /// --explain the plan.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Draw memory over time, with the limit and what happened, to this SVG
    /// file.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Write what the watchdog saw and decided, step by step, to this file: for
    /// memcap's own tests.
    #[arg(long, value_name = "FILE", hide = true)]
    trace: Option<PathBuf>,
    /// Leave command lines out of the report; names of programs stay.
    #[arg(long, requires = "report")]
    redact: bool,
    /// Do not print the closing line.
    #[arg(short, long)]
    quiet: bool,
    /// The command and its arguments.
    #[arg(
        value_name = "COMMAND",
        required_unless_present = "explain",
        trailing_var_arg = true
    )]
    command: Vec<OsString>,
}

/// The same with meaning.
struct Settings {
    explain: bool,
    fresh: bool,
    request: Request,
    refusal_exit: Option<NonZeroU8>,
    quiet: bool,
}

/// What is written about the run.
struct Files {
    request: Option<ReportedRequest>,
    report: Option<ReportFile>,
    redact: bool,
    plot: Option<ReportFile>,
}

impl Files {
    /// Makes sure that they can be written.
    fn open(args: &RunArgs) -> Result<Files, CliError> {
        let open = |path: &Option<PathBuf>| {
            let file = path.as_deref().map(ReportFile::open).transpose();
            file.map_err(CliError::from)
        };
        if args.report.is_some() && args.report == args.plot {
            return Err(refuse(
                "--report and --plot name the same file".to_owned(),
                "name two files".to_owned(),
            ));
        }
        Ok(Files {
            request: None,
            report: open(&args.report)?,
            redact: args.redact,
            plot: open(&args.plot)?,
        })
    }

    /// What was wrong with the settings; that failure is what counts.
    fn write_failure(self, error: &CliError) {
        let text = one_line(error.source.as_ref());
        let report = || Report::of_failure(text.clone());
        let _ = self.write(report, || plot::draw_refusal(&text));
    }

    fn write_outcome(self, outcome: &Outcome, program: &OsStr) -> Result<(), CliError> {
        let plot = || plot::draw(outcome, &program.to_string_lossy());
        self.write(|| Report::of(outcome), plot)
    }

    fn write_refusal(self, error: &SupervisorError) -> Result<(), CliError> {
        let plot = || plot::draw_refusal(&one_line(error));
        self.write(|| Report::of_refusal(error), plot)
    }

    /// Each is written, also when the other cannot be.
    fn write(
        self,
        report: impl FnOnce() -> Report,
        plot: impl FnOnce() -> String,
    ) -> Result<(), CliError> {
        let redact = self.redact;
        let complete = |report: Report| {
            let report = match self.request {
                Some(request) => report.with_request(request),
                None => report,
            };
            if redact { report.redacted() } else { report }
        };
        let reported = self.report.map(|file| file.write(&complete(report())));
        let plotted = self.plot.map(|file| file.write_text(&plot()));
        let failed = [reported, plotted].into_iter().flatten();
        Ok(failed.collect::<Result<(), _>>()?)
    }
}

pub(crate) fn run(args: RunArgs) -> Result<u8, CliError> {
    let program = args.command.first().cloned().unwrap_or_default();
    let mut files = Files::open(&args)?;
    let Settings {
        explain,
        fresh,
        request,
        refusal_exit,
        quiet,
    } = match settings(args, &mut files) {
        Ok(settings) => settings,
        Err(error) => {
            files.write_failure(&error);
            return Err(error);
        }
    };
    if explain {
        return match remembering(fresh).plan(&request) {
            Ok(plan) => show(&plan, files.report),
            Err(error) => refused(error, files),
        };
    }
    let terminal = Terminal::remember();
    match supervise(request, fresh, quiet) {
        Ok(outcome) => {
            let outcome = match refusal_exit {
                Some(code) => outcome.with_refusal_exit(code),
                None => outcome,
            };
            // What a job does and ends with is its own affair; one that was
            // killed could not tidy up.
            if let Some(terminal) =
                terminal.filter(|_| outcome.verdict.kind != VerdictKind::Finished)
            {
                terminal.restore();
            }
            conclude(&outcome, &program, files, quiet)
        }
        Err(error) => refused(error, files),
    }
}

/// A plan instead of a run.
fn show(plan: &Plan, report: Option<ReportFile>) -> Result<u8, CliError> {
    for line in explain::lines(plan) {
        render::data(&line)?;
    }
    if let Some(report) = report {
        let explained = serde_json::json!({"schema_version": SCHEMA_VERSION, "plan": plan});
        report.write(&explained)?;
    }
    Ok(0)
}

/// A refusal before the start has a report too.
fn refused(error: SupervisorError, files: Files) -> Result<u8, CliError> {
    files.write_refusal(&error)?;
    Err(error.into())
}

/// Refuses bad input before anything starts.
fn settings(args: RunArgs, files: &mut Files) -> Result<Settings, CliError> {
    let limits = limits(&args)?;
    let lease = match args.lease && !args.no_lease {
        true => LeasePolicy::On,
        false => LeasePolicy::Off,
    };
    let refusal_exit = refusal_exit(args.refusal_exit.as_deref(), lease)?;
    let mechanism: MechanismChoice = args.mechanism.parse().map_err(|error| {
        refuse(
            format!("--mechanism: {error}"),
            "write auto, cgroup-v2, systemd, cgroup-v1, watchdog or rlimit".to_owned(),
        )
    })?;
    let trace = args.trace.map(std::path::absolute).transpose();
    let trace = trace.map_err(internal)?;
    let mut words = args.command.into_iter();
    let as_ours = |closed| match closed {
        true => Stream::Closed,
        false => Stream::Inherit,
    };
    let [stdin, stdout, stderr] = closed_at_start().map(as_ours);
    let job = Job::new(words.next().unwrap_or_default())
        .args(words)
        .stdin(stdin)
        .stdout(stdout)
        .stderr(stderr);
    let request = Request::new(job, limits).mechanism(mechanism);
    files.request = Some(request.describe());
    let record = files.report.is_some() || files.plot.is_some();
    Ok(Settings {
        explain: args.explain,
        fresh: args.fresh,
        request: request.record(record).lease(lease).trace(trace),
        refusal_exit,
        quiet: args.quiet,
    })
}

fn limits(args: &RunArgs) -> Result<Limits, CliError> {
    let out_of_range = |error: LimitError| refuse(error.to_string(), error.hint());
    let memory: SizeSpec = size("--memory", &args.memory)?;
    let mut limits = Limits::memory(memory)
        .map_err(out_of_range)?
        .grace(duration("--grace", &args.grace)?);
    if let Some(allowance) = &args.swap {
        limits = limits.swap(size::<SizeSpec>("--swap", allowance)?);
    }
    if let Some(reserve) = &args.keep_free {
        limits = limits.keep_free(size::<SizeSpec>("--keep-free", reserve)?);
    }
    if let Some(soft) = &args.soft {
        limits = limits
            .soft(size::<SizeSpec>("--soft", soft)?)
            .map_err(out_of_range)?;
    }
    if let Some(deadline) = &args.stall {
        limits = limits
            .stall(duration("--stall", deadline)?)
            .map_err(out_of_range)?;
    }
    if let Some(time) = &args.time {
        limits = limits
            .time(duration("--time", time)?)
            .map_err(out_of_range)?;
    }
    if let Some(time) = &args.cpu {
        limits = limits.cpu(duration("--cpu", time)?).map_err(out_of_range)?;
    }
    if let Some(number) = &args.processes {
        limits = limits
            .processes(count("--processes", number)?)
            .map_err(out_of_range)?;
    }
    Ok(limits)
}

/// With what earlier trials of this user have shown.
fn remembering(fresh: bool) -> Supervisor {
    let supervisor = proof_folder::with_folder(Supervisor::new());
    match fresh {
        true => supervisor.renews_proofs(),
        false => supervisor,
    }
}

fn supervise(request: Request, fresh: bool, quiet: bool) -> Result<Outcome, SupervisorError> {
    // For the threads that pass signals on and guard the keeper.
    share_one_heap();
    let forwarder = Forwarder::install().map_err(SupervisorError::Channel)?;
    // The running program itself, even when its file has been replaced.
    let supervisor = remembering(fresh)
        .keeper("/proc/self/exe")
        .owns_all_children()
        .forks_keeper()
        .mirrors_stops();
    let handle = supervisor.spawn_as_planned(request, |plan| {
        if !quiet {
            render::clamp(plan);
        }
    })?;
    // A job of the same user could halt us by ptrace(2) otherwise, and with us the
    // thread that continues a keeper that somebody stops. It cannot fail.
    let _ = nix::sys::prctl::set_dumpable(false);
    let (seen, started) = forwarder.start(handle.control());
    if let Err(error) = started {
        render::warning(&format!(
            "signals are not passed on: no thread can be made: {error}"
        ));
    }
    Ok(handle.wait()?.also_sent(&seen.signals()))
}

fn conclude(outcome: &Outcome, program: &OsStr, files: Files, quiet: bool) -> Result<u8, CliError> {
    if !quiet {
        render::ending(outcome, program);
    }
    files.write_outcome(outcome, program)?;
    if let Some(signal) = outcome.signal_to_raise() {
        // Should it not end us, the exit code says the same.
        let _ = signal_hook::low_level::emulate_default_handler(signal);
    }
    Ok(outcome.exit_code())
}

fn size<T: FromStr<Err = ParseSizeError>>(option: &str, text: &str) -> Result<T, CliError> {
    text.parse().map_err(|error: ParseSizeError| {
        let hint = error.hint().to_owned();
        refuse(format!("{option}: {error}"), hint)
    })
}

fn count(option: &str, text: &str) -> Result<u64, CliError> {
    text.parse().map_err(|_| {
        refuse(
            format!("{option}: `{text}` is no number of processes"),
            "write a number of processes and threads such as 64".to_owned(),
        )
    })
}

fn refusal_exit(text: Option<&str>, lease: LeasePolicy) -> Result<Option<NonZeroU8>, CliError> {
    let Some(text) = text else {
        return Ok(None);
    };
    let code = text.parse().map_err(|_| {
        refuse(
            format!("--refusal-exit: `{text}` is no exit code of a failure"),
            "write a code from 1 to 255 that the command does not use".to_owned(),
        )
    })?;
    if lease == LeasePolicy::Off {
        return Err(refuse(
            "--refusal-exit: nothing is refused without leases".to_owned(),
            "give `--lease` too, or leave `--refusal-exit` out".to_owned(),
        ));
    }
    Ok(Some(code))
}

fn duration(option: &str, text: &str) -> Result<Duration, CliError> {
    humantime::parse_duration(text).map_err(|error| {
        refuse(
            format!("{option}: `{text}` is no duration: {error}"),
            "write a duration such as 500ms, 90s, 10m or 2h".to_owned(),
        )
    })
}

fn refuse(message: String, hint: String) -> CliError {
    CliError::new(message, Some(hint), INTERNAL)
}

fn internal(error: impl std::error::Error + 'static) -> CliError {
    CliError::new(error, None, INTERNAL)
}
