//! The tags of HTML as marker writes it. Pure.
//!
//! marker writes HTML with BeautifulSoup, which closes every element, quotes
//! every attribute and escapes `<` in text. So tags can be found without
//! building a tree, and changed in place without touching anything else. Only
//! the list of chunks undoes escapes (`renderers/chunk.py`); there a tag in a
//! document's text looks like a real one, to browsers too.

use std::ops::Range;

/// A tag, opening or closing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tag<'a> {
    /// Its name, as written.
    pub(super) name: &'a str,
    /// From `<` to behind `>`.
    pub(super) range: Range<usize>,
    /// Whether it is `</name>`.
    pub(super) closes: bool,
    /// Names and where their values stand, without quotes.
    pub(super) attributes: Vec<(&'a str, Range<usize>)>,
}

/// Elements without content, and so without a closing tag (HTML standard,
/// 13.1.2).
const VOID: [&str; 13] = [
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track",
    "wbr",
];

/// Elements whose content is no HTML.
const RAW: [&str; 2] = ["script", "style"];

impl Tag<'_> {
    /// Where the value of an attribute stands.
    pub(super) fn attribute(&self, name: &str) -> Option<Range<usize>> {
        let found = self.attributes.iter().find(|(other, _)| *other == name);
        found.map(|(_, range)| range.clone())
    }

    /// By how much the depth changes behind it.
    pub(super) fn step(&self) -> isize {
        if self.closes {
            -1
        } else if VOID.contains(&self.name) {
            0
        } else {
            1
        }
    }
}

/// All tags in `range` of `text`, in order. What is no whole tag is text.
pub(super) fn tags(text: &str, range: Range<usize>) -> Vec<Tag<'_>> {
    let mut tags = Vec::new();
    let mut at = range.start;
    while let Some(next) = text[at..range.end].find('<') {
        at += next;
        let rest = &text[at..range.end];
        if let Some(comment) = rest.strip_prefix("<!--") {
            at += comment.find("-->").map_or(rest.len(), |end| end + 7);
        } else if let Some(tag) = tag(text, at, range.end) {
            at = tag.range.end;
            if !tag.closes && RAW.contains(&tag.name) {
                let close = format!("</{}", tag.name);
                at += text[at..range.end].find(&close).unwrap_or(0);
            }
            tags.push(tag);
        } else {
            at += 1;
        }
    }
    tags
}

/// The tag that begins at `start`, where `<` stands.
fn tag(text: &str, start: usize, end: usize) -> Option<Tag<'_>> {
    let closes = text[start + 1..end].starts_with('/');
    let mut at = start + 1 + usize::from(closes);
    let name = word(&text[at..end]);
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return None;
    }
    at += name.len();
    let mut attributes = Vec::new();
    loop {
        let rest = &text[at..end];
        let skipped = rest.len()
            - rest
                .trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '/')
                .len();
        at += skipped;
        let rest = &text[at..end];
        if rest.starts_with('>') {
            let range = start..at + 1;
            return Some(Tag {
                name,
                range,
                closes,
                attributes,
            });
        }
        let attribute = word(rest);
        if attribute.is_empty() {
            return None;
        }
        at += attribute.len();
        let Some(quote) = text[at..end].strip_prefix('=').and_then(|rest| {
            let quote = rest.chars().next()?;
            matches!(quote, '"' | '\'').then_some(quote)
        }) else {
            // Without a value, or with a bare one, which is passed over.
            continue;
        };
        let value = at + 2;
        let length = text[value..end].find(quote)?;
        attributes.push((attribute, value..value + length));
        at = value + length + 1;
    }
}

/// What stands before the next character with a meaning of its own.
fn word(text: &str) -> &str {
    let end = text.find(|c: char| c.is_ascii_whitespace() || "<>/=\"'".contains(c));
    match end {
        // A bare value: `=` belongs to it, so that parsing goes on.
        Some(0) if text.starts_with('=') => &text[..1],
        Some(end) => &text[..end],
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `name`, `/name`, with attributes `name(a=1,b=2)`.
    fn told(text: &str) -> String {
        let tags = tags(text, 0..text.len());
        let tell = |tag: &Tag| {
            assert!(text[tag.range.clone()].starts_with('<'));
            assert!(text[tag.range.clone()].ends_with('>'));
            let attributes: Vec<String> = tag
                .attributes
                .iter()
                .map(|(name, value)| format!("{name}={}", &text[value.clone()]))
                .collect();
            let slash = if tag.closes { "/" } else { "" };
            match attributes.is_empty() {
                true => format!("{slash}{}", tag.name),
                false => format!("{slash}{}({})", tag.name, attributes.join(",")),
            }
        };
        tags.iter().map(tell).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn tags_are_found_and_text_is_not() {
        let cases = [
            ("<p>a</p>", "p /p"),
            ("<a href=\"#page-3-0\">x</a>", "a(href=#page-3-0) /a"),
            ("<img alt='a\"b' src=\"x>y\"/>", "img(alt=a\"b,src=x>y)"),
            ("<br/><hr />", "br hr"),
            ("1 < 2 && 3 <4> <", ""),
            ("<!-- <p> --><b>", "b"),
            ("<!-- <p>", ""),
            ("<!DOCTYPE html><p>", "p"),
            ("<script>if (a<b) {}</script><i>", "script /script i"),
            (
                "<input checked disabled=true value=\"1\">",
                "input(value=1)",
            ),
            ("<p class=\"a", ""),
            ("<p <b>", "b"),
        ];
        for (text, expected) in cases {
            assert_eq!(told(text), expected, "{text}");
        }
    }

    #[test]
    fn depth_knows_elements_without_content() {
        let text = "<div><img/><br><p>x</p></div>";
        let depth: isize = tags(text, 0..text.len()).iter().map(Tag::step).sum();
        assert_eq!(depth, 0);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[<>/='\"a-c !é\\-]{0,40}") {
            let found = tags(&text, 0..text.len());
            let ranges: Vec<_> = found.iter().map(|tag| tag.range.clone()).collect();
            prop_assert!(ranges.windows(2).all(|two| two[0].end <= two[1].start));
        }
    }
}
