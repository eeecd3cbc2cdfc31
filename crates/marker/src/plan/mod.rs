//! From a request to a plan: everything that can be known and refused before
//! work starts. The only process it starts is the small one that inspects
//! marker and the document.

mod chunks;
mod error;
mod request;
mod warnings;

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use memcap_linux::ByteSize;
use serde::Serialize;

use crate::chunks::{Chunk, Chunking};
use crate::command::main_files;
use crate::device::{self, DeviceFinding};
use crate::document::{Document, DocumentError};
use crate::drive::Drive;
use crate::environment::World;
use crate::estimate::{Conditions, MemoryModel};
use crate::fitting::{self, Choice, Fit, Wanted};
use crate::format::OutputFormat;
use crate::install::{self, Installation, PdfFacts};
use crate::key::Identity;
use crate::kind::DocumentKind;
use crate::learned::{Lessons, Store, Subject};
use crate::marker_args::{MarkerArgError, check_marker_args};
use crate::page_count::Pages;
use crate::pages::PageSet;
use crate::password::Password;
use crate::progress::Progress;
use crate::publish::Place;
use crate::recovery::Effort;
use crate::runner::Runner;
use crate::secrets::{Secrets, redacted};
use crate::servers;
use crate::tuning::{self, Heap, Target, Tuning, TuningRequest};
use crate::version::PageChoice;
use crate::weights;
use crate::work_folder::{WorkFolder, check_output};
use crate::workers;

pub use error::PlanError;
pub use request::Request;

/// What is going to happen. Serialises as `memcap marker plan --json` shows
/// it; paths that are not UTF-8 with `\xNN` for a byte.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// The document.
    #[serde(serialize_with = "crate::text::serialize_path")]
    pub document: PathBuf,
    /// What it is.
    pub document_kind: DocumentKind,
    /// Its size in bytes.
    pub document_bytes: u64,
    /// How many pages it has; 1 for one that is converted in one piece, because
    /// it is no PDF and its pages are not known beforehand.
    pub document_pages: u32,
    /// The pages that are converted.
    pub pages: PageSet,
    /// What they are converted to.
    pub format: OutputFormat,
    /// The marker that converts them.
    pub marker: Installation,
    /// The device that it computes on.
    pub device: DeviceFinding,
    /// What chunks are cut for, and the limit for each run unless there is a
    /// larger total.
    #[serde(rename = "limit_bytes")]
    pub limit: ByteSize,
    /// The total that it shares with others, where it does.
    #[serde(rename = "total_bytes", skip_serializing_if = "Option::is_none")]
    pub total: Option<ByteSize>,
    /// What a run takes.
    pub memory_model: MemoryModel,
    /// All settings, with their effect.
    pub settings: Tuning,
    /// Further options that are handed on to marker, without secrets.
    pub marker_options: Vec<String>,
    /// How marker is run for the chunks.
    pub drive: Drive,
    /// What memcap has chosen to stay under the limit, and why.
    pub chosen: Vec<Choice>,
    /// Chunks, or documents like this one, that could run at once within the
    /// limit.
    pub jobs: NonZeroUsize,
    /// Workers that convert chunks at the same time, if whoever runs the plan has
    /// runners for them.
    pub workers: NonZeroUsize,
    /// What is still to be converted.
    pub chunks: Vec<Chunk>,
    /// Pages that an earlier run has converted.
    pub done: PageSet,
    /// The folder of the result.
    #[serde(serialize_with = "crate::text::serialize_path")]
    pub result: PathBuf,
    /// The folder in which the work is kept.
    #[serde(serialize_with = "crate::text::serialize_path")]
    pub work_folder: PathBuf,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// The password that opens the document, if it needs one.
    #[serde(skip)]
    pub(crate) password: Option<Password>,
    #[serde(skip)]
    pub(crate) source: Document,
    #[serde(skip)]
    pub(crate) lessons: Lessons,
    #[serde(skip)]
    pub(crate) sizes: Pages,
    #[serde(skip)]
    pub(crate) document_hash: String,
    #[serde(skip)]
    pub(crate) key: String,
    #[serde(skip)]
    pub(crate) output: PathBuf,
    #[serde(skip)]
    pub(crate) chunking: Chunking,
    #[serde(skip)]
    pub(crate) chunk_time: Option<Duration>,
    #[serde(skip)]
    pub(crate) force: bool,
    #[serde(skip)]
    pub(crate) marker_args: Vec<OsString>,
    /// What changes in the environment of a marker that has its own servers.
    #[serde(skip)]
    pub(crate) server_variables: Vec<(OsString, Option<OsString>)>,
    /// What must not be told of marker's own words.
    #[serde(skip)]
    pub(crate) secrets: Secrets,
}

