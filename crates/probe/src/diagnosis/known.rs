//! Everything a cause may look at, and the questions that several ask.

use super::{Weight, conduct};
use crate::facts::{CgroupMount, ContainerKind, Era, Facts, MemoryController, Platform, Wsl};
use crate::trial::{Trials, Verdict};
use crate::{Fact, Guarantee, Host, Mechanism};

/// Everything a cause may look at.
pub(super) struct Known<'a> {
    pub(super) host: &'a Host,
    pub(super) trials: &'a Trials,
    pub(super) facts: &'a Facts,
}

impl Known<'_> {
    pub(super) fn enforces(&self, mechanism: Mechanism) -> bool {
        self.verdict(mechanism) == Some(Verdict::Enforced)
    }

    pub(super) fn verdict(&self, mechanism: Mechanism) -> Option<Verdict> {
        let mut trials = self.trials.mechanisms.iter();
        let trial = trials.find(|trial| trial.mechanism == mechanism)?;
        Some(trial.verdict)
    }

    pub(super) fn v1_is_usable(&self) -> bool {
        let place = self.host.cgroup_v1.value();
        place.is_some_and(|place| place.base.is_present())
    }

    pub(super) fn v2_is_usable(&self) -> bool {
        let place = self.host.cgroup_v2.value();
        place.is_some_and(|place| place.memory_base.is_present())
    }

    /// Whether systemd would give us a group with memory.
    pub(super) fn has_scope(&self) -> bool {
        self.host.systemd.as_ref().is_some_and(Fact::is_present)
    }

    /// Whether the kernel can hold a tree here in some other way.
    pub(super) fn has_exact_limit(&self) -> bool {
        self.v1_is_usable() || self.v2_is_usable() || self.has_scope()
    }

    /// How much something matters that keeps one mechanism from working.
    pub(super) fn weight(&self) -> Weight {
        if self.has_exact_limit() {
            Weight::Weakens
        } else {
            Weight::Blocks
        }
    }

    pub(super) fn memory_is_on_v2(&self) -> bool {
        matches!(
            self.facts.memory_controller.value(),
            Some(MemoryController::V2 { .. })
        )
    }

    /// The v2 mount that counts: a later one covers an earlier one.
    pub(super) fn v2_mount(&self) -> Option<&CgroupMount> {
        let mut mounts = self.facts.mounts.value().into_iter().flatten();
        mounts.rfind(|mount| mount.version == 2)
    }

    pub(super) fn is_wsl2(&self) -> bool {
        self.facts.platform == Platform::Wsl2
    }

    pub(super) fn wsl(&self) -> Option<&Wsl> {
        self.facts.wsl.value()
    }

    pub(super) fn era(&self) -> Option<Era> {
        self.wsl()?.era.value().copied()
    }

    pub(super) fn container(&self) -> Option<ContainerKind> {
        Some(self.facts.container.value()?.kind)
    }

    pub(super) fn release(&self) -> &str {
        self.host.kernel.value().map_or("unknown", String::as_str)
    }

    /// Major and minor version of the kernel.
    pub(super) fn kernel(&self) -> Option<(u32, u32)> {
        let mut numbers = self.release().split(['.', '-']);
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    }

    /// What a run does as things are: proved where there were trials, else as
    /// far as the facts go.
    pub(super) fn meanwhile(&self) -> String {
        let proved = Mechanism::ALL
            .into_iter()
            .find(|mechanism| self.enforces(*mechanism));
        if let Some(mechanism) = proved {
            let seen = match mechanism.guarantee() {
                Guarantee::TreeExact => ", which was seen to hold",
                Guarantee::TreeSampled | Guarantee::ProcessExact | Guarantee::None => "",
            };
            return format!("memcap {}{seen}", conduct(mechanism));
        }
        let possible = Mechanism::ALL
            .into_iter()
            .find(|mechanism| self.verdict(*mechanism) == Some(Verdict::NotTried));
        match possible {
            Some(mechanism) => format!("memcap {} (not tried)", conduct(mechanism)),
            None => "memcap refuses to run anything under a limit".to_owned(),
        }
    }
}
