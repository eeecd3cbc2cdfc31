//! Where in a chunk's Markdown or HTML a page begins, as well as that can be
//! known.
//!
//! marker does not mark pages there. (It can, with `--paginate_output`,
//! but then no longer joins the halves of a word hyphenated across pages, and
//! the text would not be what it writes without.) What is known are
//! landmarks: anchors, images, and headings by way of the table of contents.
//! A page without any lies between its neighbours' and is estimated there.

use std::ops::Range;

use super::anchors::{Found, Mark};
use super::metadata::Heading;

/// A text divided into its blocks.
#[derive(Debug)]
pub(super) struct Blocks {
    /// Where each block starts, ascending, at least one.
    starts: Vec<usize>,
    /// The fenced code blocks.
    pub(super) code: Vec<Range<usize>>,
    /// Where the last one ends.
    end: usize,
}

impl Blocks {
    /// Blocks that start at these places, the first of which is where the text
    /// begins.
    pub(super) fn at(starts: Vec<usize>, end: usize) -> Blocks {
        Blocks {
            starts,
            code: Vec::new(),
            end,
        }
    }

    /// Where the blocks start.
    pub(super) fn starts(&self) -> &[usize] {
        &self.starts
    }

    /// Blocks are separated by blank lines outside fenced code.
    pub(super) fn of(text: &str) -> Blocks {
        let (mut starts, mut code) = (vec![0], Vec::new());
        let (mut fence, mut after_blank, mut offset) = (None, false, 0);
        for line in text.split_inclusive('\n') {
            let blank = line.trim().is_empty();
            if fence.is_none() && after_blank && !blank {
                starts.push(offset);
            }
            if line.trim_start().starts_with("```") {
                match fence.take() {
                    None => fence = Some(offset),
                    Some(start) => code.push(start..offset + line.len()),
                }
            }
            after_blank = blank;
            offset += line.len();
        }
        // Text after a lone fence is ordinary: better a link too many mended.
        Blocks {
            starts,
            code,
            end: text.len(),
        }
    }

    /// The start of the block that holds `offset`.
    fn holding(&self, offset: usize) -> usize {
        self.starts[self
            .starts
            .partition_point(|&start| start <= offset)
            .saturating_sub(1)]
    }

    /// The start of a block in `range` nearest to `offset`; without any, of the
    /// block that holds the range's end.
    fn nearest(&self, offset: usize, range: Range<usize>) -> usize {
        let inside = self.starts.iter().filter(|&&start| range.contains(&start));
        let nearest = inside.copied().min_by_key(|start| start.abs_diff(offset));
        nearest.unwrap_or_else(|| self.holding(range.end))
    }
}

/// The landmarks of a text in ascending order of both offset and page. One
/// that contradicts an earlier one, or is not of the chunk, is left out.
/// `titles` are the blocks that are headings.
pub(super) fn landmarks<'a>(
    found: &Found,
    titles: impl Iterator<Item = (usize, &'a str)>,
    headings: &[Heading],
    pages: &[u32],
) -> Vec<Mark> {
    let mut marks: Vec<Mark> = found.anchors.iter().map(|anchor| anchor.mark).collect();
    marks.extend(&found.images);
    marks.extend(heading_marks(titles, headings));
    marks.sort_by_key(|mark| mark.offset);
    let mut least = 0;
    marks.retain(|mark| {
        let fits = mark.page >= least && pages.contains(&mark.page);
        least = if fits { mark.page } else { least };
        fits
    });
    marks
}

/// Where `page`, one of the chunk's `pages`, begins: the start of a block.
/// Exact for the chunk's first page; for a page with a landmark, the block of
/// its first one; else an estimate that keeps the order of pages.
pub(super) fn page_start(blocks: &Blocks, marks: &[Mark], pages: &[u32], page: u32) -> usize {
    // Pages by their place in the chunk, which may leave some out.
    let rank = |page: u32| pages.partition_point(|&other| other < page);
    let beginning = blocks.starts.first().copied().unwrap_or(0);
    if rank(page) == 0 {
        return beginning;
    }
    let before = marks.iter().rfind(|mark| mark.page < page);
    let before = before.map_or((0, beginning), |mark| (rank(mark.page), mark.offset));
    let after = match marks.iter().find(|mark| mark.page >= page) {
        Some(mark) if mark.page == page => return blocks.holding(mark.offset),
        Some(mark) => (rank(mark.page), blocks.holding(mark.offset)),
        None => (pages.len(), blocks.end),
    };
    between(blocks, before, after, rank(page))
}

/// A block between two places, each a page's rank and an offset, as if pages
/// were equally long.
fn between(blocks: &Blocks, before: (usize, usize), after: (usize, usize), rank: usize) -> usize {
    let length = after.1.saturating_sub(before.1);
    // Texts are far smaller than the square root of the address space.
    let estimate = before.1 + length.saturating_mul(rank - before.0) / (after.0 - before.0);
    blocks.nearest(estimate, before.1 + 1..after.1)
}

