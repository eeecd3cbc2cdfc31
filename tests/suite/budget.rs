//! Several jobs under one total limit: the youngest makes room, the eldest comes
//! to its end, and the total holds.

#![expect(clippy::unwrap_used, reason = "a step that fails is a failed check")]

use std::fs;
use std::path::{Path, PathBuf};

use integration_tests::each_setting;
use integration_tests::harness::{
    Account, Mechanism, MemcapGroup, Process, Report, Running, Scene, memcap_groups, poll_until,
    wait_until,
};
use nix::sys::signal::Signal;

const MIB: u64 = 1 << 20;

/// The total of most checks.
const TOTAL: u64 = 256 * MIB;
const TOTAL_WORD: &str = "256M";

/// Room for a loaded machine, where a watchdog gets its turn late.
const WATCHDOG_SLACK_PERCENT: u64 = 30;

/// In every setting but a scope, which holds no total.
macro_rules! each_setting_with_a_total {
    ($($check:ident),+ $(,)?) => {
        each_setting!(@setting root_cgroup_v2, Root, CgroupV2, $($check)+);
        each_setting!(@setting root_cgroup_v1, Root, CgroupV1, $($check)+);
        each_setting!(@setting ordinary_cgroup_v2, Ordinary, CgroupV2, $($check)+);
        each_setting!(@setting root_watchdog, Root, Watchdog, $($check)+);
        each_setting!(@setting ordinary_watchdog, Ordinary, Watchdog, $($check)+);
    };
}

each_setting_with_a_total!(
    of_two_that_do_not_fit_together_the_youngest_is_ended,
    at_full_speed_the_total_holds_and_one_comes_to_its_end,
    whom_the_kernel_chose_is_to_be_started_again,
    a_limit_of_its_own_is_told_apart,
    members_go_on_when_the_keeper_of_one_is_killed,
    nothing_is_left_of_a_host_that_is_killed,
    who_was_ended_finds_room_when_another_has_finished,
    twenty_at_once_all_come_to_their_end,
    a_job_waits_frozen_for_an_elder_one_that_will_finish,
    threads_of_the_host_keep_a_budget_too,
);

/// A program that runs jobs in a budget.
struct Host<'scene> {
    scene: &'scene Scene,
    running: Option<Running<'scene>>,
    log: PathBuf,
}

impl<'scene> Host<'scene> {
    /// Starts it with these words after its log.
    fn start(scene: &'scene Scene, total: &str, words: &[&str]) -> Host<'scene> {
        let log = scene.word("log");
        let mechanism = scene.setting().mechanism.name();
        let front = ["--mechanism", mechanism, "--linger", &log, total];
        let words = [&front, words].concat();
        let running = scene.plain().job("budgeteer", words).start();
        scene.note_keeper(running.pid());
        Host {
            scene,
            running: Some(running),
            log: scene.path("log"),
        }
    }

    fn pid(&self) -> i32 {
        self.running.as_ref().unwrap().pid()
    }

    fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// The words of the first line that begins so, once it is there.
    fn line(&self, begin: &str) -> Vec<String> {
        let line = poll_until(std::time::Duration::from_secs(55), || {
            self.lines()
                .into_iter()
                .find(|line| line.starts_with(begin))
        });
        let line = line.unwrap_or_else(|| panic!("no line `{begin}`: {:#?}", self.lines()));
        line.split(' ').map(str::to_owned).collect()
    }

    fn keeper(&self, member: usize) -> i32 {
        let line = self.line(&format!("started {member} "));
        let pid = line[2].parse().unwrap();
        self.scene.note_keeper(pid);
        pid
    }

    /// What became of a member, when it was last started.
    fn report(&self, member: usize) -> Report {
        let path = format!("{}.{member}", self.log.display());
        Report::read(Path::new(&path)).unwrap_or_else(|| panic!("{:#?}", self.lines()))
    }

    /// The largest that all members were together, seen from outside: by the
    /// kernel's own count, or in /proc, until all have ended.
    fn watch_total(&self) -> u64 {
        let mut most = 0;
        let ended = poll_until(std::time::Duration::from_secs(55), || {
            let now = kernel_peak(self.pid()).unwrap_or_else(|| resident(self.scene));
            most = most.max(now);
            self.lines()
                .iter()
                .any(|line| line.starts_with("peak "))
                .then_some(())
        });
        assert!(ended.is_some(), "{:#?}", self.lines());
        most.max(kernel_peak(self.pid()).unwrap_or(0))
    }

    /// Insists that the total was held.
    fn assert_total_held(&self, most: u64) {
        let slack = match self.scene.setting().mechanism.is_exact() {
            true => 0,
            false => TOTAL * WATCHDOG_SLACK_PERCENT / 100,
        };
        assert!(most <= TOTAL + slack, "{most}: {:#?}", self.lines());
        assert!(most > TOTAL / 8, "nothing was seen: {:#?}", self.lines());
    }

    /// Insists that a member came to its own end, when it was last started.
    fn assert_finished(&self, member: usize) {
        let report = self.report(member);
        assert_eq!(
            report.verdict(),
            "finished",
            "{report}, {:#?}",
            self.lines()
        );
    }

    /// Lets it end, and insists that it leaves nothing.
    fn finish(mut self) {
        for line in self.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            if let ["started", _, keeper] = words[..] {
                self.scene.note_keeper(keeper.parse().unwrap());
            }
        }
        fs::write(self.scene.path("log.done"), "").unwrap();
        let finished = self.running.take().unwrap().wait();
        finished.expect_code(0);
        self.scene.assert_nothing_left();
    }
}

