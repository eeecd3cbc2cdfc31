//! What joining must know about the text of one part, whatever its format.
//! Holds no part of the text, so that a long document is never in memory as a
//! whole.

use std::ops::Range;

/// One part's text, seen through.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// Its pages, counted from 0, ascending, at least one.
    pub(super) pages: Vec<u32>,
    /// What goes into the joined text; around it is only what every part has.
    pub(super) body: Range<usize>,
    /// The rest of the joined text, as this part would have it.
    pub(super) frame: Frame,
    /// Links to places in the document.
    pub(super) links: Vec<LinkFound>,
    /// Anchors, in the order of the text.
    pub(super) anchors: Vec<AnchorFound>,
    /// Where an anchor for a page may be put, in the order of pages. Pages
    /// that have no place of their own are left out.
    pub(super) starts: Vec<Start>,
    /// Which sections its blocks are in, in the order in which marker tells.
    pub(super) sections: Vec<Section>,
    /// What is to be changed in the text.
    pub(super) edits: Vec<Edit>,
}

/// What stands around the bodies in the joined text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Frame {
    /// At the very beginning.
    pub(super) head: String,
    /// Before the first body.
    pub(super) first: &'static str,
    /// Between two bodies.
    pub(super) between: &'static str,
    /// Behind the last body.
    pub(super) last: &'static str,
    /// At the very end.
    pub(super) tail: String,
}

/// A link to a place in the document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LinkFound {
    /// The target's page, counted from 0.
    pub(super) page: u32,
    /// The target, `page-N-i`.
    pub(super) name: String,
    /// Where in the text it stands.
    pub(super) range: Range<usize>,
}

/// An anchor that links can point at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AnchorFound {
    /// Its page, counted from 0.
    pub(super) page: u32,
    /// Its name, `page-N-i`.
    pub(super) name: String,
}

/// Where a page begins, as well as that can be known, and what an anchor there
/// must look like for the blocks around it to stay what they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Start {
    /// The page, counted from 0.
    pub(super) page: u32,
    /// Where in the text.
    pub(super) offset: usize,
    /// What stands before the anchors there.
    pub(super) before: String,
    /// What stands behind them.
    pub(super) after: String,
    /// Whether the text there is within a string of JSON.
    pub(super) in_json: bool,
}

impl Start {
    /// The change that puts anchors of these names here.
    pub(super) fn anchors<'a>(&self, names: impl Iterator<Item = &'a str>) -> Edit {
        let quote = if self.in_json { "\\\"" } else { "\"" };
        let spans: String = names
            .map(|name| format!("<span id={quote}{name}{quote}></span>"))
            .collect();
        Edit {
            range: self.offset..self.offset,
            text: format!("{}{spans}{}", self.before, self.after),
        }
    }
}

/// Pages that begin at one place share a start, so that their anchors become
/// one change. It is the last page's, where the earlier ones find it, too.
pub(super) fn one_a_place(starts: impl IntoIterator<Item = Start>) -> Vec<Start> {
    let mut kept: Vec<Start> = Vec::new();
    for start in starts {
        match kept.last_mut() {
            Some(last) if last.offset == start.offset => *last = start,
            _ => kept.push(start),
        }
    }
    kept
}

/// The sections that a block is in: a heading's level and id each, outermost
/// first.
pub(super) type Hierarchy = Vec<(u32, String)>;

/// What a block says about its sections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Section {
    /// Where in the text it says so.
    pub(super) range: Range<usize>,
    /// How far the line is indented on which that begins.
    pub(super) indent: usize,
    /// What it says.
    pub(super) hierarchy: Hierarchy,
    /// The level of the section that this block begins, if it does.
    pub(super) begins: Option<u32>,
}

/// A change of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edit {
    /// What is replaced; empty for an insertion.
    pub(super) range: Range<usize>,
    /// By what.
    pub(super) text: String,
}

/// The body with the edits carried out, which do not overlap. Edits at one
/// place stay in their order.
pub(super) fn edited(text: &str, survey: &Survey) -> String {
    let body = &survey.body;
    let mut edits: Vec<&Edit> = survey.edits.iter().collect();
    edits.sort_by_key(|edit| (edit.range.start, edit.range.end));
    let mut result = String::with_capacity(body.len() + edits.len() * 32);
    let mut done = body.start;
    for edit in edits {
        let start = edit.range.start.clamp(done, body.end);
        result.push_str(&text[done..start]);
        result.push_str(&edit.text);
        done = edit.range.end.clamp(start, body.end);
    }
    result.push_str(&text[done..body.end]);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_carried_out_within_the_body() {
        let edit = |range: Range<usize>, text: &str| Edit {
            range,
            text: text.to_owned(),
        };
        let survey = Survey {
            body: 2..8,
            edits: vec![
                edit(6..7, "X"),
                edit(0..0, "["),
                edit(4..4, "a"),
                edit(4..4, "b"),
                edit(9..9, "]"),
            ],
            ..Survey::default()
        };
        assert_eq!(edited("0123456789", &survey), "[23ab45X7]");
    }

    #[test]
    fn anchors_in_json_are_escaped() {
        let start = Start {
            page: 3,
            offset: 7,
            before: "<".to_owned(),
            after: ">".to_owned(),
            in_json: true,
        };
        let edit = start.anchors(["page-3", "page-4"].into_iter());
        let expected = r#"<<span id=\"page-3\"></span><span id=\"page-4\"></span>>"#;
        assert_eq!((edit.range, edit.text.as_str()), (7..7, expected));
    }
}
