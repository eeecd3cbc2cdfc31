//! The JSON report of a conversion (`--report`, `docs/marker-report.schema.json`).
//!
//! Absent means unknown. Command lines and environments, which may hold
//! secrets, are not in it.

use std::num::NonZeroUsize;
use std::time::Duration;

use memcap_linux::ByteSize;
use memcap_marker::many::{AttemptRecord, DocumentResult, End, Skipped, Tally, Verdict};
use memcap_marker::{
    Chunk, DeviceFinding, Installation, MemoryModel, PageSet, Placeholder, Plan, Tuning, path_text,
};
use serde::Serialize;

/// The version of the format. Fields may be added within it.
const SCHEMA_VERSION: u32 = 1;

/// What is known when everything has ended.
#[derive(Serialize)]
pub(super) struct Report<'a> {
    schema_version: u32,
    memcap: &'static str,
    exit_code: u8,
    verdict: Verdict,
    tally: Tally,
    limit_bytes: ByteSize,
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_bytes: Option<ByteSize>,
    jobs: usize,
    most_at_once: usize,
    wall_seconds: f64,
    documents: Vec<DocumentReport<'a>>,
    skipped: &'a [Skipped],
}

#[derive(Serialize)]
struct DocumentReport<'a> {
    document: String,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    converted: Option<&'a PageSet>,
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<&'a PageSet>,
    placeholders: &'a [Placeholder],
    #[serde(skip_serializing_if = "Option::is_none")]
    low_resolution: Option<&'a PageSet>,
    /// Pages that an earlier run had converted.
    kept: &'a PageSet,
    attempts: &'a [AttemptRecord],
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_bytes: Option<ByteSize>,
    wall_seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    marker_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<PlanReport<'a>>,
}

#[derive(Serialize)]
struct PlanReport<'a> {
    document_bytes: u64,
    document_pages: u32,
    pages: &'a PageSet,
    marker: &'a Installation,
    device: &'a DeviceFinding,
    limit_bytes: ByteSize,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_bytes: Option<ByteSize>,
    workers: NonZeroUsize,
    memory_model: &'a MemoryModel,
    settings: &'a Tuning,
    chunks: &'a [Chunk],
    warnings: &'a [String],
}

/// What the whole was about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub(super) exit_code: u8,
    pub(super) limit: ByteSize,
    /// The largest that everything together held, where one total was kept.
    pub(super) peak: Option<ByteSize>,
    /// Documents at the same time.
    pub(super) jobs: NonZeroUsize,
    /// The most chunks that there were at the same time.
    pub(super) most_at_once: usize,
    pub(super) wall: Duration,
}

/// Puts the report together.
pub(super) fn report<'a>(
    frame: Frame,
    results: &'a [DocumentResult],
    skipped: &'a [Skipped],
) -> Report<'a> {
    let tally = Tally::of(results, skipped);
    Report {
        schema_version: SCHEMA_VERSION,
        memcap: env!("CARGO_PKG_VERSION"),
        exit_code: frame.exit_code,
        verdict: tally.verdict(),
        tally,
        limit_bytes: frame.limit,
        peak_bytes: frame.peak,
        jobs: frame.jobs.get() * most_workers(results),
        most_at_once: frame.most_at_once,
        wall_seconds: frame.wall.as_secs_f64(),
        documents: results.iter().map(document).collect(),
        skipped,
    }
}

/// The most that a document had, where one was planned.
fn most_workers(results: &[DocumentResult]) -> usize {
    let plans = results.iter().filter_map(|result| result.plan.as_ref());
    plans.map(|plan| plan.workers.get()).max().unwrap_or(1)
}

fn document<'a>(result: &'a DocumentResult) -> DocumentReport<'a> {
    let outcome = match &result.end {
        End::Ran(outcome) => Some(outcome),
        End::Failed(_) | End::NotBegun | End::Pointless => None,
    };
    let failure = match &result.end {
        End::Failed(failure) => Some(failure),
        End::Ran(_) | End::NotBegun | End::Pointless => None,
    };
    DocumentReport {
        document: path_text(&result.document),
        status: result.end.word(),
        result: outcome.and_then(|outcome| outcome.result.as_deref().map(path_text)),
        error: failure.map(|failure| memcap_linux::one_line(failure)),
        hint: failure.and_then(|failure| failure.hint()),
        converted: outcome.map(|outcome| &outcome.converted),
        missing: outcome.map(|outcome| &outcome.missing),
        placeholders: outcome.map_or(&[], |outcome| &outcome.placeholders),
        low_resolution: outcome.map(|outcome| &outcome.low_resolution),
        kept: &result.attempts.kept,
        attempts: &result.attempts.records,
        peak_bytes: result.attempts.peak(),
        wall_seconds: result.wall.as_secs_f64(),
        marker_seconds: outcome.map(|outcome| outcome.marker_time.as_secs_f64()),
        plan: result.plan.as_ref().map(plan),
    }
}

fn plan(plan: &Plan) -> PlanReport<'_> {
    PlanReport {
        document_bytes: plan.document_bytes,
        document_pages: plan.document_pages,
        pages: &plan.pages,
        marker: &plan.marker,
        device: &plan.device,
        limit_bytes: plan.limit,
        total_bytes: plan.total,
        workers: plan.workers,
        memory_model: &plan.memory_model,
        settings: &plan.settings,
        chunks: &plan.chunks,
        warnings: &plan.warnings,
    }
}