/// What the kernel counts for the group around all members, where it does.
fn kernel_peak(host: i32) -> Option<u64> {
    let groups = memcap_groups();
    let homes = groups.iter().filter(|group| group.owner == host);
    homes
        .filter_map(|home| {
            let read = |file: &str| fs::read_to_string(home.path.join(file)).ok();
            let text = read("memory.max_usage_in_bytes").or_else(|| read("memory.peak"))?;
            text.trim().parse().ok()
        })
        .max()
}

/// Anonymous memory of all allocators of a scene.
fn resident(scene: &Scene) -> u64 {
    let held = |process: &Process| {
        let statm = fs::read_to_string(format!("/proc/{}/statm", process.pid)).unwrap_or_default();
        let pages: Vec<u64> = statm.split(' ').flat_map(str::parse).collect();
        match pages[..] {
            [_, resident, shared, ..] => resident.saturating_sub(shared) * 4096,
            _ => 0,
        }
    };
    let processes = scene.processes();
    let hogs = processes.iter().filter(|process| process.name == "hog");
    hogs.map(held).sum()
}

fn hog(scene: &Scene, words: &str) -> String {
    format!("exec {} {words}", scene.job("hog").display())
}

fn of_two_that_do_not_fit_together_the_youngest_is_ended(scene: &Scene) {
    let slow = hog(scene, "180M --rate 120M --hold 1");
    let host = Host::start(scene, TOTAL_WORD, &["200M", &slow, "200M", &slow]);
    let most = host.watch_total();
    host.assert_total_held(most);
    if host.report(0).verdict() != "finished" {
        // On a machine that is slow enough the kernel is faster than the keepers.
        assert_the_kernel_chose(scene, &host.report(0));
        assert_eq!(host.line("ended 0 ")[2..], ["memory-limit", "true"]);
        host.finish();
        return;
    }
    assert_eq!(host.line("ended 0 ")[2..], ["finished", "false"]);
    assert_eq!(host.line("ended 1 ")[2..], ["memory-limit", "true"]);
    let report = host.report(1);
    assert_eq!(report.verdict(), "memory-limit by budget", "{report}");
    assert_eq!(report.number("/budget/total_bytes"), TOTAL);
    assert_eq!(report.number("/exit_code"), 137);
    assert_eq!(report.number("/limit_bytes"), 200 * MIB);
    host.finish();
}

/// The keepers never choose the eldest. The kernel chooses again while what it has
/// killed still holds memory, and counts whom it has chosen once more where it kills the
/// whole group (memory.oom.group).
fn assert_the_kernel_chose(scene: &Scene, eldest: &Report) {
    assert!(scene.setting().mechanism.is_exact(), "{eldest}");
    let evidence = eldest.text("/verdict/evidence/0");
    let count = evidence.strip_prefix("oom_kill of the job's group, with groups below, is ");
    let count = count.map(|count| count.parse::<u32>());
    assert!(matches!(count, Some(Ok(1 | 2))), "{evidence}");
}

fn at_full_speed_the_total_holds_and_one_comes_to_its_end(scene: &Scene) {
    let fast = hog(scene, "180M --hold 1");
    let host = Host::start(scene, TOTAL_WORD, &["200M", &fast, "200M", &fast]);
    let most = host.watch_total();
    host.assert_total_held(most);
    let reports = [host.report(0), host.report(1)];
    let ended = |report: &&Report| report.verdict() != "finished";
    assert!(reports.iter().any(|report| ended(&report)), "{reports:?}");
    for report in reports.iter().filter(ended) {
        assert_eq!(report.verdict(), "memory-limit by budget", "{report}");
    }
    if ended(&&reports[0]) {
        assert_the_kernel_chose(scene, &reports[0]);
    }
    for report in &reports {
        let requeue = report.get("/budget/requeue").unwrap() == true;
        assert_eq!(requeue, report.verdict() != "finished", "{report}");
    }
    host.finish();
}

