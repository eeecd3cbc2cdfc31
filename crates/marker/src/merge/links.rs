//! Links from one chunk into another. Pure.
//!
//! Within a chunk, links and anchors fit each other and stay as they are. A
//! link into another chunk cannot stay: its target was numbered in a run that
//! did not have the page, so the number names nothing there, or something
//! else. It is pointed at the page: at the first anchor that the page has, or
//! at a new one, `page-N`, put where the page begins. A link to a page that no
//! chunk converted dangles, as it does in what marker writes for those pages,
//! and stays.

use std::collections::BTreeMap;
use std::ops::Range;

use super::anchors::{Found, scan};
use super::landmarks::{Blocks, landmarks, page_start};
use super::metadata::Heading;

/// One chunk's text and what is known about it.
#[derive(Debug, Clone)]
pub(super) struct Piece<'a> {
    /// Counted from 0, ascending, at least one.
    pub(super) pages: Vec<u32>,
    pub(super) text: &'a str,
    pub(super) headings: &'a [Heading],
}

/// What became of the links inside a document.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LinkRepairs {
    /// Links within a chunk: as marker wrote them.
    pub kept: usize,
    /// Links into another chunk: now pointing at their page.
    pub retargeted: usize,
    /// Links to pages that were not converted: dangling, as without chunks.
    pub outside: usize,
    /// Anchors made for retargeted links.
    pub anchors_made: usize,
}

/// Returns the texts with their links mended.
pub(super) fn mend(pieces: &[Piece]) -> (Vec<String>, LinkRepairs) {
    let mut chunks: Vec<Chunk> = pieces.iter().map(Chunk::new).collect();
    let mut repairs = LinkRepairs::default();
    for here in 0..chunks.len() {
        for at in 0..chunks[here].found.links.len() {
            let link = &chunks[here].found.links[at];
            let (page, target) = (link.page, link.target.clone());
            match chunks
                .iter()
                .position(|chunk| chunk.piece.pages.binary_search(&page).is_ok())
            {
                None => repairs.outside += 1,
                Some(there) if there == here => repairs.kept += 1,
                Some(there) => {
                    let name = chunks[there].page_anchor(page);
                    chunks[here].edits.push(Edit {
                        range: target,
                        text: name,
                    });
                    repairs.retargeted += 1;
                }
            }
        }
    }
    repairs.anchors_made = chunks.iter().map(|chunk| chunk.made.len()).sum();
    (chunks.into_iter().map(Chunk::finish).collect(), repairs)
}

struct Chunk<'a> {
    piece: &'a Piece<'a>,
    blocks: Blocks,
    found: Found,
    edits: Vec<Edit>,
    /// New anchors: page and where the page begins.
    made: BTreeMap<u32, usize>,
}

struct Edit {
    range: Range<usize>,
    text: String,
}

impl<'a> Chunk<'a> {
    fn new(piece: &'a Piece<'a>) -> Chunk<'a> {
        let blocks = Blocks::of(piece.text);
        let found = scan(piece.text, &blocks.code);
        Chunk {
            piece,
            blocks,
            found,
            edits: Vec::new(),
            made: BTreeMap::new(),
        }
    }

    /// The name of an anchor for `page`, which is made if there is none.
    fn page_anchor(&mut self, page: u32) -> String {
        let first = self
            .found
            .anchors
            .iter()
            .find(|anchor| anchor.mark.page == page);
        if let Some(anchor) = first {
            return self.piece.text[anchor.name.clone()].to_owned();
        }
        if !self.made.contains_key(&page) {
            let Piece {
                pages,
                text,
                headings,
            } = self.piece;
            let marks = landmarks(text, &self.blocks, &self.found, headings, pages);
            self.made
                .insert(page, page_start(&self.blocks, &marks, pages, page));
        }
        format!("page-{page}")
    }

    fn finish(mut self) -> String {
        // Stable by offset: at one place, anchors come in page order, and
        // before a link that starts there.
        let anchors = self.made.iter().map(|(page, &offset)| Edit {
            range: offset..offset,
            text: format!("<span id=\"page-{page}\"></span>"),
        });
        let anchors: Vec<Edit> = join_at_one_place(anchors, self.piece.text);
        self.edits.extend(anchors);
        self.edits
            .sort_by_key(|edit| (edit.range.start, edit.range.end));
        apply(self.piece.text, &self.edits)
    }
}

/// Fits new anchors into the blocks before which they belong.
fn join_at_one_place(anchors: impl Iterator<Item = Edit>, text: &str) -> Vec<Edit> {
    let mut joined: Vec<Edit> = Vec::new();
    for anchor in anchors {
        match joined.last_mut() {
            Some(last) if last.range == anchor.range => last.text.push_str(&anchor.text),
            _ => joined.push(anchor),
        }
    }
    for edit in &mut joined {
        fit(edit, text);
    }
    joined
}

/// An anchor goes where marker would put one: inside a paragraph or heading,
/// at its start. Other blocks (tables, lists, code, formulas) are told by their
/// first characters and get it as a paragraph before them.
fn fit(edit: &mut Edit, text: &str) {
    let block = &text[edit.range.start..];
    if block.is_empty() {
        return;
    }
    let level = block.len() - block.trim_start_matches('#').len();
    if level > 0 && block[level..].starts_with(' ') {
        edit.range = edit.range.start + level + 1..edit.range.start + level + 1;
    } else if !block.starts_with(|c: char| c.is_alphanumeric() || "[(*_\"'!<\u{2022}".contains(c))
        || is_ordered_item(block)
        || block.starts_with("* ")
        || (block.starts_with('<') && !block.starts_with("<span "))
    {
        edit.text.push_str("\n\n");
    }
}

