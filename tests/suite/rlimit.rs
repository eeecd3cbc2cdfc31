//! A resource limit holds for each process by itself and refuses memory in
//! place of ending anything. memcap says no more than that.

#![expect(clippy::unwrap_used, reason = "a step that fails is a failed check")]

use integration_tests::harness::{Account, Mechanism, Scene, Setting};
use integration_tests::job::EXIT_REFUSED;

const MIB: u64 = 1 << 20;

#[test]
fn root_is_refused_memory_at_the_limit() {
    with_scene(Account::Root, is_refused_memory_at_the_limit);
}

#[test]
fn an_ordinary_user_is_refused_memory_at_the_limit() {
    with_scene(Account::Ordinary, is_refused_memory_at_the_limit);
}

#[test]
fn root_leaves_nothing() {
    with_scene(Account::Root, leaves_nothing);
}

#[test]
fn an_ordinary_user_leaves_nothing() {
    with_scene(Account::Ordinary, leaves_nothing);
}

#[test]
fn a_tree_is_not_said_to_be_limited() {
    with_scene(Account::Ordinary, |scene| {
        let finished = scene
            .memcap()
            .memory("100M")
            .job("tree", ["4", "60M"])
            .run();
        // Each child stays below the limit, so nobody is refused anything.
        finished.expect_code(0).expect_verdict("finished");
        assert_eq!(finished.report().text("/guarantee"), "process-exact");
    });
}

fn is_refused_memory_at_the_limit(scene: &Scene) {
    let limit = 512 * MIB;
    let ledger = scene.ledger("ledger");
    let words = ["4G", "--progress", &scene.word("ledger")];
    let finished = scene.memcap().memory("512M").job("hog", words).run();
    // The job ended by itself: whether for want of memory, only it can tell.
    finished
        .expect_code(EXIT_REFUSED)
        .expect_verdict("finished");
    assert!(ledger.total().unwrap() <= limit, "{finished}");
    assert!(ledger.total().unwrap() > limit * 9 / 10, "{finished}");
    assert_eq!(finished.report().text("/mechanism"), "rlimit");
    assert_eq!(finished.report().text("/guarantee"), "process-exact");
    scene.assert_nothing_left();
}

fn leaves_nothing(scene: &Scene) {
    let finished = scene
        .memcap()
        .memory("200M")
        .job("daemonize", ["--child"])
        .run();
    finished.expect_code(0).expect_verdict("finished");
    scene.assert_nothing_left();
}

fn with_scene(account: Account, check: impl FnOnce(&Scene)) {
    let setting = Setting {
        account,
        mechanism: Mechanism::Rlimit,
    };
    if let Some(scene) = Scene::open(setting) {
        check(&scene);
    }
}
