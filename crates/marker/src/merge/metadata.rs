//! marker's `<stem>_meta.json`: parsing, checking and joining. Opens no file.
//!
//! marker 1.x writes an object with `table_of_contents` (headings in page
//! order), `page_stats` (one entry a page) and `debug_data_path` (of 1.10.2:
//! `debug_data/<stem>`, the same for every range). Entries are kept as the text
//! marker wrote, so that no number changes its last digit on the way.

use std::fmt;
use std::ops::RangeInclusive;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Lists whose entries are in page order, to be joined end to end.
const LISTS: [&str; 2] = ["table_of_contents", "page_stats"];

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

/// Joins the chunks' metadata, given in page order.
pub(super) fn join(parts: &[Metadata]) -> Joined {
    let mut fields = Vec::new();
    let mut dropped = Vec::new();
    for key in keys(parts) {
        let values: Vec<Option<&RawValue>> = parts.iter().map(|part| part.get(key)).collect();
        let value = if LISTS.contains(&key) {
            joined_list(&values)
        } else {
            agreed(&values)
        };
        match value {
            Some(value) => fields.push(format!("{}: {value}", quoted(key))),
            None => dropped.push(key.to_owned()),
        }
    }
    Joined {
        text: format!("{{\n  {}\n}}", fields.join(",\n  ")),
        dropped,
    }
}

/// All keys, in the order in which they first appear.
fn keys(parts: &[Metadata]) -> Vec<&str> {
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
    if entries.is_empty() {
        return Some("[]".to_owned());
    }
    Some(format!("[\n    {}\n  ]", entries.join(",\n    ")))
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
    serde_json::Value::from(key).to_string()
}

/// The fields of an object in their order, values as written.
struct Entries(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Entries;

            fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::{Heading, Metadata, MetadataError, join};

    fn parse(text: &str) -> Metadata {
        Metadata::parse(text).unwrap()
    }

    #[test]
    fn lists_are_joined_in_order_and_numbers_keep_their_digits() {
        let one = "{\n  \"table_of_contents\": [],\n  \"page_stats\": [\n    {\n      \"page_id\": 0,\n      \"x\": 0.10000000000000003\n    }\n  ],\n  \"debug_data_path\": \"debug_data/a\"\n}";
        let two = "{\n  \"table_of_contents\": [],\n  \"page_stats\": [\n    {\n      \"page_id\": 1,\n      \"x\": 1e3\n    }\n  ],\n  \"debug_data_path\": \"debug_data/a\"\n}";
        let joined = join(&[parse(one), parse(two)]);
        assert_eq!(
            joined.text,
            "{\n  \"table_of_contents\": [],\n  \"page_stats\": [\n    {\n      \"page_id\": 0,\n      \"x\": 0.10000000000000003\n    },\n    {\n      \"page_id\": 1,\n      \"x\": 1e3\n    }\n  ],\n  \"debug_data_path\": \"debug_data/a\"\n}"
        );
        assert!(joined.dropped.is_empty());
        assert_eq!(
            join(&[parse(one)]).text,
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
            let joined = join(&[parse(one), parse(two)]);
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
}