fn whom_the_kernel_chose_is_to_be_started_again(scene: &Scene) {
    if !scene.setting().mechanism.is_exact() {
        // Nobody but the keepers chooses.
        return;
    }
    let go = scene.word("go");
    let waiting = format!(
        "until [ -e {go} ]; do sleep 0.05; done; {}",
        hog(scene, "180M --hold 1")
    );
    let host = Host::start(scene, TOTAL_WORD, &["200M", &waiting, "200M", &waiting]);
    let keepers = [0, 1].map(|member| host.keeper(member));
    // Stopped itself, it cannot continue its keepers.
    let all = [host.pid(), keepers[0], keepers[1]];
    let stopped = all.map(|pid| Process::of(pid).unwrap());
    for process in &stopped {
        process.signal(Signal::SIGSTOP);
        wait_until("it is stopped", || {
            Process::of(process.pid).is_some_and(|process| process.is_stopped())
        });
    }
    fs::write(scene.path("go"), "").unwrap();
    wait_until("the kernel has killed at the total", || {
        let homes = memcap_groups();
        let members = homes.iter().filter(|group| keepers.contains(&group.owner));
        members.map(kills_in).sum::<u64>() > 0
    });
    for process in stopped.iter().rev() {
        process.signal(Signal::SIGCONT);
    }
    host.watch_total();
    let killed = host.lines();
    let killed: Vec<_> = killed.iter().filter(|l| l.ends_with(" true")).collect();
    assert!(!killed.is_empty(), "{:#?}", host.lines());
    for member in [0, 1] {
        let report = host.report(member);
        let verdict = report.verdict();
        let requeue = report.get("/budget/requeue").unwrap() == true;
        match requeue {
            true => assert_eq!(verdict, "memory-limit by budget", "{report}"),
            false => assert_eq!(verdict, "finished", "{report}"),
        }
    }
    host.finish();
}

/// Members of a group that an OOM killer has taken.
fn kills_in(group: &MemcapGroup) -> u64 {
    let read = |file: &str| fs::read_to_string(group.path.join(file)).ok();
    let text = read("memory.events").or_else(|| read("memory.oom_control"));
    let text = text.unwrap_or_default();
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count.map_or(0, |count| count.parse().unwrap())
}

fn a_limit_of_its_own_is_told_apart(scene: &Scene) {
    let hog = hog(scene, "200M");
    let wait = "while ! [ -e log.1 ]; do sleep 0.01; done";
    let words = [TOTAL_WORD, wait, "64M", &hog, "1G", "exit 3"];
    let host = Host::start(scene, TOTAL_WORD, &words);
    host.watch_total();
    let judge = scene.setting().mechanism.judge().unwrap();
    let report = host.report(1);
    assert_eq!(report.verdict(), format!("memory-limit by {judge}"));
    assert_eq!(report.get("/budget/requeue").unwrap(), false, "{report}");
    assert_eq!(host.line("ended 0 ")[2..], ["finished", "false"]);
    // More than the total was asked for, and no more than the total is given.
    let report = host.report(2);
    assert_eq!(report.number("/requested_bytes"), 1024 * MIB);
    assert_eq!(report.number("/limit_bytes"), TOTAL);
    assert_eq!(report.get("/clamped/budget").unwrap(), true);
    assert_eq!(report.number("/exit_code"), 3);
    host.finish();
}

fn members_go_on_when_the_keeper_of_one_is_killed(scene: &Scene) {
    let elder = format!(
        "while ! [ -e log.1 ]; do sleep 0.01; done; {}",
        hog(scene, "100M --hold 0.2")
    );
    let lost = hog(scene, "120M --hold 50");
    let younger = elder.clone();
    let words = ["200M", &elder, "200M", &lost, "200M", &younger];
    let host = Host::start(scene, TOTAL_WORD, &words);
    let keepers = [0, 1, 2].map(|member| host.keeper(member));
    wait_until("the second holds its memory", || {
        let held = kernel_peak(host.pid()).unwrap_or_else(|| resident(scene));
        held >= 120 * MIB
    });
    Process::of(keepers[1]).unwrap().signal(Signal::SIGKILL);
    host.watch_total();
    assert_eq!(host.line("ended 1 ")[2..], ["internal-error", "false"]);
    // What the lost one held is there for the others.
    for member in [0, 2] {
        let ended = host.line(&format!("ended {member} "));
        assert_eq!(ended[2..], ["finished", "false"], "{:#?}", host.lines());
    }
    host.finish();
}

