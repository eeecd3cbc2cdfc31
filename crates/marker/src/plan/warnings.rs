//! What the user should know before the work begins, in words.

use super::Plan;
use crate::chunks::FEW_PAGES;
use crate::estimate::is_measured;
use crate::kind::DocumentKind;
use crate::relatives::{self, Relative};
use crate::tuning::OcrBackend;
use crate::version::{PageChoice, Version};
use crate::weights::Weights;

/// Without page ranges there are no chunks: memory is all or nothing.
fn whole_warning(version: Version) -> Option<String> {
    match version.capabilities().pages {
        PageChoice::FromTheFirst => Some(format!(
            "marker {version} cannot convert a document in parts; if its memory does not suffice, \
             there is no result (0.2.12 and later can)"
        )),
        PageChoice::Any | PageChoice::Contiguous => None,
    }
}

fn version_warning(version: Version) -> Option<String> {
    let nearest = version.nearest();
    if nearest != version {
        return Some(format!(
            "marker {version} is not known here; it is treated like {nearest}"
        ));
    }
    let is_run = [(1, 10), (2, 0)].contains(&(version.major, version.minor));
    (!is_run).then(|| {
        format!(
            "marker {version} is driven as its parser wants it, but tests run 1.10 and 2.0 only"
        )
    })
}

fn container_warning(plan: &Plan) -> Option<String> {
    match plan.settings.ocr_backend() {
        Some(OcrBackend::Vllm) => Some(
            "text recognition runs in a docker container (vLLM), which is no part of the run: its \
             memory is not limited; --ocr-backend llamacpp keeps it within the limit"
                .to_owned(),
        ),
        Some(OcrBackend::LlamaCpp) | None => None,
    }
}

fn kind_warning(kind: DocumentKind) -> Option<String> {
    let extras = if kind.needs_extras() {
        "; marker needs the packages of `pip install 'marker-pdf[full]'` for it"
    } else {
        ""
    };
    (kind != DocumentKind::Pdf).then(|| {
        format!("{kind} is converted in one piece: its pages are not known beforehand{extras}")
    })
}

pub(super) fn warnings(plan: &Plan) -> Vec<String> {
    let mut warnings: Vec<String> = plan.sizes.warning.iter().cloned().collect();
    warnings.extend(version_warning(plan.marker.version));
    warnings.extend(whole_warning(plan.marker.version));
    warnings.extend(container_warning(plan));
    warnings.extend(kind_warning(plan.document_kind));
    let marker = plan.marker.version.to_string();
    let relatives = relatives::find(&plan.output, &plan.document_hash, &marker);
    warnings.extend(relatives.iter().map(Relative::warning));
    let taught = plan.memory_model.samples() > 0;
    if !is_measured(plan.marker.version) && !taught {
        warnings.push(format!(
            "the memory of marker {} was not measured; its first chunks show how far off the \
             estimate is",
            plan.marker.version
        ));
    }
    if let Weights::Assumed { bytes } = plan.memory_model.weights {
        warnings.push(format!(
            "no model checkpoint was found on disk; {bytes} are assumed for the weights"
        ));
    }
    let needed = plan.needed_for_one();
    let largest = plan.chunks.iter().max_by_key(|chunk| chunk.estimate);
    match largest {
        Some(chunk) if chunk.estimate > plan.limit && needed > plan.limit => {
            warnings.push(format!(
                "a single page is estimated to need {needed}, more than the limit of {}; trying all \
                 the same",
                plan.limit
            ));
        }
        Some(chunk) if chunk.estimate > plan.limit => warnings.push(format!(
            "pages {} together are estimated to need {}, more than the limit of {}; they will be \
             halved if they do",
            chunk.pages, chunk.estimate, plan.limit
        )),
        _ => {}
    }
    if plan.chunks.len() > 1
        && plan
            .chunks
            .iter()
            .any(|chunk| (chunk.pages.len() as u64) < FEW_PAGES)
    {
        warnings.push(format!(
            "some chunks have fewer than {FEW_PAGES} pages: marker has little to tell headings and \
             repeated headers by"
        ));
    }
    warnings
}
