//! Reading what memcap wrote with `--report`.

use std::path::Path;
use std::sync::OnceLock;

use serde_json::Value;

fn schema() -> &'static jsonschema::Validator {
    static SCHEMA: OnceLock<jsonschema::Validator> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let text = include_str!("../../../docs/report.schema.json");
        let schema: Value = serde_json::from_str(text).unwrap_or_default();
        match jsonschema::validator_for(&schema) {
            Ok(validator) => validator,
            Err(error) => panic!("docs/report.schema.json: {error}"),
        }
    })
}

/// A report of one run. The readers panic with the whole report where a field
/// is not what the format promises.
#[derive(Debug, Clone)]
pub struct Report(Value);

impl Report {
    /// Reads the report at `path`; `None` where there is no file.
    ///
    /// # Panics
    /// Where the file is no JSON, or not as `docs/report.schema.json` says.
    pub fn read(path: &Path) -> Option<Report> {
        let text = std::fs::read_to_string(path).ok()?;
        let value: Value = match serde_json::from_str(&text) {
            Ok(value) => value,
            Err(error) => panic!("the report is no JSON: {error}\n{text}"),
        };
        // A plan of --explain is another format.
        if value.get("plan").is_none()
            && let Err(error) = schema().validate(&value)
        {
            panic!(
                "the report breaks its schema at `{}`: {error}\n{text}",
                error.instance_path()
            );
        }
        Some(Report(value))
    }

    /// The value at `pointer` (RFC 6901, such as `/verdict/kind`); `None`
    /// where it is absent or null, which both mean unknown.
    pub fn get(&self, pointer: &str) -> Option<&Value> {
        self.0.pointer(pointer).filter(|value| !value.is_null())
    }

    /// The text at `pointer`, or an empty one.
    pub fn text(&self, pointer: &str) -> &str {
        self.get(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// The number at `pointer`.
    ///
    /// # Panics
    /// Where there is none.
    pub fn number(&self, pointer: &str) -> u64 {
        let number = self.get(pointer).and_then(Value::as_u64);
        number.unwrap_or_else(|| panic!("no number at {pointer} in {:#}", self.0))
    }

    /// The verdict's `kind` and `by`, as `memory-limit by kernel`, or the kind
    /// alone.
    pub fn verdict(&self) -> String {
        let by = self.text("/verdict/by");
        let kind = self.text("/verdict/kind");
        if by.is_empty() {
            kind.to_owned()
        } else {
            format!("{kind} by {by}")
        }
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#}", self.0)
    }
}
