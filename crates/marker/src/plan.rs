//! From a request to a plan: everything that can be known and refused before
//! work starts. The only process it starts is the small one that inspects
//! marker and the document.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use memcap_linux::ByteSize;
use serde::Serialize;

use crate::chunks::{Chunk, Chunking, Cutting, FEW_PAGES};
use crate::command::main_files;
use crate::conversion::attempt::{Attempt, Pending};
use crate::device::{self, DeviceFinding};
use crate::document::{Document, DocumentError};
use crate::drive::Drive;
use crate::environment::World;
use crate::estimate::{Conditions, MemoryModel, is_measured};
use crate::fitting::{self, Choice, Fit, Wanted};
use crate::format::OutputFormat;
use crate::install::{self, InstallError, Installation, PdfFacts};
use crate::key::Identity;
use crate::kind::DocumentKind;
use crate::learned::{Lessons, Store, Subject};
use crate::marker_args::{MarkerArgError, check_marker_args};
use crate::page_count::Pages;
use crate::pages::{PageSelection, PageSet, PagesError};
use crate::password::Password;
use crate::progress::Progress;
use crate::publish::{Place, PublishError};
use crate::recovery::Effort;
use crate::relatives::{self, Relative};
use crate::runner::Runner;
use crate::secrets::{Secrets, redacted};
use crate::servers;
use crate::tuning::{self, OcrBackend, Target, Tuning, TuningRequest};
use crate::version::{PageChoice, Version};
use crate::weights::{self, Weights};
use crate::work_folder::WorkFolder;

/// One document to convert.
#[derive(Debug, Clone)]
pub struct Request {
    /// The PDF.
    pub document: PathBuf,
    /// The folder for the result, which becomes `OUT/<name of the document>/`.
    pub output: PathBuf,
    /// The limit for each run of marker, its whole process tree together, and
    /// what chunks are cut for.
    pub memory: ByteSize,
    /// A larger total that it shares with other conversions at the same time,
    /// where whoever runs the steps holds it: each run may then take that much
    /// while the others leave it, and chunks are still cut for `memory`.
    pub total: Option<ByteSize>,
    /// Marker's interpreter, where it is not to be searched for.
    pub python: Option<PathBuf>,
    /// The password of the document, where it may need one.
    pub password: Option<Password>,
    /// The pages to convert; `None` for all.
    pub pages: Option<PageSelection>,
    /// What to convert it to.
    pub format: OutputFormat,
    /// How to cut.
    pub chunking: Chunking,
    /// Settings for marker.
    pub tuning: TuningRequest,
    /// What marker takes without weights and pages; `None` for what is known
    /// of the version, or was learned on this machine.
    pub baseline: Option<ByteSize>,
    /// Processors of the machine, which decide how much is done at once;
    /// `None` where that is not known.
    pub processors: Option<NonZeroUsize>,
    /// How long a chunk may take; `None` is without end.
    pub chunk_time: Option<Duration>,
    /// How marker is run for the chunks.
    pub drive: Drive,
    /// Whether files that memcap did not write may be overwritten.
    pub force: bool,
    /// Further options for marker, such as `--force_ocr`.
    pub marker_args: Vec<OsString>,
}

impl Request {
    /// A request with nothing but the necessary; chunks as the limit allows.
    pub fn new(document: impl Into<PathBuf>, output: impl Into<PathBuf>, memory: ByteSize) -> Self {
        Request {
            document: document.into(),
            output: output.into(),
            memory,
            total: None,
            python: None,
            password: None,
            pages: None,
            format: OutputFormat::default(),
            chunking: Chunking::Fit,
            tuning: TuningRequest::default(),
            baseline: None,
            processors: None,
            chunk_time: None,
            drive: Drive::default(),
            force: false,
            marker_args: Vec::new(),
        }
    }
}

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

