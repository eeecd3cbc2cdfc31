//! The settings in which every behaviour is checked.

use super::require::Requirement;

/// Who runs memcap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Account {
    /// Uid 0.
    Root,
    /// A user without privilege: 65534 where the suite runs as root, else
    /// whoever runs it.
    Ordinary,
}

/// The enforcement asked for by `--mechanism`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// cgroup v2.
    CgroupV2,
    /// A scope of the user's systemd manager.
    Systemd,
    /// cgroup v1.
    CgroupV1,
    /// Sampling.
    Watchdog,
    /// A resource limit on each process.
    Rlimit,
}

impl Mechanism {
    /// The word for `--mechanism`, which the report repeats.
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::CgroupV2 => "cgroup-v2",
            Mechanism::Systemd => "systemd",
            Mechanism::CgroupV1 => "cgroup-v1",
            Mechanism::Watchdog => "watchdog",
            Mechanism::Rlimit => "rlimit",
        }
    }

    /// Whether the kernel keeps the limit of the tree to the page.
    pub fn is_exact(self) -> bool {
        match self {
            Mechanism::CgroupV2 | Mechanism::Systemd | Mechanism::CgroupV1 => true,
            Mechanism::Watchdog | Mechanism::Rlimit => false,
        }
    }

    /// Who ends a tree that goes over: the report's `verdict.by`. `None` where
    /// the job is refused memory and ends by itself.
    pub fn judge(self) -> Option<&'static str> {
        match self {
            Mechanism::CgroupV2 | Mechanism::Systemd | Mechanism::CgroupV1 => Some("kernel"),
            Mechanism::Watchdog => Some("watchdog"),
            Mechanism::Rlimit => None,
        }
    }

    /// The report's `guarantee`.
    pub fn guarantee(self) -> &'static str {
        match self {
            Mechanism::CgroupV2 | Mechanism::Systemd | Mechanism::CgroupV1 => "tree-exact",
            Mechanism::Watchdog => "tree-sampled",
            Mechanism::Rlimit => "process-exact",
        }
    }
}

/// One way of running memcap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Who runs it.
    pub account: Account,
    /// What it is told to use.
    pub mechanism: Mechanism,
}

impl Setting {
    /// Whether this machine can run it; says so where it cannot.
    ///
    /// # Panics
    /// As [`Requirement::is_met`].
    pub fn is_possible(self) -> bool {
        let account = match self.account {
            Account::Root => Requirement::Root,
            Account::Ordinary => Requirement::Unprivileged,
        };
        let mechanism = match self.mechanism {
            Mechanism::CgroupV2 => Some(match self.account {
                Account::Root => Requirement::CgroupV2,
                Account::Ordinary => Requirement::DelegatedCgroupV2,
            }),
            Mechanism::Systemd => Some(Requirement::Systemd),
            Mechanism::CgroupV1 => Some(Requirement::CgroupV1),
            Mechanism::Watchdog | Mechanism::Rlimit => None,
        };
        account.is_met() && mechanism.is_none_or(Requirement::is_met)
    }
}

/// Makes one test per setting and check. A check is a `fn(&Scene)` of the
/// calling file; the tests are named `setting::check`.
#[macro_export]
macro_rules! each_setting {
    ($($check:ident),+ $(,)?) => {
        $crate::each_setting!(@setting root_cgroup_v2, Root, CgroupV2, $($check)+);
        $crate::each_setting!(@setting root_cgroup_v1, Root, CgroupV1, $($check)+);
        $crate::each_setting!(@setting ordinary_cgroup_v2, Ordinary, CgroupV2, $($check)+);
        $crate::each_setting!(@setting ordinary_systemd, Ordinary, Systemd, $($check)+);
        $crate::each_setting!(@setting root_watchdog, Root, Watchdog, $($check)+);
        $crate::each_setting!(@setting ordinary_watchdog, Ordinary, Watchdog, $($check)+);
    };
    (@setting $name:ident, $account:ident, $mechanism:ident, $($check:ident)+) => {
        mod $name {
            use $crate::harness::{Account, Mechanism, Scene, Setting};

            const SETTING: Setting =
                Setting { account: Account::$account, mechanism: Mechanism::$mechanism };

            $(
                #[test]
                fn $check() {
                    if let Some(scene) = Scene::open(SETTING) {
                        super::$check(&scene);
                    }
                }
            )+
        }
    };
}
