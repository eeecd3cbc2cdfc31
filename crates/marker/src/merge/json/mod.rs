//! Joining the two kinds of JSON. Pure.
//!
//! `json` is the tree of blocks, pages at the top: `{"children": [Page…],
//! "block_type": "Document"}`. `chunks` is a list of the blocks of all pages,
//! and where the pages are: `{"blocks": […], "page_info": {"N": …}}`. Only
//! what joining must change is changed, in place; images, coordinates and
//! what later versions may add stay as marker wrote them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::entries::Entries;
use super::html::{found, indent};
use super::markdown::{anchors, links};
use super::strings::Plain;
use super::survey::{Frame, Hierarchy, LinkFound, Section, Start, Survey, one_a_place};
use super::tags::{Tag, tags};

/// The list that makes up most of a text, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// The tree.
    Tree,
    /// The list.
    List,
}

/// Why a text is not what marker writes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShapeError {
    /// No JSON, or not of the known shape.
    #[error("not the JSON that marker writes")]
    Json(#[from] serde_json::Error),
    /// Without a list that there must be.
    #[error("there is no `{0}`")]
    Missing(&'static str),
    /// It has other pages than the metadata.
    #[error("it has pages {found:?}, counted from 0, where the metadata has {listed:?}")]
    Pages {
        /// In the text.
        found: Vec<u32>,
        /// In the metadata.
        listed: Vec<u32>,
    },
    /// HTML without a body.
    #[error("not the HTML that marker writes: it has no body")]
    NoBody,
}

/// A block, as far as joining looks at it.
#[derive(Deserialize)]
struct Block<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    block_type: Cow<'a, str>,
    #[serde(borrow)]
    html: &'a RawValue,
    #[serde(borrow, default)]
    children: Option<Vec<Block<'a>>>,
    #[serde(borrow, default)]
    section_hierarchy: Option<&'a RawValue>,
}

impl Shape {
    fn list(self) -> &'static str {
        match self {
            Shape::Tree => "children",
            Shape::List => "blocks",
        }
    }
}

/// The object that is joined by its keys.
const PAGE_INFO: &str = "page_info";

/// Sees a chunk's text through.
///
/// # Errors
/// When it is not what marker writes for these pages.
pub(super) fn survey(shape: Shape, text: &str, pages: &[u32]) -> Result<Survey, ShapeError> {
    let entries: Entries = serde_json::from_str(text)?;
    let list = entries
        .get(shape.list())
        .ok_or(ShapeError::Missing(shape.list()))?;
    let blocks: Vec<Block> = serde_json::from_str(list.get())?;
    check_pages(shape, &entries, &blocks, pages)?;
    let whole = range_in(text, list.get());
    let inner = &text[whole.start + 1..whole.end - 1];
    let start = whole.start + 1 + inner.len() - inner.trim_start().len();
    let mut survey = Survey {
        pages: pages.to_vec(),
        body: start..(start + inner.trim().len()),
        ..Survey::default()
    };
    let mut reader = Reader {
        text,
        survey: &mut survey,
        starts: BTreeMap::new(),
    };
    for block in &blocks {
        reader.read(block);
    }
    survey.starts = one_a_place(reader.starts.into_values());
    Ok(survey)
}

/// The text around the lists of these parts. Fields whose values differ
/// between the parts are left out.
pub(super) fn frame(shape: Shape, texts: &[Rest]) -> Frame {
    let first = texts.first();
    let keys = first.map(|rest| rest.fields.as_slice()).unwrap_or_default();
    let mut tail = String::from("]");
    for (key, value) in keys {
        let value = if key == PAGE_INFO {
            Some(joined_object(texts))
        } else {
            let same = |rest: &Rest| rest.field(key) == Some(value);
            texts.iter().all(same).then(|| value.clone())
        };
        if let Some(value) = value {
            tail.push_str(&format!(",\n  \"{key}\": {value}"));
        }
    }
    tail.push_str("\n}");
    Frame {
        head: format!("{{\n  \"{}\": [", shape.list()),
        first: "\n    ",
        between: ",\n    ",
        last: "\n  ",
        tail,
    }
}

/// What a text has beside its list.
#[derive(Debug, Clone, Default)]
pub(super) struct Rest {
    fields: Vec<(String, String)>,
}

impl Rest {
    /// # Errors
    /// When the text is no JSON object.
    pub(super) fn of(shape: Shape, text: &str) -> Result<Rest, ShapeError> {
        let entries: Entries = serde_json::from_str(text)?;
        let others = entries.0.iter().filter(|(key, _)| key != shape.list());
        let owned = others.map(|(key, value)| (key.to_string(), value.get().to_owned()));
        Ok(Rest {
            fields: owned.collect(),
        })
    }

