//! The name of a conversion: a hash over everything that decides its result,
//! and nothing else. Limit, threads and batch sizes are left out, so that a
//! conversion can be continued with other ones.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use crate::deciding_variables;
use crate::environment::World;
use crate::format::OutputFormat;
use crate::pages::PageSet;
use crate::secrets::without_secrets;
use crate::version::Version;

/// What decides the result.
pub struct Identity<'a> {
    /// Hash of the document's content.
    pub document: blake3::Hash,
    /// Name of the result.
    pub stem: &'a OsStr,
    /// The pages that are wanted.
    pub pages: &'a PageSet,
    /// What it is converted to.
    pub format: OutputFormat,
    /// Version of marker.
    pub version: Version,
    /// Options handed on to marker.
    pub marker_args: &'a [OsString],
    /// Its variables may name other models than marker's own, and early versions
    /// have settings there that they take nowhere else.
    pub world: &'a World,
    /// The same settings from marker's file `local.env`, as hashes; a variable
    /// wins over them.
    pub local_settings: &'a BTreeMap<String, String>,
}

impl Identity<'_> {
    /// 16 hexadecimal digits.
    pub fn key(&self) -> String {
        let mut hasher = blake3::Hasher::new_derive_key("memcap 2026 marker conversion 1");
        let mut add = |name: &str, value: &[u8]| {
            hasher.update(name.as_bytes());
            hasher.update(&(value.len() as u64).to_le_bytes());
            hasher.update(value);
        };
        add("document", self.document.as_bytes());
        add("stem", self.stem.as_bytes());
        add("pages", self.pages.to_string().as_bytes());
        add("version", self.version.to_string().as_bytes());
        add("format", self.format.word().as_bytes());
        for arg in without_secrets(self.marker_args) {
            add("arg", arg.as_bytes());
        }
        for (name, value) in &self.world.variables {
            let name = name.to_string_lossy();
            if deciding_variables::decides(&name, self.version) {
                add(&name, value.as_bytes());
            }
        }
        for (name, hash) in self.local_settings {
            if deciding_variables::decides(name, self.version) {
                add(&format!("local.env {name}"), hash.as_bytes());
            }
        }
        hasher.finalize().to_hex()[..16].to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(stem: &str, pages: u32, args: &[&str], variables: &[(&str, &str)]) -> String {
        let variables = variables
            .iter()
            .map(|(name, value)| (name.into(), value.into()));
        let args: Vec<OsString> = args.iter().map(OsString::from).collect();
        Identity {
            document: blake3::hash(b"content"),
            stem: OsStr::new(stem),
            pages: &PageSet::all(pages),
            format: OutputFormat::default(),
            version: Version::new(1, 10, 2),
            marker_args: &args,
            world: &World::new(variables, "/"),
            local_settings: &BTreeMap::new(),
        }
        .key()
    }

    #[test]
    fn only_what_decides_the_result_counts() {
        let usual = key("a", 3, &[], &[]);
        assert_eq!(usual.len(), 16);
        assert_eq!(
            usual,
            key("a", 3, &[], &[("OMP_NUM_THREADS", "4"), ("PATH", "/bin")])
        );
        assert_ne!(usual, key("b", 3, &[], &[]));
        assert_ne!(usual, key("a", 4, &[], &[]));
        assert_ne!(usual, key("a", 3, &["--force_ocr"], &[]));
        assert_ne!(
            usual,
            key("a", 3, &[], &[("LAYOUT_MODEL_CHECKPOINT", "/toy")])
        );
    }

    fn key_with(
        version: Version,
        world: &World,
        local_settings: &BTreeMap<String, String>,
    ) -> String {
        Identity {
            document: blake3::hash(b"content"),
            stem: OsStr::new("a"),
            pages: &PageSet::all(3),
            format: OutputFormat::default(),
            version,
            marker_args: &[],
            world,
            local_settings,
        }
        .key()
    }

    #[test]
    fn early_versions_have_settings_in_the_environment() {
        let key = |value: &str, version| {
            let world = World::new([("OCR_ALL_PAGES".into(), value.into())], "/");
            key_with(version, &world, &BTreeMap::new())
        };
        let (early, flags) = (Version::new(0, 3, 10), Version::new(1, 10, 2));
        assert_ne!(key("true", early), key("false", early));
        assert_eq!(key("true", flags), key("false", flags));
    }

    #[test]
    fn settings_in_a_file_count_like_variables() {
        let key = |name: &str, hash: &str, version| {
            let settings = [(name.to_owned(), hash.to_owned())].into();
            key_with(version, &World::new([], "/"), &settings)
        };
        let (early, flags) = (Version::new(0, 3, 10), Version::new(1, 10, 2));
        // Name, whether it counts for 0.3.10, and for 1.10.2.
        let cases = [
            ("OCR_ALL_PAGES", true, false),
            ("paginate_output", true, false),
            ("LAYOUT_MODEL_CHECKPOINT", true, true),
            ("TORCH_DEVICE", false, false),
            ("GOOGLE_API_KEY", false, false),
        ];
        for (name, for_early, for_flags) in cases {
            let counts = |version| key(name, "1", version) != key(name, "2", version);
            assert_eq!(
                (counts(early), counts(flags)),
                (for_early, for_flags),
                "{name}"
            );
        }
    }

    #[test]
    fn secrets_do_not_enter() {
        let secret = |value: &str| key("a", 3, &["--gemini_api_key", value, "--use_llm"], &[]);
        assert_eq!(secret("one"), secret("two"));
        let joined = |value: &str| key("a", 3, &[&format!("--gemini_api_key={value}")], &[]);
        assert_eq!(joined("one"), joined("two"));
        assert_ne!(secret("one"), key("a", 3, &["--use_llm"], &[]));
    }
}
