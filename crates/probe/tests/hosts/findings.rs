//! Asking captured hosts for their findings.

use memcap_probe::diagnosis::{Finding, diagnose};
use memcap_probe::trial::{self, Control, Trials, Verdict};
use memcap_probe::{Facts, Mechanism, examine};

use super::builder::Captured;

/// What the facts alone tell.
pub fn findings(captured: &Captured) -> Vec<Finding> {
    examine(&captured.roots(), None).findings
}

/// The codes of [`findings`] in the order of the codes.
pub fn codes(captured: &Captured) -> Vec<String> {
    let mut codes: Vec<String> = findings(captured)
        .into_iter()
        .map(|finding| finding.code)
        .collect();
    codes.sort_by_key(|code| code[1..].parse::<u32>().expect("a number"));
    codes
}

/// The finding of this code.
pub fn finding(captured: &Captured, code: &str) -> Finding {
    let mut found = findings(captured).into_iter();
    found
        .find(|finding| finding.code == code)
        .unwrap_or_else(|| panic!("no {code} in {:?}", codes(captured)))
}

/// Trials that ended so for one mechanism, with the control passed.
pub fn tried(captured: &Captured, mechanism: Mechanism, verdict: Verdict) -> Trials {
    let mut trials = trial::facts_only(&captured.host(), "not tried");
    trials.control = Some(Control {
        passed: true,
        seen: "touched 96 of 96 MiB".into(),
    });
    for trial in &mut trials.mechanisms {
        if trial.mechanism == mechanism {
            trial.verdict = verdict;
        }
    }
    trials
}

/// The codes where trials were made.
pub fn codes_after(captured: &Captured, trials: &Trials) -> Vec<String> {
    let host = captured.host();
    diagnose(&host, trials, &Facts::observe(&captured.roots(), &host))
        .into_iter()
        .map(|finding| finding.code)
        .collect()
}

#[test]
fn every_finding_says_all_there_is_to_say() {
    let captured = super::v2::undelegated();
    for finding in findings(&captured) {
        assert!(!finding.seen.is_empty() && !finding.means.is_empty());
        assert!(finding.meanwhile.starts_with("memcap "), "{finding:?}");
        assert!(!finding.fix.is_empty());
        assert!(
            finding.fix.iter().all(|line| line.chars().count() <= 75),
            "a fix is never wrapped: {finding:?}"
        );
    }
}

#[test]
fn what_blocks_comes_before_what_is_only_noted() {
    let captured = super::v1::hybrid()
        .lock("sys/fs/cgroup/memory/api/job")
        .v1("sys/fs/cgroup/memory/api", "1073741824\n")
        .put("proc/self/oom_score_adj", "-1000\n");
    let found = findings(&captured);
    let order: Vec<&str> = found.iter().map(|finding| finding.code.as_str()).collect();
    assert_eq!(order, ["C3", "C13", "C12"]);
}
