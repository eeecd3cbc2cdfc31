//! A runner that plays marker by a script.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use memcap_linux::ByteSize;

use crate::format::OutputFormat;
use crate::pages::{PageSelection, PageSet};
use crate::recovery::Effort;
use crate::runner::{
    Accounting, Ending, Heard, Runner, RunnerError, Session, Step, StepReport, Usage, Watch,
};

/// What happens in one run of marker.
#[derive(Debug, Clone)]
pub(crate) enum Scene {
    /// It ends like this, having written this to standard error.
    Ends(Ending, &'static str),
    /// It converts.
    Converts,
    /// A worker says this in place of converting. Nothing that a run of
    /// marker_single could meet.
    Says(&'static str, &'static str),
    /// It hangs.
    Hangs,
}

/// Marker, as scripted. Runs for which no scene is left convert, but for
/// pages that are too many or poisonous.
#[derive(Clone)]
pub(crate) struct FakeMarker {
    /// What the interpreter says is installed.
    pub(crate) version: Option<String>,
    /// What PDFium says; `None` counts `/Type /Page ` in the file.
    pub(crate) document: Option<serde_json::Value>,
    /// The password without which the document stays shut.
    pub(crate) lock: Option<&'static str>,
    /// More pages than this reach the memory limit.
    pub(crate) max_pages: usize,
    /// Pages, counted from 0, that reach the memory limit by themselves.
    pub(crate) too_large: Vec<u32>,
    /// Pages, counted from 0, that reach the memory limit by themselves, unless
    /// an attempt costs no more than this.
    pub(crate) heavy: Vec<(u32, Effort)>,
    /// What a run takes at its peak, in MiB; above its limit it is ended.
    pub(crate) takes: Option<fn(&PageSet) -> u64>,
    /// Pages, counted from 0, that crash marker.
    pub(crate) poison: Vec<u32>,
    /// Pages, counted from 0, that marker never comes to an end with.
    pub(crate) endless: Vec<u32>,
    /// What a worker's floor is after each chunk, in MiB; its last value stays.
    pub(crate) floors: Vec<u64>,
    /// Whether a worker finds that it cannot be one.
    pub(crate) is_unsupported: bool,
    /// What happens and has happened, in all workers together.
    pub(crate) history: Arc<Mutex<History>>,
}

#[derive(Default)]
pub(crate) struct History {
    scenes: VecDeque<Scene>,
    steps: Vec<Step>,
    workers: Vec<Step>,
    expected: Vec<ByteSize>,
}

impl FakeMarker {
    pub(crate) fn new() -> Self {
        FakeMarker::of_version("1.10.2")
    }

    pub(crate) fn of_version(version: &str) -> Self {
        FakeMarker {
            version: Some(version.to_owned()),
            document: None,
            lock: None,
            max_pages: usize::MAX,
            too_large: Vec::new(),
            heavy: Vec::new(),
            takes: None,
            poison: Vec::new(),
            endless: Vec::new(),
            floors: vec![900],
            is_unsupported: false,
            history: Arc::default(),
        }
    }

    pub(crate) fn not_installed() -> Self {
        FakeMarker {
            version: None,
            ..FakeMarker::new()
        }
    }

    pub(crate) fn with_scenes(scenes: impl IntoIterator<Item = Scene>) -> Self {
        let marker = FakeMarker::new();
        marker.history().scenes.extend(scenes);
        marker
    }

    /// All steps that were run, but for inspections; what a worker was asked
    /// for counts as a run of marker_single.
    pub(crate) fn steps(&self) -> Vec<Step> {
        self.history().steps.clone()
    }

    /// What workers were expected to take after their first chunks.
    pub(crate) fn expected(&self) -> Vec<ByteSize> {
        self.history().expected.clone()
    }

    /// All workers that were started.
    pub(crate) fn workers(&self) -> usize {
        self.history().workers.len()
    }

    /// The pages of each run, counted from 1.
    pub(crate) fn runs(&self) -> Vec<String> {
        self.steps()
            .iter()
            .map(|step| pages_of(step).to_string())
            .collect()
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap()
    }

