//! Whose turn it is to make room. Pure: every member's keeper decides for its
//! own job, by the same rules and the same table, so that nobody need ask.
//!
//! The youngest goes first, and the eldest never while there are others: so
//! something always comes to its end, however often the rest is started anew.

use memcap_linux::ByteSize;

/// How near to the total is near enough to act.
const MARGIN_PERCENT: u32 = 2;
const LARGEST_MARGIN: ByteSize = ByteSize::from_mib(64);
const SMALLEST_MARGIN: ByteSize = ByteSize::from_mib(2);
/// A small total is not eaten up by its margin.
const MOST_OF_TOTAL: u32 = 12;

/// What a member is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It runs, or is about to.
    Running,
    /// It is frozen until there is room.
    Paused,
    /// Its tree is being ended, and what it holds comes back.
    Ending,
}

/// One member, as its keeper last told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Member {
    /// How many were started before it.
    pub(crate) order: u64,
    pub(crate) phase: Phase,
    /// What its tree holds at the least, and at the most.
    pub(crate) at_least: ByteSize,
    pub(crate) at_most: ByteSize,
    /// What the caller expects it to hold at its largest.
    pub(crate) expected: Option<ByteSize>,
    /// Its keeper lives and has looked lately.
    pub(crate) can_act: bool,
}

impl Member {
    fn lives(&self) -> bool {
        self.phase != Phase::Ending
    }

    /// What it comes to, as far as anybody knows.
    fn comes_to(&self) -> Option<ByteSize> {
        self.expected.map(|expected| expected.max(self.at_most))
    }
}

/// What all members hold together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Used {
    pub(crate) at_least: ByteSize,
    pub(crate) at_most: ByteSize,
}

/// What a keeper does with its own job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Nothing.
    Stay,
    /// End it, to be started again when there is room.
    End,
    /// Freeze it until elder ones have made room.
    Pause,
    /// Let it go on.
    Resume,
}

/// What is left of the total when somebody has to go.
pub(crate) fn margin(total: ByteSize) -> ByteSize {
    total
        .percent(MARGIN_PERCENT)
        .clamp(SMALLEST_MARGIN, LARGEST_MARGIN)
        .min(total.percent(MOST_OF_TOTAL))
}

/// The total, and from where on somebody has to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Total {
    pub(crate) size: ByteSize,
    pub(crate) near: ByteSize,
}

impl Total {
    /// Where members that go on as they do grow by so much until room has been
    /// made.
    pub(crate) fn with_growth(size: ByteSize, meanwhile: ByteSize, members: &[Member]) -> Total {
        let ahead = meanwhile
            .min(size.percent(MOST_OF_TOTAL))
            .min(to_come(members).unwrap_or(ByteSize::MAX));
        Total {
            size,
            near: size.saturating_sub(margin(size).max(ahead)),
        }
    }

    /// What is to stay free, with so many margins beside it.
    fn free_with(self, margins: u64) -> ByteSize {
        let free = self.size.saturating_sub(self.near).bytes();
        let margins = margin(self.size).bytes().saturating_mul(margins);
        ByteSize::from_bytes(free.saturating_add(margins))
    }
}

/// What those that run are expected to grow by until they finish; `None` where
/// one of them has no estimate.
fn to_come(members: &[Member]) -> Option<ByteSize> {
    let mut running = members
        .iter()
        .filter(|member| member.phase == Phase::Running);
    running.try_fold(ByteSize::ZERO, |sum, member| {
        Some(sum.saturating_add(member.comes_to()?.saturating_sub(member.at_most)))
    })
}

/// Whose turn it is, asked by the keeper of `me`. `members` are all there are,
/// `me` included; `can_pause` says whether the job can be frozen unseen.
pub(crate) fn turn(
    me: &Member,
    members: &[Member],
    used: Used,
    total: Total,
    can_pause: bool,
) -> Turn {
    if !me.lives() {
        return Turn::Stay;
    }
    let is_near = used.at_least >= total.near;
    if is_near && !is_made_already(members, total) && goes(members, used, total) == Some(me.order) {
        return Turn::End;
    }
    match me.phase {
        Phase::Running if can_pause && !is_near && must_wait(me, members, total) => Turn::Pause,
        Phase::Paused if may_go_on(me, members, total) => Turn::Resume,
        Phase::Running | Phase::Paused | Phase::Ending => Turn::Stay,
    }
}

