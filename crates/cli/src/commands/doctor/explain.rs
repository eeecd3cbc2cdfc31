//! `memcap doctor --explain`: a cause at length.

use memcap_probe::diagnosis::{EXPLANATIONS, explanation};

use super::wrap::wrap;
use crate::error::{CliError, USAGE};

/// The text for one cause, or the list of all.
pub(super) fn explain(cause: &str, width: usize) -> Result<String, CliError> {
    if cause.eq_ignore_ascii_case("list") {
        let lines = EXPLANATIONS
            .iter()
            .map(|one| wrap(&format!("{:<5}", one.code), one.title, width));
        return Ok(lines.collect::<Vec<_>>().join("\n"));
    }
    let found = explanation(cause).ok_or_else(|| {
        CliError::new(
            format!("there is no cause `{cause}`"),
            Some("`memcap doctor --explain list` names them all".to_owned()),
            USAGE,
        )
    })?;
    let mut text = wrap(&format!("{:<5}", found.code), found.title, width);
    let mut after_command = false;
    for paragraph in found.text {
        let is_command = paragraph.starts_with(' ');
        text.push_str(if is_command && after_command {
            "\n"
        } else {
            "\n\n"
        });
        if is_command {
            // Not wrapped: a command must stay one line.
            text.push_str(paragraph);
        } else {
            text.push_str(&wrap("", paragraph, width));
        }
        after_command = is_command;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_fits_narrow_and_wide_terminals() {
        let list = explain("list", 80).expect("a list");
        assert_eq!(list.lines().count(), EXPLANATIONS.len());
        for one in EXPLANATIONS {
            for width in [30, 80] {
                let text = explain(one.code, width).expect("a text");
                assert!(text.starts_with(one.code));
                let prose = text.lines().filter(|line| !line.starts_with(' '));
                for line in prose.filter(|line| line.contains(' ')) {
                    assert!(line.chars().count() <= width, "{line}");
                }
            }
        }
    }

    #[test]
    fn an_unknown_cause_is_wrong_usage() {
        let error = explain("C17", 80).expect_err("no such cause");
        assert_eq!(error.code, USAGE);
        assert!(error.hint.is_some_and(|hint| hint.contains("list")));
    }
}
