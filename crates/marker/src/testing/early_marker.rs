//! A runner that plays marker before 1.0: pages by their first and their
//! number, places by position, other files and names.

use std::path::{Path, PathBuf};
use std::time::Duration;

use memcap_linux::ByteSize;

use super::FakeMarker;
use crate::pages::PageSet;
use crate::runner::{Ending, Runner, RunnerError, Session, Step, StepReport, Watch};

/// An early marker.
pub(crate) struct EarlyMarker {
    inspected: FakeMarker,
    /// More pages than this reach the memory limit.
    pub(crate) max_pages: usize,
    /// The pages of each run, counted from 1.
    pub(crate) runs: Vec<String>,
}

impl EarlyMarker {
    pub(crate) fn of_version(version: &str) -> Self {
        EarlyMarker {
            inspected: FakeMarker::of_version(version),
            max_pages: usize::MAX,
            runs: Vec::new(),
        }
    }

    fn convert(&mut self, step: &Step) -> Ending {
        let number = |option: &str| -> Option<u32> {
            let position = step.args.iter().position(|arg| arg == option)?;
            step.args[position + 1].to_str().unwrap().parse().ok()
        };
        let first = number("--start_page").unwrap_or(0);
        let pages = PageSet::from_pages(first..first + number("--max_pages").unwrap());
        self.runs.push(pages.to_string());
        std::fs::write(&step.stderr, "").unwrap();
        if pages.len() > self.max_pages {
            return Ending::MemoryLimit;
        }
        write_result(Path::new(&step.args[0]), Path::new(&step.args[1]), &pages);
        Ending::Finished { exit_code: 0 }
    }
}

impl Runner for EarlyMarker {
    fn run(&mut self, step: &Step, watch: &mut Watch<'_>) -> Result<StepReport, RunnerError> {
        if !step.args.iter().any(|arg| arg == "--max_pages") {
            return self.inspected.run(step, watch);
        }
        Ok(StepReport {
            ending: self.convert(step),
            peak: Some(ByteSize::from_mib(1500)),
            accounting: None,
            wall: Duration::from_secs(20),
        })
    }

    fn start(&mut self, step: &Step) -> Result<Box<dyn Session>, RunnerError> {
        panic!("these releases cannot be kept: {step:?}")
    }
}

/// The folder by the name up to its first dot, the files up to the last, as
/// until 0.2.13; pictures by the page's own number.
fn write_result(input: &Path, output: &Path, pages: &PageSet) {
    assert!(input.is_absolute() && input.is_file(), "{input:?}");
    let name = input.file_name().unwrap().to_str().unwrap();
    let (folder, stem) = (name.split_once('.'), name.rsplit_once('.'));
    let (folder, stem): (PathBuf, &str) = (output.join(folder.unwrap().0), stem.unwrap().0);
    std::fs::create_dir_all(&folder).unwrap();
    let text = |page: u32| format!("Text of page {}.\n\n![]({page}_image_0.png)", page + 1);
    let texts: Vec<String> = pages.iter().map(text).collect();
    std::fs::write(folder.join(format!("{stem}.md")), texts.join("\n\n")).unwrap();
    let meta = serde_json::json!({"filetype": "pdf", "pages": pages.len()});
    std::fs::write(folder.join(format!("{stem}_meta.json")), meta.to_string()).unwrap();
    for page in pages.iter() {
        std::fs::write(folder.join(format!("{page}_image_0.png")), b"\x89PNG").unwrap();
    }
}
