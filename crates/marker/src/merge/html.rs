//! Joining HTML. Pure.
//!
//! marker writes a whole document for each chunk. The content of its `body` is
//! what is joined; all else is the same in each. With `--paginate_output` each
//! page is a `<div class="page" data-page-id="N">`.

use std::ops::Range;

use super::anchors::{Anchor, Found, Link, Mark, image_page, parse_name};
use super::landmarks::{Blocks, landmarks, page_start};
use super::markdown::{anchors, links};
use super::metadata::Heading;
use super::survey::{Frame, Start, Survey, one_a_place};
use super::tags::{Tag, tags};

/// Sees a chunk's text through; `None` where it has no body.
pub(super) fn survey(text: &str, pages: &[u32], headings: &[Heading]) -> Option<Survey> {
    let body = body(text)?;
    let tags = tags(text, body.clone());
    let found = found(text, &tags);
    let divided = page_starts(text, &tags, pages);
    let starts = divided.unwrap_or_else(|| {
        let blocks = Blocks::at(block_starts(&tags, &body), body.end);
        let marks = landmarks(&found, titles(text, &tags, &blocks), headings, pages);
        let start = |&page: &u32| (page, page_start(&blocks, &marks, pages, page));
        let starts = pages.iter().map(start);
        starts
            .map(|(page, offset)| before_block(text, page, offset))
            .collect()
    });
    Some(Survey {
        pages: pages.to_vec(),
        frame: Frame {
            head: text[..body.start].to_owned(),
            first: "",
            between: "\n",
            last: "",
            tail: text[body.end..].to_owned(),
        },
        body,
        links: links(text, &found),
        anchors: anchors(text, &found),
        starts: one_a_place(starts),
        ..Survey::default()
    })
}

/// The content of the body, without the line breaks around it. The first
/// `<body>` is marker's own, and so is the last `</body>`: nothing of the
/// document stands before or behind it.
fn body(text: &str) -> Option<Range<usize>> {
    const OPEN: &str = "<body>";
    let start = text.find(OPEN)? + OPEN.len();
    let end = start + text[start..].rfind("</body>")?;
    let inner = &text[start..end];
    let start = start + usize::from(inner.starts_with('\n'));
    Some(start..(start + text[start..end].trim_end().len()).max(start))
}

/// Links, anchors and images in these tags.
pub(super) fn found(text: &str, tags: &[Tag]) -> Found {
    let mut found = Found::default();
    for tag in tags.iter().filter(|tag| !tag.closes) {
        let offset = tag.range.start;
        if let Some(name) = tag.attribute("id")
            && let Some(page) = whole_name(&text[name.clone()])
        {
            let mark = Mark { page, offset };
            found.anchors.push(Anchor { mark, name });
        }
        if let ("a", Some(href)) = (tag.name, tag.attribute("href"))
            && let Some(page) = text[href.clone()].strip_prefix('#').and_then(whole_name)
        {
            let target = href.start + 1..href.end;
            found.links.push(Link { page, target });
        }
        if let ("img", Some(src)) = (tag.name, tag.attribute("src"))
            && let Some(page) = text[src].strip_prefix('_').and_then(image_page)
        {
            found.images.push(Mark { page, offset });
        }
    }
    found
}

/// The page of `page-N-i`.
fn whole_name(text: &str) -> Option<u32> {
    parse_name(text).and_then(|(page, length)| (length == text.len()).then_some(page))
}

/// Where the elements of the body itself begin.
fn block_starts(tags: &[Tag], body: &Range<usize>) -> Vec<usize> {
    let (mut starts, mut depth) = (Vec::new(), 0);
    for tag in tags {
        if depth == 0 && !tag.closes {
            starts.push(tag.range.start);
        }
        depth += tag.step();
    }
    if starts.is_empty() {
        starts.push(body.start);
    }
    starts
}

/// The blocks that are headings, with all that is in them.
fn titles<'a>(
    text: &'a str,
    tags: &'a [Tag],
    blocks: &'a Blocks,
) -> impl Iterator<Item = (usize, &'a str)> {
    let is_heading = |name: &str| {
        let level = name.strip_prefix('h').unwrap_or_default();
        matches!(level.as_bytes(), [b'1'..=b'6'])
    };
    blocks.starts().iter().filter_map(move |start| {
        let at = tags.partition_point(|tag| tag.range.start < *start);
        let (open, behind) = tags[at..].split_first()?;
        let is_close = |tag: &&Tag| tag.closes && tag.name == open.name;
        let close = behind.iter().find(is_close)?;
        is_heading(open.name).then(|| (*start, &text[open.range.end..close.range.start]))
    })
}

/// Just inside the element of each page, if all `pages` have one.
fn page_starts(text: &str, tags: &[Tag], pages: &[u32]) -> Option<Vec<Start>> {
    let mut starts = Vec::new();
    for tag in tags.iter().filter(|tag| tag.name == "div" && !tag.closes) {
        let is_page = tag
            .attribute("class")
            .is_some_and(|class| &text[class] == "page");
        if let (true, Some(id)) = (is_page, tag.attribute("data-page-id"))
            && let Some(page) = pages.get(starts.len())
            && text[id] == page.to_string()
        {
            let indent = indent(text, tag.range.start);
            starts.push(Start {
                page: *page,
                offset: tag.range.end,
                before: format!("\n{} ", " ".repeat(indent)),
                after: String::new(),
                in_json: false,
            });
        }
    }
    (starts.len() == pages.len()).then_some(starts)
}