/// Plans a conversion.
///
/// # Errors
/// Whatever makes it impossible: the document, the installation, the pages,
/// the limit, or something that stands where the result belongs.
pub fn plan(request: &Request, world: &World, runner: &mut dyn Runner) -> Result<Plan, PlanError> {
    check_marker_args(&request.marker_args)?;
    let output = world.absolute(&request.output);
    check_output(&output)?;
    let source = Document::open(&world.absolute(&request.document))?;
    check_choice_of_pages(request, &source)?;
    let pdf = (source.kind == DocumentKind::Pdf).then_some(source.path.as_path());
    let (marker, pdf) = install::find(request.python.as_deref(), pdf, world, runner)?;
    check_kind(source.kind, &marker)?;
    if marker.version < request.format.since() {
        return Err(PlanError::Format {
            format: request.format,
            version: marker.version,
        });
    }
    let (pdf, password) = unlocked(request, &source, &marker, pdf, runner)?;
    let sizes = pages_of_source(&source, pdf)?;
    let pages = match &request.pages {
        Some(selection) => selection.resolve(sizes.count)?,
        None => PageSet::all(sizes.count),
    };
    let choice = marker.version.capabilities().pages;
    if !choice.allows(&pages) {
        return Err(PlanError::PageChoice {
            version: marker.version,
        });
    }
    let device = device::find(world, marker.torch.as_deref());
    let target = Target {
        version: marker.version,
        device: device.device,
        nvidia: device.nvidia_gpu,
        torch: marker.torch_version(),
        python: &marker.python,
        is_pdf: source.kind == DocumentKind::Pdf,
        world,
    };
    let tune = |tuning: &TuningRequest| {
        let mut settings = tuning::tune(tuning, &target);
        let rest = settings.take_by_hand(&request.marker_args, marker.version);
        rest.map(|marker_args| (settings, marker_args))
            .map_err(MarkerArgError::from)
    };
    let (settings, marker_args) = tune(&request.tuning)?;
    let weights = weights::find(world);
    let subject = Subject {
        marker: marker.version.to_string(),
        device: device.device,
        weights: weights.bytes(),
        accounting: runner.accounting(),
        drive: request.drive,
        settings: settings.deciding_memory(&marker_args),
    };
    let (lessons, unlearned) = Lessons::recall(Store::of(world), subject);
    let whole = Wanted {
        pages: &pages,
        sizes: &sizes,
        limit: request.memory,
        chunking: match choice {
            PageChoice::FromTheFirst => Chunking::Whole,
            PageChoice::Any | PageChoice::Contiguous => request.chunking.for_file(source.bytes),
        },
        processors: request.processors,
    };
    let model_of = |tuning: &TuningRequest| {
        let (settings, _) = tune(tuning)?;
        let accounting = runner.accounting();
        let conditions = Conditions {
            baseline: request.baseline,
            ..Conditions::of(&settings, marker.version, weights.clone(), accounting)
        };
        Ok::<_, MarkerArgError>(MemoryModel::new(conditions, lessons.samples()))
    };
    let (workers, of_workers) = workers::workers(
        request.workers,
        &whole,
        &model_of(&request.tuning)?,
        marker.version,
    );
    let wanted = Wanted {
        limit: workers::share(request.memory, workers),
        ..whole
    };
    let asked = TuningRequest {
        threads: request
            .tuning
            .threads
            .or(workers::threads(workers, request.processors)),
        ..request.tuning.clone()
    };
    let Fit {
        tuning,
        model: memory_model,
        jobs,
        at_once,
        choices: mut chosen,
    } = fitting::fit(&asked, &wanted, model_of)?;
    chosen.push(of_workers.unwrap_or(at_once));
    let (settings, marker_args) = tune(&tuning)?;
    if wanted.limit < memory_model.floor() {
        return Err(PlanError::LimitTooSmall {
            limit: wanted.limit,
            version: marker.version,
            needed: wanted.needed_for_one(&memory_model),
        });
    }
    let Wanted {
        chunking, limit, ..
    } = wanted;
    let mut deciding = marker_args.clone();
    deciding.extend(settings.deciding().map(OsString::from));
    let hash = source.hash()?;
    let identity = Identity {
        document: hash,
        stem: &source.stem,
        pages: &pages,
        format: request.format,
        version: marker.version,
        marker_args: &deciding,
        world,
        local_settings: &marker.local_settings,
    };
    let key = identity.key();
    let mut plan = Plan {
        document: source.path.clone(),
        document_kind: source.kind,
        document_bytes: source.bytes,
        document_pages: sizes.count,
        pages,
        format: request.format,
        marker,
        device,
        limit,
        total: request.total.filter(|total| *total > limit),
        memory_model,
        settings,
        drive: request.drive,
        chunks: Vec::new(),
        done: PageSet::default(),
        result: output.join(&source.stem),
        work_folder: WorkFolder::place(&output, &key),
        warnings: Vec::new(),
        jobs,
        workers,
        chosen,
        chunking,
        lessons,
        password,
        source,
        sizes,
        document_hash: hash.to_hex().to_string(),
        key,
        output,
        chunk_time: request.chunk_time,
        force: request.force,
        marker_options: redacted(&marker_args),
        secrets: Secrets::of(&marker_args, world),
        server_variables: servers::variables(world),
        marker_args,
    };
    plan.place().check(&plan.published_names())?;
    let progress = WorkFolder::peek(&plan.output, &plan.key, &plan.result);
    plan.done = pages_of(&progress);
    plan.chunks = plan.to_come(&progress);
    plan.warnings = warnings::warnings(&plan);
    plan.warnings.extend(unlearned);
    if plan.marker.version.capabilities().servers {
        let backend = plan.settings.ocr_backend();
        plan.warnings
            .extend(servers::warnings(world, backend, &plan.marker_args));
    }
    Ok(plan)
}

