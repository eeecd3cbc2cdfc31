//! Everything `memcap doctor` knows, in one value: people's text and the JSON
//! are made from it.

use std::path::Path;

use serde::Serialize;

use crate::bundle::Bundle;
use crate::diagnosis::{Finding, diagnose};
use crate::facts::Facts;
use crate::trial::{self, AidTrial, ContainmentTrial, Control, MechanismTrial, Trials, Verdict};
use crate::{Guarantee, Host, Mechanism, Roots};

/// The version of the JSON's shape. Fields may be added within a version.
pub const SCHEMA_VERSION: u32 = 1;

/// One mechanism, what is known about it, and what it promises here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MechanismReport {
    /// Which, what was seen, and why it is not "enforced".
    #[serde(flatten)]
    pub trial: MechanismTrial,
    /// What a run under it can rely on here; none unless it was proved.
    pub guarantee: Guarantee,
}

/// One way of following and ending a tree of processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ContainmentReport {
    /// `cgroup-v2`: a directory of the unified hierarchy.
    pub containment: &'static str,
    /// What is known about it.
    #[serde(flatten)]
    pub trial: ContainmentTrial,
}

/// That an examination is of a captured host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Replayed {
    /// The version of memcap that captured it.
    pub saved_by: String,
    /// Whether trials were made there.
    pub has_trials: bool,
}

/// The whole examination.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DoctorReport {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Where it is of a captured host; absent for this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replayed: Option<Replayed>,
    /// The facts that a run needs.
    pub host: Host,
    /// Further facts, for the diagnosis.
    pub facts: Facts,
    /// The negative control; absent when no trial was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control: Option<Control>,
    /// Every mechanism, in the order in which a run prefers them.
    pub mechanisms: Vec<MechanismReport>,
    /// How a tree can be followed and ended.
    pub containment: Vec<ContainmentReport>,
    /// What stands beside a limit.
    pub aids: Vec<AidTrial>,
    /// Causes that are certainly at work, with remedies.
    pub findings: Vec<Finding>,
    /// The mechanism a run will use; absent when none was proved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub best: Option<Mechanism>,
}

impl DoctorReport {
    /// Joins facts and trials, and diagnoses.
    pub fn new(host: Host, facts: Facts, trials: Trials) -> DoctorReport {
        let findings = diagnose(&host, &trials, &facts);
        let best = trials
            .mechanisms
            .iter()
            .find(|trial| trial.verdict == Verdict::Enforced)
            .map(|trial| trial.mechanism);
        let containment = ContainmentReport {
            containment: "cgroup-v2",
            trial: trials.containment,
        };
        DoctorReport {
            schema_version: SCHEMA_VERSION,
            replayed: None,
            host,
            facts,
            control: trials.control,
            mechanisms: trials.mechanisms.into_iter().map(promise).collect(),
            containment: vec![containment],
            aids: trials.aids,
            findings,
            best,
        }
    }

    /// The first mechanism, in the order in which a run prefers them, that was
    /// seen to enforce its limit.
    pub fn best(&self) -> Option<Mechanism> {
        self.best
    }

    /// The outcome of the trials; `None` where none were made.
    pub(crate) fn trials(&self) -> Option<Trials> {
        let control = self.control.clone()?;
        let way = self.containment.first()?;
        let mechanisms = self.mechanisms.iter();
        Some(Trials {
            control: Some(control),
            mechanisms: mechanisms.map(|report| report.trial.clone()).collect(),
            containment: way.trial.clone(),
            aids: self.aids.clone(),
        })
    }

    /// Whether the kernel was seen to hold a whole tree to its limit.
    pub fn has_hard_limit(&self) -> bool {
        self.mechanisms
            .iter()
            .any(|report| report.guarantee == Guarantee::TreeExact)
    }
}

fn promise(trial: MechanismTrial) -> MechanismReport {
    let guarantee = match trial.verdict {
        Verdict::Enforced => trial.mechanism.guarantee(),
        Verdict::SwapAbsorbs
        | Verdict::NotEnforced
        | Verdict::Throttled
        | Verdict::KilledByOther
        | Verdict::NotAvailable
        | Verdict::NotTried => Guarantee::None,
    };
    MechanismReport { trial, guarantee }
}

/// The same for a captured host: nothing is tried, and what was tried there is
/// taken from the record.
pub fn replay(bundle: &Bundle) -> DoctorReport {
    let roots = bundle.roots();
    let mut host = Host::observe(&roots);
    host.ask_systemd(&roots);
    let trials = match bundle.trials() {
        Some(trials) => trials.clone(),
        None => trial::facts_only(&host, "no trials are on record"),
    };
    let facts = Facts::observe(&roots, &host);
    let mut report = DoctorReport::new(host.shown(&roots), facts, trials);
    report.replayed = Some(Replayed {
        saved_by: bundle.saved_by().to_owned(),
        has_trials: bundle.trials().is_some(),
    });
    report
}

/// Observes, tries, and diagnoses. Without a `program` (see
/// [`trial::run_all`]) nothing is tried.
pub fn examine(roots: &Roots, program: Option<&Path>) -> DoctorReport {
    let mut host = Host::observe(roots);
    host.ask_systemd(roots);
    let trials = match program {
        Some(program) => trial::run_all(&host, program),
        None => trial::facts_only(&host, "no trials were asked for"),
    };
    let facts = Facts::observe(roots, &host);
    DoctorReport::new(host.shown(roots), facts, trials)
}
