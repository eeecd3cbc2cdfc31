//! Comparing Markdown converted in chunks with the same in one piece.
//!
//! Equal are the text of every block and the order of blocks, apart from what
//! `docs/chunking.md` lists, which [`comparable`] and [`differences`] leave
//! out: levels of headings, anchors, the numbers in links inside the document,
//! and a paragraph that a border cuts in two.

/// The blocks of a text, without what chunking may change in them.
fn comparable(text: &str) -> Vec<String> {
    let blocks = text.split("\n\n").map(comparable_block);
    blocks.filter(|block| !block.is_empty()).collect()
}

fn comparable_block(block: &str) -> String {
    let mut plain = String::new();
    let mut rest = block;
    while let Some(at) = rest.find("page-") {
        let (before, after) = rest.split_at(at);
        if let Some(before) = before.strip_suffix("<span id=\"") {
            plain.push_str(before);
            rest = after.split_once("</span>").map_or("", |(_, behind)| behind);
        } else if before.ends_with("(#") {
            // `page-N-i` in the one, `page-N` or another number in the other.
            let page: String = after[5..]
                .chars()
                .take_while(char::is_ascii_digit)
                .collect();
            plain.push_str(before);
            plain.push_str("page-");
            plain.push_str(&page);
            rest = after.find(')').map_or("", |end| &after[end..]);
        } else {
            plain.push_str(&rest[..at + 5]);
            rest = &rest[at + 5..];
        }
    }
    plain.push_str(rest);
    match plain.trim_start_matches('#').strip_prefix(' ') {
        Some(title) if plain.starts_with('#') => format!("# {title}"),
        _ => plain,
    }
}

/// Where the two texts differ, in words; at most `borders` paragraphs of the
/// whole may be two in the chunked one.
pub fn differences(whole: &str, chunked: &str, borders: usize) -> Vec<String> {
    let (whole, chunked) = (comparable(whole), comparable(chunked));
    let mut found = Vec::new();
    let (mut cut, mut at) = (0, 0);
    for block in &whole {
        match &chunked[at.min(chunked.len())..] {
            [same, ..] if same == block => at += 1,
            [first, second, ..] if is_cut(block, first, second) => {
                cut += 1;
                at += 2;
            }
            other => {
                found.push(format!("expected {block:?}, found {:?}", other.first()));
                at += 1;
            }
        }
    }
    found.extend(
        chunked
            .iter()
            .skip(at)
            .map(|block| format!("surplus {block:?}")),
    );
    if cut > borders {
        found.push(format!(
            "{cut} paragraphs are cut in two at {borders} borders"
        ));
    }
    found
}

/// Whether `block` is the two in one: joined by a blank, or, where the first
/// ends with a hyphen, without it.
fn is_cut(block: &str, first: &str, second: &str) -> bool {
    let hyphens = ['-', '\u{2014}', '\u{ac}'];
    let joined = |first: &str, between: &str| block == format!("{first}{between}{second}");
    joined(first, " ")
        || first
            .strip_suffix(hyphens)
            .is_some_and(|first| joined(first, ""))
}

#[test]
fn only_the_listed_differences_are_passed_over() {
    let same = [
        ("# **A**\n\nb", "#### **A**\n\nb", 0),
        (
            "<span id=\"page-1-0\"></span>a [x](#page-3-4)",
            "a [x](#page-3)",
            0,
        ),
        ("## <span id=\"page-1-0\"></span>a", "# a", 0),
        ("one two", "one\n\ntwo", 1),
        ("national", "nat-\n\nional", 1),
        ("a\n\nb", "a\n\n<span id=\"page-2\"></span>\n\nb", 0),
    ];
    for (whole, chunked, borders) in same {
        assert_eq!(
            differences(whole, chunked, borders),
            [""; 0],
            "{whole:?} {chunked:?}"
        );
    }
    let different = [
        ("a", "b", 1),
        ("a\n\nb", "a", 1),
        ("a", "a\n\nb", 1),
        ("a\n\nb", "b\n\na", 1),
        ("one two", "one\n\ntwo", 0),
        ("a [x](#page-3-4)", "a [x](#page-4-4)", 0),
        ("#hash", "hash", 0),
        ("# a", "a", 0),
    ];
    for (whole, chunked, borders) in different {
        assert_ne!(
            differences(whole, chunked, borders),
            [""; 0],
            "{whole:?} {chunked:?}"
        );
    }
}