/// Known before marker is looked for.
fn check_choice_of_pages(request: &Request, source: &Document) -> Result<(), PlanError> {
    let kind = source.kind;
    if kind != DocumentKind::Pdf && request.pages.is_some() {
        let path = source.path.clone();
        return Err(PlanError::NoPagesToChoose { path, kind });
    }
    Ok(())
}

fn check_kind(kind: DocumentKind, marker: &Installation) -> Result<(), PlanError> {
    if marker.version < kind.since() {
        return Err(PlanError::Kind {
            kind,
            version: marker.version,
        });
    }
    Ok(())
}

/// What PDFium says, with the password where one is needed and given; and the
/// password, if it opens the document.
fn unlocked(
    request: &Request,
    source: &Document,
    marker: &Installation,
    pdf: Option<PdfFacts>,
    runner: &mut dyn Runner,
) -> Result<(Option<PdfFacts>, Option<Password>), PlanError> {
    let (Some(PdfFacts::Password), Some(password)) = (&pdf, &request.password) else {
        return Ok((pdf, None));
    };
    match install::inspect_with_password(&marker.python, &source.path, password, runner)? {
        Some(PdfFacts::Password) => Err(PlanError::Document(DocumentError::WrongPassword {
            path: source.path.clone(),
        })),
        facts => Ok((facts, Some(password.clone()))),
    }
}

fn pages_of_source(source: &Document, pdf: Option<PdfFacts>) -> Result<Pages, DocumentError> {
    if source.kind != DocumentKind::Pdf {
        return Ok(Pages::one_piece());
    }
    let silent = || PdfFacts::NoPdfium {
        reason: "it was not asked".to_owned(),
    };
    source.pages(pdf.unwrap_or_else(silent))
}

impl Plan {
    /// Whether the document has pages that are known before it is converted.
    pub(crate) fn has_pages(&self) -> bool {
        self.document_kind == DocumentKind::Pdf
    }

    /// The settings for an attempt of this effort that does this with freed memory.
    pub fn settings_at(&self, effort: Effort, heap: Heap) -> Tuning {
        self.settings.at(effort).with_heap(heap)
    }

    /// What a run of marker may take.
    pub(crate) fn run_limit(&self) -> ByteSize {
        self.total.unwrap_or(self.limit)
    }

    /// Where the result goes.
    pub(crate) fn place(&self) -> Place {
        Place::new(&self.output, self.result.clone(), self.force)
    }

    /// The names of the main files within the result's folder.
    pub(crate) fn published_names(&self) -> Vec<PathBuf> {
        main_files(&self.source.stem, self.format)
            .iter()
            .filter_map(|path| path.file_name().map(PathBuf::from))
            .collect()
    }
}

/// The pages that have been converted.
fn pages_of(progress: &Progress) -> PageSet {
    PageSet::from_pages(progress.done.iter().flat_map(|chunk| chunk.pages.iter()))
}
