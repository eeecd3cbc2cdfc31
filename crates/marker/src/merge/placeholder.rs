//! What stands in the result for a page that could not be converted, in each
//! format: a text like one of marker's for that page alone, so that joining
//! has nothing special to do. Pure.

use serde::Serialize;

use super::json::Shape;
use crate::format::OutputFormat;

/// A page that could not be converted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnconvertedPage {
    /// Counted from 0.
    pub page: u32,
    /// Why, on one line of printable text.
    pub because: String,
    /// Its width in points.
    pub width: u32,
    /// Its height in points.
    pub height: u32,
}

/// What blocks that stand for a page are called. Marker has no such type;
/// programs that read its JSON take types for words.
const BLOCK_TYPE: &str = "Placeholder";

impl UnconvertedPage {
    /// The text. `like` is that of a chunk, which tells whether pages are
    /// marked.
    pub(super) fn text(&self, format: OutputFormat, like: Option<&str>) -> String {
        match format {
            OutputFormat::Markdown => self.markdown(like.unwrap_or_default()),
            OutputFormat::Html => self.html_document(like.unwrap_or_default()),
            OutputFormat::Json => self.json(Shape::Tree),
            OutputFormat::Chunks => self.json(Shape::List),
        }
    }

    fn number(&self) -> u64 {
        u64::from(self.page) + 1
    }

    fn anchor(&self) -> String {
        format!("page-{}-0", self.page)
    }

    fn markdown(&self, like: &str) -> String {
        let mark = separator(like).map(|separator| format!("\n\n{{{}}}{separator}\n\n", self.page));
        format!(
            "{}> <span id=\"{}\"></span>**Page {} could not be converted**: {}",
            mark.unwrap_or_default(),
            self.anchor(),
            self.number(),
            escaped_markdown(&self.because)
        )
    }

    fn html(&self) -> String {
        format!(
            "<p class=\"memcap-placeholder\" id=\"{}\"><strong>Page {} could not be converted\
             </strong>: {}</p>",
            self.anchor(),
            self.number(),
            escaped_html(&self.because)
        )
    }

    fn html_document(&self, like: &str) -> String {
        let content = if like.contains("<div class=\"page\" data-page-id=\"") {
            format!(
                "  <div class=\"page\" data-page-id=\"{}\">\n   {}\n  </div>",
                self.page,
                self.html()
            )
        } else {
            format!("  {}", self.html())
        };
        format!(
            "<!DOCTYPE html>\n<html>\n <head>\n  <meta charset=\"utf-8\"/>\n </head>\n <body>\n\
             {content}\n </body>\n</html>\n"
        )
    }

    fn json(&self, shape: Shape) -> String {
        let id =
            |block_type: &str, number: u32| format!("/page/{}/{block_type}/{number}", self.page);
        let place = Place::of(self.width, self.height);
        let block = Block {
            id: id(BLOCK_TYPE, 0),
            block_type: BLOCK_TYPE,
            html: self.html(),
            page: (shape == Shape::List).then_some(self.page),
            place: place.clone(),
            children: (shape == Shape::Tree).then_some(None),
            section_hierarchy: Empty {},
            images: Some(Empty {}),
        };
        let text = match shape {
            Shape::List => serde_json::to_string_pretty(&List {
                page_info: [(self.page.to_string(), place)].into(),
                blocks: [block],
            }),
            Shape::Tree => serde_json::to_string_pretty(&Tree {
                children: [Block {
                    id: id("Page", 1),
                    block_type: "Page",
                    html: format!("<content-ref src='{}'></content-ref>", block.id),
                    page: None,
                    place,
                    children: Some(Some([Box::new(block)])),
                    section_hierarchy: Empty {},
                    images: None,
                }],
                block_type: "Document",
            }),
        };
        // Nothing in these values can fail to become JSON.
        text.unwrap_or_default()
    }
}

/// What `--paginate_output` puts behind a page's number, if it was given.
fn separator(like: &str) -> Option<&str> {
    let line = like.trim_start_matches('\n').lines().next()?;
    let (page, separator) = line.strip_prefix('{')?.split_once('}')?;
    let is_page = !page.is_empty() && page.bytes().all(|byte| byte.is_ascii_digit());
    (is_page && !separator.is_empty() && like.starts_with("\n\n")).then_some(separator)
}

/// Markdown knows a backslash before any punctuation (CommonMark, 2.4).
fn escaped_markdown(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        if "\\`*_[]<>#|$&~!".contains(character) {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

fn escaped_html(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[derive(Serialize)]
struct Tree {
    children: [Block; 1],
    block_type: &'static str,
}

#[derive(Serialize)]
struct List {
    blocks: [Block; 1],
    page_info: std::collections::BTreeMap<String, Place>,
}

#[derive(Serialize)]
struct Block {
    id: String,
    block_type: &'static str,
    html: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<u32>,
    #[serde(flatten)]
    place: Place,
    #[serde(skip_serializing_if = "Option::is_none")]
    children: Option<Option<[Box<Block>; 1]>>,
    section_hierarchy: Empty,
    images: Option<Empty>,
}

#[derive(Clone, Serialize)]
struct Place {
    polygon: [[f64; 2]; 4],
    bbox: [f64; 4],
}

/// `{}`.
#[derive(Serialize)]
struct Empty {}

impl Place {
    fn of(width: u32, height: u32) -> Place {
        let (width, height) = (f64::from(width), f64::from(height));
        Place {
            polygon: [[0.0, 0.0], [width, 0.0], [width, height], [0.0, height]],
            bbox: [0.0, 0.0, width, height],
        }
    }
}