/// An element of its own before the block that begins at `offset`.
fn before_block(text: &str, page: u32, offset: usize) -> Start {
    let indent = indent(text, offset);
    Start {
        page,
        offset,
        before: String::new(),
        after: format!("\n{}", " ".repeat(indent)),
        in_json: false,
    }
}

/// How far the line is indented in which `offset` is.
pub(super) fn indent(text: &str, offset: usize) -> usize {
    let line = text[..offset].rfind('\n').map_or(0, |end| end + 1);
    let line = &text[line..offset];
    line.len() - line.trim_start_matches(' ').len()
}

#[cfg(test)]
mod tests {
    use super::super::joined;
    use super::*;
    use crate::format::OutputFormat;

    /// What marker's `prettify` makes of these elements, one a line.
    fn document(elements: &[&str]) -> String {
        let lines: Vec<String> = elements.iter().map(|line| format!("  {line}\n")).collect();
        format!(
            "<!DOCTYPE html>\n<html>\n <head>\n  <meta charset=\"utf-8\"/>\n </head>\n <body>\n{} \
             </body>\n</html>\n",
            lines.concat()
        )
    }

    fn join(parts: &[(&[u32], &[&str])]) -> String {
        let documents: Vec<String> = parts.iter().map(|(_, lines)| document(lines)).collect();
        let pages = parts.iter().map(|(pages, _)| pages.to_vec());
        let parts: Vec<_> = pages.zip(documents.iter().map(String::as_str)).collect();
        joined(OutputFormat::Html, &parts).0
    }

    #[test]
    fn bodies_become_one() {
        let joined = join(&[
            (&[0], &["<p>a</p>"]),
            (&[1], &[]),
            (&[2, 3], &["<h1>", "</h1>", "<p>&lt;/body&gt;</p>"]),
        ]);
        let expected = ["<p>a</p>", "<h1>", "</h1>", "<p>&lt;/body&gt;</p>"];
        assert_eq!(joined, document(&expected));
        assert_eq!(join(&[(&[0], &[]), (&[1], &[])]), document(&[]));
        assert_eq!(survey("<p>no body</p>", &[0], &[]).map(|_| ()), None);
    }

    #[test]
    fn a_link_leads_to_the_page_however_it_is_known() {
        let link = "<a href=\"#page-5-7\">x</a>";
        let told = |pages: &[u32], lines: &[&str]| {
            let joined = join(&[(&[0], &[link]), (pages, lines)]);
            let target = joined.split("href=\"#").nth(1).unwrap();
            let name = target.split('"').next().unwrap().to_owned();
            let anchor = format!("<span id=\"{name}\">");
            let behind = joined.split(&anchor).nth(1).unwrap();
            let text = behind.split("<p>").nth(1).unwrap();
            (name, text.split('<').next().unwrap().to_owned())
        };
        let cases: [(&[u32], &[&str], &str, &str); 4] = [
            (&[5], &["<p>a</p>"], "page-5", "a"),
            (
                &[4, 5],
                &[
                    "<p>a</p>",
                    "<p>b</p>",
                    "<p>c<img src=\"_page_5_Picture_1.jpeg\"/></p>",
                ],
                "page-5",
                "c",
            ),
            (
                &[4, 5],
                &[
                    "<p>a</p>",
                    "<div><span id=\"page-5-0\"></span><p>b</p></div>",
                    "<p>c</p>",
                ],
                "page-5-0",
                "b",
            ),
            (
                &[4, 5],
                &[
                    "<div class=\"page\" data-page-id=\"4\"><p>a</p></div>",
                    "<div class=\"page\" data-page-id=\"5\"><p>b</p></div>",
                ],
                "page-5",
                "b",
            ),
        ];
        for (pages, lines, name, text) in cases {
            assert_eq!(
                told(pages, lines),
                (name.to_owned(), text.to_owned()),
                "{lines:?}"
            );
        }
    }

    #[test]
    fn a_heading_of_the_table_of_contents_is_a_landmark() {
        let text = document(&[
            "<p>a</p>", "<p>b</p>", "<p>c</p>", "<h2>", " <b>", "  Two", " </b>", "</h2>",
        ]);
        let heading = Heading {
            title: "Two".to_owned(),
            page_id: 1,
        };
        let starts = survey(&text, &[0, 1], &[heading]).unwrap().starts;
        assert!(text[starts[1].offset..].starts_with("<h2>"));
    }

    #[test]
    fn what_the_document_says_is_no_link() {
        let shown = "<p>&lt;a href=\"#page-1-0\"&gt; href=\"#page-1-0\" #page-1-0</p>";
        let elsewhere = "<a href=\"http://x/#page-1-0\">y</a>";
        let joined = join(&[(&[0], &[shown, elsewhere]), (&[1], &["<p>z</p>"])]);
        assert_eq!(joined, document(&[shown, elsewhere, "<p>z</p>"]));
    }
}
