//! The lines at the bottom of a terminal, drawn over again and again. Pure: a
//! frame is the text that makes the new lines of the old ones.
//!
//! Lines end without a newline and short of the edge, so that the `^C` that a
//! terminal echoes stays on the last of them. After a terminal was made
//! narrower, it has broken the old lines into more.

use unicode_width::UnicodeWidthStr;

/// Cells that stay free at the right.
pub(super) const EDGE: usize = 3;

/// What is on the screen.
#[derive(Debug, Default)]
pub(super) struct Screen {
    lines: Vec<String>,
}

impl Screen {
    /// Puts `above` over the lines, where it stays, and draws them anew.
    pub(super) fn frame(&mut self, above: &[String], lines: Vec<String>, width: usize) -> String {
        let mut text = self.erased(width);
        for line in above {
            text.push_str(line);
            text.push('\n');
        }
        text.push_str(&lines.join("\n"));
        self.lines = lines;
        text
    }

    /// Takes the lines away.
    pub(super) fn erased(&mut self, width: usize) -> String {
        let lines = std::mem::take(&mut self.lines);
        let rows: usize = lines
            .iter()
            .map(|line| line.width().div_ceil(width.max(1)).max(1))
            .sum();
        match rows {
            0 => String::new(),
            1 => "\r\u{1b}[J".to_owned(),
            rows => format!("\r\u{1b}[{}A\u{1b}[J", rows - 1),
        }
    }

    /// Leaves the lines where they are: others have written below them.
    pub(super) fn forget(&mut self) {
        self.lines.clear();
    }

    /// What is shown now.
    pub(super) fn lines(&self) -> Vec<String> {
        self.lines.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn frames_replace_what_was_there() {
        let mut screen = Screen::default();
        assert_eq!(
            screen.frame(&[], lines(&["bar", " step"]), 80),
            "bar\n step"
        );
        assert_eq!(
            screen.frame(&lines(&["said"]), lines(&["bar"]), 80),
            "\r\u{1b}[1A\u{1b}[Jsaid\nbar"
        );
        assert_eq!(screen.frame(&[], lines(&["new"]), 80), "\r\u{1b}[Jnew");
        assert_eq!(screen.erased(80), "\r\u{1b}[J");
        assert_eq!(screen.erased(80), "");
    }

    #[test]
    fn forgotten_lines_stay() {
        let mut screen = Screen::default();
        screen.frame(&[], lines(&["bar", " step"]), 80);
        screen.forget();
        assert_eq!(screen.frame(&[], lines(&["bar"]), 80), "bar");
    }

    #[test]
    fn a_narrower_terminal_has_broken_the_lines() {
        let mut screen = Screen::default();
        screen.frame(&[], lines(&["0123456789", "漢字"]), 80);
        // Three rows and one.
        assert_eq!(screen.erased(4), "\r\u{1b}[3A\u{1b}[J");
    }
}