    fn inspect(&self, step: &Step) {
        let document = step.args.get(2).map(|path| {
            let key = step
                .args
                .get(3)
                .map(|file| std::fs::read_to_string(file).unwrap());
            if self.lock.is_some() && key.as_deref() != self.lock {
                return serde_json::json!({"kind": "password"});
            }
            self.document.clone().unwrap_or_else(|| {
                let content = std::fs::read(path).unwrap();
                let page = b"/Type /Page ";
                let count = content
                    .windows(page.len())
                    .filter(|window| window == page)
                    .count();
                let sizes = vec![[612, 792]; count];
                serde_json::json!({"kind": "pages", "count": count, "sizes": sizes})
            })
        });
        let facts = serde_json::json!({
            "python": "3.11.2",
            "packages": {"marker-pdf": self.version, "torch": "2.7.1+cpu"},
            "document": document,
        });
        std::fs::write(&step.stdout, facts.to_string()).unwrap();
    }

    /// Writes the copy without its password.
    fn unlock(&self, step: &Step) -> Ending {
        let [document, key, copy] = &step.args[2..] else {
            panic!("{:?}", step.args)
        };
        let mode = std::fs::metadata(key).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        if std::fs::read_to_string(key).unwrap() != self.lock.unwrap() {
            return Ending::Finished { exit_code: 1 };
        }
        std::fs::copy(document, copy).unwrap();
        Ending::Finished { exit_code: 0 }
    }

    /// What happens in a run of these pages.
    fn scene(&self, step: &Step, pages: &PageSet) -> Scene {
        let mut history = self.history();
        history.steps.push(step.clone());
        let crash = Ending::Finished { exit_code: 1 };
        match history.scenes.pop_front() {
            Some(scene) => scene,
            None if pages.len() > self.max_pages => Scene::Ends(Ending::MemoryLimit, ""),
            None if self.too_large.iter().any(|page| pages.contains(*page)) => {
                Scene::Ends(Ending::MemoryLimit, "")
            }
            None if self.is_too_heavy(step, pages) => Scene::Ends(Ending::MemoryLimit, ""),
            None if self.endless.iter().any(|page| pages.contains(*page)) => Scene::Hangs,
            None if self.poison.iter().any(|page| pages.contains(*page)) => {
                Scene::Ends(crash, "Traceback\nKeyError: 'page'\n")
            }
            None => Scene::Converts,
        }
    }

    fn is_too_heavy(&self, step: &Step, pages: &PageSet) -> bool {
        let effort = effort_of(step);
        let heavy = |(page, from): &(u32, Effort)| effort < *from && pages.contains(*page);
        self.heavy.iter().any(heavy) || self.peak(step) > step.memory
    }

    fn peak(&self, step: &Step) -> ByteSize {
        match self.takes {
            Some(takes) if value_of(step, "--output_dir").is_some() => {
                ByteSize::from_mib(takes(&pages_of(step)))
            }
            Some(_) | None => PEAK.peak,
        }
    }

    fn convert(&self, step: &Step) -> Ending {
        let pages = pages_of(step);
        match self.scene(step, &pages) {
            Scene::Ends(ending, errors) => {
                std::fs::write(&step.stderr, errors).unwrap();
                ending
            }
            Scene::Converts => {
                write_result(step, &pages);
                Ending::Finished { exit_code: 0 }
            }
            Scene::Hangs => {
                assert!(step.time_limit.is_some(), "it hangs without end");
                Ending::TimeLimit
            }
            Scene::Says(..) => panic!("only a worker says something"),
        }
    }
}

/// What every run takes.
const PEAK: Usage = Usage {
    current: ByteSize::from_mib(1500),
    peak: ByteSize::from_mib(1500),
};

impl Runner for FakeMarker {
    fn run(&mut self, step: &Step, watch: &mut Watch<'_>) -> Result<StepReport, RunnerError> {
        let _ = watch(PEAK);
        let ending = if step.label.contains("password") {
            self.unlock(step)
        } else if value_of(step, "--output_dir").is_some() {
            self.convert(step)
        } else {
            self.inspect(step);
            Ending::Finished { exit_code: 0 }
        };
        Ok(StepReport {
            ending,
            peak: Some(self.peak(step).min(step.memory)),
            accounting: None,
            wall: Duration::from_secs(20),
        })
    }

