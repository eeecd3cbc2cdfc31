use super::clock::{BOUNDED, FILL_RATE};
use super::*;
use proptest::prelude::*;

const LIMIT: ByteSize = ByteSize::from_mib(512);

fn watchdog() -> Governor {
    Governor::new(Rules {
        sampled_limit: Some(LIMIT),
        time: None,
        grace: Duration::from_secs(2),
        sample_every: None,
        leases: false,
    })
}

fn look(mib: u64, members: usize) -> Sum {
    Sum {
        private: ByteSize::from_mib(mib),
        members,
        ..Sum::default()
    }
}

/// Everything the members hold may have been inherited.
fn forked(mib: u64, members: usize) -> Sum {
    Sum {
        inherited: ByteSize::from_mib(mib),
        ..look(mib, members)
    }
}

fn sum(mib: u64, members: usize) -> Input {
    Input::Sum(look(mib, members))
}

fn exact(mib: u64, sum: Sum) -> Input {
    Input::Exact(Measured {
        least: ByteSize::from_mib(mib),
        most: ByteSize::from_mib(mib),
        sum,
        took: Duration::from_millis(1),
        cost: Duration::from_millis(1),
    })
}

fn bounds(least: u64, most: u64, sum: Sum) -> Input {
    Input::Bounds(Measured {
        least: ByteSize::from_mib(least),
        most: ByteSize::from_mib(most),
        sum,
        took: Duration::from_micros(100),
        cost: Duration::from_micros(100),
    })
}

