//! Bounds of private memory by its pages. A page that is mapped by one process
//! alone is the tree's, once; of the others a member has each once. So all
//! that one member has, and what the others have alone, are there at the
//! least: one member need not be walked, best the one that has most in common with
//! others, and the others only until the limit is proven to be reached. Each page
//! costs a miss of the processor's caches, while the tree goes on growing.

use std::cmp::Reverse;

use memcap_linux::{AnonymousPages, ByteSize, Extent};

/// Of a process that has mapped more than this many times what it holds, and more than
/// this many bytes beside, the largest mappings are not looked at: what is in them may be
/// its own, or not.
const SPARSE: u64 = 4;
const SMALL_SPAN: u64 = 64 << 20;
/// Who may have written no more than this has next to nothing of its own.
const NOTHING: ByteSize = ByteSize::from_mib(1);

/// What can be asked for the pages of a process.
pub(super) trait Pages {
    /// As many as can be seen.
    fn of(&mut self, pid: i32, extent: Extent) -> AnonymousPages;

    /// What it holds now; nothing when it is gone.
    fn held(&mut self, pid: i32) -> ByteSize;
}

/// The members to be walked.
#[derive(Debug, Default)]
pub(super) struct Walk {
    members: Vec<Member>,
}

#[derive(Debug, Clone, Copy)]
struct Member {
    pid: i32,
    anonymous: ByteSize,
    /// What it may have written since the last measurement: where pages of its
    /// own are to be found.
    written: ByteSize,
    /// The same since it was born.
    ever_written: ByteSize,
}

/// What a member may have written, by its page faults.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Written {
    /// Since the last measurement.
    pub(super) lately: ByteSize,
    /// Since it was born.
    pub(super) ever: ByteSize,
}

impl Walk {
    pub(super) fn add(&mut self, pid: i32, anonymous: ByteSize, written: Written) {
        self.members.push(Member {
            pid,
            anonymous,
            written: written.lately,
            ever_written: written.ever,
        });
    }

    /// What the largest member holds.
    pub(super) fn largest(&self) -> ByteSize {
        let sizes = self.members.iter().map(|member| member.anonymous);
        sizes.max().unwrap_or_default()
    }

    /// What all of them hold together.
    pub(super) fn all(&self) -> ByteSize {
        self.members.iter().fold(ByteSize::ZERO, |sum, member| {
            sum.saturating_add(member.anonymous)
        })
    }

    /// The least and the most that they hold, pages that several have counted once
    /// at the least, and once for every two at the most. Stops where `limit` is
    /// proven; the most is what it was without the walk then.
    pub(super) fn bounds(
        mut self,
        pages: &mut impl Pages,
        limit: ByteSize,
    ) -> (ByteSize, ByteSize) {
        let all = self.all();
        self.members
            .sort_by_key(|member| member.anonymous.saturating_sub(member.written));
        let Some(rest) = self.members.pop() else {
            return (ByteSize::ZERO, all);
        };
        let order = |member: &Member| (member.ever_written <= NOTHING, Reverse(member.written));
        self.members.sort_by_key(order);
        let mut found = Found::default();
        let mut left = all;
        for member in &self.members {
            let at_best = found
                .own()
                .saturating_add(half(found.common.saturating_add(left)));
            if member.ever_written <= NOTHING && at_best >= limit {
                let held = rest.anonymous.min(pages.held(rest.pid));
                return (found.exclusive.saturating_add(held), all);
            }
            left = left.saturating_sub(member.anonymous);
            let so_far = found.exclusive.saturating_add(rest.anonymous);
            let enough = limit.saturating_sub(so_far);
            if enough == ByteSize::ZERO {
                break;
            }
            found.add(*member, pages.of(member.pid, member.extent(enough)));
        }
        // What it has let go of meanwhile may be another's alone by now.
        let held = rest.anonymous.min(pages.held(rest.pid));
        let least = found.exclusive.saturating_add(held);
        if least >= limit {
            return (least, all.max(least));
        }
        // It may have none of what the others have in common.
        let elsewhere = match self.members.len() {
            0 | 1 => ByteSize::ZERO,
            _ => half(found.common),
        };
        let own = found.own();
        let most = own.saturating_add(rest.anonymous).saturating_add(elsewhere);
        // Its own pages tell more: at best that it has them all.
        let at_best = half(found.common.saturating_add(rest.anonymous));
        if most < limit || own.saturating_add(at_best) >= limit {
            return (least, most);
        }
        found.add(rest, pages.of(rest.pid, rest.extent(ByteSize::MAX)));
        let most = found.own().saturating_add(half(found.common));
        (least, most.max(least))
    }
}

impl Member {
    fn extent(&self, enough: ByteSize) -> Extent {
        let resident = self.anonymous.bytes();
        let span = resident.saturating_mul(SPARSE).saturating_add(SMALL_SPAN);
        Extent {
            span: ByteSize::from_bytes(span),
            enough,
        }
    }
}

/// What was found in members' pages.
#[derive(Debug, Default)]
struct Found {
    exclusive: ByteSize,
    common: ByteSize,
    /// What they hold beside: one or the other.
    unseen: ByteSize,
}

impl Found {
    /// What is their own at the most.
    fn own(&self) -> ByteSize {
        self.exclusive.saturating_add(self.unseen)
    }

