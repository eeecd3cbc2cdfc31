//! Text in the columns that there are.

use std::io::{self, IsTerminal};

use crate::render::printable;

/// Columns where there is no terminal to ask: the width that every terminal
/// has, and the most that is read with ease.
const USUAL: usize = 80;
/// Narrower than this nothing can be laid out.
const NARROWEST: usize = 30;

/// Columns of the terminal that standard output is, at most 80; 80 for a file
/// or a pipe.
pub(super) fn width() -> usize {
    let out = io::stdout();
    if !out.is_terminal() {
        return USUAL;
    }
    match terminal_size::terminal_size_of(&out) {
        Some((columns, _)) => usize::from(columns.0).clamp(NARROWEST, USUAL),
        None => USUAL,
    }
}

/// Breaks a text at blanks so that lines with the label before them stay within
/// the width; further lines are indented below the text. A word that is longer
/// by itself, such as a path, stays whole.
pub(super) fn wrap(label: &str, text: &str, width: usize) -> String {
    let text = printable(text);
    let indent = " ".repeat(label.chars().count());
    let mut lines: Vec<String> = vec![label.to_owned()];
    let mut is_empty = true;
    for word in text.split_whitespace() {
        let last = lines.last().map_or(0, |line| line.chars().count());
        if !is_empty && last + 1 + word.chars().count() > width {
            lines.push(indent.clone());
            is_empty = true;
        }
        if let Some(line) = lines.last_mut() {
            if !is_empty {
                line.push(' ');
            }
            line.push_str(word);
            is_empty = false;
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_wraps_and_words_stay_whole() {
        let long = "/a/very/long/path".repeat(6);
        let text = wrap(
            "C3   ",
            &format!("memory is {long} bound to cgroup v1 there"),
            80,
        );
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "C3   memory is");
        assert_eq!(lines[1], format!("     {long}"));
        assert_eq!(lines[2], "     bound to cgroup v1 there");
        assert_eq!(wrap("", "one two three", 7), "one two\nthree");
    }

    #[test]
    fn names_from_the_host_cannot_reach_the_terminal_raw() {
        assert_eq!(wrap("", "a\u{1b}[2Jb", 80), "a\\u{1b}[2Jb");
    }
}
