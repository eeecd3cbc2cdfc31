//! How far two texts are from each other. Pure.

use std::time::Duration;

use similar::{Algorithm, TextDiff, capture_diff_slices_deadline, diff_ratio};

/// How long differences are looked for. Two books that have little in common
/// would take minutes; after this the rest counts as different.
const PATIENCE: Duration = Duration::from_secs(20);

/// How alike two texts are.
#[derive(Debug, Clone, PartialEq)]
pub struct Similarity {
    /// Words that both have in the same order, as a share of all words of both:
    /// 0 to 1.
    pub words: f64,
    /// The differing lines, as `diff -u` writes them; empty for none.
    pub diff: String,
}

/// Compares texts that have names.
pub fn similarity(one: (&str, &str), other: (&str, &str)) -> Similarity {
    let words = words(one.1, other.1);
    let lines = TextDiff::configure()
        .timeout(PATIENCE)
        .diff_lines(one.1, other.1);
    let diff = lines.unified_diff().header(one.0, other.0).to_string();
    Similarity {
        words,
        diff: if one.1 == other.1 {
            String::new()
        } else {
            diff
        },
    }
}

/// White space does not count: where lines are broken is no difference.
fn words(one: &str, other: &str) -> f64 {
    let one: Vec<&str> = one.split_whitespace().collect();
    let other: Vec<&str> = other.split_whitespace().collect();
    let deadline = std::time::Instant::now().checked_add(PATIENCE);
    let steps = capture_diff_slices_deadline(Algorithm::Myers, &one, &other, deadline);
    f64::from(diff_ratio(&steps, one.len(), other.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_count_and_white_space_does_not() {
        let alike = |one, other| similarity(("a", one), ("b", other)).words;
        assert_eq!(alike("a b c d", "a b c d"), 1.0);
        assert_eq!(alike("a b\nc d", "a  b c\n\nd"), 1.0);
        assert_eq!(alike("a b c d", "a x c d"), 0.75);
        assert_eq!(alike("a b", "x y"), 0.0);
        assert_eq!(alike("", ""), 1.0);
    }

    #[test]
    fn differing_lines_are_told_as_people_know_it() {
        let told = similarity(("one", "a\nb\nc\n"), ("other", "a\nx\nc\n"));
        let diff = "--- one\n+++ other\n@@ -1,3 +1,3 @@\n a\n-b\n+x\n c\n";
        assert_eq!(told.diff, diff);
        assert_eq!(similarity(("one", "a\n"), ("other", "a\n")).diff, "");
    }
}
