//! Links from one part into another. Pure.
//!
//! Within a chunk, links and anchors fit each other and stay as they are. A
//! link into another chunk cannot stay: its target was numbered in a run that
//! did not have the page, so the number names nothing there, or something
//! else. It is pointed at the page: at the first anchor that the page has, or
//! at a new one, `page-N`, put where the page begins. So is a link within a
//! chunk whose anchor marker left out. A link to a page that is not in the
//! result dangles, as it does in what marker writes for those pages, and stays.

use std::collections::{BTreeMap, HashSet};

use super::survey::{Edit, Survey};

/// What became of the links inside a document.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LinkRepairs {
    /// Links within a chunk: as marker wrote them.
    pub kept: usize,
    /// Links into another chunk, or without an anchor in their own: now
    /// pointing at their page.
    pub retargeted: usize,
    /// Links to pages that were not converted: dangling, as without chunks.
    pub outside: usize,
    /// Anchors made for retargeted links.
    pub anchors_made: usize,
}

/// Adds the edits that mend the links of all parts, given in page order. What
/// marker wrote in one piece stays as it is.
pub(super) fn mend(parts: &mut [Survey]) -> LinkRepairs {
    let mut repairs = LinkRepairs::default();
    let mut anchors = Anchors::of(parts);
    let alone = parts.len() == 1;
    for (here, part) in parts.iter_mut().enumerate() {
        for link in &part.links {
            match anchors.part_with(link.page) {
                None => repairs.outside += 1,
                Some(there) if there == here && (alone || anchors.has(&link.name)) => {
                    repairs.kept += 1;
                }
                Some(_) => match anchors.for_page(link.page) {
                    None => repairs.outside += 1,
                    Some(name) => {
                        repairs.retargeted += 1;
                        part.edits.push(Edit {
                            range: link.range.clone(),
                            text: name,
                        });
                    }
                },
            }
        }
    }
    repairs.anchors_made = anchors.made.values().map(Vec::len).sum();
    for ((part, start), pages) in anchors.made {
        let names: Vec<String> = pages.iter().map(|page| new_name(*page)).collect();
        let edit = parts[part].starts[start].anchors(names.iter().map(String::as_str));
        // Before other edits at the same place, such as that of a link there.
        parts[part].edits.insert(0, edit);
    }
    repairs
}

fn new_name(page: u32) -> String {
    format!("page-{page}")
}

/// A place for anchors: a part and which of its starts.
type Place = (usize, usize);

/// The anchors of all parts.
struct Anchors {
    /// The part that holds a page.
    parts: BTreeMap<u32, usize>,
    names: HashSet<String>,
    /// The first anchor of a page.
    first: BTreeMap<u32, String>,
    /// Where pages begin.
    starts: BTreeMap<u32, Place>,
    /// New anchors: for which pages.
    made: BTreeMap<Place, Vec<u32>>,
}

impl Anchors {
    fn of(parts: &[Survey]) -> Anchors {
        let mut anchors = Anchors {
            parts: BTreeMap::new(),
            names: HashSet::new(),
            first: BTreeMap::new(),
            starts: BTreeMap::new(),
            made: BTreeMap::new(),
        };
        for (number, part) in parts.iter().enumerate() {
            let pages = part.pages.iter().map(|page| (*page, number));
            anchors.parts.extend(pages);
            for anchor in &part.anchors {
                anchors.names.insert(anchor.name.clone());
                let first = anchors.first.entry(anchor.page);
                first.or_insert_with(|| anchor.name.clone());
            }
            let starts = part.starts.iter().enumerate();
            let starts = starts.map(|(at, start)| (start.page, (number, at)));
            anchors.starts.extend(starts);
        }
        anchors
    }

    fn part_with(&self, page: u32) -> Option<usize> {
        self.parts.get(&page).copied()
    }

    fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// The name of an anchor for `page`, which is made if there is none: on the
    /// page, or at the next place that can take one. `None` where the whole
    /// document has no such place.
    fn for_page(&mut self, page: u32) -> Option<String> {
        if let Some(name) = self.first.get(&page) {
            return Some(name.clone());
        }
        let behind = self.starts.range(page..).next();
        let (_, place) = behind.or_else(|| self.starts.iter().next_back())?;
        let pages = self.made.entry(*place).or_default();
        if let Err(at) = pages.binary_search(&page) {
            pages.insert(at, page);
        }
        Some(new_name(page))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{markdown, survey};
    use super::{LinkRepairs, mend};

    /// Mends chunks of ten pages each.
    fn mended(texts: &[&str]) -> (Vec<String>, LinkRepairs) {
        let pages = (0..).map(|number| (number * 10..=number * 10 + 9).collect());
        let parts: Vec<(Vec<u32>, &str)> = pages.zip(texts.iter().copied()).collect();
        mended_parts(&parts)
    }

    fn mended_parts(parts: &[(Vec<u32>, &str)]) -> (Vec<String>, LinkRepairs) {
        let survey = |(pages, text): &(Vec<u32>, &str)| markdown::survey(text, pages, &[]);
        let mut surveys: Vec<_> = parts.iter().map(survey).collect();
        let repairs = mend(&mut surveys);
        let edited = |((_, text), survey): (&(_, &str), _)| survey::edited(text, survey);
        (parts.iter().zip(&surveys).map(edited).collect(), repairs)
    }

    #[test]
    fn links_within_a_chunk_stay() {
        let text = "[a](#page-3-0)\n\n<span id=\"page-3-0\"></span>b [c](#page-4-9)";
        let (texts, repairs) = mended(&[text]);
        assert_eq!(texts, [text], "also one that dangles, in one piece");
        assert_eq!((repairs.kept, repairs.retargeted), (2, 0));
        let (texts, repairs) = mended(&[text, "more"]);
        assert_eq!(
            texts[0],
            text.replace(
                "b [c](#page-4-9)",
                "<span id=\"page-4\"></span>b [c](#page-4)"
            )
            .replace(
                "<span id=\"page-3-0\"></span><span id=\"page-4\"></span>",
                "<span id=\"page-4\"></span><span id=\"page-3-0\"></span>"
            )
        );
        assert_eq!((repairs.kept, repairs.retargeted), (1, 1));
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
        let gap = (vec![0, 4], "[a](#page-5-0)");
        let rest = (vec![6], "[b](#page-2-0)");
        let (texts, repairs) = mended_parts(&[gap, rest]);
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
