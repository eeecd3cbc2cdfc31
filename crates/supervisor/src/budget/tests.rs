use super::*;
use crate::{Job, KeeperRefusal};

fn total(memory: &str) -> Limits {
    Limits::memory(memory.parse().expect("a size")).expect("a limit")
}

fn budget(memory: &str) -> Budget {
    let watchdog = MechanismChoice::Only(Mechanism::Watchdog);
    Supervisor::in_process()
        .budget(total(memory), watchdog)
        .expect("the watchdog works everywhere")
}

fn member(memory: &str) -> Request {
    Request::new(Job::new("true"), total(memory))
}

/// The words of a refusal, and that it says what to do.
fn refusal<T: std::fmt::Debug>(refused: Result<T, SupervisorError>) -> String {
    let error = refused.expect_err("refused");
    assert!(error.hint().is_some(), "{error}");
    error.to_string()
}

#[test]
fn a_total_has_no_limits_that_are_each_members() {
    let second = Duration::from_secs(1);
    let others = [
        total("1G").time(second).expect("a time"),
        total("1G")
            .soft(ByteSize::from_mib(512))
            .expect("a soft limit"),
    ];
    for limits in others {
        let words = refusal(Budget::new(limits));
        assert_eq!(
            words,
            "a budget has a memory limit and a swap allowance, and no other limit"
        );
    }
}

#[test]
fn a_total_above_what_the_host_gives_is_clamped_and_says_so() {
    let budget = budget("900T");
    let plan = budget.plan();
    assert!(plan.limit < ByteSize::from_gib(900 << 10), "{}", plan.limit);
    assert!(plan.clamped.is_some(), "{plan:?}");
}

#[test]
fn members_are_held_by_what_holds_the_total() {
    let budget = budget("1G");
    let other = member("64M").mechanism(MechanismChoice::Only(Mechanism::Rlimit));
    let words = refusal(budget.spawn(other));
    assert_eq!(
        words,
        "the budget is held by watchdog, and `rlimit` was asked for"
    );
    for (mechanism, reason) in [
        (Mechanism::Rlimit, "it bounds each process for itself"),
        (Mechanism::Systemd, "a scope is around one keeper"),
    ] {
        let refused = Supervisor::new().budget(total("1G"), MechanismChoice::Only(mechanism));
        let words = refusal(refused.map_err(|error| match error {
            SupervisorError::Refused(KeeperRefusal(why)) => panic!("too late: {why:?}"),
            error => error,
        }));
        assert!(words.contains(reason), "{words}");
    }
}

#[test]
fn a_budget_is_full_and_has_room_when_somebody_has_left() {
    let budget = budget("1G");
    let tickets: Vec<Ticket> = (0..)
        .map_while(|order| budget.0.table.claim(order, None))
        .collect();
    assert_eq!(budget.sample().members, tickets.len());
    let words = refusal(budget.spawn(member("64M")));
    assert_eq!(
        words,
        format!("the budget has {} members already", table::SEATS)
    );
    budget.0.table.leave(tickets[3]);
    let outcome = budget.run(member("64M")).expect("there is a seat");
    assert_eq!(outcome.exit_code(), 0);
    // It has given its seat back.
    let again = budget.run(member("64M")).expect("there is a seat");
    assert_eq!(again.exit_code(), 0);
}

#[test]
fn who_could_not_be_started_gives_the_seat_back() {
    let budget = budget("1G");
    let absent = Request::new(Job::new("/nowhere/at/all"), total("64M"));
    let outcome = budget.run(absent).expect("judged");
    assert_eq!(outcome.exit_code(), 127);
    assert_eq!(budget.sample().members, 0);
}
