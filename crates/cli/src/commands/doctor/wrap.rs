//! Text in the columns that there are.

use std::io::{self, IsTerminal};

use crate::render::printable;

/// Columns where there is no terminal to ask: the width that every terminal
/// has, and the most in which prose is read with ease.
pub(super) const USUAL: usize = 80;
/// The most that a table makes use of.
const WIDEST: usize = 120;
/// Narrower than this nothing can be laid out.
const NARROWEST: usize = 30;

/// Columns of the terminal that standard output is, at most 120; 80 for a file
/// or a pipe.
pub(crate) fn columns() -> usize {
    let out = io::stdout();
    if !out.is_terminal() {
        return USUAL;
    }
    match terminal_size::terminal_size_of(&out) {
        Some((columns, _)) => usize::from(columns.0).clamp(NARROWEST, WIDEST),
        None => USUAL,
    }
}

/// The same for prose.
pub(crate) fn width() -> usize {
    columns().min(USUAL)
}

/// Breaks a text at blanks so that lines with the label before them stay within
/// the width; further lines are indented below the text, or a little where the
/// label would leave them no room. A word that is longer by itself, such as a
/// path, stays whole.
pub(crate) fn wrap(label: &str, text: &str, width: usize) -> String {
    let text = printable(text);
    let label_width = label.chars().count();
    let is_heading = label_width * 3 > width;
    let indent = " ".repeat(if is_heading { 2 } else { label_width });
    let mut lines: Vec<String> = vec![label.to_owned()];
    let mut is_empty = !is_heading;
    for word in text.split_whitespace() {
        let last = lines
            .last()
            .map_or(0, |line| line.trim_end().chars().count());
        if !is_empty && last + 1 + word.chars().count() > width {
            lines.push(indent.clone());
            is_empty = true;
        }
        if let Some(line) = lines.last_mut() {
            if !is_empty {
                line.truncate(line.trim_end().len());
                line.push(' ');
            }
            line.push_str(word);
            is_empty = false;
        }
    }
    if let Some(first) = lines.first_mut() {
        first.truncate(first.trim_end().len());
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_label_leaves_room_for_text_in_a_narrow_terminal() {
        let text = wrap(
            "a limit that leaves swap open: ",
            "not available, there is no swap",
            40,
        );
        assert_eq!(
            text,
            "a limit that leaves swap open: not\n  available, there is no swap"
        );
        let text = wrap(
            "ending a tree: ",
            "cgroup-v2 works: two processes followed",
            50,
        );
        assert!(text.contains("\n               followed"), "{text}");
    }

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
