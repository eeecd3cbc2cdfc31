//! What can be typed behind `memcap marker`. Text as typed; `wish` gives it
//! meaning.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::password::PasswordArgs;

/// Convert documents with marker within a memory limit.
///
/// Pages are converted in chunks that fit under the limit and joined into the
/// result that marker would have written for the whole document. The same
/// command again goes on where the last one stopped.
///
/// The exit code is 0 when every page of every document is there, 3 when
/// pages or documents are missing, 4 when nothing was produced, 2 for bad
/// input, 130 when interrupted, 125 for a failure of memcap.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = EXAMPLES
)]
pub(crate) struct MarkerArgs {
    #[command(subcommand)]
    pub(super) command: Option<MarkerCommand>,
    #[command(flatten)]
    pub(super) convert: ConvertArgs,
}

const EXAMPLES: &str = "\
Examples:
  memcap marker book.pdf -o out --memory 8G
  memcap marker papers/ -o out --memory 16G --jobs auto --report report.json
  memcap marker plan book.pdf -o out --memory 8G
  memcap marker compare book.pdf --pages 1-20 --multipliers 1.0,0.5,0.25
  memcap marker scan.pdf -o out -- --force_ocr

The guide is docs/marker.md.";

/// A place in the help behind everything that has no place given.
const LAST: usize = 900;

#[derive(Debug, Subcommand)]
pub(super) enum MarkerCommand {
    /// Show settings, chunks and their estimates without converting anything.
    Plan(PlanArgs),
    /// Convert one document at several settings, and compare time, memory and
    /// text.
    Compare(CompareArgs),
}

