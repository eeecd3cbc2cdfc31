//! marker's `<stem>_meta.json`: parsing, checking and joining. Opens no file.
//!
//! marker since 1.0 writes an object with `table_of_contents` (headings in page
//! order), `page_stats` (one entry a page) and `debug_data_path` (of 1.10.2:
//! `debug_data/<stem>`, the same for every range). marker 0.x has `pdf_toc` (of
//! the file, the same for every range), `computed_toc`, and counts. Entries are
//! kept as the text marker wrote, so that no number changes its last digit on
//! the way.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::entries::Entries;

/// Lists whose entries are in page order, to be joined end to end. The last is
/// of marker 0.x.
const LISTS: [&str; 3] = ["table_of_contents", "page_stats", "computed_toc"];

/// Counts of marker 0.x, alone or in objects, to be added up.
const COUNTS: [&str; 3] = ["pages", "ocr_stats", "block_stats"];

/// The key of pages that were not converted. Marker has none like it.
const PLACEHOLDERS: &str = "placeholders";

/// Why metadata cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// Not JSON, or not the shape known.
    #[error("not the JSON that marker writes")]
    Shape(#[from] serde_json::Error),
    /// `page_stats` lists no page, or one twice, out of order or of another
    /// chunk.
    #[error("`page_stats` of the pages {first} to {last} (counted from 0) lists {found:?}")]
    Pages {
        /// What is listed.
        found: Vec<u32>,
        /// The chunk's first page.
        first: u32,
        /// The chunk's last page.
        last: u32,
    },
}

/// One chunk's metadata.
#[derive(Debug)]
pub(super) struct Metadata {
    entries: Vec<(String, Box<RawValue>)>,
    headings: Vec<Heading>,
}

/// An entry of the table of contents, as far as joining needs it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Heading {
    /// The heading's text as marker read it, lines and all.
    pub(super) title: String,
    /// Its page, counted from 0.
    pub(super) page_id: u32,
}

#[derive(Deserialize)]
struct PageStat {
    page_id: u32,
}

impl Metadata {
    pub(super) fn parse(text: &str) -> Result<Metadata, MetadataError> {
        let Entries(entries) = serde_json::from_str(text)?;
        let owned = |(name, value): (Cow<str>, &RawValue)| (name.into_owned(), value.to_owned());
        let entries = entries.into_iter().map(owned).collect();
        let mut metadata = Metadata {
            entries,
            headings: Vec::new(),
        };
        if let Some(list) = metadata.get("table_of_contents") {
            // `null` where the table was not made.
            metadata.headings = serde_json::from_str::<Option<_>>(list.get())?.unwrap_or_default();
        }
        Ok(metadata)
    }

    /// The pages that `page_stats` lists, which must ascend within `chunk`;
    /// where there is no such list, all of `chunk`.
    pub(super) fn pages(&self, chunk: RangeInclusive<u32>) -> Result<Vec<u32>, MetadataError> {
        let Some(list) = self.get("page_stats") else {
            return Ok(chunk.collect());
        };
        let stats: Vec<PageStat> = serde_json::from_str(list.get())?;
        let found: Vec<u32> = stats.iter().map(|stat| stat.page_id).collect();
        let inside = found.iter().all(|page| chunk.contains(page));
        if found.is_empty() || !inside || !found.is_sorted_by(|one, next| one < next) {
            let (first, last) = chunk.into_inner();
            return Err(MetadataError::Pages { found, first, last });
        }
        Ok(found)
    }

    /// The headings in page order.
    pub(super) fn headings(&self) -> &[Heading] {
        &self.headings
    }

    fn get(&self, key: &str) -> Option<&RawValue> {
        self.entries
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| &**value)
    }
}

/// Joined metadata.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Joined {
    /// The JSON, in marker's own layout.
    pub(super) text: String,
    /// Keys left out because the chunks disagree about them.
    pub(super) dropped: Vec<String>,
}

/// A page without a result, as the metadata names it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Unconverted<'a> {
    /// Counted from 0.
    pub(super) page_id: u32,
    /// Why.
    pub(super) because: &'a str,
}