    fn start(&mut self, step: &Step) -> Result<Box<dyn Session>, RunnerError> {
        self.history().workers.push(step.clone());
        std::fs::write(&step.stderr, "").unwrap();
        let first = if self.is_unsupported {
            r#"{"protocol": 1, "number": 0, "kind": "unsupported", "reason": "by script"}"#
        } else {
            r#"{"protocol": 1, "number": 0, "kind": "ready"}"#
        };
        Ok(Box::new(FakeWorker {
            marker: self.clone(),
            start: step.clone(),
            // A library that greets.
            lines: ["Loading models", first].map(str::to_owned).into(),
            ended: None,
            chunks: 0,
        }))
    }
}

/// A worker, as scripted.
struct FakeWorker {
    marker: FakeMarker,
    start: Step,
    lines: VecDeque<String>,
    ended: Option<Ending>,
    chunks: usize,
}

impl FakeWorker {
    fn work(&mut self, number: u64, step: &Step) {
        let pages = pages_of(step);
        std::fs::write(&step.stderr, "").unwrap();
        match self.marker.scene(step, &pages) {
            Scene::Ends(ending, errors) => {
                std::fs::write(&step.stderr, errors).unwrap();
                if let Ending::Finished { exit_code } = ending {
                    self.say(number, if exit_code == 2 { "usage" } else { "crash" }, "");
                }
                self.ended = Some(ending);
            }
            Scene::Converts => {
                write_result(step, &pages);
                let last = self.marker.floors.len() - 1;
                let floor = self.marker.floors[self.chunks.min(last)] << 20;
                self.chunks += 1;
                // Late words about an earlier question mean nothing.
                self.say(number - 1, "crash", "");
                self.say(
                    number,
                    "done",
                    &format!(r#", "floor_bytes": {floor}, "peak_bytes": null"#),
                );
            }
            Scene::Says(kind, errors) => {
                std::fs::write(&step.stderr, errors).unwrap();
                self.say(number, kind, "");
                self.ended = Some(Ending::Finished { exit_code: 1 });
            }
            Scene::Hangs => {}
        }
    }

    fn say(&mut self, number: u64, kind: &str, more: &str) {
        self.lines.push_back(format!(
            r#"{{"protocol": 1, "number": {number}, "kind": "{kind}"{more}}}"#
        ));
    }
}

impl Session for FakeWorker {
    fn send(&mut self, line: &str) {
        if self.ended.is_some() {
            return;
        }
        let question: serde_json::Value = serde_json::from_str(line).unwrap();
        let words = question["arguments"].as_array().unwrap();
        let step = Step {
            args: words.iter().map(word).collect(),
            stdout: word(&question["stdout"]).into(),
            stderr: word(&question["stderr"]).into(),
            ..self.start.clone()
        };
        self.work(question["number"].as_u64().unwrap(), &step);
    }

    fn expect(&mut self, estimate: ByteSize) {
        self.marker.history().expected.push(estimate);
    }

    fn hear(
        &mut self,
        deadline: Option<Instant>,
        watch: &mut Watch<'_>,
    ) -> Result<Heard, RunnerError> {
        let _ = watch(PEAK);
        Ok(match (self.lines.pop_front(), &self.ended) {
            (Some(line), _) => Heard::Line(line.into_bytes()),
            (None, Some(_)) => Heard::Ended,
            (None, None) => {
                assert!(deadline.is_some(), "it hangs without end");
                Heard::Nothing
            }
        })
    }

    fn accounting(&self) -> Option<Accounting> {
        None
    }

    fn end(self: Box<Self>) -> Result<Option<Ending>, RunnerError> {
        Ok(self.ended)
    }
}

/// A word of a question: the characters have the bytes' numbers.
fn word(value: &serde_json::Value) -> OsString {
    let text = value.as_str().unwrap();
    let bytes = text
        .chars()
        .map(|character| u8::try_from(character).unwrap());
    OsString::from_vec(bytes.collect())
}

fn value_of<'a>(step: &'a Step, option: &str) -> Option<&'a OsStr> {
    let position = step.args.iter().position(|arg| arg == option)?;
    step.args.get(position + 1).map(|value| value.as_os_str())
}