#[derive(Debug, Args)]
pub(super) struct ConvertArgs {
    /// Documents, and folders of documents. Of a folder its own files are
    /// converted, not those of folders within it.
    #[arg(value_name = "INPUT", required = true)]
    pub(super) inputs: Vec<PathBuf>,
    /// Folder for the results: NAME.pdf becomes OUT/NAME/NAME.md.
    // An option only so that a subcommand need not have it.
    #[arg(short, long, value_name = "OUT", required = true)]
    pub(super) output: Option<PathBuf>,
    #[command(flatten)]
    pub(super) settings: SettingArgs,
    #[command(flatten)]
    pub(super) jobs: JobsArgs,
    #[command(flatten)]
    pub(super) telling: TellingArgs,
    /// Further options for marker itself, such as --force_ocr.
    #[arg(last = true, value_name = "MARKER OPTIONS", help_heading = "Marker")]
    pub(super) marker_args: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    /// Documents, and folders of documents.
    #[arg(value_name = "INPUT", required = true)]
    pub(super) inputs: Vec<PathBuf>,
    /// Folder for the results.
    #[arg(short, long, value_name = "OUT")]
    pub(super) output: PathBuf,
    #[command(flatten)]
    pub(super) settings: SettingArgs,
    #[command(flatten)]
    pub(super) jobs: JobsArgs,
    /// Print the plan as JSON.
    #[arg(long, help_heading = "Output")]
    pub(super) json: bool,
    /// Further options for marker itself.
    #[arg(last = true, value_name = "MARKER OPTIONS", help_heading = "Marker")]
    pub(super) marker_args: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(super) struct CompareArgs {
    /// The document.
    #[arg(value_name = "INPUT")]
    pub(super) input: PathBuf,
    /// Folder for the results and differences of all settings; the same
    /// command again goes on there. Without it they are thrown away.
    #[arg(short, long, value_name = "OUT")]
    pub(super) output: Option<PathBuf>,
    /// Batch multipliers to try, such as 1.0,0.5,0.25. The first setting is
    /// what the others are compared with.
    #[arg(long, value_name = "X,Y,…", help_heading = "Compared")]
    pub(super) multipliers: Option<String>,
    /// Pages in a chunk to try, such as fit,10,50; each together with each
    /// multiplier.
    #[arg(long, value_name = "N,M,…", help_heading = "Compared")]
    pub(super) chunk_sizes: Option<String>,
    #[command(flatten)]
    pub(super) settings: SettingArgs,
    /// Print the comparison as JSON.
    #[arg(long, help_heading = "Output")]
    pub(super) json: bool,
    /// Print nothing but the comparison and errors.
    #[arg(short, long, help_heading = "Output")]
    pub(super) quiet: bool,
    /// Further options for marker itself.
    #[arg(last = true, value_name = "MARKER OPTIONS", help_heading = "Marker")]
    pub(super) marker_args: Vec<OsString>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Memory")]
pub(super) struct JobsArgs {
    /// Runs of marker at the same time: a number, or auto for as many as memory and
    /// processors allow. They share the limit. With fewer documents than that,
    /// chunks of one document are converted at the same time.
    #[arg(
        long,
        value_name = "N|auto",
        default_value = "1",
        allow_negative_numbers = true
    )]
    pub(super) jobs: String,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Memory")]
pub(super) struct SettingArgs {
    /// Memory limit for marker with everything it starts: 2G, 8G, 50%. Without
    /// it: 75 % of the memory that is free.
    #[arg(short, long, value_name = "SIZE", allow_negative_numbers = true)]
    pub(super) memory: Option<String>,
    /// Pages in a chunk. Without it as many as fit under the limit.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(super) chunk_size: Option<String>,
    /// How to hold the limit: auto, cgroup-v2, systemd, cgroup-v1, watchdog or
    /// rlimit.
    // Behind --jobs, which more people need.
    #[arg(long, value_name = "NAME", default_value = "auto", display_order = LAST)]
    pub(super) mechanism: String,
    /// Have the kernel forget what it has cached of files after each chunk.
    /// Needs root, concerns the whole machine, and is rarely worth it: the
    /// kernel gives that memory up by itself when it is needed.
    #[arg(long, display_order = LAST + 1)]
    pub(super) drop_caches: bool,
    /// Pages to convert, counted from 1: 1-20,25,30-
    #[arg(
        long,
        value_name = "PAGES",
        allow_negative_numbers = true,
        help_heading = "Marker"
    )]
    pub(super) pages: Option<String>,
    /// What to write: markdown, html, json or chunks.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "markdown",
        help_heading = "Marker"
    )]
    pub(super) format: String,
    /// Batch sizes: default (as marker's own), optimized (half), conservative
    /// (a quarter) or minimal (a tenth).
    #[arg(long, value_name = "NAME", help_heading = "Marker")]
    pub(super) preset: Option<String>,
    /// Factor for marker's batch sizes, such as 0.5; mapped to what the
    /// installed version understands. Wins over --preset.
    #[arg(
        long,
        value_name = "X",
        allow_negative_numbers = true,
        help_heading = "Marker"
    )]
    pub(super) batch_multiplier: Option<String>,
    /// How long a chunk may take before it is ended and tried again with fewer
    /// pages, such as 20m.
    #[arg(
        long,
        value_name = "DURATION",
        allow_hyphen_values = true,
        help_heading = "Marker"
    )]
    pub(super) chunk_time: Option<String>,
    /// How marker is run for the chunks: fresh (a process for each), warm (one
    /// that loads the models once) or auto (warm where the version can).
    #[arg(
        long,
        value_name = "NAME",
        default_value = "auto",
        help_heading = "Marker"
    )]
    pub(super) drive: String,
    /// What recognises text in marker 2: llamacpp (within the limit) or vllm (a
    /// docker container, which no limit reaches).
    #[arg(long, value_name = "NAME", help_heading = "Marker")]
    pub(super) ocr_backend: Option<String>,
    /// Threads of the numerical libraries. Without it several jobs share the
    /// processors between them.
    #[arg(
        long,
        value_name = "N",
        allow_negative_numbers = true,
        help_heading = "Marker"
    )]
    pub(super) threads: Option<String>,
    /// Number format for the models, such as float16, where the installed
    /// version has a choice.
    #[arg(long, value_name = "NAME", help_heading = "Marker")]
    pub(super) precision: Option<String>,
    /// Settings for PyTorch's CUDA allocator, such as max_split_size_mb:128.
    #[arg(long, value_name = "SETTINGS", help_heading = "Marker")]
    pub(super) pytorch_config: Option<String>,
    /// Have PyTorch give GPU memory back at once; slower.
    #[arg(long, help_heading = "Marker")]
    pub(super) no_cuda_cache: bool,
    /// Processes that extract text, each of 200 to 315 MiB. Without it one,
    /// within marker itself.
    #[arg(
        long,
        value_name = "N",
        allow_negative_numbers = true,
        help_heading = "Marker"
    )]
    pub(super) text_workers: Option<String>,
    /// The Python in which marker-pdf is installed. Without it, it is looked
    /// for.
    #[arg(long, value_name = "PATH", help_heading = "Marker")]
    pub(super) python: Option<PathBuf>,
    #[command(flatten)]
    pub(super) password: PasswordArgs,
    /// Overwrite files in a result's folder that memcap did not write.
    #[arg(long, help_heading = "Output")]
    pub(super) force: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(super) struct TellingArgs {
    /// Write what became of everything as JSON to this file.
    #[arg(long, value_name = "FILE")]
    pub(super) report: Option<PathBuf>,
    /// Tell what happens as JSON, one object a line, on standard output or on
    /// an open descriptor: --json-events=3.
    #[arg(
        long,
        value_name = "FD",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "1"
    )]
    pub(super) json_events: Option<String>,
    /// Print errors only, and on standard output the folders of the results.
    #[arg(short, long)]
    pub(super) quiet: bool,
}
