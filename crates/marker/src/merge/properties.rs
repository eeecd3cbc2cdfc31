//! Whatever the document and wherever it is cut: nothing is lost, nothing is
//! there twice, and no link leads nowhere.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{UnconvertedPage, joined};
use crate::format::OutputFormat;

/// A page: its blocks, each with the pages that it links to.
type Page = Vec<Vec<u32>>;

/// What marker would write for these pages of the document in one run: anchors
/// are numbered in the order in which the run sees links, and are there only
/// for pages of the run that have blocks.
fn run(format: OutputFormat, document: &[Page], pages: &[u32]) -> String {
    let mut numbers: BTreeMap<u32, u32> = BTreeMap::new();
    let mut anchors: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    let mut linked: Vec<(u32, Vec<Vec<String>>)> = Vec::new();
    for &page in pages {
        let names = document[page as usize].iter().map(|targets| {
            let name = |target: &u32| {
                let number = numbers.entry(*target).or_default();
                let name = format!("page-{target}-{number}");
                *number += 1;
                if pages.contains(target) {
                    anchors.entry(*target).or_default().push(name.clone());
                }
                name
            };
            targets.iter().map(name).collect()
        });
        linked.push((page, names.collect()));
    }
    let blocks: Vec<(u32, Vec<String>)> = linked
        .into_iter()
        .map(|(page, blocks)| {
            let mut anchors = anchors.remove(&page).unwrap_or_default();
            let html = |(index, links): (usize, Vec<String>)| {
                let spans: String = std::mem::take(&mut anchors)
                    .iter()
                    .map(|name| format!("<span id=\"{name}\"></span>"))
                    .collect();
                content(format, page, index, &spans, &links)
            };
            (page, blocks.into_iter().enumerate().map(html).collect())
        })
        .collect();
    written(format, &blocks)
}

/// One block: a word that is nowhere else, anchors and links.
fn content(format: OutputFormat, page: u32, index: usize, spans: &str, links: &[String]) -> String {
    let link = |name: &String| match format {
        OutputFormat::Markdown => format!(" [x](#{name})"),
        _ => format!(" <a href=\"#{name}\">x</a>"),
    };
    let links: String = links.iter().map(link).collect();
    match format {
        OutputFormat::Markdown => format!("{spans}w{page}x{index}z{links}"),
        _ => format!("<p>{spans}w{page}x{index}z{links}</p>"),
    }
}

fn written(format: OutputFormat, pages: &[(u32, Vec<String>)]) -> String {
    let all = || pages.iter().flat_map(|(_, blocks)| blocks);
    let block = |page: u32, index: usize, html: &str| {
        json!({"id": format!("/page/{page}/Text/{index}"), "block_type": "Text", "html": html,
            "section_hierarchy": {}, "images": {}})
    };
    let of_page = |page: u32, blocks: &[String]| -> Vec<Value> {
        let blocks = blocks.iter().enumerate();
        blocks
            .map(|(index, html)| block(page, index, html))
            .collect()
    };
    let value = match format {
        OutputFormat::Markdown => return all().cloned().collect::<Vec<_>>().join("\n\n"),
        OutputFormat::Html => {
            let lines: String = all().map(|html| format!("  {html}\n")).collect();
            return format!("<html>\n <body>\n{lines} </body>\n</html>\n");
        }
        OutputFormat::Json => {
            let pages = pages.iter().map(|(page, blocks)| {
                json!({"id": format!("/page/{page}/Page/9"), "block_type": "Page", "html": "",
                    "children": of_page(*page, blocks), "section_hierarchy": {}})
            });
            let pages = json!({"children": pages.collect::<Vec<_>>()});
            let pages = serde_json::to_string_pretty(&pages).unwrap();
            // The keys in marker's order.
            return pages.replace("\n}", ",\n  \"block_type\": \"Document\"\n}");
        }
        OutputFormat::Chunks => {
            let blocks = pages
                .iter()
                .flat_map(|(page, blocks)| of_page(*page, blocks));
            let info: BTreeMap<String, Value> = pages
                .iter()
                .map(|(page, _)| (page.to_string(), json!({})))
                .collect();
            json!({"blocks": blocks.collect::<Vec<_>>(), "page_info": info})
        }
    };
    serde_json::to_string_pretty(&value).unwrap()
}

