//! The environment in which marker starts servers of its own. Pure, but for the
//! folder.
//!
//! Only `HOME` says where marker looks for servers (`~/.cache/datalab/surya`).
//! Everything else that is usually found through it is pointed at where it
//! really is, unless the user has a variable for it already.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use crate::environment::World;

/// Variables that name a server of the user's.
pub(super) const ADDRESSES: [&str; 4] = [
    "DETECTOR_SERVER_URL",
    "FAST_LAYOUT_SERVER_URL",
    "OCR_ERROR_SERVER_URL",
    "SURYA_INFERENCE_URL",
];

/// Ports are chosen by marker: at one that is named, a server of an earlier run
/// would answer in place of ours.
const PORTS: [&str; 4] = [
    "DETECTOR_SERVER_PORT",
    "FAST_LAYOUT_SERVER_PORT",
    "OCR_ERROR_SERVER_PORT",
    "SURYA_INFERENCE_PORT",
];

/// Where things are, below the real home, that are found through it: weights,
/// caches, settings, credentials, and packages installed for the user alone.
const PLACES: [(&str, &str); 13] = [
    ("XDG_CACHE_HOME", ".cache"),
    ("XDG_CONFIG_HOME", ".config"),
    ("XDG_DATA_HOME", ".local/share"),
    ("XDG_STATE_HOME", ".local/state"),
    ("PYTHONUSERBASE", ".local"),
    ("NETRC", ".netrc"),
    ("DOCKER_CONFIG", ".docker"),
    ("CLOUDSDK_CONFIG", ".config/gcloud"),
    ("TRITON_HOME", ""),
    // Below the user's cache, wherever that is.
    ("HF_HOME", "CACHE/huggingface"),
    ("DOCKER_HF_CACHE_PATH", "CACHE/huggingface"),
    ("MODEL_CACHE_DIR", "CACHE/datalab/models"),
    ("LLAMA_CACHE", "CACHE/llama.cpp"),
];

/// How long marker waits for a server that starts, in seconds. Its own 300 are
/// spent in full when the server has died meanwhile. The variable for text
/// recognition is left alone: its server may fetch gigabytes first.
const PATIENCE: &str = "180";
const PATIENCES: [&str; 3] = [
    "DETECTOR_SERVER_STARTUP_TIMEOUT",
    "FAST_LAYOUT_SERVER_STARTUP_TIMEOUT",
    "OCR_ERROR_SERVER_STARTUP_TIMEOUT",
];

/// The changes to the environment of a run that has another home; `HOME` itself
/// is left to whoever makes that.
pub(crate) fn variables(world: &World) -> Vec<(OsString, Option<OsString>)> {
    let mut changes: Vec<(OsString, Option<OsString>)> = Vec::new();
    if let Some(real) = world.variable("HOME").map(Path::new) {
        let cache = world.variable("XDG_CACHE_HOME").map_or_else(
            || real.join(".cache"),
            |cache| world.absolute(Path::new(cache)),
        );
        let places = PLACES.into_iter().filter(|(name, _)| is_unset(world, name));
        changes.extend(places.map(|(name, place)| {
            let place = match place.strip_prefix("CACHE/") {
                Some(place) => cache.join(place),
                None => real.join(place),
            };
            (name.into(), Some(place.into()))
        }));
    }
    let patiences = PATIENCES.into_iter().filter(|name| is_unset(world, name));
    changes.extend(patiences.map(|name| (name.into(), Some(PATIENCE.into()))));
    changes.extend(PORTS.into_iter().map(|name| (name.into(), None)));
    changes
}

fn is_unset(world: &World, name: &str) -> bool {
    world.raw_variable(name).is_none()
}

/// Makes the home anew, for the next processes: what an earlier run of this
/// conversion has written there tells of servers that are gone.
///
/// # Errors
/// When the old one cannot be removed or the new one not be made.
pub(crate) fn make_home(home: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(home) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    std::fs::DirBuilder::new().mode(0o700).create(home)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(changes: &[(OsString, Option<OsString>)], name: &str) -> Option<Option<String>> {
        let found = changes.iter().find(|(known, _)| known == name)?;
        Some(
            found
                .1
                .as_ref()
                .map(|value| value.to_str().unwrap().to_owned()),
        )
    }

    #[test]
    fn only_servers_are_looked_for_elsewhere() {
        let world = World::new(
            [
                ("HOME", "/home/ada"),
                ("HF_HOME", "/big/hf"),
                ("OCR_ERROR_SERVER_STARTUP_TIMEOUT", "900"),
                ("SURYA_INFERENCE_PORT", "8000"),
            ]
            .map(|(name, value)| (name.into(), value.into())),
            "/work",
        );
        let changes = variables(&world);
        let cases = [
            ("XDG_CACHE_HOME", Some("/home/ada/.cache")),
            ("PYTHONUSERBASE", Some("/home/ada/.local")),
            ("MODEL_CACHE_DIR", Some("/home/ada/.cache/datalab/models")),
            ("FAST_LAYOUT_SERVER_STARTUP_TIMEOUT", Some("180")),
            ("SURYA_INFERENCE_PORT", None),
        ];
        for (name, expected) in cases {
            let expected = Some(expected.map(str::to_owned));
            assert_eq!(value(&changes, name), expected, "{name}");
        }
        // The user's own word stays.
        for name in [
            "HF_HOME",
            "OCR_ERROR_SERVER_STARTUP_TIMEOUT",
            "SURYA_INFERENCE_URL",
        ] {
            assert_eq!(value(&changes, name), None, "{name}");
        }
    }

    #[test]
    fn caches_are_below_the_cache_that_the_user_has() {
        let variables_of = |pairs: &[(&str, &str)]| {
            let pairs = pairs
                .iter()
                .map(|(name, value)| (name.into(), value.into()));
            variables(&World::new(pairs, "/work"))
        };
        let moved = variables_of(&[("HOME", "/home/ada"), ("XDG_CACHE_HOME", "/big")]);
        let expected = Some(Some("/big/huggingface".to_owned()));
        assert_eq!(value(&moved, "HF_HOME"), expected);
        assert_eq!(value(&moved, "XDG_CACHE_HOME"), None);
        // Where there is no home, there is nothing to point at.
        assert_eq!(value(&variables_of(&[]), "XDG_CACHE_HOME"), None);
    }

    #[test]
    fn a_home_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        make_home(&home).unwrap();
        std::fs::write(home.join("old"), "").unwrap();
        make_home(&home).unwrap();
        assert!(std::fs::read_dir(&home).unwrap().next().is_none());
    }
}
