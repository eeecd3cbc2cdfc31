//! Names of people and of the host, replaced by words that say what stood
//! there.

use serde_json::Value;

/// What replaces what.
#[derive(Debug, Clone, Default)]
pub struct Redactor {
    /// Longest first, so that a home is found before the name in it.
    words: Vec<(String, &'static str)>,
}

/// Names that tell nothing, and stand for other things in the files that are
/// copied: without them `user.slice` of a user called `user` could not be told.
const GENERIC: [&str; 24] = [
    "root",
    "user",
    "users",
    "system",
    "systemd",
    "memory",
    "cgroup",
    "cgroup2",
    "unified",
    "slice",
    "scope",
    "service",
    "session",
    "init",
    "app",
    "sys",
    "fs",
    "proc",
    "run",
    "home",
    "docker",
    "localhost",
    "linux",
    "nobody",
];

/// Strings under these keys of a manifest are words of memcap's own.
const OWN_WORDS: [&str; 4] = ["is", "mechanism", "verdict", "instance"];

impl Redactor {
    /// Replaces these: the host's names, the users' names, their homes.
    pub fn new<'a>(
        hosts: impl IntoIterator<Item = &'a str>,
        users: impl IntoIterator<Item = &'a str>,
        homes: impl IntoIterator<Item = &'a str>,
    ) -> Redactor {
        let named = |names: Vec<&'a str>, word| names.into_iter().map(move |name| (name, word));
        let all = named(homes.into_iter().collect(), "/home/USER")
            .chain(named(hosts.into_iter().collect(), "HOST"))
            .chain(named(users.into_iter().collect(), "USER"));
        let mut words: Vec<_> = all
            .map(|(name, word)| (name.trim().trim_end_matches('/').to_owned(), word))
            .filter(|(name, _)| !name.is_empty() && !GENERIC.contains(&name.as_str()))
            .collect();
        words.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        Redactor { words }
    }

    /// The text without those names, wherever they stand as whole words.
    pub fn clean(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, word) in &self.words {
            text = replace_word(&text, name, word);
        }
        text
    }

    /// Every string in a value but memcap's own words.
    pub(super) fn clean_value(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.clean(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.clean_value(item)),
            Value::Object(fields) => {
                for (key, value) in fields {
                    if !(OWN_WORDS.contains(&key.as_str()) && value.is_string()) {
                        self.clean_value(value);
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

/// A name may stand in `user-alice.slice` and `/home/alice/`, but `ali` is not
/// in `alice`.
fn replace_word(text: &str, name: &str, word: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(name) {
        let (before, found) = rest.split_at(at);
        let after = &found[name.len()..];
        let joins = |neighbour: Option<char>| neighbour.is_some_and(char::is_alphanumeric);
        let begins_inside = name.starts_with(char::is_alphanumeric)
            && joins(before.chars().next_back().or(out.chars().next_back()));
        let is_part = begins_inside || joins(after.chars().next());
        out.push_str(before);
        out.push_str(if is_part { name } else { word });
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_and_structure_stays() {
        let redactor = Redactor::new(
            ["tower", "tower.example.org", "localhost"],
            ["alice", "root", "user"],
            ["/data/alice", "/root/", "/"],
        );
        let cases = [
            ("/user.slice/user-1000.slice", "/user.slice/user-1000.slice"),
            ("/user.slice/alice.scope", "/user.slice/USER.scope"),
            (
                "app-alice-7.scope malice alices",
                "app-USER-7.scope malice alices",
            ),
            ("/data/alice/x /data/alicex", "/home/USER/x /data/alicex"),
            ("at tower.example.org or tower", "at HOST or HOST"),
            ("towers", "towers"),
            ("alice", "USER"),
            ("alicealice alice", "alicealice USER"),
            ("root on localhost", "root on localhost"),
            ("", ""),
        ];
        for (text, clean) in cases {
            assert_eq!(redactor.clean(text), clean, "{text}");
        }
        assert_eq!(Redactor::new([], [], []).clean("alice"), "alice");
    }

    #[test]
    fn our_own_words_are_never_names() {
        let redactor = Redactor::new([], ["present", "verdict"], []);
        let mut value = serde_json::json!({
            "scope": {"is": "present", "value": {"parent": "/c/present/verdict"}},
            "verdict": "present",
        });
        redactor.clean_value(&mut value);
        assert_eq!(value["scope"]["is"], "present");
        assert_eq!(value["scope"]["value"]["parent"], "/c/USER/USER");
        assert_eq!(value["verdict"], "present");
    }
}