fn nothing_is_left_of_a_host_that_is_killed(scene: &Scene) {
    let hog = hog(scene, "60M --hold 50");
    let flees = format!("setsid sleep 50 & {hog}");
    let host = Host::start(scene, TOTAL_WORD, &["200M", &flees, "200M", &hog]);
    for member in [0, 1] {
        host.keeper(member);
    }
    wait_until("both hold their memory", || {
        let held = kernel_peak(host.pid()).unwrap_or_else(|| resident(scene));
        held >= 120 * MIB
    });
    host.running.as_ref().unwrap().signal(Signal::SIGKILL);
    scene.assert_nothing_left_soon();
}

fn who_was_ended_finds_room_when_another_has_finished(scene: &Scene) {
    let slow = hog(scene, "180M --rate 200M");
    let words = ["--requeue", "200M", &slow, "200M", &slow, "200M", &slow];
    let host = Host::start(scene, TOTAL_WORD, &words);
    let most = host.watch_total();
    host.assert_total_held(most);
    for member in 0..3 {
        host.assert_finished(member);
    }
    let ended = host.lines();
    let again = ended.iter().filter(|line| line.ends_with(" true")).count();
    // Two do not fit; where starting takes long, the third comes when one is gone.
    assert!(again >= 1, "{ended:#?}");
    host.finish();
}

fn twenty_at_once_all_come_to_their_end(scene: &Scene) {
    let small = hog(scene, "30M --rate 60M");
    let mut words = vec!["--requeue"];
    for _ in 0..20 {
        words.extend(["64M", small.as_str()]);
    }
    let host = Host::start(scene, TOTAL_WORD, &words);
    let most = host.watch_total();
    host.assert_total_held(most);
    for member in 0..20 {
        host.assert_finished(member);
    }
    host.finish();
}

/// Nothing here depends on who is how fast: the elder one, which is expected to come to
/// 152 MiB, begins once the younger one has what fits beside that and, where it can be
/// frozen, is.
fn a_job_waits_frozen_for_an_elder_one_that_will_finish(scene: &Scene) {
    let (grow, end) = (scene.word("grow"), scene.word("end"));
    let until = |file: &str| format!("until [ -e {file} ]; do sleep 0.05; done");
    let elder = hog(scene, &format!("$(cat {grow}) --rate 200M"));
    let elder = format!("{}; {elder}", until(&grow));
    let younger = format!(
        "{} 98M --hold 50 & {}; kill $!; exit 0",
        scene.job("hog").display(),
        until(&end)
    );
    let words = ["200M/152M", &elder, "200M/152M", &younger];
    let host = Host::start(scene, TOTAL_WORD, &words);
    let can_pause = freezers(&host).count() > 0;
    if can_pause {
        wait_until("the younger one is frozen", || {
            freezers(&host).any(|events| events.contains("frozen 1"))
        });
        fs::write(&end, "").unwrap();
    } else {
        wait_until("the younger one has its memory", || {
            resident(scene) >= 98 * MIB
        });
    }
    // Beside one that nobody freezes, more than there is.
    let size = if can_pause { "140M" } else { "190M" };
    let aside = scene.path("aside");
    fs::write(&aside, size).unwrap();
    fs::rename(aside, &grow).unwrap();
    let most = host.watch_total();
    host.assert_total_held(most);
    let report = host.report(1);
    if can_pause {
        assert_eq!(report.verdict(), "finished", "{report}");
        let paused = report.get("/budget/paused_seconds").unwrap();
        assert!(paused.as_f64().unwrap() > 0.0, "{report}");
    } else {
        // Nowhere to freeze it unseen: it is ended in its turn.
        assert_eq!(report.verdict(), "memory-limit by budget", "{report}");
    }
    assert_eq!(host.report(0).verdict(), "finished");
    host.finish();
}

/// `cgroup.events` of every v2 group around the members.
fn freezers(host: &Host<'_>) -> impl Iterator<Item = String> {
    let keepers = [0, 1].map(|member| host.keeper(member));
    let mut groups = memcap_groups();
    groups.retain(|group| keepers.contains(&group.owner));
    groups
        .into_iter()
        .filter(|group| group.path.join("cgroup.freeze").exists())
        .filter_map(|group| fs::read_to_string(group.path.join("cgroup.events")).ok())
}

fn threads_of_the_host_keep_a_budget_too(scene: &Scene) {
    if scene.setting().mechanism == Mechanism::CgroupV2
        && scene.setting().account == Account::Ordinary
    {
        // In its own group it would have to make room for itself first.
        return;
    }
    let slow = hog(scene, "180M --rate 120M --hold 1");
    let words = ["200M", slow.as_str(), "200M", slow.as_str()];
    let host = Host::start(scene, TOTAL_WORD, &[&["--in-process"], &words[..]].concat());
    let most = host.watch_total();
    host.assert_total_held(most);
    assert_eq!(host.line("ended 0 ")[2..], ["finished", "false"]);
    assert_eq!(host.line("ended 1 ")[2..], ["memory-limit", "true"]);
    host.finish();
}