/// Joins the chunks' metadata, given in page order.
pub(super) fn join(parts: &[&Metadata], unconverted: &[Unconverted]) -> Joined {
    let mut fields = Vec::new();
    let mut dropped = Vec::new();
    for key in keys(parts) {
        let values: Vec<Option<&RawValue>> = parts.iter().map(|part| part.get(key)).collect();
        let value = if LISTS.contains(&key) {
            joined_list(&values)
        } else if COUNTS.contains(&key) {
            added(&values)
        } else {
            agreed(&values)
        };
        match value {
            Some(value) => fields.push(format!("{}: {value}", quoted(key))),
            None => dropped.push(key.to_owned()),
        }
    }
    if !unconverted.is_empty() {
        let list = unconverted
            .iter()
            .map(|page| serde_json::json!(page).to_string());
        fields.push(format!(
            "{}: {}",
            quoted(PLACEHOLDERS),
            written(list.collect())
        ));
    }
    Joined {
        text: format!("{{\n  {}\n}}", fields.join(",\n  ")),
        dropped,
    }
}

/// All keys, in the order in which they first appear.
fn keys<'a>(parts: &[&'a Metadata]) -> Vec<&'a str> {
    let mut keys: Vec<&str> = Vec::new();
    for (key, _) in parts.iter().flat_map(|part| &part.entries) {
        if !keys.contains(&key.as_str()) {
            keys.push(key);
        }
    }
    keys
}

/// The entries of all lists; `None` where a value is neither list nor null.
fn joined_list(values: &[Option<&RawValue>]) -> Option<String> {
    let mut entries: Vec<String> = Vec::new();
    for value in values.iter().flatten() {
        let list: Option<Vec<Box<RawValue>>> = serde_json::from_str(value.get()).ok()?;
        entries.extend(
            list.into_iter()
                .flatten()
                .map(|entry| entry.get().to_owned()),
        );
    }
    Some(written(entries))
}

fn written(entries: Vec<String>) -> String {
    if entries.is_empty() {
        return "[]".to_owned();
    }
    format!("[\n    {}\n  ]", entries.join(",\n    "))
}

/// The sum of all values; `None` where one is missing or they cannot be added.
fn added(values: &[Option<&RawValue>]) -> Option<String> {
    let values = values
        .iter()
        .map(|value| serde_json::from_str((*value)?.get()).ok());
    let values: Vec<Value> = values.collect::<Option<_>>()?;
    let sum = values
        .into_iter()
        .map(Some)
        .reduce(|sum, value| plus(sum?, value?))??;
    serde_json::to_string(&sum).ok()
}

/// Numbers add up, objects field by field; of two words one may be `none`.
fn plus(one: Value, other: Value) -> Option<Value> {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            Some(one.as_u64()?.checked_add(other.as_u64()?)?.into())
        }
        (Value::Object(mut one), Value::Object(other)) => {
            for (key, value) in other {
                let sum = match one.remove(&key) {
                    Some(before) => plus(before, value)?,
                    None => value,
                };
                one.insert(key, sum);
            }
            Some(one.into())
        }
        (one, other) if one == other || other == "none" => Some(one),
        (one, other) => (one == "none").then_some(other),
    }
}

/// The value that all chunks give, if it is one.
fn agreed(values: &[Option<&RawValue>]) -> Option<String> {
    let first = (*values.first()?)?.get();
    let same = values
        .iter()
        .all(|value| value.is_some_and(|value| value.get() == first));
    same.then(|| first.to_owned())
}

fn quoted(key: &str) -> String {
    Value::from(key).to_string()
}

#[cfg(test)]
mod tests {
    use super::{Heading, Metadata, MetadataError, Unconverted, join};

    fn parse(text: &str) -> Metadata {
        Metadata::parse(text).unwrap()
    }

    #[test]
    fn lists_are_joined_in_order_and_numbers_keep_their_digits() {
        let one = "{\n  \"table_of_contents\": [],\n  \"page_stats\": [\n    {\n      \"page_id\": 0,\n      \"x\": 0.10000000000000003\n    }\n  ],\n  \"debug_data_path\": \"debug_data/a\"\n}";
        let two = "{\n  \"table_of_contents\": [],\n  \"page_stats\": [\n    {\n      \"page_id\": 1,\n      \"x\": 1e3\n    }\n  ],\n  \"debug_data_path\": \"debug_data/a\"\n}";
        let joined = join(&[&parse(one), &parse(two)], &[]);
        assert_eq!(
            joined.text,
            "{\n  \"table_of_contents\": [],\n  \"page_stats\": [\n    {\n      \"page_id\": 0,\n      \"x\": 0.10000000000000003\n    },\n    {\n      \"page_id\": 1,\n      \"x\": 1e3\n    }\n  ],\n  \"debug_data_path\": \"debug_data/a\"\n}"
        );
        assert!(joined.dropped.is_empty());
        assert_eq!(
            join(&[&parse(one)], &[]).text,
            one,
            "one chunk stays as marker wrote it"
        );
    }