/// Why there is nothing to plan.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The document.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// Marker.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// The choice of pages.
    #[error(transparent)]
    Pages(#[from] PagesError),
    /// The installed marker cannot begin behind the first page.
    #[error("marker {version} converts pages from the first on alone")]
    PageChoice {
        /// What is installed.
        version: Version,
    },
    /// An option for marker.
    #[error(transparent)]
    MarkerArg(#[from] MarkerArgError),
    /// What stands where the result belongs.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The installed marker does not take such documents.
    #[error("marker {version} cannot convert {kind}")]
    Kind {
        /// What the document is.
        kind: DocumentKind,
        /// What is installed.
        version: Version,
    },
    /// Pages were chosen of something that has none before it is converted.
    #[error("pages cannot be chosen of {kind}, only of a PDF")]
    NoPagesToChoose {
        /// What the document is.
        kind: DocumentKind,
    },
    /// The installed marker does not write that.
    #[error("marker {version} does not write {format}")]
    Format {
        /// As asked for.
        format: OutputFormat,
        /// What is installed.
        version: Version,
    },
    /// The limit.
    #[error("a limit of {limit} is too small for marker {version}, which needs about {needed}")]
    LimitTooSmall {
        /// As asked for.
        limit: ByteSize,
        /// What is installed.
        version: Version,
        /// For one page, by the estimate.
        needed: ByteSize,
    },
}

impl PlanError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            PlanError::Document(error) => error.hint(),
            PlanError::Install(error) => error.hint(),
            PlanError::Pages(error) => Some(error.hint()),
            PlanError::Publish(error) => error.hint(),
            PlanError::LimitTooSmall { needed, .. } => Some(format!(
                "by the estimate --memory {}M is the smallest limit that works",
                needed.mib()
            )),
            PlanError::Kind { kind, .. } => Some(format!(
                "install marker {} or later, or convert it to a PDF first",
                kind.since()
            )),
            PlanError::NoPagesToChoose { .. } => {
                Some("leave the choice out, or convert it to a PDF first".to_owned())
            }
            PlanError::Format { format, .. } => Some(format!(
                "install marker {} or later, or ask for another format",
                format.since()
            )),
            PlanError::PageChoice { .. } => {
                Some("choose pages such as 1-20, or install marker 0.2.12 or later".to_owned())
            }
            PlanError::MarkerArg(error) => Some(error.hint().to_owned()),
        }
    }
}

/// Plans a conversion.
///
/// # Errors
/// Whatever makes it impossible: the document, the installation, the pages,
/// the limit, or something that stands where the result belongs.
pub fn plan(request: &Request, world: &World, runner: &mut dyn Runner) -> Result<Plan, PlanError> {
    check_marker_args(&request.marker_args)?;
    let source = Document::open(&world.absolute(&request.document))?;
    let pdf = (source.kind == DocumentKind::Pdf).then_some(source.path.as_path());
    let (marker, pdf) = install::find(request.python.as_deref(), pdf, world, runner)?;
    check_kind(request, &source, &marker)?;
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
    let wanted = Wanted {
        pages: &pages,
        sizes: &sizes,
        limit: request.memory,
        chunking: match choice {
            PageChoice::FromTheFirst => Chunking::Whole,
            PageChoice::Any | PageChoice::Contiguous => request.chunking.for_file(source.bytes),
        },
        processors: request.processors,
    };
    let Fit {
        tuning,
        model: memory_model,
        jobs,
        choices: chosen,
    } = fitting::fit(&request.tuning, &wanted, |tuning| {
        let (settings, _) = tune(tuning)?;
        let accounting = runner.accounting();
        let conditions = Conditions {
            baseline: request.baseline,
            ..Conditions::of(&settings, marker.version, weights.clone(), accounting)
        };
        Ok::<_, MarkerArgError>(MemoryModel::new(conditions, lessons.samples()))
    })?;
    let (settings, marker_args) = tune(&tuning)?;
    if request.memory < memory_model.floor() {
        return Err(PlanError::LimitTooSmall {
            limit: request.memory,
            version: marker.version,
            needed: wanted.needed_for_one(&memory_model),
        });
    }
    let chunking = wanted.chunking;
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
    };
    let key = identity.key();
    let output = world.absolute(&request.output);
    let mut plan = Plan {
        document: source.path.clone(),
        document_kind: source.kind,
        document_bytes: source.bytes,
        document_pages: sizes.count,
        pages,
        format: request.format,
        marker,
        device,
        limit: request.memory,
        total: request.total,
        memory_model,
        settings,
        drive: request.drive,
        chunks: Vec::new(),
        done: PageSet::default(),
        result: output.join(&source.stem),
        work_folder: WorkFolder::place(&output, &key),
        warnings: Vec::new(),
        jobs,
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
    plan.warnings = warnings(&plan);
    plan.warnings.extend(unlearned);
    if plan.marker.version.capabilities().servers {
        let backend = plan.settings.ocr_backend();
        plan.warnings
            .extend(servers::warnings(world, backend, &plan.marker_args));
    }
    Ok(plan)
}