/// Whether room is being made: what somebody holds who is being ended comes back
/// by itself, and what is left then is no longer near the total.
fn is_made_already(members: &[Member], total: Total) -> bool {
    let stays = members
        .iter()
        .filter(|member| member.lives())
        .fold(ByteSize::ZERO, |sum, member| {
            sum.saturating_add(member.at_least)
        });
    members.iter().any(|member| !member.lives()) && stays < total.near
}

/// Who goes when the total is near: the youngest whose end makes room, else
/// the youngest of all; the eldest only where nobody else can act.
fn goes(members: &[Member], used: Used, total: Total) -> Option<u64> {
    let living = || members.iter().filter(|member| member.lives());
    let eldest = living().min_by_key(|member| member.order)?;
    let candidates = || living().filter(|member| member.order != eldest.order && member.can_act);
    let makes_room = |member: &&Member| member.at_most >= margin(total.size);
    let youngest = candidates()
        .filter(makes_room)
        .max_by_key(|member| member.order)
        .or_else(|| candidates().max_by_key(|member| member.order));
    match youngest {
        Some(youngest) => Some(youngest.order),
        None if living().count() > 1 && used.at_least >= total.size => Some(eldest.order),
        // Alone, its own limit holds, which is not above the total.
        None => None,
    }
}

/// How much `me` may grow until it is to be asked again: up to where somebody
/// has to go, or up to where it would have to wait.
pub(crate) fn headroom(
    me: &Member,
    members: &[Member],
    used: Used,
    total: Total,
    can_pause: bool,
) -> ByteSize {
    let until_near = total.near.saturating_sub(used.at_most);
    let is_eldest = elder(me, members).next().is_none();
    if is_eldest || !can_pause || me.phase != Phase::Running {
        return until_near;
    }
    let until_wait = room_for(me, members, total.size)
        .map(|room| room.saturating_sub(me.at_most))
        // Past it, it does not wait any more.
        .filter(|left| *left > ByteSize::ZERO)
        .map(|left| left.saturating_sub(total.free_with(1)));
    until_wait.map_or(until_near, |left| left.min(until_near))
}

/// Whether growing on would take what elder ones are expected to need, while
/// what is held now does not. It is so a margin before anybody has to go, so that
/// elder ones may come to a little more than was expected. Without an estimate of
/// each of them it is not known, and nobody waits.
fn must_wait(me: &Member, members: &[Member], total: Total) -> bool {
    if !elder(me, members).any(|_| true) {
        return false;
    }
    room_for(me, members, total.size).is_some_and(|room| {
        me.at_most <= room && me.at_most.saturating_add(total.free_with(1)) >= room
    })
}

/// Whether there is room again to grow by more than a step.
fn may_go_on(me: &Member, members: &[Member], total: Total) -> bool {
    if !elder(me, members).any(|_| true) {
        return true;
    }
    room_for(me, members, total.size)
        .is_some_and(|room| me.at_most.saturating_add(total.free_with(3)) <= room)
}

/// What is left of the total when every elder one holds what it comes to and
/// every younger one what it holds; `None` where an elder one has no estimate.
fn room_for(me: &Member, members: &[Member], total: ByteSize) -> Option<ByteSize> {
    let mut taken = ByteSize::ZERO;
    for member in elder(me, members) {
        taken = taken.saturating_add(member.comes_to()?);
    }
    for member in members.iter().filter(|m| m.order > me.order) {
        taken = taken.saturating_add(member.at_most);
    }
    Some(total.saturating_sub(taken))
}