fn is_ordered_item(block: &str) -> bool {
    let rest = block.trim_start_matches(|c: char| c.is_ascii_digit());
    rest.len() < block.len() && rest.starts_with(['.', ')'])
}

fn apply(text: &str, edits: &[Edit]) -> String {
    let mut result = String::with_capacity(text.len() + edits.len() * 32);
    let mut done = 0;
    for edit in edits {
        result.push_str(&text[done..edit.range.start]);
        result.push_str(&edit.text);
        done = edit.range.end;
    }
    result.push_str(&text[done..]);
    result
}

#[cfg(test)]
mod tests {
    use super::{LinkRepairs, Piece, mend};

    /// Mends chunks of ten pages each.
    fn mended(texts: &[&str]) -> (Vec<String>, LinkRepairs) {
        let pieces: Vec<Piece> = (0..)
            .zip(texts)
            .map(|(number, text)| Piece {
                pages: (number * 10..=number * 10 + 9).collect(),
                text,
                headings: &[],
            })
            .collect();
        mend(&pieces)
    }

    #[test]
    fn links_within_a_chunk_stay() {
        let text = "[a](#page-3-0)\n\n<span id=\"page-3-0\"></span>b [c](#page-4-9)";
        let (texts, repairs) = mended(&[text]);
        assert_eq!(texts, [text], "also one that dangles");
        assert_eq!(
            repairs,
            LinkRepairs {
                kept: 2,
                ..LinkRepairs::default()
            }
        );
    }

    #[test]
    fn links_into_another_chunk_point_at_the_first_anchor_of_the_page() {
        let one = "[a](#page-12-1) [b](#page-12-0) | <a href=\"#page-12-1\">c</a>";
        let two =
            "x\n\n<span id=\"page-12-1\"></span>y <span id=\"page-12-0\"></span>[d](#page-3-0)";
        let (texts, repairs) = mended(&[one, two]);
        // page-12-1 of the first run is another place than page-12-1 of the second.
        assert_eq!(
            texts[0],
            "<span id=\"page-3\"></span>[a](#page-12-1) [b](#page-12-1) | <a href=\"#page-12-1\">c</a>"
        );
        assert_eq!(texts[1], two.replace("#page-3-0", "#page-3"));
        let expected = LinkRepairs {
            retargeted: 4,
            anchors_made: 1,
            ..LinkRepairs::default()
        };
        assert_eq!(repairs, expected);
    }

    #[test]
    fn an_anchor_is_made_where_the_page_has_none() {
        let (texts, repairs) = mended(&["[a](#page-10-0) [b](#page-10-1)", "first\n\nsecond"]);
        assert_eq!(
            texts,
            [
                "[a](#page-10) [b](#page-10)",
                "<span id=\"page-10\"></span>first\n\nsecond"
            ]
        );
        assert_eq!((repairs.retargeted, repairs.anchors_made), (2, 1));
    }

    #[test]
    fn anchors_keep_blocks_what_they_are() {
        let cases = [
            ("plain", "@plain"),
            ("**bold**", "@**bold**"),
            ("[a](http://x)", "@[a](http://x)"),
            ("![](_page_10_P_1.jpeg)", "@![](_page_10_P_1.jpeg)"),
            ("## Head", "## @Head"),
            ("#hash", "@\n\n#hash"),
            ("| a |\n|---|", "@\n\n| a |\n|---|"),
            ("- item", "@\n\n- item"),
            ("* item", "@\n\n* item"),
            ("1. item", "@\n\n1. item"),
            ("1995 was", "@1995 was"),
            ("> quote", "@\n\n> quote"),
            ("```\nx\n```", "@\n\n```\nx\n```"),
            ("$$x$$", "@\n\n$$x$$"),
            ("<table>", "@\n\n<table>"),
            ("", "@"),
        ];
        for (block, expected) in cases {
            let (texts, _) = mended(&["[a](#page-10-0)", block]);
            assert_eq!(
                texts[1],
                expected.replace('@', "<span id=\"page-10\"></span>"),
                "{block}"
            );
        }
    }

    #[test]
    fn anchors_of_several_pages_share_a_place_in_page_order() {
        let (texts, repairs) = mended(&["[a](#page-12-0) [b](#page-11-0)", "only"]);
        let both = "<span id=\"page-11\"></span><span id=\"page-12\"></span>";
        assert_eq!(texts[1], format!("{both}only"));
        assert_eq!(repairs.anchors_made, 2);
    }

    #[test]
    fn a_page_left_out_of_a_chunk_is_not_converted() {
        let gap = Piece {
            pages: vec![0, 4],
            text: "[a](#page-5-0)",
            headings: &[],
        };
        let rest = Piece {
            pages: vec![6],
            text: "[b](#page-2-0)",
            headings: &[],
        };
        let (texts, repairs) = mend(&[gap, rest]);
        assert_eq!(texts, ["[a](#page-5-0)", "[b](#page-2-0)"]);
        assert_eq!(
            repairs,
            LinkRepairs {
                outside: 2,
                ..LinkRepairs::default()
            }
        );
    }

    #[test]
    fn links_to_pages_not_converted_stay() {
        let (texts, repairs) = mended(&["[a](#page-77-0)"]);
        assert_eq!((texts[0].as_str(), repairs.outside), ("[a](#page-77-0)", 1));
    }
}