/// Titles found in the table of contents, in its order.
fn heading_marks<'a>(
    titles: impl Iterator<Item = (usize, &'a str)>,
    headings: &[Heading],
) -> Vec<Mark> {
    let mut marks = Vec::new();
    let mut ahead = headings;
    for (offset, title) in titles {
        let words = bare(title);
        if let Some(at) = ahead
            .iter()
            .position(|heading| bare(&heading.title) == words)
        {
            marks.push(Mark {
                page: ahead[at].page_id,
                offset,
            });
            ahead = &ahead[at + 1..];
        }
    }
    marks
}

/// Letters and digits alone, without tags and link targets: what a title has
/// in common with the heading marker makes of it.
fn bare(text: &str) -> String {
    let (mut bare, mut rest) = (String::new(), text);
    while let Some(c) = rest.chars().next() {
        let skipped = match c {
            '<' => rest.find('>'),
            '(' if bare_ends_link(text, rest) => rest.find(')'),
            _ => None,
        };
        if c.is_alphanumeric() {
            bare.extend(c.to_lowercase());
        }
        rest = &rest[skipped.map_or(c.len_utf8(), |end| end + 1)..];
    }
    bare
}

fn bare_ends_link(text: &str, rest: &str) -> bool {
    text[..text.len() - rest.len()].ends_with(']')
}

#[cfg(test)]
mod tests {
    use super::super::anchors::scan;
    use super::super::metadata::Heading;
    use super::{Blocks, bare, landmarks, page_start};

    /// The block at which `page` of a chunk of pages 10 to 13 begins.
    fn start<'a>(text: &'a str, headings: &[(&str, u32)], page: u32) -> &'a str {
        let blocks = Blocks::of(text);
        let headings: Vec<Heading> = headings
            .iter()
            .map(|&(title, page_id)| Heading {
                title: title.to_owned(),
                page_id,
            })
            .collect();
        let pages = [10, 11, 12, 13];
        let titles = super::super::markdown::titles(text, &blocks);
        let marks = landmarks(&scan(text, &blocks.code), titles, &headings, &pages);
        let at = page_start(&blocks, &marks, &pages, page);
        text[at..].split("\n\n").next().unwrap()
    }

    #[test]
    fn landmarks_decide() {
        let text = "a\n\nb\n\n# **Title**\n\nc <span id=\"page-12-0\"></span>\n\nd\n\n![](_page_13_Picture_1.jpeg)";
        assert_eq!(start(text, &[], 10), "a");
        assert_eq!(start(text, &[("Title", 11)], 11), "# **Title**");
        assert_eq!(start(text, &[], 12), "c <span id=\"page-12-0\"></span>");
        assert_eq!(start(text, &[], 13), "![](_page_13_Picture_1.jpeg)");
    }

    #[test]
    fn without_landmarks_pages_share_the_text_evenly() {
        let text = "aaaa\n\nbbbb\n\ncccc\n\ndddd";
        let starts = [10, 11, 12, 13].map(|page| start(text, &[], page));
        assert_eq!(starts, ["aaaa", "bbbb", "cccc", "dddd"]);
    }

    #[test]
    fn an_estimate_stays_between_its_landmarks() {
        let text = "a\n\n<span id=\"page-11-0\"></span>b\n\nc\n\n<span id=\"page-13-0\"></span>d";
        assert_eq!(start(text, &[], 12), "c");
        let close = "a\n\n<span id=\"page-11-0\"></span>b\n\n<span id=\"page-13-0\"></span>d";
        assert_eq!(
            start(close, &[], 12),
            "<span id=\"page-13-0\"></span>d",
            "no block between: the next one"
        );
        assert_eq!(start("", &[], 12), "");
        assert_eq!(
            start("alone", &[], 13),
            "alone",
            "no block between: the last one"
        );
    }

    #[test]
    fn contradicting_landmarks_are_left_out() {
        let text = "a\n\n<span id=\"page-12-0\"></span>b\n\n<span id=\"page-11-0\"></span>c\n\n<span id=\"page-99-0\"></span>d";
        assert_eq!(start(text, &[], 12), "<span id=\"page-12-0\"></span>b");
        assert_eq!(start(text, &[], 11), "<span id=\"page-12-0\"></span>b");
    }

    #[test]
    fn code_is_one_block() {
        let text = "a\n\n```\nx\n\ny\n```\n\nb";
        assert_eq!(Blocks::of(text).starts, [0, 3, 17]);
        assert_eq!(Blocks::of(text).code, std::slice::from_ref(&(3..16)));
        assert_eq!(Blocks::of("```\n\nb").starts, [0]);
    }

    #[test]
    fn titles_match_their_headings() {
        let cases = [
            ("#### [6 Release 0.3.9](#page-5-0) 2", "6 Release 0.3.9\n2"),
            (
                "## <span id=\"page-4-1\"></span>\u{2022} **Fix** #119 (now)",
                "\u{2022} Fix #119 (now)",
            ),
            ("# \u{c9}t\u{e9}", "\u{e9}t\u{e9}"),
        ];
        for (line, title) in cases {
            assert_eq!(bare(line), bare(title));
        }
    }
}
