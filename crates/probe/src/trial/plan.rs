//! Which trials are made, in which order, and what stands in for those that
//! are not.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::child::{Child, Setup};
use super::deadline::Deadline;
use super::error::TrialError;
use super::hog;
use super::seen::Trial;
use super::{
    AidTrial, ContainmentTrial, ContainmentVerdict, End, TARGET, TIME, Verdict, aid, containment,
    rlimit, safety, systemd, v1, v2, watchdog,
};
use crate::{Fact, Host, Mechanism};
use memcap_linux::one_line;

/// One mechanism and what is known about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MechanismTrial {
    /// Which.
    pub mechanism: Mechanism,
    /// What is known.
    pub verdict: Verdict,
    /// The evidence in one line, where a trial was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen: Option<String>,
    /// Why it is not "enforced".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

/// The negative control: the same child without any limit of ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Control {
    /// Whether it touched everything and ended as it should.
    pub passed: bool,
    /// What was seen, in one line.
    pub seen: String,
}

/// Everything that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trials {
    /// Absent when no trial was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control: Option<Control>,
    /// Every mechanism, in the order of [`Mechanism::ALL`].
    pub mechanisms: Vec<MechanismTrial>,
    /// The v2 directory as the means to follow and end a tree.
    pub containment: ContainmentTrial,
    /// What stands beside a limit; empty in a record of an older memcap.
    #[serde(default)]
    pub aids: Vec<AidTrial>,
}

/// Makes every trial that this host allows, one after the other; about 0.2 s.
/// `program` is an executable that hands over to [`super::hog_main`] when its
/// first argument is [`super::HOG_ARGUMENT`].
pub fn run_all(host: &Host, program: &Path) -> Trials {
    if let Err(because) = safety::check(host) {
        return facts_only(host, &because);
    }
    let control = control(program);
    if !control.passed {
        let because = format!("the same child without a limit failed: {}", control.seen);
        return Trials {
            control: Some(control),
            ..facts_only(host, &because)
        };
    }
    let mechanisms = Mechanism::ALL
        .into_iter()
        .map(|mechanism| try_mechanism(host, program, mechanism))
        .collect();
    Trials {
        control: Some(control),
        mechanisms,
        containment: try_containment(host, program),
        aids: aid::try_all(host, program),
    }
}

/// What the facts alone say, where nothing is to be tried: what is not
/// available, and for the rest `because`.
pub fn facts_only(host: &Host, because: &str) -> Trials {
    let mechanisms = Mechanism::ALL
        .into_iter()
        .map(|mechanism| {
            obstacle(host, mechanism)
                .unwrap_or_else(|| without(mechanism, Verdict::NotTried, because))
        })
        .collect();
    let containment = match containment_base(host) {
        Ok(_) => ContainmentTrial::without(ContainmentVerdict::NotTried, because),
        Err(absence) => absence,
    };
    Trials {
        control: None,
        mechanisms,
        containment,
        aids: aid::facts_only(host, because),
    }
}

fn try_mechanism(host: &Host, program: &Path, mechanism: Mechanism) -> MechanismTrial {
    if let Some(obstacle) = obstacle(host, mechanism) {
        return obstacle;
    }
    if let (Mechanism::Systemd, Some(Fact::Present { value })) = (mechanism, &host.systemd) {
        return systemd::run(program, value);
    }
    let attempt = || match mechanism {
        Mechanism::CgroupV2 => memory_base(host).map(|base| v2::run(program, base)),
        Mechanism::CgroupV1 => v1_base(host).map(|base| v1::run(program, base)),
        Mechanism::Watchdog => Some(watchdog::run(program)),
        Mechanism::Rlimit => Some(rlimit::run(program)),
        Mechanism::Systemd => None,
    };
    match with_second_try(attempt) {
        Some(Ok(trial)) => MechanismTrial {
            mechanism,
            verdict: trial.verdict,
            seen: Some(trial.seen),
            because: trial.because,
        },
        Some(Err(error)) => without(mechanism, Verdict::NotTried, &one_line(&error)),
        None => without(mechanism, Verdict::NotTried, "there is no trial for it"),
    }
}