fn at(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn looks_come_closer_as_the_limit_does() {
    let mut governor = watchdog();
    let mut wait_after = |look: Sum| {
        assert_eq!(governor.on(Input::Sum(look), Duration::ZERO), Action::Wait);
        governor.wake_at().expect("a watchdog always looks again")
    };
    let newcomer = Sum {
        newcomers: true,
        ..look(0, 1)
    };
    assert_eq!(wait_after(newcomer), RESTLESS);
    assert_eq!(wait_after(look(0, 1)), 2 * RESTLESS);
    for _ in 0..6 {
        wait_after(look(0, 1));
    }
    assert_eq!(wait_after(look(0, 1)), Duration::from_micros(62_500));
    assert_eq!(wait_after(look(500, 1)), Duration::from_micros(1464));
    assert_eq!(wait_after(look(511, 1)), SHORTEST);
    assert_eq!(wait_after(newcomer), RESTLESS);
}

#[test]
fn one_process_at_the_limit_is_ended_at_once() {
    let mut governor = watchdog();
    assert_eq!(governor.on(sum(512, 1), at(1)), Action::EndTree);
    assert_eq!(governor.cause(), Some(Cause::Watchdog));
    assert_eq!(governor.on(Input::MainEnded, at(2)), Action::Wait);
    assert_eq!(governor.wake_at(), None);
}

#[test]
fn members_that_grew_by_themselves_need_no_measurement() {
    let mut governor = watchdog();
    assert_eq!(governor.on(sum(511, 4), at(1)), Action::Wait);
    assert_eq!(governor.on(sum(512, 4), at(2)), Action::EndTree);
}

#[test]
fn inherited_pages_are_checked_once_and_remembered() {
    let mut governor = watchdog();
    assert_eq!(
        governor.on(Input::Sum(forked(800, 4)), at(1)),
        Action::MeasureBounds
    );
    assert_eq!(
        governor.on(bounds(200, 800, forked(800, 4)), at(1)),
        Action::MeasureExactly
    );
    assert_eq!(governor.on(exact(300, forked(800, 4)), at(2)), Action::Wait);
    // 500 MiB are known to be counted twice, and nobody has joined.
    assert_eq!(governor.on(sum(1011, 4), at(3)), Action::Wait);
    assert_eq!(governor.on(sum(1012, 4), at(4)), Action::EndTree);
}

/// 300 MiB and two forked children that have inherited all of it.
fn known_to_share() -> Governor {
    let mut governor = watchdog();
    governor.on(exact(300, forked(900, 3)), at(1));
    let believed = governor.believable(look(900, 3), ByteSize::ZERO);
    assert_eq!(believed, ByteSize::from_mib(300));
    governor
}

#[test]
fn shared_pages_that_are_written_count_though_the_sum_stays() {
    let mut governor = known_to_share();
    assert!(governor.wants_faults(look(900, 3)));
    let after = |mib| Sum {
        written: ByteSize::from_mib(mib),
        ..look(900, 3)
    };
    // Believed until it matters.
    assert_eq!(governor.on(Input::Sum(after(211)), at(10)), Action::Wait);
    let much = after(212);
    assert_eq!(governor.on(Input::Sum(much), at(20)), Action::MeasureBounds);
    // Half of it was something else.
    assert_eq!(governor.on(bounds(400, 410, much), at(21)), Action::Wait);
    assert_eq!(governor.on(Input::Sum(after(101)), at(30)), Action::Wait);
    let again = after(102);
    assert_eq!(
        governor.on(Input::Sum(again), at(31)),
        Action::MeasureBounds
    );
    assert_eq!(
        governor.on(bounds(512, 512, again), at(32)),
        Action::EndTree
    );
    // A tree that could not breach if every page were its own costs nothing.
    assert!(!known_to_share().wants_faults(look(380, 3)));
    assert!(!watchdog().wants_faults(look(900, 3)));
}

#[test]
fn what_could_hide_a_breach_is_measured_again_after_a_while() {
    let mut governor = watchdog();
    governor.on(exact(300, look(900, 3)), at(0));
    let same = look(900, 3);
    assert_eq!(governor.on(Input::Sum(same), at(999)), Action::Wait);
    assert_eq!(
        governor.on(Input::Sum(same), at(1000)),
        Action::MeasureExactly
    );
    assert_eq!(governor.on(exact(300, same), at(1001)), Action::Wait);
    assert_eq!(governor.on(Input::Sum(same), at(1002)), Action::Wait);
    // A tree that could not breach if every page were its own costs nothing.
    let mut small = watchdog();
    small.on(exact(100, look(300, 3)), at(0));
    assert_eq!(small.on(Input::Sum(look(300, 3)), at(5000)), Action::Wait);
}

#[test]
fn who_leaves_takes_along_what_was_counted_twice() {
    let mut governor = known_to_share();
    // One of the children has ended: 300 MiB are held, not none.
    let left = Sum {
        given_back: ByteSize::from_mib(300),
        ..look(600, 2)
    };
    let grown = Sum {
        private: ByteSize::from_mib(812),
        ..left
    };
    let peak = ByteSize::from_mib(300);
    assert_eq!(governor.believable(left, peak), peak);
    assert_eq!(
        governor.on(Input::Sum(grown), at(20)),
        Action::MeasureBounds
    );
    assert_eq!(governor.on(exact(512, grown), at(21)), Action::EndTree);
}

#[test]
fn leases_are_half_of_the_headroom_or_more_and_closed_during_the_grace() {
    let rules = Rules {
        leases: true,
        time: Some(at(100)),
        ..watchdog().rules
    };
    let mut governor = Governor::new(rules);
    let slack = |mib| Sum {
        slack: ByteSize::from_mib(mib),
        ..look(112, 1)
    };
    let mib = |mib| Some(ByteSize::from_mib(mib));
    assert_eq!(governor.allowance(slack(100)), mib(300));
    assert_eq!(governor.allowance(slack(1000)), mib(200));
    assert!(governor.slack_fits(slack(200)) && !governor.slack_fits(slack(201)));
    assert_eq!(governor.on(Input::Tick, at(100)), Action::AskToEnd);
    assert_eq!(governor.allowance(slack(0)), mib(0));
    assert_eq!(watchdog().allowance(slack(0)), None);
}

#[test]
fn a_grace_ends_at_the_limit() {
    let mut governor = watchdog();
    assert_eq!(governor.on(Input::StopAsked, at(1)), Action::AskToEnd);
    assert_eq!(governor.on(sum(511, 1), at(2)), Action::Wait);
    assert_eq!(governor.on(sum(512, 1), at(3)), Action::EndTree);
    assert_eq!(governor.cause(), Some(Cause::Watchdog));
}

#[test]
fn the_clock_knows_leases() {
    let near = ByteSize::from_mib(4);
    let leases = |room, fit| Some(Leases { room, fit });
    let gib = ByteSize::from_gib(1);
    assert_eq!(time_to_next(near, None), time_to_fill(near));
    assert_eq!(time_to_next(near, leases(near, false)), time_to_fill(near));
    assert_eq!(time_to_next(near, leases(near, true)), BOUNDED);
    // A member with a tight lease gets more before it is refused.
    assert_eq!(time_to_next(gib, leases(near, false)), time_to_fill(near));
}

proptest! {
    /// One process that obeys its lease and grows as fast as it can: at
    /// every look it has mapped what it was given and touched all it has
    /// mapped. It never holds more than the limit.
    #[test]
    fn who_touches_what_a_lease_allows_never_breaches(
        shares in proptest::collection::vec((0u64..=100, 0u64..=100), 1..60),
    ) {
        let rules = Rules { leases: true, ..watchdog().rules };
        let mut governor = Governor::new(rules);
        let (mut mapped, mut touched, mut now) = (0u64, 0u64, Duration::ZERO);
        for (takes, touches) in shares {
            let sum = Sum {
                private: ByteSize::from_bytes(touched),
                slack: ByteSize::from_bytes(mapped - touched),
                members: 1,
                ..Sum::default()
            };
            let fits = governor.slack_fits(sum);
            let allowance = governor.allowance(sum).expect("leases are on");
            if governor.on(Input::Sum(sum), now) == Action::EndTree {
                break;
            }
            now = governor.wake_at().expect("looks again");
            mapped += allowance.bytes() * takes / 100;
            if fits {
                // The kernel alone holds this step, however late the look.
                prop_assert!(mapped <= LIMIT.bytes());
            }
            touched += (mapped - touched) * touches / 100;
        }
    }

    /// Without leases, a tree that grows at [`FILL_RATE`] at the most is
    /// over by what it fills in the shortest wait, as far as looks come
    /// when they are due.
    #[test]
    fn overshoot_is_what_the_shortest_wait_fills(
        rates in proptest::collection::vec(0u64..=100, 200..1200),
    ) {
        let mut governor = watchdog();
        let (mut held, mut now) = (0u64, Duration::ZERO);
        let filled = |wait: Duration, percent: u64| {
            let full = u128::from(FILL_RATE.bytes()) * wait.as_micros() / 1_000_000;
            u64::try_from(full).expect("small") * percent / 100
        };
        for rate in rates {
            let sum = Sum {
                private: ByteSize::from_bytes(held),
                members: 1,
                ..Sum::default()
            };
            if governor.on(Input::Sum(sum), now) == Action::EndTree {
                break;
            }
            let due = governor.wake_at().expect("looks again");
            held += filled(due - now, rate);
            now = due;
            prop_assert!(held <= LIMIT.bytes() + filled(SHORTEST, 100));
        }
    }
}

#[test]
fn what_is_counted_twice_is_learned_before_the_limit() {
    let mut governor = watchdog();
    assert_eq!(governor.on(Input::Sum(forked(10, 4)), at(1)), Action::Wait);
    assert_eq!(
        governor.on(Input::Sum(forked(128, 4)), at(2)),
        Action::MeasureExactly
    );
    assert_eq!(governor.on(exact(124, forked(128, 4)), at(3)), Action::Wait);
    assert_eq!(governor.on(sum(515, 4), at(4)), Action::Wait);
    assert_eq!(governor.on(sum(516, 4), at(5)), Action::EndTree);
}

#[test]
fn newcomers_bring_doubt_by_what_they_may_share() {
    let mut governor = watchdog();
    governor.on(exact(300, look(300, 4)), at(1));
    let little = Sum {
        inherited: ByteSize::from_mib(4),
        ..look(512, 5)
    };
    // Still growing: it will be certain in a moment. Steady: measured.
    assert_eq!(governor.on(Input::Sum(little), at(5)), Action::Wait);
    assert_eq!(
        governor.on(Input::Sum(little), at(6)),
        Action::MeasureBounds
    );
    let mut governor = watchdog();
    let over = Sum {
        inherited: ByteSize::from_mib(4),
        ..look(516, 5)
    };
    assert_eq!(governor.on(Input::Sum(over), at(5)), Action::EndTree);
}

#[test]
fn measurements_keep_their_distance() {
    let mut governor = watchdog();
    governor.on(exact(300, look(300, 4)), at(1));
    // Measured a moment ago: patience first, more of it far from the limit.
    assert_eq!(
        governor.on(Input::Sum(forked(200, 5)), at(40)),
        Action::Wait
    );
    assert_eq!(
        governor.on(Input::Sum(forked(200, 5)), at(51)),
        Action::MeasureExactly
    );
    // Bounds are cheap, and come at once; what they leave open waits.
    let mut governor = watchdog();
    governor.on(exact(300, look(300, 4)), at(1));
    let over = forked(600, 5);
    assert_eq!(governor.on(Input::Sum(over), at(4)), Action::MeasureBounds);
    assert_eq!(governor.on(bounds(300, 600, over), at(4)), Action::Wait);
    assert_eq!(
        governor.on(Input::Sum(look(600, 5)), at(5)),
        Action::MeasureExactly
    );
}

#[test]
fn nothing_long_is_begun_while_the_limit_could_be_reached_meanwhile() {
    let shared = |mib| Sum {
        shared: ByteSize::from_mib(mib),
        ..look(8, 3)
    };
    let step = |from: u64, to: u64| {
        let mut governor = watchdog();
        governor.on(Input::Sum(shared(3 * from)), at(1));
        governor.on(exact(from, shared(3 * from)), at(2));
        // Each of the three has mapped as much more.
        let now = shared(3 * to);
        governor.on(Input::Sum(now), at(100));
        governor.on(bounds(to, 3 * to, now), at(100))
    };
    assert_eq!(step(200, 490), Action::Wait, "22 MiB left, 3 MiB a ms");
    assert_eq!(step(400, 440), Action::MeasureExactly, "a slow one");
}

#[test]
fn one_process_that_maps_shared_memory_twice_holds_it_once() {
    let mut governor = watchdog();
    let ring = |mib| Sum {
        shared: ByteSize::from_mib(mib),
        ..look(1, 1)
    };
    assert_eq!(
        governor.on(Input::Sum(ring(600)), at(1)),
        Action::MeasureBounds
    );
    assert_eq!(
        governor.on(bounds(1, 601, ring(600)), at(1)),
        Action::MeasureExactly
    );
    assert_eq!(governor.on(exact(301, ring(600)), at(9)), Action::Wait);
    assert_eq!(governor.on(Input::Sum(ring(600)), at(100)), Action::Wait);
}

#[test]
fn one_address_space_seen_twice_is_not_believed() {
    let mut governor = watchdog();
    let twins = Sum {
        twins: true,
        ..look(600, 2)
    };
    assert_eq!(governor.on(Input::Sum(twins), at(1)), Action::MeasureBounds);
    assert_eq!(
        governor.on(bounds(300, 600, twins), at(1)),
        Action::MeasureExactly
    );
    assert_eq!(governor.on(exact(300, twins), at(2)), Action::Wait);
}

#[test]
fn what_the_largest_holds_is_certain_while_the_rest_is_doubtful() {
    let mut governor = watchdog();
    // Five that share nearly everything, of which four then leave a helper behind.
    governor.on(exact(120, look(500, 5)), at(1));
    let left = Sum {
        given_back: ByteSize::from_mib(400),
        largest: ByteSize::from_mib(300),
        ..look(330, 2)
    };
    let peak = ByteSize::from_mib(120);
    assert_eq!(governor.believable(left, peak), ByteSize::from_mib(300));
    let unknown = Sum {
        largest: ByteSize::ZERO,
        ..left
    };
    assert_eq!(governor.believable(unknown, peak), peak);
}

#[test]
fn what_is_certain_is_held_whatever_was_counted_twice() {
    let mut governor = watchdog();
    // Three that share nearly everything; one of them stays, and grows.
    governor.on(exact(110, look(300, 3)), at(1));
    let alone = look(250, 1);
    assert_eq!(
        governor.bounds(alone),
        (ByteSize::from_mib(250), ByteSize::from_mib(250))
    );
    let believed = governor.believable(alone, ByteSize::from_mib(110));
    assert_eq!(believed, ByteSize::from_mib(250));
    assert_eq!(
        governor.on(Input::Sum(look(512, 1)), at(2)),
        Action::EndTree
    );
}

#[test]
fn growing_shared_memory_is_measured_not_believed() {
    let mut governor = watchdog();
    let shared = |mib| Sum {
        shared: ByteSize::from_mib(mib),
        ..look(100, 4)
    };
    governor.on(exact(200, shared(100)), at(1));
    assert_eq!(
        governor.on(Input::Sum(shared(600)), at(9)),
        Action::MeasureBounds
    );
    assert_eq!(
        governor.on(bounds(250, 700, shared(600)), at(9)),
        Action::MeasureExactly
    );
    assert_eq!(
        governor.on(bounds(512, 800, shared(700)), at(9)),
        Action::EndTree
    );
}

#[test]
fn time_limit_asks_then_ends() {
    let mut governor = Governor::new(Rules {
        time: Some(at(100)),
        sampled_limit: None,
        ..watchdog().rules
    });
    assert_eq!(governor.wake_at(), Some(at(100)));
    assert_eq!(governor.on(Input::Tick, at(99)), Action::Wait);
    assert_eq!(governor.on(Input::Tick, at(100)), Action::AskToEnd);
    assert_eq!(governor.wake_at(), Some(at(2100)));
    assert_eq!(governor.on(Input::Tick, at(2100)), Action::EndTree);
    assert_eq!(governor.cause(), Some(Cause::TimeLimit));
}

#[test]
fn time_stands_still_while_the_main_process_is_stopped() {
    let rules = Rules {
        time: Some(at(100)),
        sampled_limit: None,
        ..watchdog().rules
    };
    let mut governor = Governor::new(rules);
    assert_eq!(governor.on(Input::MainStopped, at(60)), Action::Wait);
    // Told twice, as by SIGTSTP on SIGSTOP.
    assert_eq!(governor.on(Input::MainStopped, at(80)), Action::Wait);
    assert_eq!(governor.wake_at(), None);
    assert_eq!(governor.on(Input::Tick, at(5000)), Action::Wait);
    assert_eq!(governor.on(Input::MainContinued, at(6060)), Action::Wait);
    assert_eq!(governor.wake_at(), Some(at(6100)));
    assert_eq!(governor.on(Input::Tick, at(6099)), Action::Wait);
    assert_eq!(governor.on(Input::Tick, at(6100)), Action::AskToEnd);
}

#[test]
fn the_first_cause_stays_but_memory_overrules() {
    let started = || {
        let mut governor = watchdog();
        assert_eq!(governor.on(Input::StopAsked, at(1)), Action::AskToEnd);
        governor
    };
    let mut obedient = started();
    assert_eq!(obedient.on(Input::MainEnded, at(2)), Action::EndTree);
    assert_eq!(obedient.cause(), Some(Cause::StopAsked));
    let mut greedy = started();
    assert_eq!(greedy.on(sum(600, 1), at(2)), Action::EndTree);
    assert_eq!(greedy.cause(), Some(Cause::Watchdog));
}

#[test]
fn a_kernel_limit_needs_no_looks() {
    let rules = Rules {
        sampled_limit: None,
        ..watchdog().rules
    };
    let mut governor = Governor::new(rules);
    assert_eq!(governor.wake_at(), None);
    assert!(!governor.look_is_due(at(1000)));
    assert_eq!(governor.on(Input::KernelOom, at(1)), Action::EndTree);
}

#[test]
fn shared_memory_in_place_of_other_may_be_counted_twice() {
    let mib = ByteSize::from_mib;
    let mut governor = watchdog();
    let before = Sum {
        shared: mib(260),
        ..look(150, 2)
    };
    governor.on(exact(410, before), at(10));
    // Given back, and other memory mapped by both, a page once for each.
    let after = Sum {
        shared: mib(340),
        shared_back: mib(260),
        given_back: mib(260),
        largest: mib(300),
        ..look(300, 2)
    };
    let action = governor.on(Input::Sum(after), at(20));
    assert_ne!(action, Action::EndTree);
    assert_eq!(governor.bounds(after), (mib(300), mib(640)));
}

#[test]
fn what_files_hold_is_certain() {
    let mut governor = watchdog();
    let held = Sum {
        shared: ByteSize::from_mib(300),
        held: ByteSize::from_mib(300),
        inherited: ByteSize::from_mib(213),
        largest: ByteSize::from_mib(213),
        ..look(426, 2)
    };
    assert_eq!(governor.on(Input::Sum(held), at(10)), Action::EndTree);
}

#[test]
fn what_was_written_can_have_reached_the_limit() {
    let mib = ByteSize::from_mib;
    let family = |written| Sum {
        written: mib(written),
        ..look(8200, 41)
    };
    // Dear, and they leave open what others than the writers have.
    let measured = |least, sum, millis| Measured {
        least: mib(least),
        most: mib(8200),
        sum,
        took: at(millis),
        cost: at(millis),
    };
    let begin = |found| {
        let mut governor = watchdog();
        governor.on(Input::Exact(measured(200, forked(8200, 41), 100)), at(10));
        governor.on(Input::Bounds(measured(found, family(50), 50)), at(100));
        governor
    };
    // Not worth the next measurement before four times its cost has passed, unless
    // copies can have reached the limit.
    let cases = [
        (250, 200, Action::Wait),
        (250, 270, Action::MeasureBounds),
        // The last page faults were no copies.
        (205, 400, Action::Wait),
    ];
    for (found, written, expected) in cases {
        let mut governor = begin(found);
        let action = governor.on(Input::Sum(family(written)), at(160));
        assert_eq!(action, expected, "{found} found, {written} written");
    }
}
