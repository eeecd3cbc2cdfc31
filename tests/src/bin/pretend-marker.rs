//! Marker and its interpreter without either: answers memcap's question for
//! versions and pages, and "converts" by writing the files that marker 1.10
//! writes, in milliseconds.
//!
//! What goes wrong is said by variables: `PRETEND_POISON=3,7` pages (counted
//! from 1) that crash it, `PRETEND_MOST=5` pages beyond which memory runs out,
//! `PRETEND_REFUSE=1` for options that it does not know, `PRETEND_HOLD=4` a page
//! at which it goes on until it is ended, `PRETEND_HOLD_BATCH=3` the same at a
//! size of layout batches. `PRETEND_TAKE=600M` is what every conversion grows to
//! within seconds before it ends; with `PRETEND_MEET=FOLDER` it begins with that
//! once two conversions have come to the folder, and with `PRETEND_TAKE_FROM=21` only
//! conversions from this page on do. With `PRETEND_STAY=1` it is a worker for many
//! chunks. `PRETEND_CUT=inspect` or `=convert` is when the
//! document loses its second half, as by another program. A document's text is that of its
//! batch size, so that settings make a difference.

use std::fs::File;
use std::io::{BufRead, stdin};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use integration_tests::harness::poll_until;
use integration_tests::job::{Appetite, EXIT_REFUSED, alarm, consume, hold};
use memcap_linux::ByteSize;
use serde_json::{Value, json};

/// Longer than any test waits.
const FOREVER: Duration = Duration::from_secs(120);

fn main() {
    alarm();
    let words: Vec<String> = std::env::args_os()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let status = match value_of(&words, "--output_dir") {
        Some(output) => convert(&words, Path::new(&output)),
        None if is_worker(&words) => match std::env::var_os("PRETEND_STAY") {
            Some(_) => stay(),
            None => refuse_to_stay(),
        },
        None => inspect(&words),
    };
    std::process::exit(status);
}

fn value_of(words: &[String], option: &str) -> Option<String> {
    let place = words.iter().position(|word| word == option)?;
    words.get(place + 1).cloned()
}

/// Whether the interpreter is to run memcap's worker.
fn is_worker(words: &[String]) -> bool {
    words.iter().any(|word| word.contains("create_model_dict"))
}

/// Has memcap start a process for every chunk.
fn refuse_to_stay() -> i32 {
    let reason = "it only pretends";
    println!(
        "{}",
        json!({"protocol": 1, "number": 0, "kind": "unsupported", "reason": reason})
    );
    0
}

/// Answers as memcap's worker does. Each conversion is a child, so that what it
/// has grown to is given back, as marker's worker gives it back.
fn stay() -> i32 {
    println!("{}", json!({"protocol": 1, "number": 0, "kind": "ready"}));
    for line in stdin().lock().lines().map_while(Result::ok) {
        let question: Value = serde_json::from_str(&line).expect("JSON");
        let is_done = carry_out(&question);
        let kind = if is_done { "done" } else { "crash" };
        println!(
            "{}",
            json!({"protocol": 1, "number": question["number"], "kind": kind})
        );
        if !is_done {
            return 1;
        }
    }
    0
}

/// Converts in a child, and whether it could.
fn carry_out(question: &Value) -> bool {
    let word = |value: &Value| value.as_str().expect("a word").to_owned();
    let log = |name: &str| File::create(word(&question[name])).expect("a log");
    let words = question["arguments"].as_array().expect("words");
    let this = std::env::current_exe().expect("a program");
    let mut child = Command::new(this);
    child
        .args(words.iter().map(word))
        .stdout(log("stdout"))
        .stderr(log("stderr"));
    child.status().is_ok_and(|status| status.success())
}

/// The answer to memcap's inspecting program.
fn inspect(words: &[String]) -> i32 {
    let document = words.iter().find(|word| word.ends_with(".pdf"));
    let answer = json!({
        "python": "3.11.2",
        "packages": {"marker-pdf": "1.10.2", "torch": "2.7.1+cpu"},
        "document": document.map(|path| pages_of_document(path)),
    });
    println!("{answer}");
    if let Some(document) = document {
        cut("inspect", Path::new(document));
    }
    0
}

/// Takes away the second half of the document, if this is when.
fn cut(when: &str, document: &Path) {
    if variable("PRETEND_CUT").is_some_and(|wanted: String| wanted == when) {
        let file = File::options().write(true).open(document);
        let cut = file.and_then(|file| file.set_len(file.metadata()?.len() / 2));
        cut.expect("the document can be written");
    }
}