/// A killer from elsewhere may have struck by chance.
fn with_second_try(
    attempt: impl Fn() -> Option<Result<Trial, TrialError>>,
) -> Option<Result<Trial, TrialError>> {
    match attempt() {
        Some(Ok(first)) if first.verdict == Verdict::KilledByOther => attempt(),
        first => first,
    }
}

/// What the facts say against a mechanism.
fn obstacle(host: &Host, mechanism: Mechanism) -> Option<MechanismTrial> {
    let against = match mechanism {
        Mechanism::CgroupV2 => match &host.cgroup_v2 {
            Fact::Present { value } => against(&value.memory_base),
            missing => against(missing),
        },
        Mechanism::CgroupV1 => match &host.cgroup_v1 {
            Fact::Present { value } => against(&value.base),
            missing => against(missing),
        },
        Mechanism::Systemd => match &host.systemd {
            Some(place) => against(place),
            None => Some((Verdict::NotTried, "systemd was not asked")),
        },
        Mechanism::Watchdog | Mechanism::Rlimit => None,
    };
    against.map(|(verdict, because)| without(mechanism, verdict, because))
}

/// What a fact says against something that needs it.
fn against<T>(fact: &Fact<T>) -> Option<(Verdict, &str)> {
    match fact {
        Fact::Present { .. } => None,
        Fact::Absent { because } => Some((Verdict::NotAvailable, because)),
        Fact::Unknown { because } => Some((Verdict::NotTried, because)),
    }
}

fn without(mechanism: Mechanism, verdict: Verdict, because: &str) -> MechanismTrial {
    MechanismTrial {
        mechanism,
        verdict,
        seen: None,
        because: Some(because.to_owned()),
    }
}

fn memory_base(host: &Host) -> Option<&crate::MemoryBase> {
    host.cgroup_v2.value()?.memory_base.value()
}

fn v1_base(host: &Host) -> Option<&Path> {
    let base = host.cgroup_v1.value()?.base.value()?;
    Some(base)
}

fn containment_base(host: &Host) -> Result<&Path, ContainmentTrial> {
    let place = needed(&host.cgroup_v2)?;
    needed(&place.containment_base).map(PathBuf::as_path)
}

fn needed<T>(fact: &Fact<T>) -> Result<&T, ContainmentTrial> {
    let (verdict, because) = match fact {
        Fact::Present { value } => return Ok(value),
        Fact::Absent { because } => (ContainmentVerdict::NotAvailable, because),
        Fact::Unknown { because } => (ContainmentVerdict::NotTried, because),
    };
    Err(ContainmentTrial::without(verdict, because))
}

fn try_containment(host: &Host, program: &Path) -> ContainmentTrial {
    match containment_base(host) {
        Ok(base) => containment::run(program, base).unwrap_or_else(|error| {
            ContainmentTrial::without(ContainmentVerdict::NotTried, one_line(&error))
        }),
        Err(absence) => absence,
    }
}

fn control(program: &Path) -> Control {
    let setup = Setup {
        touch: Some(TARGET),
        ..Setup::default()
    };
    let mut child = match Child::start(program, &setup) {
        Ok(child) => child,
        Err(error) => {
            return Control {
                passed: false,
                seen: one_line(&error),
            };
        }
    };
    let deadline = Deadline::after(TIME);
    child.listen(deadline);
    child.let_go();
    let end = child.end(deadline);
    Control {
        passed: end == End::Exited(i32::from(hog::TOUCHED_ALL)),
        seen: format!(
            "touched {} of {} MiB, then {end}",
            child.progress().mib(),
            TARGET.mib()
        ),
    }
}