    fn add(&mut self, member: Member, pages: AnonymousPages) {
        let AnonymousPages { exclusive, common } = pages;
        let unseen = member.anonymous.saturating_sub(exclusive);
        self.unseen = self.unseen.saturating_add(unseen.saturating_sub(common));
        self.exclusive = self.exclusive.saturating_add(exclusive);
        self.common = self.common.saturating_add(common);
    }
}

fn half(bytes: ByteSize) -> ByteSize {
    ByteSize::from_bytes(bytes.bytes() / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each process has, by its number: exclusive and common, in MiB.
    struct Given(Vec<(u64, u64)>, Vec<usize>);

    impl Pages for Given {
        fn of(&mut self, pid: i32, extent: Extent) -> AnonymousPages {
            let index = usize::try_from(pid).expect("an index");
            self.1.push(index);
            let (exclusive, common) = self.0[index];
            AnonymousPages {
                exclusive: ByteSize::from_mib(exclusive).min(extent.enough),
                common: ByteSize::from_mib(common),
            }
        }

        fn held(&mut self, pid: i32) -> ByteSize {
            let (exclusive, common) = self.0[usize::try_from(pid).expect("an index")];
            ByteSize::from_mib(exclusive + common)
        }
    }

    fn written(mib: u64) -> Written {
        Written {
            lately: ByteSize::from_mib(mib),
            ever: ByteSize::from_mib(mib),
        }
    }

    /// Bounds in MiB, and who was walked.
    fn bounds(members: &[(u64, u64)], limit: u64) -> ((u64, u64), Vec<usize>) {
        let mut walk = Walk::default();
        for (index, (exclusive, common)) in members.iter().enumerate() {
            let pid = i32::try_from(index).expect("small");
            let held = ByteSize::from_mib(exclusive + common);
            walk.add(pid, held, written(*exclusive));
        }
        let mut given = Given(members.to_vec(), Vec::new());
        let (least, most) = walk.bounds(&mut given, ByteSize::from_mib(limit));
        ((least.mib(), most.mib()), given.1)
    }

    #[test]
    fn the_largest_member_is_walked_only_where_that_settles_it() {
        // Forks that only inherit: 300 MiB, shared by three.
        let inherited = bounds(&[(0, 300), (0, 300), (0, 301)], 512);
        assert_eq!(inherited, ((301, 450), vec![0, 1, 2]));
        // Nobody but the two can share.
        assert_eq!(bounds(&[(10, 290), (0, 301)], 512), ((311, 311), vec![0]));
        // One has copied more than the other: the parent shares most.
        let uneven = bounds(&[(150, 150), (50, 250), (50, 250)], 512);
        assert_eq!(uneven, ((500, 700), vec![0, 1]));
        // Copies, nearly at the limit: the third tells nothing that settles it.
        let copies = bounds(&[(100, 200), (105, 195), (100, 201)], 512);
        assert_eq!(copies, ((506, 703), vec![1, 0]));
    }

    #[test]
    fn no_more_is_walked_than_proves_the_limit() {
        let over = bounds(&[(250, 50), (150, 150), (0, 301)], 512);
        assert_eq!(over, ((551 - 39, 901), vec![0]));
    }

    #[test]
    fn who_has_written_nothing_is_walked_only_where_it_can_settle_it() {
        // With all of it in common, four times 100 MiB are below the limit.
        let few = bounds(&[(0, 100), (50, 50), (0, 100), (0, 101)], 300);
        assert_eq!(few.1, vec![1, 0, 2]);
        // Twenty are not, whatever is found; what was written is.
        let mut many = vec![(0, 100); 20];
        many[7] = (60, 40);
        many.push((0, 101));
        assert_eq!(bounds(&many, 512), ((161, 2101), vec![7]));
    }

    #[test]
    fn what_is_not_seen_may_be_their_own() {
        // Each holds 200 MiB beside, in a reservation that is too large to be looked at.
        let seen = [(10, 90), (0, 100), (0, 101)];
        let mut walk = Walk::default();
        for (pid, (exclusive, common)) in (0..).zip(seen) {
            let held = ByteSize::from_mib(exclusive + common + 200);
            walk.add(pid, held, written(10));
        }
        let mut given = Given(seen.to_vec(), Vec::new());
        let (least, most) = walk.bounds(&mut given, ByteSize::from_mib(800));
        // At the least all of it is in common, at the most nothing is.
        assert!(least <= ByteSize::from_mib(311), "{least}");
        assert!(most >= ByteSize::from_mib(711), "{most}");
    }

    #[test]
    fn bounds_hold_what_is_there() {
        // All from none to everything copied: the truth is 301 and the copies.
        for (one, other) in (0..=300).step_by(20).zip((0..=300).step_by(15)) {
            // What both have copied is the parent's alone.
            let parent = one.min(other);
            let members = [
                (one, 300 - one),
                (other, 300 - other),
                (parent, 301 - parent),
            ];
            let truth = 301 + one + other;
            let ((least, most), _) = bounds(&members, 512);
            assert!(
                least <= truth && truth <= most,
                "{members:?}: {least} to {most}"
            );
            assert_eq!(least >= 512, truth >= 512, "{members:?}");
        }
    }
}
