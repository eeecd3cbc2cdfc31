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
        /// Of these, what is of another type on disk. It is copied when it is
        /// loaded; the rest is mapped from the file (marker 1.10.2 with 620
        /// million parameters twice: 0.9 GiB of anonymous memory where they are
        /// `F32` on disk, 5.7 GiB where they are `BF16`).
        copied: ByteSize,
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
            Weights::Measured { bytes, .. } | Weights::Assumed { bytes } => *bytes,
        }
    }

    /// What is in memory of its own, and not mapped from a file. Of checkpoints
    /// that are not there yet that is not known, and all is taken to be.
    pub fn copied(&self) -> ByteSize {
        match self {
            Weights::Measured { copied, .. } => *copied,
            Weights::Assumed { bytes } => *bytes,
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
    let tensors = folders
        .iter()
        .map(|folder| in_folder(folder, MAX_DEPTH))
        .fold(Tensors::default(), Tensors::and);
    match tensors.bytes {
        0 => Weights::Assumed {
            bytes: ASSUMED_WEIGHTS,
        },
        bytes => Weights::Measured {
            bytes: ByteSize::from_bytes(bytes),
            copied: ByteSize::from_bytes(tensors.copied),
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

/// Bytes of tensors, as they are computed with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Tensors {
    bytes: u64,
    copied: u64,
}

impl Tensors {
    fn and(self, other: Tensors) -> Tensors {
        Tensors {
            bytes: self.bytes.saturating_add(other.bytes),
            copied: self.copied.saturating_add(other.copied),
        }
    }
}

fn in_folder(folder: &Path, depth: u32) -> Tensors {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Tensors::default();
    };
    entries
        .flatten()
        .map(|entry| {
            let path = entry.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "safetensors")
            {
                in_checkpoint(&path).unwrap_or_default()
            } else if depth > 0 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                in_folder(&path, depth - 1)
            } else {
                Tensors::default()
            }
        })
        .fold(Tensors::default(), Tensors::and)
}

/// Headers of real checkpoints are some hundred KiB.
const MAX_HEADER: u64 = 64 << 20;

/// A safetensors file begins with the length of a JSON header, eight bytes,
/// little-endian; the header names shape and type of every tensor.
fn in_checkpoint(path: &Path) -> Option<Tensors> {
    let mut file = File::open(path).ok()?;
    let mut length = [0; 8];
    file.read_exact(&mut length).ok()?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER {
        return None;
    }
    let mut header = Vec::new();
    file.take(length).read_to_end(&mut header).ok()?;
    in_header(&header)
}

/// All tensors at four bytes an element, and those that are not stored so.
fn in_header(header: &[u8]) -> Option<Tensors> {
    #[derive(Deserialize)]
    struct Tensor {
        dtype: String,
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
            let bytes = elements.checked_mul(4)?;
            let copied = if tensor.dtype == "F32" { 0 } else { bytes };
            Some(Tensors { bytes, copied })
        })
        .try_fold(Tensors::default(), |sum, tensor| Some(sum.and(tensor?)))
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
        let tensors = in_header(HEADER.as_bytes()).unwrap();
        assert_eq!((tensors.bytes, tensors.copied), (201 * 4, 200 * 4));
        assert_eq!(in_header(b"{"), None);
        let lie = br#"{"a": {"dtype": "F32", "shape": [1e30]}}"#;
        assert_eq!(in_header(lie), None);
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
        assert_eq!(find(&named).copied(), ByteSize::from_bytes(200 * 4));
        let remote = world(&[("LAYOUT_MODEL_CHECKPOINT", Path::new("s3://layout/2025"))]);
        assert_eq!(find(&remote).bytes(), ByteSize::from_bytes(2 * 201 * 4));
    }
}
