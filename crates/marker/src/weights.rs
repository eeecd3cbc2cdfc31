//! How much memory the models' weights take: read from the headers of the
//! checkpoint files, not from the tensors.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use memcap_linux::ByteSize;
use serde::{Deserialize, Serialize};

use crate::environment::World;

/// What the weights take when loaded, and where that was learned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "known", rename_all = "kebab-case")]
pub enum Weights {
    /// Added up from checkpoints on disk.
    Measured {
        /// All tensors at four bytes an element, as the processor computes.
        bytes: ByteSize,
    },
    /// No checkpoint is on disk yet; marker will fetch them.
    Assumed {
        /// [`ASSUMED_WEIGHTS`].
        bytes: ByteSize,
    },
}

/// Weights of marker 1.10 where no checkpoint was found: two models of about
/// 620 million parameters in four bytes each, rounded up to half a GiB. With
/// random models of that size one page peaked at 3565 MiB, against 1072 MiB
/// with toy models.
pub const ASSUMED_WEIGHTS: ByteSize = ByteSize::from_mib(2560);

impl Weights {
    /// The amount.
    pub fn bytes(&self) -> ByteSize {
        match self {
            Weights::Measured { bytes } | Weights::Assumed { bytes } => *bytes,
        }
    }
}

/// Variables that name a checkpoint: surya reads one per model, for example
/// `LAYOUT_MODEL_CHECKPOINT`; a local folder is accepted.
pub const CHECKPOINT_SUFFIX: &str = "_MODEL_CHECKPOINT";

/// Adds up the checkpoints that marker will load: local folders named by the
/// environment, else everything in the model cache (`MODEL_CACHE_DIR`, else
/// `datalab/models` in the user's cache folder).
pub fn find(world: &World) -> Weights {
    let named = world
        .variables
        .iter()
        .filter(|(name, _)| name.to_string_lossy().ends_with(CHECKPOINT_SUFFIX))
        .map(|(_, folder)| world.absolute(Path::new(folder)))
        .filter(|folder| folder.is_dir());
    let mut folders: Vec<PathBuf> = named.collect();
    // Several models may share one checkpoint; marker then loads it twice,
    // but its pages are shared.
    folders.sort();
    folders.dedup();
    if folders.is_empty() {
        folders.extend(model_cache(world));
    }
    let bytes = folders
        .iter()
        .map(|folder| folder_bytes(folder, MAX_DEPTH))
        .sum();
    match bytes {
        0 => Weights::Assumed {
            bytes: ASSUMED_WEIGHTS,
        },
        bytes => Weights::Measured {
            bytes: ByteSize::from_bytes(bytes),
        },
    }
}

fn model_cache(world: &World) -> Option<PathBuf> {
    if let Some(folder) = world.variable("MODEL_CACHE_DIR") {
        return Some(world.absolute(Path::new(folder)));
    }
    let cache = match world.variable("XDG_CACHE_HOME") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(world.variable("HOME")?).join(".cache"),
    };
    Some(cache.join("datalab/models"))
}

/// `models/text_recognition/2025_09_23/model.safetensors` is three down.
const MAX_DEPTH: u32 = 4;

fn folder_bytes(folder: &Path, depth: u32) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| {
            let path = entry.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "safetensors")
            {
                checkpoint_bytes(&path).unwrap_or(0)
            } else if depth > 0 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folder_bytes(&path, depth - 1)
            } else {
                0
            }
        })
        .sum()
}

/// Headers of real checkpoints are some hundred KiB.
const MAX_HEADER: u64 = 64 << 20;

/// A safetensors file begins with the length of a JSON header, eight bytes,
/// little-endian; the header names shape and type of every tensor.
fn checkpoint_bytes(path: &Path) -> Option<u64> {
    let mut file = File::open(path).ok()?;
    let mut length = [0; 8];
    file.read_exact(&mut length).ok()?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER {
        return None;
    }
    let mut header = Vec::new();
    file.take(length).read_to_end(&mut header).ok()?;
    bytes_from_header(&header)
}

/// Bytes of all tensors at four bytes an element.
fn bytes_from_header(header: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Tensor {
        shape: Vec<u64>,
    }
    let entries: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(header).ok()?;
    entries
        .into_iter()
        .filter(|(name, _)| name != "__metadata__")
        .map(|(_, value)| {
            let tensor: Tensor = serde_json::from_value(value).ok()?;
            let elements = tensor
                .shape
                .iter()
                .try_fold(1_u64, |n, side| n.checked_mul(*side))?;
            elements.checked_mul(4)
        })
        .try_fold(0_u64, |sum, bytes| sum.checked_add(bytes?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = r#"{"__metadata__": {"format": "pt"},
        "a": {"dtype": "BF16", "shape": [10, 20], "data_offsets": [0, 400]},
        "b": {"dtype": "F32", "shape": [], "data_offsets": [400, 404]}}"#;

    fn place_checkpoint(folder: &Path) {
        std::fs::create_dir_all(folder).unwrap();
        let mut file = (HEADER.len() as u64).to_le_bytes().to_vec();
        file.extend(HEADER.as_bytes());
        std::fs::write(folder.join("model.safetensors"), file).unwrap();
    }

    #[test]
    fn headers_are_added_up_at_four_bytes_an_element() {
        assert_eq!(bytes_from_header(HEADER.as_bytes()), Some(201 * 4));
        assert_eq!(bytes_from_header(b"{"), None);
        assert_eq!(bytes_from_header(br#"{"a": {"shape": [1e30]}}"#), None);
    }

    #[test]
    fn named_checkpoints_come_before_the_cache_and_the_cache_before_a_guess() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        let world = |more: &[(&str, &Path)]| {
            let mut variables = vec![("HOME".into(), home.clone().into())];
            variables.extend(
                more.iter()
                    .map(|(name, value)| ((*name).into(), (*value).into())),
            );
            World::new(variables, "/")
        };
        assert_eq!(
            find(&world(&[])),
            Weights::Assumed {
                bytes: ASSUMED_WEIGHTS
            }
        );

        let cache = home.join(".cache/datalab/models");
        place_checkpoint(&cache.join("layout/2025"));
        place_checkpoint(&cache.join("detection/2025"));
        assert_eq!(find(&world(&[])).bytes(), ByteSize::from_bytes(2 * 201 * 4));

        let toy = folder.path().join("toy");
        place_checkpoint(&toy);
        let named = world(&[
            ("LAYOUT_MODEL_CHECKPOINT", &toy),
            ("OTHER_MODEL_CHECKPOINT", &toy),
        ]);
        assert_eq!(find(&named).bytes(), ByteSize::from_bytes(201 * 4));
        let remote = world(&[("LAYOUT_MODEL_CHECKPOINT", Path::new("s3://layout/2025"))]);
        assert_eq!(find(&remote).bytes(), ByteSize::from_bytes(2 * 201 * 4));
    }
}