fn elder<'a>(me: &Member, members: &'a [Member]) -> impl Iterator<Item = &'a Member> {
    let order = me.order;
    members.iter().filter(move |member| member.order < order)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SIZE: ByteSize = ByteSize::from_mib(500);

    fn at_rest() -> Total {
        Total::with_growth(SIZE, ByteSize::ZERO, &[])
    }

    fn mib(mib: u64) -> ByteSize {
        ByteSize::from_mib(mib)
    }

    fn member(order: u64, held: u64) -> Member {
        Member {
            order,
            phase: Phase::Running,
            at_least: mib(held),
            at_most: mib(held),
            expected: None,
            can_act: true,
        }
    }

    fn expects(order: u64, held: u64, expected: u64) -> Member {
        Member {
            expected: Some(mib(expected)),
            ..member(order, held)
        }
    }

    fn used(members: &[Member]) -> Used {
        let sum = |size: fn(&Member) -> ByteSize| {
            members.iter().fold(ByteSize::ZERO, |sum, member| {
                sum.saturating_add(size(member))
            })
        };
        Used {
            at_least: sum(|member| member.at_least),
            at_most: sum(|member| member.at_most),
        }
    }

    fn turns(members: &[Member]) -> Vec<Turn> {
        members
            .iter()
            .map(|me| turn(me, members, used(members), at_rest(), true))
            .collect()
    }

    #[test]
    fn the_margin_is_two_percent_within_bounds() {
        let margins = [16, 64, 500, 2048, 100_000].map(|total| margin(mib(total)).bytes() >> 10);
        assert_eq!(margins, [1966, 2048, 10_240, 41_943, 65_536]);
    }

    #[test]
    fn what_grows_while_room_is_made_is_left_free_up_to_an_eighth() {
        let free = [0, 5, 30, 400].map(|meanwhile| {
            let total = Total::with_growth(SIZE, mib(meanwhile), &[member(0, 9)]);
            SIZE.saturating_sub(total.near).mib()
        });
        assert_eq!(free, [10, 10, 30, 60]);
        let members = [member(0, 300), member(1, 170)];
        let total = Total::with_growth(SIZE, mib(30), &members);
        let turn = |total| turn(&members[1], &members, used(&members), total, true);
        assert_eq!([turn(at_rest()), turn(total)], [Turn::Stay, Turn::End]);
        // No more than those that run are expected to need.
        let paused = Member {
            phase: Phase::Paused,
            ..member(1, 170)
        };
        let expected = [expects(0, 300, 312), paused];
        let total = Total::with_growth(SIZE, mib(30), &expected);
        assert_eq!(total.near, mib(488));
    }

    #[test]
    fn the_youngest_that_makes_room_goes_and_the_eldest_stays() {
        use Turn::{End, Stay};
        let ending = |order, held| Member {
            phase: Phase::Ending,
            ..member(order, held)
        };
        let lost = |order, held| Member {
            can_act: false,
            ..member(order, held)
        };
        let cases: &[(&[Member], &[Turn])] = &[
            // Not near.
            (&[member(0, 300), member(1, 189)], &[Stay, Stay]),
            (&[member(0, 300), member(1, 190)], &[Stay, End]),
            // However large the eldest is, and in whatever order they are listed.
            (&[member(4, 9), member(3, 481)], &[End, Stay]),
            (
                &[member(0, 300), member(1, 100), member(2, 90)],
                &[Stay, Stay, End],
            ),
            // The youngest has only begun: its end would make no room.
            (
                &[member(0, 300), member(1, 188), member(2, 2)],
                &[Stay, End, Stay],
            ),
            // None but the eldest would make room.
            (
                &[member(0, 489), member(1, 3), member(2, 2)],
                &[Stay, Stay, End],
            ),
            // Room is being made already.
            (
                &[member(0, 300), member(1, 100), ending(2, 100)],
                &[Stay, Stay, Stay],
            ),
            // Room is being made, and what grows meanwhile has taken it.
            (
                &[
                    member(0, 300),
                    member(1, 100),
                    member(2, 90),
                    ending(3, 100),
                ],
                &[Stay, Stay, End, Stay],
            ),
            // Alone: its own limit holds.
            (&[member(7, 500)], &[Stay]),
            // Whoever cannot act is passed over, the eldest acts as the last.
            (
                &[member(0, 300), member(1, 100), lost(2, 100)],
                &[Stay, End, Stay],
            ),
            (&[member(0, 300), lost(1, 195)], &[Stay, Stay]),
            (&[member(0, 300), lost(1, 200)], &[End, Stay]),
        ];
        for (members, expected) in cases {
            assert_eq!(turns(members), *expected, "{members:?}");
        }
    }

    #[test]
    fn what_may_be_counted_twice_ends_nobody() {
        let forked = Member {
            at_least: mib(100),
            ..member(1, 250)
        };
        assert_eq!(turns(&[member(0, 300), forked]), [Turn::Stay, Turn::Stay]);
    }

    #[test]
    fn a_pause_needs_an_estimate_of_every_elder_one_that_leaves_room() {
        use Turn::{Pause, Resume, Stay};
        let paused = |order, held| Member {
            phase: Phase::Paused,
            ..member(order, held)
        };
        let cases: &[(&[Member], &[Turn])] = &[
            (&[expects(0, 100, 300), member(1, 179)], &[Stay, Stay]),
            (&[expects(0, 100, 300), member(1, 180)], &[Stay, Pause]),
            (&[expects(0, 300, 300), member(1, 180)], &[Stay, Pause]),
            (&[expects(0, 300, 300), paused(1, 189)], &[Stay, Stay]),
            // What is held already does not fit beside what is expected.
            (&[expects(0, 100, 300), member(1, 201)], &[Stay, Stay]),
            // Nobody knows what the eldest comes to.
            (&[member(0, 100), member(1, 190)], &[Stay, Stay]),
            (
                &[expects(0, 100, 300), member(1, 10), member(2, 160)],
                &[Stay, Stay, Stay],
            ),
            // What younger ones hold, they hold.
            (
                &[expects(0, 100, 300), member(1, 90), paused(2, 100)],
                &[Stay, Pause, Stay],
            ),
            // More than was expected.
            (&[expects(0, 310, 300), paused(1, 180)], &[Stay, Turn::End]),
            (&[expects(0, 309, 300), paused(1, 180)], &[Stay, Stay]),
            (&[expects(0, 100, 300), paused(1, 161)], &[Stay, Stay]),
            (&[expects(0, 100, 300), paused(1, 160)], &[Stay, Resume]),
            (&[paused(1, 190)], &[Resume]),
        ];
        for (members, expected) in cases {
            assert_eq!(turns(members), *expected, "{members:?}");
        }
    }

    #[test]
    fn the_next_look_comes_before_the_next_turn() {
        let members = [expects(0, 100, 300), member(1, 100)];
        let left = |me: usize, can_pause| {
            headroom(&members[me], &members, used(&members), at_rest(), can_pause)
        };
        assert_eq!(left(0, true), mib(290));
        assert_eq!(left(1, false), mib(290));
        assert_eq!(left(1, true), mib(80));
    }

    #[test]
    fn who_cannot_be_frozen_unseen_is_not_paused() {
        let members = [expects(0, 100, 300), member(1, 190)];
        let turn = turn(&members[1], &members, used(&members), at_rest(), false);
        assert_eq!(turn, Turn::Stay);
    }

    proptest! {
        /// Never two at once, never the eldest where another can act, never
        /// anybody while there is room; and where there is none, somebody.
        #[test]
        fn one_goes_at_a_time(sizes in proptest::collection::vec((0u64..400, 0u8..3), 1..12)) {
            let members: Vec<Member> = sizes
                .iter()
                .zip(0..)
                .map(|((held, phase), order)| Member {
                    phase: match phase {
                        0 => Phase::Paused,
                        _ => Phase::Running,
                    },
                    ..member(order, *held)
                })
                .collect();
            let ended: Vec<u64> = turns(&members)
                .iter()
                .zip(0..)
                .filter(|(turn, _)| **turn == Turn::End)
                .map(|(_, order)| order)
                .collect();
            let is_near = used(&members).at_least >= at_rest().near;
            let expected = usize::from(is_near && members.len() > 1);
            prop_assert_eq!(ended.len(), expected);
            prop_assert!(!ended.contains(&0));
        }
    }
}
