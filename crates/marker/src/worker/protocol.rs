//! The words between memcap and `worker.py`: one JSON object a line, each with
//! the protocol's number and that of the question. Pure.
//!
//! Words that may hold any bytes (paths) travel as text whose characters have
//! the bytes' numbers.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use memcap_linux::ByteSize;
use serde::{Deserialize, Serialize};

use crate::runner::Step;

/// Raised with every change of meaning; `worker.py` names the same.
const PROTOCOL: u32 = 1;

#[derive(Serialize)]
struct Question {
    protocol: u32,
    number: u64,
    arguments: Vec<String>,
    stdout: String,
    stderr: String,
}

/// What the worker says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Answer {
    protocol: u32,
    /// Of the question; 0 for what it says of its own accord at its start.
    pub(crate) number: u64,
    /// What it says.
    #[serde(flatten)]
    pub(crate) said: Said,
}

/// The contents of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum Said {
    /// Marker is imported.
    Ready,
    /// This marker cannot be driven so.
    Unsupported {
        /// Why, in one line.
        reason: String,
    },
    /// The pages are converted.
    Done {
        /// What the worker still holds that no file backs, after cleaning up.
        floor_bytes: Option<ByteSize>,
        /// The most that it held of that meanwhile.
        peak_bytes: Option<ByteSize>,
    },
    /// An allocation was refused. The worker ends now.
    Memory,
    /// An exception, which its log shows. The worker ends now.
    Crash,
    /// Marker does not take its arguments. The worker ends now.
    Usage,
}

/// The line that asks for a run of `marker_single`.
pub(crate) fn question(number: u64, step: &Step) -> String {
    let question = Question {
        protocol: PROTOCOL,
        number,
        arguments: step.args.iter().map(|word| bytes(word)).collect(),
        stdout: bytes(step.stdout.as_os_str()),
        stderr: bytes(step.stderr.as_os_str()),
    };
    serde_json::json!(question).to_string()
}

/// The answer in a line; `None` for anything else that may stand there.
pub(crate) fn answer(line: &[u8]) -> Option<Answer> {
    let answer: Answer = serde_json::from_slice(line).ok()?;
    (answer.protocol == PROTOCOL).then_some(answer)
}

fn bytes(word: &OsStr) -> String {
    word.as_bytes()
        .iter()
        .map(|byte| char::from(*byte))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_one_line_whatever_the_bytes() {
        let step = Step {
            label: "pages 1".to_owned(),
            program: "/bin/true".into(),
            args: vec![
                "--output_dir".into(),
                OsStr::from_bytes(b"/o\nut/\xe9").into(),
            ],
            env: Vec::new(),
            stdout: "/l/out".into(),
            stderr: "/l/err".into(),
            memory: ByteSize::from_gib(1),
            estimate: None,
            time_limit: None,
        };
        let line = question(7, &step);
        assert!(!line.contains('\n'));
        let expected = serde_json::json!({
            "protocol": 1, "number": 7, "arguments": ["--output_dir", "/o\nut/\u{e9}"],
            "stdout": "/l/out", "stderr": "/l/err",
        });
        let value: serde_json::Value = line.parse().unwrap();
        assert_eq!(value, expected);
    }

    #[test]
    fn answers_are_told_from_noise() {
        let said = |line: &str| answer(line.as_bytes()).map(|answer| (answer.number, answer.said));
        let cases = [
            (
                r#"{"protocol": 1, "number": 0, "kind": "ready"}"#,
                Some((0, Said::Ready)),
            ),
            (
                r#"{"protocol": 1, "number": 0, "kind": "unsupported", "reason": "old"}"#,
                Some((
                    0,
                    Said::Unsupported {
                        reason: "old".to_owned(),
                    },
                )),
            ),
            (
                r#"{"protocol": 1, "number": 3, "kind": "done", "floor_bytes": 5, "peak_bytes": null}"#,
                Some((
                    3,
                    Said::Done {
                        floor_bytes: Some(ByteSize::from_bytes(5)),
                        peak_bytes: None,
                    },
                )),
            ),
            (
                r#"{"protocol": 1, "number": 3, "kind": "memory"}"#,
                Some((3, Said::Memory)),
            ),
            (
                r#"{"protocol": 1, "number": 3, "kind": "crash"}"#,
                Some((3, Said::Crash)),
            ),
            (
                r#"{"protocol": 1, "number": 3, "kind": "usage"}"#,
                Some((3, Said::Usage)),
            ),
            (r#"{"protocol": 2, "number": 3, "kind": "crash"}"#, None),
            (r#"{"protocol": 1, "kind": "crash"}"#, None),
            (r#"{"protocol": 1, "number": 3, "kind": "cra"#, None),
            ("Loading models", None),
            ("", None),
        ];
        for (line, expected) in cases {
            assert_eq!(said(line), expected, "{line}");
        }
    }
}
