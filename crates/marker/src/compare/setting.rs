//! The settings that are compared. Pure.

use std::fmt;

use crate::chunks::Chunking;
use crate::plan::Request;
use crate::tuning::Multiplier;

/// One combination of settings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setting {
    /// The factor for batch sizes; `None` leaves them to marker.
    pub multiplier: Option<Multiplier>,
    /// How the document is cut.
    pub chunking: Chunking,
}

/// For people: `multiplier 0.5, 25 pages a chunk`.
impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.multiplier {
            Some(multiplier) => write!(f, "multiplier {multiplier}, ")?,
            None => f.write_str("marker's own batches, ")?,
        }
        match self.chunking {
            Chunking::Fit => f.write_str("chunks that fit"),
            Chunking::Whole => f.write_str("one chunk"),
            Chunking::Fixed(pages) | Chunking::FixedAbove { pages, .. } => {
                write!(f, "{pages} pages a chunk")
            }
        }
    }
}

impl Setting {
    /// The name of its folder: `multiplier-0.5-chunks-25`.
    pub fn folder(&self) -> String {
        let multiplier = match self.multiplier {
            Some(multiplier) => format!("multiplier-{multiplier}"),
            None => "multiplier-none".to_owned(),
        };
        let chunks = match self.chunking {
            Chunking::Fit => "fit".to_owned(),
            Chunking::Whole => "whole".to_owned(),
            Chunking::Fixed(pages) | Chunking::FixedAbove { pages, .. } => pages.to_string(),
        };
        format!("{multiplier}-chunks-{chunks}")
    }
}

/// Each multiplier with each way to cut, in the order in which they are named,
/// each once.
pub fn settings(multipliers: &[Option<Multiplier>], chunkings: &[Chunking]) -> Vec<Setting> {
    let mut settings: Vec<Setting> = Vec::new();
    for multiplier in multipliers {
        for chunking in chunkings {
            let setting = Setting {
                multiplier: *multiplier,
                chunking: *chunking,
            };
            if !settings.contains(&setting) {
                settings.push(setting);
            }
        }
    }
    settings
}

/// The request at each setting, with a folder of its own below the output
/// folder of `like`.
pub fn requests(like: &Request, settings: &[Setting]) -> Vec<Request> {
    let request = |setting: &Setting| {
        let mut request = Request {
            output: like.output.join(setting.folder()),
            chunking: setting.chunking,
            ..like.clone()
        };
        request.tuning.multiplier = setting.multiplier;
        request
    };
    settings.iter().map(request).collect()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use memcap_linux::ByteSize;

    use super::*;

    #[test]
    fn every_combination_has_a_folder_of_its_own() {
        let factor = |text: &str| text.parse::<Multiplier>().ok();
        let ten = Chunking::Fixed(NonZeroU32::new(10).unwrap());
        let settings = settings(
            &[factor("1"), factor("0.5"), factor("1.0")],
            &[Chunking::Fit, ten],
        );
        let named: Vec<String> = settings.iter().map(Setting::to_string).collect();
        assert_eq!(
            named,
            [
                "multiplier 1, chunks that fit",
                "multiplier 1, 10 pages a chunk",
                "multiplier 0.5, chunks that fit",
                "multiplier 0.5, 10 pages a chunk",
            ]
        );
        let like = Request::new("a.pdf", "out", ByteSize::from_gib(2));
        let requests = requests(&like, &settings);
        assert_eq!(
            requests[3].output,
            std::path::Path::new("out/multiplier-0.5-chunks-10")
        );
        assert_eq!(requests[3].tuning.multiplier, factor("0.5"));
        assert_eq!(requests[3].chunking, ten);
    }
}
