//! The environment made by `scripts/marker-env`, in which the real marker runs
//! without downloads, and the document made by `scripts/sample-pdf`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// An installed marker with tiny checkpoints.
#[derive(Debug, Clone)]
pub struct MarkerEnvironment {
    folder: PathBuf,
}

impl MarkerEnvironment {
    /// The environment of marker 1.10, if it has been made. Looked for once.
    pub fn find() -> Option<MarkerEnvironment> {
        static FOUND: OnceLock<Option<MarkerEnvironment>> = OnceLock::new();
        FOUND.get_or_init(|| made("1.10.2")).clone()
    }

    /// The environment of marker 2, whose models run in servers, if it has been
    /// made. Looked for once.
    pub fn find_servers() -> Option<MarkerEnvironment> {
        static FOUND: OnceLock<Option<MarkerEnvironment>> = OnceLock::new();
        FOUND.get_or_init(|| made("2.0.0")).clone()
    }

    /// Its folder, whose name changes with everything that is in it.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its Python interpreter.
    pub fn python(&self) -> PathBuf {
        self.folder.join("venv/bin/python")
    }

    /// Its `marker_single`.
    pub fn marker_single(&self) -> PathBuf {
        self.folder.join("venv/bin/marker_single")
    }

    /// The variables that point marker at the checkpoints.
    ///
    /// # Panics
    /// Where `env.json` is not what `scripts/marker-env` writes.
    pub fn variables(&self) -> BTreeMap<String, String> {
        let path = self.folder.join("env.json");
        let text = std::fs::read_to_string(&path);
        let text = text.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}

/// Releases of marker without what they need, and a Python that can ask them
/// how they understand a command line.
#[derive(Debug, Clone)]
pub struct MarkerParsers {
    folder: PathBuf,
}

impl MarkerParsers {
    /// The folder, if it has been made. Looked for once.
    pub fn find() -> Option<MarkerParsers> {
        static FOUND: OnceLock<Option<MarkerParsers>> = OnceLock::new();
        let find = || script("marker-parsers", &["--print"]).map(|folder| MarkerParsers { folder });
        FOUND.get_or_init(find).clone()
    }

    /// Its Python interpreter.
    pub fn python(&self) -> PathBuf {
        self.folder.join("venv/bin/python")
    }

    /// The program that asks.
    pub fn program(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/marker/parse.py")
    }

    /// The folder of a release.
    pub fn release(&self, version: &str) -> PathBuf {
        self.folder.join("releases").join(version)
    }
}

/// A real text PDF of 20 pages or more, fetched at the first call on a machine.
///
/// # Panics
/// Where it cannot be had; the script says why.
pub fn sample_pdf() -> PathBuf {
    static SAMPLE: OnceLock<PathBuf> = OnceLock::new();
    let fetch = || script("sample-pdf", &[]).expect("scripts/sample-pdf failed");
    SAMPLE.get_or_init(fetch).clone()
}

fn made(version: &str) -> Option<MarkerEnvironment> {
    let folder = script("marker-env", &[version, "--print"])?;
    Some(MarkerEnvironment { folder })
}

/// A real text PDF of 60 pages or more with links, tables and images, some of
/// whose pages are turned or of another size, written to `path`.
///
/// # Panics
/// Where it cannot be had; the script says why.
pub fn mixed_pdf(path: &Path) {
    let manual = script("sample-pdf", &["--manual"]).expect("scripts/sample-pdf failed");
    let mut document = lopdf::Document::load(manual).expect("the sample is a PDF");
    let pages = document.get_pages();
    // Pages count from 1; what is beyond a smaller box is cut off.
    let turned = [(15, 90), (16, 270), (22, 180)];
    let boxes = [
        (9, 841, 595),
        (18, 842, 1191),
        (26, 420, 595),
        (30, 612, 792),
    ];
    let mut set = |page: u32, key: &str, value: lopdf::Object| {
        let id = pages[&page];
        let dictionary = document.get_dictionary_mut(id).expect("a page");
        dictionary.set(key, value);
    };
    for (page, degrees) in turned {
        set(page, "Rotate", degrees.into());
    }
    for (page, width, height) in boxes {
        set(
            page,
            "MediaBox",
            vec![0.into(), 0.into(), width.into(), height.into()].into(),
        );
    }
    document.save(path).expect("the sample is written");
}

/// What a script of the project prints; `None` where it fails.
fn script(name: &str, arguments: &[&str]) -> Option<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../scripts")
        .join(name);
    let mut command = Command::new(script);
    let output = command
        .args(arguments)
        .stderr(Stdio::inherit())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output
        .status
        .success()
        .then(|| PathBuf::from(text.trim_end()))
}