    #[test]
    fn unknown_keys_stay_only_when_all_agree() {
        let cases = [
            (r#"{"k": 1}"#, r#"{"k": 1}"#, "{\n  \"k\": 1\n}", &[][..]),
            (
                r#"{"k": 1, "l": 3}"#,
                r#"{"k": 2, "l": 3}"#,
                "{\n  \"l\": 3\n}",
                &["k"][..],
            ),
            (r#"{"k": 1}"#, r#"{"l": 1}"#, "{\n  \n}", &["k", "l"][..]),
            (
                r#"{"page_stats": 7}"#,
                r#"{"page_stats": []}"#,
                "{\n  \n}",
                &["page_stats"][..],
            ),
        ];
        for (one, two, text, dropped) in cases {
            let joined = join(&[&parse(one), &parse(two)], &[]);
            assert_eq!(
                (joined.text.as_str(), joined.dropped),
                (text, as_strings(dropped))
            );
        }
    }

    fn as_strings(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn pages_ascend_within_the_chunk() {
        let pages = |list: &[u32]| {
            let list: Vec<String> = list
                .iter()
                .map(|page| format!("{{\"page_id\": {page}}}"))
                .collect();
            parse(&format!("{{\"page_stats\": [{}]}}", list.join(","))).pages(3..=5)
        };
        for good in [&[3, 4, 5][..], &[3, 5], &[4]] {
            assert_eq!(pages(good).unwrap(), good);
        }
        for bad in [&[][..], &[3, 3], &[5, 4], &[2, 3], &[5, 6]] {
            assert!(
                matches!(pages(bad), Err(MetadataError::Pages { .. })),
                "{bad:?}"
            );
        }
        assert_eq!(
            parse("{}").pages(3..=5).unwrap(),
            [3, 4, 5],
            "old versions list no pages"
        );
    }

    #[test]
    fn headings_come_from_the_table_of_contents() {
        let toc = r#"{"table_of_contents": [{"title": "A\nB", "heading_level": null, "page_id": 7, "polygon": []}]}"#;
        let heading = Heading {
            title: "A\nB".to_owned(),
            page_id: 7,
        };
        assert_eq!(parse(toc).headings(), [heading]);
        assert!(
            parse(r#"{"table_of_contents": null}"#)
                .headings()
                .is_empty()
        );
        for bad in ["[]", "7", "", r#"{"table_of_contents": 7}"#, r#"{"a": }"#] {
            assert!(Metadata::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn counts_of_old_versions_are_added_up() {
        let one = r#"{"languages": null, "pdf_toc": [{"title": "A", "page": 7}], "pages": 3,
            "ocr_stats": {"ocr_pages": 0, "ocr_engine": "none"},
            "block_stats": {"table": 1, "equations": {"equations": 2}}, "computed_toc": [1]}"#;
        let two = r#"{"languages": null, "pdf_toc": [{"title": "A", "page": 7}], "pages": 2,
            "ocr_stats": {"ocr_pages": 2, "ocr_engine": "surya"},
            "block_stats": {"table": 1, "code": 5, "equations": {"equations": 2}}, "computed_toc": [2]}"#;
        let joined = join(&[&parse(one), &parse(two)], &[]);
        let found: serde_json::Value = serde_json::from_str(&joined.text).unwrap();
        let expected = serde_json::json!({
            "languages": null, "pdf_toc": [{"title": "A", "page": 7}], "pages": 5,
            "ocr_stats": {"ocr_pages": 2, "ocr_engine": "surya"},
            "block_stats": {"table": 2, "code": 5, "equations": {"equations": 4}},
            "computed_toc": [1, 2],
        });
        assert_eq!(found, expected);
        let odd = join(
            &[&parse(r#"{"pages": 1}"#), &parse(r#"{"pages": "x"}"#)],
            &[],
        );
        assert_eq!(odd.dropped, ["pages"]);
    }

    #[test]
    fn pages_that_were_not_converted_are_listed() {
        let page = Unconverted {
            page_id: 4,
            because: "a \"reason\"",
        };
        let joined = join(&[&parse(r#"{"page_stats": []}"#)], &[page]);
        let found: serde_json::Value = serde_json::from_str(&joined.text).unwrap();
        let expected = serde_json::json!([{"page_id": 4, "because": "a \"reason\""}]);
        assert_eq!(found["placeholders"], expected);
    }
}