fn pages_of_document(path: &str) -> Value {
    let content = std::fs::read(path).unwrap_or_default();
    let content = String::from_utf8_lossy(&content);
    let sizes: Vec<_> = content.split("/Type /Page ").skip(1).map(size).collect();
    match sizes.len() {
        0 => json!({"kind": "malformed", "reason": "Data format error"}),
        count => json!({"kind": "pages", "count": count, "sizes": sizes}),
    }
}

/// Of a page, in points, by the words of its object; US letter without any.
fn size(page: &str) -> [u32; 2] {
    let read = || {
        let (_, from) = page.split_once("/MediaBox [0 0 ")?;
        let (size, _) = from.split_once(']')?;
        let (width, height) = size.split_once(' ')?;
        Some([width.parse().ok()?, height.parse().ok()?])
    };
    read().unwrap_or([612, 792])
}

fn convert(words: &[String], output: &Path) -> i32 {
    if std::env::var_os("PRETEND_REFUSE").is_some() {
        eprintln!("Error: No such option '--page_range'.");
        return 2;
    }
    let pages = range(&value_of(words, "--page_range").unwrap_or_default());
    let most: usize = variable("PRETEND_MOST").unwrap_or(usize::MAX);
    if pages.len() > most {
        eprintln!("MemoryError: Unable to allocate 9.86 MiB");
        return 1;
    }
    if numbers("PRETEND_POISON")
        .iter()
        .any(|page| pages.contains(page))
    {
        let secret = value_of(words, "--gemini_api_key").unwrap_or_default();
        eprintln!("ValueError: a page that cannot be read, with key {secret}");
        return 1;
    }
    if numbers("PRETEND_HOLD")
        .iter()
        .any(|page| pages.contains(page))
    {
        hold(FOREVER);
    }
    let document = words.last().map(PathBuf::from).unwrap_or_default();
    cut("convert", &document);
    let batch = value_of(words, "--layout_batch_size").unwrap_or_default();
    if variable("PRETEND_HOLD_BATCH").is_some_and(|held: String| held == batch) {
        hold(FOREVER);
    }
    if let Some(folder) = variable::<PathBuf>("PRETEND_MEET") {
        meet(&folder, &document);
    }
    let from = variable("PRETEND_TAKE_FROM").unwrap_or(1);
    if let Some(bytes) = variable("PRETEND_TAKE")
        && pages.first().is_some_and(|page| *page >= from)
    {
        grow_to(bytes);
    }
    match write(&document, output, &pages, &batch) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("{error}");
            1
        }
    }
}

/// Waits for the conversion of another document.
fn meet(folder: &Path, document: &Path) {
    let came = std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(folder.join(document.file_name().unwrap_or_default()), ""));
    came.expect("the folder can be written");
    let both = || {
        let met = std::fs::read_dir(folder).map_or(0, Iterator::count);
        (met >= 2).then_some(())
    };
    poll_until(FOREVER, both).expect("another conversion");
}

/// Grows slowly enough to be stopped, as pages are rendered one after the other.
fn grow_to(bytes: ByteSize) {
    let appetite = Appetite {
        rate: Some(ByteSize::from_mib(400)),
        ..Appetite::of(bytes)
    };
    if consume(appetite, None, 0).is_err() {
        std::process::exit(EXIT_REFUSED);
    }
}

fn variable<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}

/// Pages of a variable, counted from 1.
fn numbers(name: &str) -> Vec<u32> {
    let text = std::env::var(name).unwrap_or_default();
    text.split(',')
        .filter_map(|page| page.parse().ok())
        .collect()
}

/// `--page_range`, which counts from 0, as pages from 1 on.
fn range(text: &str) -> Vec<u32> {
    let parts = text.split(',').filter_map(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse::<u32>().ok()? + 1..=last.parse::<u32>().ok()? + 1)
    });
    parts.flatten().collect()
}

fn write(document: &Path, output: &Path, pages: &[u32], batch: &str) -> std::io::Result<()> {
    let stem = document.file_stem().unwrap_or_default().to_string_lossy();
    let folder = output.join(stem.as_ref());
    std::fs::create_dir_all(&folder)?;
    let text = pages
        .iter()
        .map(|page| format!("The words of page {page} in batches of {batch}.\n"))
        .collect::<Vec<_>>();
    std::fs::write(folder.join(format!("{stem}.md")), text.join("\n"))?;
    let stats: Vec<Value> = pages
        .iter()
        .map(|page| json!({"page_id": page - 1}))
        .collect();
    let metadata = json!({"table_of_contents": [], "page_stats": stats});
    let name = format!("{stem}_meta.json");
    std::fs::write(folder.join(name), metadata.to_string())
}
