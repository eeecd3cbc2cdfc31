//! Joining Markdown. Pure.

use std::ops::Range;

use super::anchors::{Found, scan};
use super::landmarks::{Blocks, landmarks, page_start};
use super::metadata::Heading;
use super::survey::{AnchorFound, Frame, LinkFound, Start, Survey, one_a_place};

/// Sees a chunk's text through.
///
/// Between texts goes one blank line, which is what marker puts between
/// blocks. marker strips a text at both ends, so a chunk of blank pages is
/// empty and adds nothing. Only with `--paginate_output` may a text begin or
/// end with blank lines, around page marks; those of the whole are kept.
pub(super) fn survey(text: &str, pages: &[u32], headings: &[Heading]) -> Survey {
    let blocks = Blocks::of(text);
    let found = scan(text, &blocks.code);
    let starts = match PageMarks::find(text, pages) {
        Some(marks) => marks.starts(text),
        None => estimated_starts(text, &blocks, &found, headings, pages),
    };
    let body = body(text);
    Survey {
        pages: pages.to_vec(),
        frame: Frame {
            head: text[..body.start].to_owned(),
            first: "",
            between: "\n\n",
            last: "",
            tail: text[body.end..].to_owned(),
        },
        body,
        links: links(text, &found),
        anchors: anchors(text, &found),
        starts,
        ..Survey::default()
    }
}

/// The text without the blank lines around it.
fn body(text: &str) -> Range<usize> {
    let end = text.trim_end_matches('\n').len();
    text[..end].len() - text[..end].trim_start_matches('\n').len()..end
}

pub(super) fn links(text: &str, found: &Found) -> Vec<LinkFound> {
    let links = found.links.iter().map(|link| LinkFound {
        page: link.page,
        name: text[link.target.clone()].to_owned(),
        range: link.target.clone(),
    });
    links.collect()
}

pub(super) fn anchors(text: &str, found: &Found) -> Vec<AnchorFound> {
    let anchors = found.anchors.iter().map(|anchor| AnchorFound {
        page: anchor.mark.page,
        name: text[anchor.name.clone()].to_owned(),
    });
    anchors.collect()
}

/// The blocks that are headings, with their first line.
pub(super) fn titles<'a>(
    text: &'a str,
    blocks: &'a Blocks,
) -> impl Iterator<Item = (usize, &'a str)> {
    let lines = blocks
        .starts()
        .iter()
        .map(|&start| (start, text[start..].lines().next().unwrap_or_default()));
    lines.filter(|(_, line)| line.starts_with('#'))
}

fn estimated_starts(
    text: &str,
    blocks: &Blocks,
    found: &Found,
    headings: &[Heading],
    pages: &[u32],
) -> Vec<Start> {
    let marks = landmarks(found, titles(text, blocks), headings, pages);
    let starts = pages
        .iter()
        .map(|&page| fitted(text, page, page_start(blocks, &marks, pages, page)));
    one_a_place(starts)
}

/// An anchor goes where marker would put one: inside a paragraph or heading,
/// at its start. Other blocks (tables, lists, code, formulas) are told by their
/// first characters and get it as a paragraph before them.
fn fitted(text: &str, page: u32, offset: usize) -> Start {
    let block = &text[offset..];
    let level = block.len() - block.trim_start_matches('#').len();
    let is_heading = level > 0 && block[level..].starts_with(' ');
    let is_paragraph = block
        .starts_with(|c: char| c.is_alphanumeric() || "[(*_\"'!<\u{2022}".contains(c))
        && !is_ordered_item(block)
        && !block.starts_with("* ")
        && (!block.starts_with('<') || block.starts_with("<span "));
    Start {
        page,
        offset: offset + if is_heading { level + 1 } else { 0 },
        before: String::new(),
        after: if is_heading || is_paragraph || block.is_empty() {
            String::new()
        } else {
            "\n\n".to_owned()
        },
        in_json: false,
    }
}

fn is_ordered_item(block: &str) -> bool {
    let rest = block.trim_start_matches(|c: char| c.is_ascii_digit());
    rest.len() < block.len() && rest.starts_with(['.', ')'])
}

/// The lines `{N}---…` that `--paginate_output` puts where page N begins.
struct PageMarks {
    /// Pages, and where their line ends.
    ends: Vec<(u32, usize)>,
}

impl PageMarks {
    /// The marks of all `pages`, if the text begins with one.
    fn find(text: &str, pages: &[u32]) -> Option<PageMarks> {
        let first = text.trim_start_matches('\n').lines().next()?;
        let opening = format!("{{{}}}", pages.first()?);
        let separator = first.strip_prefix(&opening)?;
        if separator.is_empty() {
            return None;
        }
        let (mut ends, mut offset, mut expected) = (Vec::new(), 0, pages.iter());
        let mut next = expected.next();
        for line in text.split_inclusive('\n') {
            let content = line.trim_end_matches('\n');
            if let Some(page) = next
                && content == format!("{{{page}}}{separator}")
            {
                ends.push((*page, offset + content.len()));
                next = expected.next();
            }
            offset += line.len();
        }
        next.is_none().then_some(PageMarks { ends })
    }

    /// A paragraph of its own below the mark, whatever follows.
    fn starts(&self, text: &str) -> Vec<Start> {
        let start = |&(page, offset): &(u32, usize)| Start {
            page,
            // At the very end the blank lines belong to the frame.
            offset: offset.min(text.trim_end_matches('\n').len()),
            before: "\n\n".to_owned(),
            after: String::new(),
            in_json: false,
        };
        self.ends.iter().map(start).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::joined;
    use super::*;
    use crate::format::OutputFormat;

    /// Joins chunks of one page each.
    fn join(texts: &[&str]) -> String {
        let parts: Vec<(Vec<u32>, &str)> = (0..)
            .map(|page| vec![page])
            .zip(texts.iter().copied())
            .collect();
        joined(OutputFormat::Markdown, &parts).0
    }

    #[test]
    fn texts_are_joined_by_one_blank_line() {
        let cases: [(&[&str], &str); 6] = [
            (&["a"], "a"),
            (&["a", "b"], "a\n\nb"),
            (&["a", "", "b"], "a\n\nb"),
            (&["", ""], ""),
            (
                &["\n\n{0}---\n\na", "\n\n{1}---\n\nb"],
                "\n\n{0}---\n\na\n\n{1}---\n\nb",
            ),
            (
                &["\n\n{0}---\n\n", "\n\n{1}---\n\n"],
                "\n\n{0}---\n\n{1}---\n\n",
            ),
        ];
        for (texts, expected) in cases {
            assert_eq!(join(texts), expected, "{texts:?}");
        }
    }

    #[test]
    fn marks_of_a_list_survive() {
        assert_eq!(join(&["- a\n", "  - b"]), "- a\n\n  - b");
    }

    #[test]
    fn page_marks_tell_where_pages_begin() {
        let text = "\n\n{3}---\n\n# A\n\n{4}---\n\n{5}---\n\n- b";
        let starts = survey(text, &[3, 4, 5], &[]).starts;
        let behind: Vec<&str> = starts.iter().map(|start| &text[start.offset..]).collect();
        assert_eq!(
            behind,
            [
                "\n\n# A\n\n{4}---\n\n{5}---\n\n- b",
                "\n\n{5}---\n\n- b",
                "\n\n- b"
            ]
        );
        let other = survey(text, &[3, 4, 6], &[]).starts;
        assert_ne!(starts, other, "a mark is missing");
    }
}
