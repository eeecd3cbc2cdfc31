//! Joining Markdown. Pure.

use super::links::{LinkRepairs, Piece, mend};

/// Joins the chunks' texts, links between them mended.
pub(super) fn join(pieces: &[Piece]) -> (String, LinkRepairs) {
    let (texts, repairs) = mend(pieces);
    (join_texts(texts.iter().map(String::as_str)), repairs)
}

/// Puts one blank line between texts, which is what marker puts between
/// blocks. marker strips a text at both ends, so a chunk of blank pages is
/// empty and adds nothing. Only with `--paginate_output` may a text begin or
/// end with blank lines, around page marks; those of the whole are kept.
fn join_texts<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let mut joined = String::new();
    for text in texts.filter(|text| !text.is_empty()) {
        if joined.is_empty() {
            joined.push_str(text);
            continue;
        }
        joined.truncate(joined.trim_end_matches('\n').len());
        joined.push_str("\n\n");
        joined.push_str(text.trim_start_matches('\n'));
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::join_texts;

    #[test]
    fn texts_are_joined_by_one_blank_line() {
        let cases: [(&[&str], &str); 7] = [
            (&[], ""),
            (&["a"], "a"),
            (&["a", "b"], "a\n\nb"),
            (&["a", "", "b"], "a\n\nb"),
            (&["", ""], ""),
            (
                &["\n\n{0}---\n\na", "\n\n{1}---\n\nb"],
                "\n\n{0}---\n\na\n\n{1}---\n\nb",
            ),
            (
                &["\n\n{0}---\n\n", "\n\n{1}---\n\n"],
                "\n\n{0}---\n\n{1}---\n\n",
            ),
        ];
        for (texts, expected) in cases {
            assert_eq!(join_texts(texts.iter().copied()), expected, "{texts:?}");
        }
    }

    #[test]
    fn marks_of_a_list_survive() {
        assert_eq!(join_texts(["- a\n", "  - b"].into_iter()), "- a\n\n  - b");
    }
}