fn words(text: &str) -> Vec<&str> {
    let found = text.split(|c: char| !c.is_ascii_alphanumeric());
    let is_word = |word: &&str| word.starts_with('w') && word.ends_with('z') && word.len() >= 5;
    found.filter(is_word).collect()
}

/// What stands between `before` and the next quote or bracket.
fn names<'a>(text: &'a str, before: &'a str) -> impl Iterator<Item = &'a str> {
    let behind = text.split(before).skip(1);
    behind.filter_map(|rest| rest.split(['"', ')', '\\']).next())
}

/// Links and anchors.
fn links_and_anchors(text: &str) -> (Vec<&str>, Vec<&str>) {
    let links = names(text, "](#").chain(names(text, "href=\"#"));
    let links = links.chain(names(text, "href=\\\"#"));
    let anchors = names(text, "id=\"page").chain(names(text, "id=\\\"page"));
    (links.collect(), anchors.collect())
}

fn documents() -> impl Strategy<Value = Vec<Page>> {
    // Some links go beyond the end: to pages that are not converted.
    let block = prop::collection::vec(0u32..14, 0..3);
    let page = prop::collection::vec(block, 0..4);
    prop::collection::vec(page, 1..12)
}

/// Ranges of pages, cut where a flag is set; a part is a chunk, or pages that
/// could not be converted.
fn cut(pages: usize, flags: &[(bool, bool)]) -> Vec<(Vec<u32>, bool)> {
    let mut parts: Vec<(Vec<u32>, bool)> = Vec::new();
    for (page, &(new, lost)) in (0..).zip(flags.iter().take(pages)) {
        match parts.last_mut() {
            Some((part, false)) if !new && !lost => part.push(page),
            _ => parts.push((vec![page], lost)),
        }
    }
    parts
}

fn check(
    format: OutputFormat,
    document: &[Page],
    flags: &[(bool, bool)],
) -> Result<(), TestCaseError> {
    let parts = cut(document.len(), flags);
    let texts = parts.iter().map(|(pages, lost)| match lost {
        false => run(format, document, pages),
        true => UnconvertedPage {
            page: pages[0],
            because: "of a <reason>".to_owned(),
            width: 1,
            height: 1,
        }
        .text(format, None),
    });
    let texts: Vec<String> = texts.collect();
    let pages = parts.iter().map(|(pages, _)| pages.clone());
    let input: Vec<_> = pages.zip(texts.iter().map(String::as_str)).collect();
    let (text, repairs) = joined(format, &input);

    let expected: Vec<String> = parts
        .iter()
        .filter(|(_, lost)| !lost)
        .flat_map(|(pages, _)| pages.iter().copied())
        .flat_map(|page| {
            (0..document[page as usize].len()).map(move |index| format!("w{page}x{index}z"))
        })
        .collect();
    prop_assert_eq!(words(&text), expected);
    let shown = text.matches("could not be converted").count();
    prop_assert_eq!(shown, parts.iter().filter(|(_, lost)| *lost).count());

    let (links, anchors) = links_and_anchors(&text);
    let distinct: BTreeSet<&str> = anchors.iter().copied().collect();
    prop_assert_eq!(anchors.len(), distinct.len(), "an anchor is there twice");
    let in_document = |link: &&&str| {
        let page: usize = link.split('-').nth(1).unwrap().parse().unwrap();
        page < document.len()
    };
    let can_take_anchors = !words(&text).is_empty() || shown > 0;
    if parts.len() > 1 && can_take_anchors {
        for link in links.iter().filter(in_document) {
            let anchor = link.strip_prefix("page").unwrap();
            prop_assert!(distinct.contains(anchor), "{} leads nowhere", link);
        }
    }
    prop_assert_eq!(
        repairs.kept + repairs.retargeted + repairs.outside,
        links.len()
    );
    if parts.len() == 1 {
        prop_assert_eq!(&text, &texts[0]);
    }
    Ok(())
}

proptest! {
    #[test]
    fn every_block_is_there_once_and_every_link_leads_somewhere(
        document in documents(),
        flags in prop::collection::vec((any::<bool>(), prop::bool::weighted(0.1)), 12),
    ) {
        for format in OutputFormat::ALL {
            check(format, &document, &flags)?;
        }
    }
}
