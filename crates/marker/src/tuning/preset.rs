//! Named choices of batch sizes.

use std::str::FromStr;

use super::Multiplier;
use crate::text::os_text;

/// A named factor for marker's batch sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// Marker's own sizes.
    Default,
    /// Half of them.
    Optimized,
    /// A quarter.
    Conservative,
    /// A tenth.
    Minimal,
}

/// A word that names no preset.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no preset")]
pub struct PresetError(String);

impl PresetError {
    /// What to write instead.
    pub fn hint(&self) -> &'static str {
        "write default, optimized, conservative or minimal"
    }
}

impl Preset {
    /// Its factor.
    pub fn multiplier(self) -> Multiplier {
        match self {
            Preset::Default => Multiplier::ONE,
            Preset::Optimized => Multiplier::HALF,
            Preset::Conservative => Multiplier::QUARTER,
            Preset::Minimal => Multiplier::TENTH,
        }
    }
}

impl FromStr for Preset {
    type Err = PresetError;

    fn from_str(text: &str) -> Result<Preset, PresetError> {
        match text {
            "default" => Ok(Preset::Default),
            "optimized" => Ok(Preset::Optimized),
            "conservative" => Ok(Preset::Conservative),
            "minimal" => Ok(Preset::Minimal),
            _ => Err(PresetError(os_text(text.as_ref()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_factors() {
        for (name, factor) in [
            ("default", "1"),
            ("optimized", "0.5"),
            ("conservative", "0.25"),
            ("minimal", "0.1"),
        ] {
            let preset: Preset = name.parse().unwrap();
            assert_eq!(preset.multiplier(), factor.parse().unwrap());
        }
        let error = "tiny".parse::<Preset>().unwrap_err();
        assert_eq!(error.to_string(), "`tiny` is no preset");
    }
}