    fn field(&self, key: &str) -> Option<&String> {
        let found = self.fields.iter().find(|(other, _)| other == key);
        found.map(|(_, value)| value)
    }
}

/// The entries of all objects, one behind the other.
fn joined_object(texts: &[Rest]) -> String {
    let objects = texts.iter().filter_map(|rest| rest.field(PAGE_INFO));
    let inner = objects.filter_map(|object| object.strip_prefix('{')?.strip_suffix('}'));
    let inner: Vec<&str> = inner
        .map(str::trim)
        .filter(|entries| !entries.is_empty())
        .collect();
    match inner.is_empty() {
        true => "{}".to_owned(),
        false => format!("{{\n    {}\n  }}", inner.join(",\n    ")),
    }
}

fn check_pages(
    shape: Shape,
    entries: &Entries,
    blocks: &[Block],
    listed: &[u32],
) -> Result<(), ShapeError> {
    let found: Vec<Option<u32>> = match shape {
        Shape::Tree => blocks.iter().map(|block| page(&block.id)).collect(),
        Shape::List => {
            let info = entries
                .get(PAGE_INFO)
                .ok_or(ShapeError::Missing(PAGE_INFO))?;
            let info: Entries = serde_json::from_str(info.get())?;
            let mut pages: Vec<Option<u32>> =
                info.0.iter().map(|(key, _)| key.parse().ok()).collect();
            // Keys of an object have no order that counts.
            pages.sort_unstable();
            pages
        }
    };
    if found.iter().copied().eq(listed.iter().copied().map(Some)) {
        return Ok(());
    }
    Err(ShapeError::Pages {
        found: found.into_iter().flatten().collect(),
        listed: listed.to_vec(),
    })
}

/// The page of a block's id: `/page/N/Type/i`.
fn page(id: &str) -> Option<u32> {
    id.strip_prefix("/page/")?.split('/').next()?.parse().ok()
}

/// Where `part`, which was borrowed from `text`, stands in it.
fn range_in(text: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr() as usize - text.as_ptr() as usize;
    start..start + part.len()
}

struct Reader<'a> {
    text: &'a str,
    survey: &'a mut Survey,
    starts: BTreeMap<u32, Start>,
}

impl Reader<'_> {
    /// Children first: what marker says about the sections of a block is as
    /// they are at its end.
    fn read(&mut self, block: &Block) {
        let children = block.children.iter().flatten();
        children.for_each(|child| self.read(child));
        self.read_html(block);
        self.read_sections(block);
    }

    fn read_html(&mut self, block: &Block) {
        let range = range_in(self.text, block.html.get());
        let plain = Plain::of(&self.text[range.clone()]);
        let html = plain.text();
        let raw = |at: usize| range.start + plain.raw(at);
        let found_tags = tags(html, 0..html.len());
        let found = found(html, &found_tags);
        let link = links(html, &found).into_iter().map(|link| LinkFound {
            range: raw(link.range.start)..raw(link.range.end),
            ..link
        });
        self.survey.links.extend(link);
        self.survey.anchors.extend(anchors(html, &found));
        let is_place = !html.is_empty() || block.block_type == "Page";
        if let (true, Some(page)) = (is_place, page(&block.id)) {
            let start = Start {
                page,
                offset: raw(inside_paragraph(&found_tags)),
                before: String::new(),
                after: String::new(),
                in_json: true,
            };
            // The first block that shows anything; the page itself, which
            // comes last, where there is none.
            self.starts.entry(page).or_insert(start);
        }
    }

    fn read_sections(&mut self, block: &Block) {
        let Some(raw) = block.section_hierarchy else {
            return;
        };
        let Ok(levels) = serde_json::from_str::<BTreeMap<u32, String>>(raw.get()) else {
            return;
        };
        let hierarchy: Hierarchy = levels.into_iter().collect();
        let own = hierarchy.iter().find(|(_, id)| *id == block.id);
        let is_header = block.block_type == "SectionHeader";
        let range = range_in(self.text, raw.get());
        self.survey.sections.push(Section {
            indent: indent(self.text, range.start),
            range,
            begins: own.filter(|_| is_header).map(|(level, _)| *level),
            hierarchy,
        });
    }
}

/// Marker puts an anchor inside a paragraph or heading, at its start.
fn inside_paragraph(tags: &[Tag]) -> usize {
    let first = tags
        .first()
        .filter(|tag| tag.range.start == 0 && !tag.closes);
    let holds_text = |name: &str| matches!(name, "p" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6");
    first
        .filter(|tag| holds_text(tag.name))
        .map_or(0, |tag| tag.range.end)
}

#[cfg(test)]
mod tests;
