//! What a limit of the kernel's is trusted for: a harmless trial in this run, one
//! that is on record, or only what was read back.

use memcap_probe::trial::{HarmlessTrial, Standing, room_for_harmless};
use memcap_probe::{Ceilings, Host};
use serde::Serialize;

use crate::plan::Placement;
use crate::proof_cache::{Key, ProofCache};
use crate::wire::Prepared;
use crate::{Mechanism, Plan};

/// What a plan relies on; a run without a group has none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum PlannedProof {
    /// A trial beside the job's place, right before it starts.
    Fresh,
    /// Such a trial of an earlier run, in the same place, since boot.
    Cached {
        /// What it showed.
        seen: String,
    },
    /// No trial: the limit is written and read back.
    ReadBack {
        /// Why there is none.
        because: String,
    },
}

/// What a run relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProofKind {
    /// A trial right before it started.
    Fresh,
    /// A trial of an earlier run, in the same place, since boot.
    Cached,
    /// What was read back from the kernel.
    ReadBack,
}

/// What a plan can rely on, on this host.
pub(crate) fn planned(
    placement: &Placement,
    ceilings: &Ceilings,
    host: &Host,
    cache: &ProofCache,
) -> Option<PlannedProof> {
    let key = Key::among(placement, &host.mounts)?;
    Some(match cache.known(&key) {
        Some(seen) => PlannedProof::Cached { seen },
        None => match room_for_harmless(host, ceilings) {
            Ok(()) => PlannedProof::Fresh,
            Err(because) => PlannedProof::ReadBack { because },
        },
    })
}

/// Keeps what a trial of this run has shown, or forgets what it did not show
/// again.
pub(crate) fn learn(plan: &Plan, trial: Option<&HarmlessTrial>, cache: &ProofCache) {
    let Some(key) = trial.and_then(|_| Key::of(&plan.placement)) else {
        return;
    };
    match trial {
        Some(HarmlessTrial {
            standing: Standing::Holds,
            seen,
        }) => cache.keep(key, seen),
        _ => cache.forget(&key),
    }
}

/// Forgets what an earlier trial has shown of a place that was refused since.
pub(crate) fn doubt(plan: &Plan, cache: &ProofCache) {
    if let Some(key) = Key::of(&plan.placement) {
        cache.forget(&key);
    }
}

/// Adds what was not read back to the proof, and says what it comes to.
pub(crate) fn conclude(plan: &Plan, prepared: &mut Prepared) -> Option<ProofKind> {
    let planned = plan.proof.as_ref()?;
    // Nothing was set up.
    prepared.proof.as_ref()?;
    let (kind, line) = match (planned, &prepared.trial) {
        (PlannedProof::Cached { seen }, _) => {
            (ProofKind::Cached, format!("an earlier trial: {seen}"))
        }
        (PlannedProof::ReadBack { because }, _) => (ProofKind::ReadBack, no_trial(because)),
        (PlannedProof::Fresh, Some(trial)) if trial.standing == Standing::Holds => {
            (ProofKind::Fresh, format!("a trial before: {}", trial.seen))
        }
        (PlannedProof::Fresh, Some(trial)) => (
            ProofKind::ReadBack,
            format!("a trial before showed nothing: {}", trial.seen),
        ),
        (PlannedProof::Fresh, None) => (ProofKind::ReadBack, no_trial("none was made")),
    };
    prepared.prove(line);
    Some(kind)
}

fn no_trial(because: &str) -> String {
    format!("no trial: {because}")
}

/// Tries a limit where the job's will be.
pub(crate) fn attempt(mechanism: Mechanism, place: &std::path::Path) -> Option<HarmlessTrial> {
    match mechanism {
        Mechanism::CgroupV2 | Mechanism::Systemd => Some(memcap_probe::trial::try_v2(place)),
        Mechanism::CgroupV1 => Some(memcap_probe::trial::try_v1(place)),
        Mechanism::Watchdog | Mechanism::Rlimit => None,
    }
}
