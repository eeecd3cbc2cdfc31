//! Strings of JSON, read without losing where each character stood. Pure.

use std::borrow::Cow;

/// A string with its escapes undone.
#[derive(Debug)]
pub(super) struct Plain<'a> {
    text: Cow<'a, str>,
    /// Behind each escape: where it ends in the plain text, and in the raw.
    steps: Vec<(usize, usize)>,
}

impl<'a> Plain<'a> {
    /// Of a JSON string with its quotes. What is none is taken to be empty.
    pub(super) fn of(raw: &'a str) -> Plain<'a> {
        let inner = raw
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'))
            .unwrap_or_default();
        if !inner.contains('\\') {
            return Plain {
                text: Cow::Borrowed(inner),
                steps: Vec::new(),
            };
        }
        let (mut text, mut steps, mut at) = (String::with_capacity(inner.len()), Vec::new(), 0);
        while let Some(next) = inner[at..].find('\\') {
            text.push_str(&inner[at..at + next]);
            at += next;
            let length = escape_length(&inner[at..]);
            let (escape, _) = inner.split_at(at + length);
            text.push_str(&undone(&escape[at..]));
            at += length;
            steps.push((text.len(), at));
        }
        text.push_str(&inner[at..]);
        Plain {
            text: Cow::Owned(text),
            steps,
        }
    }

    /// The text.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Where in the raw string, quotes included, the character stands that is
    /// at `offset` in the text.
    pub(super) fn raw(&self, offset: usize) -> usize {
        let before = self.steps.partition_point(|(plain, _)| *plain <= offset);
        let (plain, raw) = before
            .checked_sub(1)
            .map_or((0, 0), |last| self.steps[last]);
        1 + raw + (offset - plain)
    }
}

/// The length of the escape, or pair of them, with which `text` begins.
fn escape_length(text: &str) -> usize {
    let is_high = |text: &str| {
        let digits = text.strip_prefix("\\u").and_then(|rest| rest.get(..4));
        let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        code.is_some_and(|code| (0xd800..0xdc00).contains(&code))
    };
    let one = |text: &str| if text.starts_with("\\u") { 6 } else { 2 };
    let length = match text.get(6..) {
        Some(rest) if is_high(text) && rest.starts_with("\\u") => 12,
        _ => one(text),
    };
    length.min(text.len())
}

/// The characters that an escape stands for; nothing for one that is none.
fn undone(escape: &str) -> String {
    serde_json::from_str(&format!("\"{escape}\"")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn offsets_lead_back_to_the_raw_string() {
        let raw = r#""a\"b\u00e9\ud83d\ude00c""#;
        let plain = Plain::of(raw);
        assert_eq!(plain.text(), "a\"bé😀c");
        for (character, expected) in [
            ('a', "a\\"),
            ('"', "\\\"b"),
            ('b', "b\\u"),
            ('é', "\\u00e9"),
            ('😀', "\\ud83d"),
            ('c', "c\""),
        ] {
            let at = plain.text().find(character).unwrap();
            assert!(raw[plain.raw(at)..].starts_with(expected), "{character}");
        }
        assert_eq!(&raw[plain.raw(plain.text().len())..], "\"");
    }

    proptest! {
        #[test]
        fn every_string_is_read_as_json_reads_it(text in ".{0,40}", at in 0usize..40) {
            let raw = serde_json::to_string(&text).unwrap();
            let plain = Plain::of(&raw);
            prop_assert_eq!(plain.text(), &text);
            if text.is_char_boundary(at) && at < text.len() {
                let rest: String = serde_json::from_str(&format!("\"{}", &raw[plain.raw(at)..])).unwrap();
                prop_assert_eq!(&rest, &text[at..]);
            }
        }

        #[test]
        fn no_text_panics(raw in "[\"\\\\u0-9a-fx]{0,24}") {
            let plain = Plain::of(&raw);
            for at in 0..=plain.text().len() {
                plain.raw(at);
            }
        }
    }
}
