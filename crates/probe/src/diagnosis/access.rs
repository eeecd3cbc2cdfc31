//! C6 to C8: the controller reaches us, but not our hands.

use super::known::Known;
use super::{Finding, Weight, finding};
use crate::Fact;
use crate::facts::{CgroupMount, Era, Step};

/// C6: the controller reaches us, but the directories are another's.
pub(super) fn not_ours_to_use(known: &Known<'_>) -> Option<Finding> {
    let facts = known.facts;
    let place = known.host.cgroup_v2.value()?;
    let own = facts.delegation.value()?.last()?;
    let given = known.memory_is_on_v2() && facts.memory_stops_at().is_none();
    let is_read_only = known.v2_mount().is_some_and(CgroupMount::is_read_only);
    if !given || is_read_only || known.v2_is_usable() {
        return None;
    }
    if known.has_scope() {
        // memcap asks for a group of its own there.
        return None;
    }
    if own.is_ours {
        return own
            .is_undelegated_unit
            .then(|| kept_by_systemd(known, own))?;
    }
    let fix: &[&str] = match (facts.systemd_runs, known.is_wsl2()) {
        (true, _) => &[
            "have your own systemd manager run, which gives memcap a group of its own:",
            "log in, or as root: loginctl enable-linger USER; or run memcap as root",
        ],
        (false, true) => &["enable systemd, which gives memcap a group (C7), or run it as root"],
        (false, false) => &["run memcap as root, or have root give you a control group"],
    };
    let seen = format!(
        "we are in {}, which is not ours to write",
        place.own.display()
    );
    let means = "the kernel could enforce a limit, but this user may not set one here";
    finding(
        known,
        "C6",
        known.weight(),
        (seen, means),
        fix.iter().copied(),
    )
}

/// C6 in a unit whose group is writable, and still systemd's own affair.
fn kept_by_systemd(known: &Known<'_>, own: &Step) -> Option<Finding> {
    let seen = format!(
        "we are in {}, which systemd has not delegated",
        own.dir.display()
    );
    let means = "after an OOM kill anywhere in it systemd ends the whole unit, memcap included";
    let fix = [
        "start the unit with Delegate=yes: systemd-run -p Delegate=yes ...,",
        "or in its file: [Service] Delegate=yes; or start memcap outside it",
    ];
    finding(known, "C6", known.weight(), (seen, means), fix)
}

/// C7: nobody is there who could give this user a group.
pub(super) fn no_manager(known: &Known<'_>) -> Option<Finding> {
    if known.has_exact_limit() || !known.memory_is_on_v2() || known.container().is_some() {
        return None;
    }
    if !known.facts.systemd_runs {
        return known.is_wsl2().then(|| no_systemd_in_wsl(known)).flatten();
    }
    let sockets = &known.facts.sockets;
    let Fact::Absent { because } = &sockets.user_manager else {
        return None;
    };
    if !sockets.user_bus.is_absent() {
        return None;
    }
    let seen = format!("systemd runs, but this user's own manager does not: {because}");
    let means = "only that manager can move this user's processes into a group of their own; \
                 XDG_RUNTIME_DIR and DBUS_SESSION_BUS_ADDRESS may be set all the same";
    let mut fix = vec![
        "systemctl status user@$(id -u).service   # why it does not run",
        "as root: loginctl enable-linger USER, then log in again",
    ];
    if known.is_wsl2() {
        fix.extend([
            "\"wsl: Failed to start the systemd user session\" says the same; with several",
            "distributions in use, in Windows: wsl --update, then wsl --shutdown",
        ]);
    }
    finding(known, "C7", Weight::Blocks, (seen, means), fix)
}

fn no_systemd_in_wsl(known: &Known<'_>) -> Option<Finding> {
    let settings = known.wsl()?.settings.value();
    let is_asked_for = settings.is_some_and(|settings| settings.systemd == Some(true));
    let (seen, fix): (_, &[&str]) = if is_asked_for {
        (
            "/etc/wsl.conf asks for systemd, but it does not run",
            &[
                "in Windows: wsl --shutdown, then start the distribution again; where it",
                "still does not run: wsl --update, and look at: journalctl -b, dmesg",
            ],
        )
    } else {
        (
            "this distribution runs without systemd",
            &[
                "put these two lines into /etc/wsl.conf:",
                "[boot]",
                "systemd=true",
                "then in Windows: wsl --shutdown",
            ],
        )
    };
    let means = "no manager is there that could give this user a group of its own";
    finding(
        known,
        "C7",
        Weight::Blocks,
        (seen, means),
        fix.iter().copied(),
    )
}

/// C8: WSL gives each distribution a group of its own, which tools that know
/// where `user.slice` used to be do not expect.
pub(super) fn a_group_for_each_distribution(known: &Known<'_>) -> Option<Finding> {
    if known.era() != Some(Era::Isolated) {
        return None;
    }
    let seen = format!(
        "our group is {}, as WSL 2.9.8 and later have it",
        known.facts.own_group.value()?
    );
    let (weight, means, fix): (_, _, &[&str]) = if known.facts.systemd_runs {
        (
            Weight::Note,
            "limits work here; tools that expect /sys/fs/cgroup/user.slice, such as older \
             rootless Docker and Podman, do not find it",
            &[
                "only for such tools: a newer version of them, or",
                "`isolateDistroCgroup=false` under [wsl2] in %UserProfile%\\.wslconfig, then",
                "in Windows: wsl --shutdown",
            ],
        )
    } else {
        (
            match known.has_exact_limit() {
                true => Weight::Note,
                false => Weight::Blocks,
            },
            "without systemd this group holds processes, so the kernel lets nobody hand \
             controllers down in it (EBUSY)",
            &[
                "put `systemd=true` under [boot] in /etc/wsl.conf, then",
                "in Windows: wsl --shutdown",
            ],
        )
    };
    let found = finding(known, "C8", weight, (seen, means), fix.iter().copied())?;
    Some(match weight {
        Weight::Note => found.meanwhile("memcap derives every path, so this layout is no obstacle"),
        Weight::Blocks | Weight::Weakens => found,
    })
}
