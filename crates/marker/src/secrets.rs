//! Keeping secrets out of what is written about a conversion. Pure.
//!
//! API keys reach marker as options and variables, and a program that fails
//! may print them. What marker said last, which goes into events, the journal,
//! reports and the result itself, passes through [`Secrets::hide`] first, options
//! that are shown through [`redacted`], and options that are hashed through
//! [`without_secrets`].

use std::collections::BTreeSet;
use std::ffi::OsString;

use crate::environment::World;
use crate::text::os_text;

/// Shorter values are no secrets worth the name, and hiding them would make
/// text unreadable.
const SHORTEST: usize = 6;

/// What stands where a secret was.
const HIDDEN: &str = "…hidden…";

/// Values that must not be told.
#[derive(Debug, Clone, Default)]
pub struct Secrets(BTreeSet<String>);

impl Secrets {
    /// The values of marker's options and of the environment whose names sound
    /// like secrets.
    pub fn of(marker_args: &[OsString], world: &World) -> Secrets {
        let variables = world
            .variables
            .iter()
            .filter(|(name, _)| is_secret(&name.to_string_lossy()))
            .map(|(_, value)| value.to_string_lossy().into_owned());
        let mut secrets: BTreeSet<String> = variables.collect();
        let mut behind_secret = false;
        for arg in marker_args {
            let text = arg.to_string_lossy();
            match text.split_once('=') {
                _ if behind_secret => {
                    secrets.insert(text.into_owned());
                    behind_secret = false;
                }
                Some((name, value)) if is_secret_option(name) => {
                    secrets.insert(value.to_owned());
                }
                Some(_) | None => behind_secret = is_secret_option(&text),
            }
        }
        secrets.retain(|secret| secret.len() >= SHORTEST);
        Secrets(secrets)
    }

    /// The text without them.
    pub fn hide(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| {
            text.replace(secret.as_str(), HIDDEN)
        })
    }
}

/// Options for people: secrets are replaced, and so is a user with a password
/// in an address.
pub fn redacted(args: &[OsString]) -> Vec<String> {
    without(args, |name| match name {
        Some(name) => format!("{name}={HIDDEN}"),
        None => HIDDEN.to_owned(),
    })
}

/// Options for a hash: that there is a secret counts, but not which.
pub fn without_secrets(args: &[OsString]) -> Vec<String> {
    without(args, |name| name.unwrap_or_default().to_owned())
}

/// The options as text; `replace` gets the name of a secret option that is
/// joined with its value, or nothing for a value that is a word of its own.
fn without(args: &[OsString], replace: impl Fn(Option<&str>) -> String) -> Vec<String> {
    let mut behind_secret = false;
    args.iter()
        .map(|arg| {
            let text = os_text(arg);
            if std::mem::take(&mut behind_secret) {
                return replace(None);
            }
            match text.split_once('=') {
                Some((name, _)) if is_secret_option(name) => replace(Some(name)),
                Some(_) | None => {
                    behind_secret = is_secret_option(&text);
                    without_password(text)
                }
            }
        })
        .collect()
}

fn is_secret_option(word: &str) -> bool {
    word.starts_with("--") && is_secret(word)
}

/// Whether an option or a variable is named like a secret: `--gemini_api_key`,
/// `--GoogleGeminiService_gemini_api_key`, `VERTEX_TOKEN`.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    [
        "key",
        "token",
        "secret",
        "password",
        "passphrase",
        "credential",
        "credentials",
    ]
    .iter()
    .any(|word| name.ends_with(word))
}

/// `https://user:word@host/` as `https://(hidden)@host/`.
fn without_password(text: String) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match authority.rsplit_once('@') {
        Some((user, _)) => format!("{scheme}://{HIDDEN}{}", &rest[user.len()..]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_options_and_variables_are_hidden() {
        let args = [
            "--use_llm",
            "--gemini_api_key",
            "AIza-first",
            "--openai_api_key=sk-second",
            "--timeout",
            "60",
        ];
        let args: Vec<OsString> = args.iter().map(OsString::from).collect();
        let world = World::new(
            [
                ("GOOGLE_API_KEY".into(), "AIza-third".into()),
                ("KEYMAP".into(), "us".into()),
            ],
            "/",
        );
        let secrets = Secrets::of(&args, &world);
        assert_eq!(
            secrets.hide("bad key AIza-first or sk-second or AIza-third after 60 s: us"),
            "bad key …hidden… or …hidden… or …hidden… after 60 s: us"
        );
    }

    fn shown(line: &str) -> String {
        let args: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        redacted(&args).join(" ")
    }

    #[test]
    fn secrets_are_hidden_and_nothing_else() {
        let cases = [
            (
                "--use_llm --gemini_api_key hunter2 --force_ocr",
                "--use_llm --gemini_api_key …hidden… --force_ocr",
            ),
            ("--openai_api_key=hunter2", "--openai_api_key=…hidden…"),
            (
                "--claude_api_key hunter2 --claude_model_name sonnet",
                "--claude_api_key …hidden… --claude_model_name sonnet",
            ),
            (
                "--ClaudeService_claude_api_key=hunter2",
                "--ClaudeService_claude_api_key=…hidden…",
            ),
            ("--AZURE_API_KEY hunter2", "--AZURE_API_KEY …hidden…"),
            ("--vertex-token --hunter2", "--vertex-token …hidden…"),
            ("--db_password=a=b", "--db_password=…hidden…"),
            (
                "--openai_base_url https://me:hunter2@host/v1?x=@",
                "--openai_base_url https://…hidden…@host/v1?x=@",
            ),
            // Named alike, but no secrets.
            ("--max_tokens 100", "--max_tokens 100"),
            ("--keyword_threshold 3", "--keyword_threshold 3"),
            ("--gemini_api_key", "--gemini_api_key"),
            ("key secret", "key secret"),
        ];
        for (line, expected) in cases {
            assert_eq!(shown(line), expected);
            assert!(!shown(line).contains("hunter2"), "{line}");
        }
    }

    #[test]
    fn a_hash_knows_of_a_secret_but_not_which() {
        let plain = |line: &str| {
            let args: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
            without_secrets(&args)
        };
        assert_eq!(plain("--api_key one -x"), plain("--api_key two -x"));
        assert_eq!(plain("--api_key=one"), plain("--api_key=two"));
        assert_ne!(plain("--api_key one"), plain("--use_llm"));
    }
}
