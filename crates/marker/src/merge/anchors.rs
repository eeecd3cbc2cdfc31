//! What marker's Markdown says about pages: anchors, links and images.
//!
//! marker 1.x turns a link inside the document into `[text](#page-N-i)`, in a
//! table into `<a href="#page-N-i">`, and its target into an empty
//! `<span id="page-N-i"></span>` at the start of the nearest block of page N.
//! N counts from 0; i numbers the targets on page N in the order in which the
//! pages of the run mention them (pdftext `schema.PageReference`). An image is
//! `![](_page_N_Type_i.jpeg)`.

use std::ops::Range;

/// A place in a text that is on a known page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// Its page, counted from 0.
    pub(super) page: u32,
    /// Where it is, in bytes from the start of the text.
    pub(super) offset: usize,
}

/// A link to a place in the document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    /// The target's page, counted from 0.
    pub(super) page: u32,
    /// Where in the text the target `page-N-i` stands.
    pub(super) target: Range<usize>,
}

/// An anchor that links can point at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Anchor {
    /// Where it is; the offset is that of its `<`.
    pub(super) mark: Mark,
    /// Where in the text its name `page-N-i` stands.
    pub(super) name: Range<usize>,
}

/// All of them in one text, each kind in the order of the text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) links: Vec<Link>,
    pub(super) anchors: Vec<Anchor>,
    pub(super) images: Vec<Mark>,
}

const ANCHOR_START: &str = "<span id=\"";

/// Finds them outside the ranges `code`, whose text is the document's own.
pub(super) fn scan(text: &str, code: &[Range<usize>]) -> Found {
    let mut found = Found::default();
    for (at, _) in text.match_indices("page") {
        if code.iter().any(|range| range.contains(&at)) {
            continue;
        }
        let (before, after) = text.split_at(at);
        if let Some((page, length)) = parse_name(after) {
            let (name, next) = (at..at + length, after[length..].chars().next());
            if is_link(before, next) {
                found.links.push(Link { page, target: name });
            } else if before.ends_with(ANCHOR_START) && next == Some('"') {
                let mark = Mark {
                    page,
                    offset: at - ANCHOR_START.len(),
                };
                found.anchors.push(Anchor { mark, name });
            }
        } else if let (true, Some(page)) = (before.ends_with("](_"), image_page(after)) {
            found.images.push(Mark { page, offset: at });
        }
    }
    found
}

fn is_link(before: &str, next: Option<char>) -> bool {
    (before.ends_with("](#") && next == Some(')'))
        || (before.ends_with("href=\"#") && next == Some('"'))
}

/// Parses `page-N-i` at the start of `text`: N, and the length of it all.
pub(super) fn parse_name(text: &str) -> Option<(u32, usize)> {
    let rest = text.strip_prefix("page-")?;
    let page = digits(rest);
    let index = digits(rest[page.len()..].strip_prefix('-')?);
    if index.is_empty() {
        return None;
    }
    Some((
        page.parse().ok()?,
        "page-".len() + page.len() + 1 + index.len(),
    ))
}

pub(super) fn image_page(text: &str) -> Option<u32> {
    let rest = text.strip_prefix("page_")?;
    let page = digits(rest);
    rest[page.len()..]
        .starts_with('_')
        .then(|| page.parse().ok())
        .flatten()
}

fn digits(text: &str) -> &str {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::scan;

    /// Links, anchors and images as `page` or `page@name`, joined by blanks.
    fn told(text: &str) -> String {
        let found = scan(text, &[]);
        let links = found
            .links
            .iter()
            .map(|link| format!("L{}", &text[link.target.clone()]));
        let anchors = found.anchors.iter().map(|anchor| {
            assert!(text[anchor.mark.offset..].starts_with("<span"));
            format!("A{}", &text[anchor.name.clone()])
        });
        let images = found.images.iter().map(|image| format!("I{}", image.page));
        links
            .chain(anchors)
            .chain(images)
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn what_marker_writes_is_found() {
        let cases = [
            ("[a](#page-3-0) b", "Lpage-3-0"),
            ("| <a href=\"#page-12-7\">x</a> |", "Lpage-12-7"),
            ("# <span id=\"page-4-1\"></span>T", "Apage-4-1"),
            ("![](_page_5_Picture_3.jpeg)", "I5"),
            (
                "[a](#page-3-0)<span id=\"page-3-0\"></span>",
                "Lpage-3-0 Apage-3-0",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(told(text), expected, "{text}");
        }
    }

    #[test]
    fn what_only_looks_alike_is_left() {
        for text in [
            "page-3-0",
            "(#page-3-0)",
            "[a](#page-3)",
            "[a](#page-3-)",
            "[a](#page-x-1)",
            "[a](#page-3-0-1)",
            "[a](#page-99999999999-1)",
            "[a](http://x/#page-3-0)",
            "<div id=\"page-3-0\">",
            "_page_3_",
            "![](_page_x_P.jpeg)",
            "![](_page_3",
            "page",
        ] {
            assert_eq!(told(text), "", "{text}");
        }
    }

    #[test]
    fn code_is_left_alone() {
        let text = "```\n[a](#page-1-0)\n```\n[a](#page-2-0)";
        let found = scan(text, std::slice::from_ref(&(0..22)));
        assert_eq!(
            found.links.iter().map(|link| link.page).collect::<Vec<_>>(),
            [2]
        );
    }
}