/// What the step may cost, by the settings that it passes on.
fn effort_of(step: &Step) -> Effort {
    let is = |option, value: &str| value_of(step, option).is_some_and(|found| found == value);
    match (
        is("--layout_batch_size", "1"),
        is("--lowres_image_dpi", "48"),
    ) {
        (true, true) => Effort::LowResolution,
        (true, false) => Effort::SmallBatches,
        (false, _) => Effort::Usual,
    }
}

/// `--page_range` read back; without one, three pages.
fn pages_of(step: &Step) -> PageSet {
    let Some(range) = value_of(step, "--page_range") else {
        return PageSet::all(3);
    };
    let range = range.to_str().unwrap();
    let pages = range.split(',').flat_map(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        first.parse::<u32>().unwrap()..=last.parse().unwrap()
    });
    let set = PageSet::from_pages(pages);
    // What memcap shows to people means the same pages.
    let shown: PageSelection = set.to_string().parse().unwrap();
    assert_eq!(shown.resolve(u32::MAX), Ok(set.clone()));
    set
}

/// What marker 1.10 writes: text, metadata, a picture for every page.
fn write_result(step: &Step, pages: &PageSet) {
    let input = Path::new(step.args.last().unwrap());
    assert!(input.is_absolute() && input.is_file(), "{input:?}");
    let name = input.file_name().unwrap().to_str().unwrap();
    let (stem, _) = name.rsplit_once('.').unwrap();
    let folder = PathBuf::from(value_of(step, "--output_dir").unwrap()).join(stem);
    assert!(!folder.as_os_str().as_bytes().is_empty());
    std::fs::create_dir_all(&folder).unwrap();
    let format: OutputFormat = value_of(step, "--output_format")
        .and_then(OsStr::to_str)
        .map_or(OutputFormat::Markdown, |word| word.parse().unwrap());
    let name = format!("{stem}.{}", format.extension());
    std::fs::write(folder.join(name), text(format, pages)).unwrap();
    let stats: Vec<_> = pages
        .iter()
        .map(|page| serde_json::json!({"page_id": page}))
        .collect();
    let meta = serde_json::json!({"table_of_contents": [], "page_stats": stats});
    std::fs::write(folder.join(format!("{stem}_meta.json")), meta.to_string()).unwrap();
    if matches!(format, OutputFormat::Json | OutputFormat::Chunks) {
        return;
    }
    for page in pages.iter() {
        let picture = folder.join(format!("_page_{page}_Picture_0.jpeg"));
        std::fs::write(picture, [0xff, 0xd8, 0xff]).unwrap();
    }
}

fn text(format: OutputFormat, pages: &PageSet) -> String {
    let each = |write: &dyn Fn(u32) -> String, between: &str| {
        pages.iter().map(write).collect::<Vec<_>>().join(between)
    };
    let block = |page: u32| {
        serde_json::json!({
            "id": format!("/page/{page}/Text/0"), "block_type": "Text",
            "html": format!("<p>Text of page {}.</p>", page + 1), "section_hierarchy": {},
        })
    };
    match format {
        OutputFormat::Markdown => each(
            &|page| {
                format!(
                    "Text of page {}.\n\n![](_page_{page}_Picture_0.jpeg)",
                    page + 1
                )
            },
            "\n\n",
        ),
        OutputFormat::Html => {
            let paragraphs = each(
                &|page| {
                    let number = page + 1;
                    format!(
                        "  <p>Text of page {number}.<img src=\"_page_{page}_Picture_0.jpeg\"/></p>\n"
                    )
                },
                "",
            );
            format!("<html>\n <body>\n{paragraphs} </body>\n</html>\n")
        }
        OutputFormat::Json => {
            let of_page = |page: u32| {
                serde_json::json!({
                    "id": format!("/page/{page}/Page/1"), "block_type": "Page",
                    "html": "", "children": [block(page)], "section_hierarchy": {},
                })
            };
            let pages: Vec<_> = pages.iter().map(of_page).collect();
            serde_json::json!({"children": pages, "block_type": "Document"}).to_string()
        }
        OutputFormat::Chunks => {
            let blocks: Vec<_> = pages.iter().map(block).collect();
            let info = pages
                .iter()
                .map(|page| (page.to_string(), serde_json::json!({})));
            let info: serde_json::Map<_, _> = info.collect();
            serde_json::json!({"blocks": blocks, "page_info": info}).to_string()
        }
    }
}
