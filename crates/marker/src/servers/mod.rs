//! The servers that marker 2 runs its models in: each run has its own, in its
//! own tree.
//!
//! Marker finds servers by files below the user's home, attaches to those that
//! an earlier run left, and leaves its own for the next. So memcap gives it
//! another home, in the work folder: whatever runs in the run's tree was started
//! there, with the settings of this run, and ends with it.

mod leftover;
mod state;

pub(crate) use state::{make_home, variables};

use std::ffi::OsString;
use std::path::Path;

use leftover::leftovers;

use crate::environment::{World, is_executable};
use crate::tuning::OcrBackend;

/// What marker says where it needs llama.cpp and finds none.
const NO_LLAMA: &str = "llama-server binary not found";

/// What to do about marker's last words; `None` where they tell of no server.
pub(crate) fn hint(last_words: &str) -> Option<&'static str> {
    last_words.contains(NO_LLAMA).then_some(INSTALL_LLAMA)
}

const INSTALL_LLAMA: &str = "install llama.cpp, whose llama-server reads such pages, or leave their text out: -- --disable_ocr";

/// What the user should know before the start.
pub(crate) fn warnings(
    world: &World,
    backend: Option<OcrBackend>,
    marker_args: &[OsString],
) -> Vec<String> {
    let llama = match backend {
        Some(OcrBackend::LlamaCpp) => missing_llama(world, marker_args),
        Some(OcrBackend::Vllm) | None => None,
    };
    let left = leftovers(world);
    let left = (!left.is_empty()).then(|| {
        let names: Vec<String> = left.iter().map(ToString::to_string).collect();
        format!(
            "servers that an earlier run of marker left are still running: {}; they are neither \
             used nor ended, and their memory is not limited",
            names.join(", ")
        )
    });
    let warnings = [llama, named_by_user(world), left];
    warnings.into_iter().flatten().collect()
}

/// What the user should know where pages without a text layer cannot be read.
fn missing_llama(world: &World, marker_args: &[OsString]) -> Option<String> {
    let is_off = marker_args.iter().any(|arg| arg == "--disable_ocr");
    let elsewhere = world.variable("SURYA_INFERENCE_URL").is_some();
    let binary = world.variable("LLAMA_CPP_BINARY");
    let is_there = match binary {
        Some(binary) => {
            is_executable(&world.absolute(Path::new(binary)))
                || world.find_program(&binary.to_string_lossy()).is_some()
        }
        None => world.find_program("llama-server").is_some(),
    };
    (!is_off && !elsewhere && !is_there).then(|| {
        format!("no llama-server was found: pages without a text layer will fail; {INSTALL_LLAMA}")
    })
}

/// Servers that the user runs and has named: they are used, and are no part of
/// the run.
fn named_by_user(world: &World) -> Option<String> {
    let named: Vec<&str> = state::ADDRESSES
        .into_iter()
        .filter(|name| world.variable(name).is_some())
        .collect();
    (!named.is_empty()).then(|| {
        let verb = if named.len() == 1 { "names" } else { "name" };
        format!(
            "{} {verb} a server of yours, which is used: its memory is not limited",
            named.join(" and ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world(variables: &[(&str, &str)]) -> World {
        World::new(
            variables
                .iter()
                .map(|(name, value)| (name.into(), value.into())),
            "/work",
        )
    }

    #[test]
    fn a_missing_llama_is_told_where_it_may_be_needed() {
        assert!(missing_llama(&world(&[]), &[]).is_some());
        assert_eq!(missing_llama(&world(&[]), &["--disable_ocr".into()]), None);
        let named = world(&[("SURYA_INFERENCE_URL", "http://127.0.0.1:1/v1")]);
        assert_eq!(missing_llama(&named, &[]), None);
        let here = world(&[("LLAMA_CPP_BINARY", "/bin/sh")]);
        assert_eq!(missing_llama(&here, &[]), None);
        let nowhere = world(&[("LLAMA_CPP_BINARY", "/no/such/program")]);
        assert!(missing_llama(&nowhere, &[]).is_some());
        let on_path = world(&[("LLAMA_CPP_BINARY", "sh"), ("PATH", "/bin")]);
        assert_eq!(missing_llama(&on_path, &[]), None);
    }

    #[test]
    fn marker_s_words_lead_to_the_hint() {
        let words = "surya.inference.backends.spawn.SpawnError: llama-server binary not found. \
                     Install with:";
        assert!(hint(words).unwrap().contains("--disable_ocr"));
        assert_eq!(hint("KeyError: 1"), None);
    }

    #[test]
    fn servers_named_by_the_user_are_told() {
        assert_eq!(named_by_user(&world(&[])), None);
        let one = named_by_user(&world(&[("OCR_ERROR_SERVER_URL", "http://h:1")])).unwrap();
        assert!(one.starts_with("OCR_ERROR_SERVER_URL names a server of yours"));
    }
}