fn check_kind(
    request: &Request,
    source: &Document,
    marker: &Installation,
) -> Result<(), PlanError> {
    let kind = source.kind;
    if marker.version < kind.since() {
        return Err(PlanError::Kind {
            kind,
            version: marker.version,
        });
    }
    if kind != DocumentKind::Pdf && request.pages.is_some() {
        return Err(PlanError::NoPagesToChoose { kind });
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
    source.pages(source.quick_count()?, pdf.unwrap_or_else(silent))
}

impl Plan {
    /// Whether the document has pages that are known before it is converted.
    pub(crate) fn has_pages(&self) -> bool {
        self.document_kind == DocumentKind::Pdf
    }

    /// The chunks that `progress` leaves and that were not tried. Page sets that
    /// are known to
    /// run out of memory are halved beforehand.
    pub(crate) fn remaining(&self, progress: &Progress) -> Vec<Chunk> {
        let others = progress.settled(self.limit);
        let choice = self.marker.version.capabilities().pages;
        let mut open = self.cut(&self.memory_model, &others);
        open.reverse();
        let mut chunks = Vec::new();
        while let Some(chunk) = open.pop() {
            match choice.halves(&chunk.pages) {
                Some((low, high))
                    if progress.is_too_large(&chunk.pages, Effort::Usual, self.limit) =>
                {
                    let chunk = |pages| self.cutting(&self.memory_model).chunk(pages);
                    open.extend([chunk(high), chunk(low)]);
                }
                _ => chunks.push(chunk),
            }
        }
        chunks
    }

    /// All that is to be tried, in its order: what follows failures of an earlier
    /// run comes before the chunks that were not tried, or behind them.
    fn to_come(&self, progress: &Progress) -> Vec<Chunk> {
        let pending = progress.pending(self.limit);
        let of = |pending: &Pending| {
            let Attempt { pages, effort, .. } = &pending.attempt;
            Chunk {
                pages: pages.clone(),
                estimate: self.estimate(&self.memory_model, pages, *effort),
            }
        };
        let now = pending.iter().filter(|pending| !pending.last).map(of);
        let last = pending.iter().filter(|pending| pending.last).map(of);
        now.chain(self.remaining(progress)).chain(last).collect()
    }

    /// Chunks of all pages but those of `others`, across which none reaches.
    pub(crate) fn cut(&self, model: &MemoryModel, others: &[PageSet]) -> Vec<Chunk> {
        let cutting = self.cutting(model);
        let choice = self.marker.version.capabilities().pages;
        cutting
            .cut(&self.pages, others)
            .iter()
            .flat_map(|chunk| choice.parts(&chunk.pages))
            .map(|pages| cutting.chunk(pages))
            .collect()
    }

    fn cutting<'a>(&'a self, model: &'a MemoryModel) -> Cutting<'a> {
        Cutting {
            chunking: self.chunking,
            model,
            limit: self.limit,
            sizes: &self.sizes,
        }
    }

    /// The peak of a run over these pages, as `model` has it.
    pub(crate) fn estimate(
        &self,
        model: &MemoryModel,
        pages: &PageSet,
        effort: Effort,
    ) -> ByteSize {
        model.run(pages, effort, |page| self.sizes.size(page))
    }

    /// The settings for an attempt of this effort.
    pub fn settings_at(&self, effort: Effort) -> Tuning {
        self.settings.at(effort)
    }

    /// The smallest limit that leaves room for each page by itself.
    fn needed_for_one(&self) -> ByteSize {
        let wanted = Wanted {
            pages: &self.pages,
            sizes: &self.sizes,
            limit: self.limit,
            chunking: self.chunking,
            processors: None,
        };
        wanted.needed_for_one(&self.memory_model)
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

/// Without page ranges there are no chunks: memory is all or nothing.
fn whole_warning(version: Version) -> Option<String> {
    match version.capabilities().pages {
        PageChoice::FromTheFirst => Some(format!(
            "marker {version} cannot convert a document in parts; if its memory does not suffice, \
             there is no result (0.2.12 and later can)"
        )),
        PageChoice::Any | PageChoice::Contiguous => None,
    }
}

fn version_warning(version: Version) -> Option<String> {
    let nearest = version.nearest();
    if nearest != version {
        return Some(format!(
            "marker {version} is not known here; it is treated like {nearest}"
        ));
    }
    let is_run = [(1, 10), (2, 0)].contains(&(version.major, version.minor));
    (!is_run).then(|| {
        format!(
            "marker {version} is driven as its parser wants it, but tests run 1.10 and 2.0 only"
        )
    })
}

fn container_warning(plan: &Plan) -> Option<String> {
    match plan.settings.ocr_backend() {
        Some(OcrBackend::Vllm) => Some(
            "text recognition runs in a docker container (vLLM), which is no part of the run: its \
             memory is not limited; --ocr-backend llamacpp keeps it within the limit"
                .to_owned(),
        ),
        Some(OcrBackend::LlamaCpp) | None => None,
    }
}

fn kind_warning(kind: DocumentKind) -> Option<String> {
    let extras = if kind.needs_extras() {
        "; marker needs the packages of `pip install 'marker-pdf[full]'` for it"
    } else {
        ""
    };
    (kind != DocumentKind::Pdf).then(|| {
        format!("{kind} is converted in one piece: its pages are not known beforehand{extras}")
    })
}

fn warnings(plan: &Plan) -> Vec<String> {
    let mut warnings: Vec<String> = plan.sizes.warning.iter().cloned().collect();
    warnings.extend(version_warning(plan.marker.version));
    warnings.extend(whole_warning(plan.marker.version));
    warnings.extend(container_warning(plan));
    warnings.extend(kind_warning(plan.document_kind));
    let marker = plan.marker.version.to_string();
    let relatives = relatives::find(&plan.output, &plan.document_hash, &marker);
    warnings.extend(relatives.iter().map(Relative::warning));
    let taught = plan.memory_model.samples() > 0;
    if !is_measured(plan.marker.version) && !taught {
        warnings.push(format!(
            "the memory of marker {} was not measured; its first chunks show how far off the \
             estimate is",
            plan.marker.version
        ));
    }
    if let Weights::Assumed { bytes } = plan.memory_model.weights {
        warnings.push(format!(
            "no model checkpoint was found on disk; {bytes} are assumed for the weights"
        ));
    }
    let needed = plan.needed_for_one();
    let largest = plan.chunks.iter().max_by_key(|chunk| chunk.estimate);
    match largest {
        Some(chunk) if chunk.estimate > plan.limit && needed > plan.limit => {
            warnings.push(format!(
                "a single page is estimated to need {needed}, more than the limit of {}; trying all \
                 the same",
                plan.limit
            ));
        }
        Some(chunk) if chunk.estimate > plan.limit => warnings.push(format!(
            "pages {} together are estimated to need {}, more than the limit of {}; they will be \
             halved if they do",
            chunk.pages, chunk.estimate, plan.limit
        )),
        _ => {}
    }
    if plan.chunks.len() > 1
        && plan
            .chunks
            .iter()
            .any(|chunk| (chunk.pages.len() as u64) < FEW_PAGES)
    {
        warnings.push(format!(
            "some chunks have fewer than {FEW_PAGES} pages: marker has little to tell headings and \
             repeated headers by"
        ));
    }
    warnings
}
