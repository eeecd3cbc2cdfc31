//! Keeping secrets out of what is written about a conversion. Pure.
//!
//! API keys reach marker as options and variables, and a program that fails
//! may print them. What goes into reports and events passes through
//! [`Secrets::hide`] first.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use crate::environment::World;
use crate::key::is_secret;

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
            .filter(|(name, _)| is_secret(name.as_bytes()))
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
                Some((name, value)) if name.starts_with("--") && is_secret(name.as_bytes()) => {
                    secrets.insert(value.to_owned());
                }
                _ => behind_secret = text.starts_with("--") && is_secret(text.as_bytes()),
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
}
