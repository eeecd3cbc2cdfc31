//! The tree's memory by sampling /proc.
//!
//! A look must be cheap: while forty processes of the job want the processors,
//! the watcher gets a fortieth of them. So what is known of a member stays open
//! (its page counts, its handle), processes that are no members are looked at
//! once, and the costly measurement with shared pages counted once is made only
//! when the governor asks.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use memcap_linux::cgroup::V2Group;
use memcap_linux::proc::{self, Resident};
use memcap_linux::{
    AnonymousPages, ByteSize, Extent, MappingReader, ProcessId, memory_order, share_memory,
};
use nix::sys::signal::Signal;

use super::held_files::{Held, HeldFiles, Touched};
use super::member::{Member, in_pages};
use super::roster::Roster;
use super::walk::{Pages, Walk, Written};
use crate::governor::{Leases, Sum};
use crate::lease::{self, Terms};

/// Members whose memory is too small to make twins of them.
const SMALL: ByteSize = ByteSize::from_mib(1);
/// For how long after that a member counts as growing.
const GROWING: Duration = Duration::from_millis(100);

/// Keeps what is known of the members between looks.
#[derive(Debug)]
pub(super) struct Sampler {
    text: Vec<u8>,
    mappings: MappingReader,
    roster: Roster,
    /// Kept between looks for its memory.
    large: Vec<(ByteSize, i32)>,
    swap_exists: bool,
    /// What may be swapped without counting.
    swap_allowed: ByteSize,
    /// What members have given back since the last measurement, those that have ended
    /// all they held.
    given_back: ByteSize,
    /// The same of shared memory alone, and of what files held.
    shared_back: ByteSize,
    /// What files held for certain at the last look.
    held: ByteSize,
    /// `None` in one that will not be asked.
    files: Option<HeldFiles>,
}

impl Sampler {
    /// One that will not be asked.
    pub(super) fn unused() -> Sampler {
        Sampler {
            text: Vec::new(),
            mappings: MappingReader::default(),
            roster: Roster::default(),
            large: Vec::new(),
            swap_exists: true,
            swap_allowed: ByteSize::ZERO,
            given_back: ByteSize::ZERO,
            shared_back: ByteSize::ZERO,
            held: ByteSize::ZERO,
            files: None,
        }
    }

    /// Makes the main process the root, where this process has other children.
    pub(super) fn follow(&mut self, main: i32) {
        self.roster.follow(main);
    }

    /// The members that were there at the last look.
    pub(super) fn known(&self) -> Vec<ProcessId> {
        self.roster
            .members
            .values()
            .map(|member| member.id)
            .collect()
    }

    /// Where no directory follows the tree, everything that is there already
    /// is taken note of as none of ours: call it before the job starts, when
    /// that costs no time in which the job grows. Of what is swapped, only
    /// what is beyond `swap_allowed` counts.
    pub(super) fn new(directory: Option<&V2Group>, swap_allowed: ByteSize) -> Sampler {
        let memory = memcap_linux::meminfo::read(std::path::Path::new("/proc"));
        Sampler {
            roster: Roster::begin(directory),
            swap_allowed,
            files: Some(HeldFiles::begin()),
            swap_exists: memory.map_or(true, |memory| memory.swap_total > ByteSize::ZERO),
            ..Sampler::unused()
        }
    }

    /// Sums over the members. Processes that end meanwhile hold nothing.
    pub(super) fn look(&mut self, directory: Option<&V2Group>) -> Sum {
        let newcomers = self.roster.bring_up_to_date(directory);
        let mut sum = Sum {
            newcomers,
            ..Sum::default()
        };
        let mut touched = self.look_at_members();
        let mut swapped = ByteSize::ZERO;
        for member in self.roster.members.values() {
            let private = member.private();
            swapped = swapped.saturating_add(member.resident.swapped);
            sum.private = sum.private.saturating_add(private);
            touched.all = touched.all.saturating_add(member.resident.shared);
            touched.largest = touched.largest.max(member.resident.shared);
            sum.inherited = sum.inherited.saturating_add(member.still_inherited());
            sum.slack = sum.slack.saturating_add(member.slack());
            sum.largest = sum.largest.max(member.resident.anonymous);
            sum.members += usize::from(member.resident.total() > ByteSize::ZERO);
        }
        sum.private = sum.private.saturating_sub(swapped.min(self.swap_allowed));
        let held = self.held_in_files(touched);
        self.note_held(held.certain);
        sum.held = held.certain;
        sum.given_back = self.given_back;
        sum.shared_back = self.shared_back;
        sum.shared = touched.all.max(held.possible);
        sum.twins = self.has_twins();
        sum
    }

    /// Looks at each member again, and forgets those that are gone. What of their shared
    /// memory has changed.
    fn look_at_members(&mut self) -> Touched {
        let (text, swap_exists) = (&mut self.text, self.swap_exists);
        let given_back = &mut self.given_back;
        let mut touched = Touched::default();
        self.roster.members.retain(|pid, member| {
            let before = member.resident;
            let stays = member.look(*pid, swap_exists, text);
            // Who has ended and was not waited for is still there.
            let now = match stays {
                true => member.resident,
                false => Resident::default(),
            };
            *given_back = given_back.saturating_add(before.total().saturating_sub(now.total()));
            let less = before.shared.saturating_sub(now.shared);
            touched.given_back = touched.given_back.saturating_add(less);
            stays
        });
        self.shared_back = self.shared_back.saturating_add(touched.given_back);
        touched
    }

    fn note_held(&mut self, held: ByteSize) {
        let less = self.held.saturating_sub(held);
        self.shared_back = self.shared_back.saturating_add(less);
        self.held = held;
    }

    /// What is given back counts anew from here.
    fn forget_given_back(&mut self) {
        (self.given_back, self.shared_back) = (ByteSize::ZERO, ByteSize::ZERO);
    }

    fn held_in_files(&mut self, touched: Touched) -> Held {
        let members = self.roster.members.keys().copied();
        let files = self.files.as_mut();
        files.map_or_else(Held::default, |files| files.look(members, touched))
    }

    /// What of memory was held in files that no process showed, in words.
    pub(super) fn note(&self) -> Option<String> {
        self.files.as_ref()?.note_in_words()
    }

    /// What the tree of the last look, and of the last [`Sampler::written`], holds at the
    /// least and at the most, shared pages counted once. Both are the same where all
    /// members may be looked into. Afterwards no member has inherited anything that is not
    /// known.
    pub(super) fn exact(&mut self) -> (ByteSize, ByteSize) {
        let held = self.measure_files();
        let doubles = self.doubles();
        self.forget_given_back();
        let mut least = proc::Share::default();
        let mut uncertain = ByteSize::ZERO;
        for (pid, member) in &mut self.roster.members {
            member.inherited = Some(ByteSize::ZERO);
            // What is written while others are measured may have been theirs too.
            member.faults = member.faults_seen;
            if doubles.contains(pid) {
                continue;
            }
            let share = proc::Share::read(*pid, &mut self.text).unwrap_or_else(|_| {
                let all = member.resident;
                let own = member.own_at_least();
                uncertain = uncertain.saturating_add(member.private().saturating_sub(own));
                proc::Share {
                    anonymous: own.saturating_sub(all.swapped),
                    shared: all.shared,
                    swapped: all.swapped,
                }
            });
            least.anonymous = least.anonymous.saturating_add(share.anonymous);
            least.shared = least.shared.saturating_add(share.shared);
            least.swapped = least.swapped.saturating_add(share.swapped);
        }
        let all = least
            .anonymous
            .saturating_add(least.shared.max(held))
            .saturating_add(least.swapped.saturating_sub(self.swap_allowed));
        // The share of whoever is measured later rises when one that had the same pages
        // ends meanwhile.
        self.look_at_members();
        let least = all.saturating_sub(self.given_back);
        (least, all.saturating_add(uncertain))
    }

    fn measure_files(&mut self) -> ByteSize {
        let members = self.roster.members.keys().copied();
        let files = self.files.as_mut();
        files.map_or(ByteSize::ZERO, |files| files.measure(members))
    }

    /// What the tree of the last look, and of the last [`Sampler::written`],
    /// holds at the least and at the most, shared pages counted once; as much of
    /// it as is found out quickly, and no more than proves `limit` reached.
    /// Afterwards no member has inherited anything that is not known.
    pub(super) fn bounds(&mut self, sum: Sum, limit: ByteSize) -> (ByteSize, ByteSize) {
        let shared = self.shared_at_least().max(self.measure_files());
        let doubles = self.doubles();
        let mut walk = Walk::default();
        let mut all = sum.total();
        for (pid, member) in &mut self.roster.members {
            let written = member.faults_seen.saturating_sub(member.faults);
            member.inherited = Some(ByteSize::ZERO);
            member.faults = member.faults_seen;
            if doubles.contains(pid) {
                all = all.saturating_sub(member.private());
            } else {
                let written = Written {
                    lately: in_pages(written),
                    ever: member.written_at_most(),
                };
                walk.add(*pid, member.resident.anonymous, written);
            }
        }
        self.forget_given_back();
        let least = shared.saturating_add(walk.largest());
        let most = shared.saturating_add(walk.all());
        // No number of pages of their own would decide it, or none is needed.
        let is_decided = least >= limit || most < limit || sum.members <= 1;
        if is_decided || self.swap_exists {
            return (least, all.max(least));
        }
        let mut pages = MembersPages {
            members: &self.roster.members,
            mappings: &mut self.mappings,
        };
        let (private_least, private_most) = walk.bounds(&mut pages, limit.saturating_sub(shared));
        (
            shared.saturating_add(private_least),
            sum.shared.max(shared).saturating_add(private_most),
        )
    }

    /// A process has each page of shared memory once, unless it has mapped it
    /// in several places.
    fn shared_at_least(&mut self) -> ByteSize {
        let largest = self
            .roster
            .members
            .iter()
            .max_by_key(|(_, member)| member.resident.shared);
        let Some((pid, member)) = largest else {
            return ByteSize::ZERO;
        };
        if member.resident.shared == ByteSize::ZERO {
            return ByteSize::ZERO;
        }
        let twice = self.mappings.mapped_twice(*pid);
        let shared = member.resident.shared;
        shared.saturating_sub(twice.unwrap_or(ByteSize::MAX))
    }

    /// The members that are known.
    pub(super) fn member_pids(&self) -> Vec<i32> {
        self.roster.members.keys().copied().collect()
    }

    /// What members may have written since the last measurement. A page fault
    /// makes one page at the most a page of its own: huge pages that are shared
    /// are split first.
    pub(super) fn written(&mut self) -> ByteSize {
        let mut faults = 0u64;
        for (pid, member) in &mut self.roster.members {
            if let Ok(now) = proc::minor_faults(*pid, &mut self.text) {
                member.faults_seen = now;
                faults = faults.saturating_add(now.saturating_sub(member.faults));
            }
        }
        in_pages(faults)
    }

    /// Gives every member a lease out of `allowance`, on these terms. Notes in
    /// `least` how little of its old lease a member had left.
    pub(super) fn lease(
        &mut self,
        allowance: ByteSize,
        terms: Terms,
        least: &mut Option<ByteSize>,
    ) -> Leases {
        let now = Instant::now();
        let grows = |member: &Member| member.has_grown_within(GROWING, now);
        let growing = self
            .roster
            .members
            .values()
            .filter(|member| grows(member))
            .count();
        let mut given = ByteSize::ZERO;
        let mut tightest = allowance;
        let mut all_leased = true;
        for (pid, member) in &mut self.roster.members {
            let room = lease::room(allowance, grows(member), growing);
            tightest = tightest.min(room);
            match member.renew(*pid, room, terms) {
                Some(left) => {
                    let before = least.get_or_insert(left.before);
                    *before = (*before).min(left.before);
                    given = given.saturating_add(left.after);
                }
                None => all_leased = false,
            }
        }
        // Leases are not moved for a small step.
        let tolerated = allowance.saturating_add(allowance.percent(13));
        Leases {
            room: tightest,
            fit: all_leased && given <= tolerated,
        }
    }

    /// Stops every known member where it is, so that it can neither grow nor
    /// fork while it is measured for the last time. Only before a kill: unlike
    /// a frozen group, stopped processes are seen by their parents.
    pub(super) fn stop_members(&self) {
        for member in self.roster.members.values() {
            if let Some(handle) = &member.handle {
                // Gone meanwhile, or not ours to stop: it is killed next anyway.
                let _ = handle.send(Signal::SIGSTOP as i32);
            }
        }
    }

    /// Kills every known member, without looking for others first: that takes
    /// milliseconds, and of a process with threads one that waits for a processor
    /// can have to stop the others.
    pub(super) fn kill_members(&self) {
        for member in self.roster.members.values() {
            if let Some(handle) = &member.handle {
                // Gone meanwhile, or not ours to kill: that is found out next.
                let _ = handle.send(Signal::SIGKILL as i32);
            }
        }
    }

    /// Members of the same size are asked for, and those that were born by another or are
    /// known to have been one with it, which may grow between two reads; where the kernel
    /// does not answer, those of the same size may be one.
    fn has_twins(&mut self) -> bool {
        let mut found = false;
        for (pid, member) in &mut self.roster.members {
            match member.partner.map(|partner| share_memory(*pid, partner)) {
                Some(Ok(true)) => found |= member.private() > SMALL,
                // It has other memory by now, and will not have that again; or nobody
                // tells.
                Some(Ok(false) | Err(_)) | None => member.partner = None,
            }
        }
        let mut pairs = self.pairs();
        found || pairs.any(|(one, other)| share_memory(one, other).unwrap_or(true))
    }

    /// Members whose address space is another's too, as that of a parent and
    /// its child after `vfork`: each shows the whole as its own share.
    fn doubles(&mut self) -> BTreeSet<i32> {
        let mut doubles = BTreeSet::new();
        let mut known: Vec<i32> = Vec::new();
        for (pid, member) in &mut self.roster.members {
            if member.private() <= SMALL {
                continue;
            }
            let mut is_comparable = true;
            let place = known.binary_search_by(|other| {
                memory_order(*other, *pid).unwrap_or_else(|_| {
                    is_comparable = false;
                    Ordering::Less
                })
            });
            match place {
                _ if !is_comparable => {}
                Ok(index) => {
                    member.partner = Some(known[index]);
                    doubles.insert(*pid);
                }
                Err(index) => known.insert(index, *pid),
            }
        }
        doubles
    }

    /// Neighbours in size that hold the same amount, and not a small one.
    fn pairs(&mut self) -> impl Iterator<Item = (i32, i32)> {
        let sizes = self
            .roster
            .members
            .iter()
            .map(|(pid, member)| (member.private(), *pid));
        self.large.clear();
        self.large.extend(sizes.filter(|(size, _)| *size > SMALL));
        self.large.sort_unstable();
        let same =
            |pair: &[(ByteSize, i32)]| (pair[0].0 == pair[1].0).then_some((pair[0].1, pair[1].1));
        self.large.windows(2).filter_map(same)
    }
}

/// Looks at the members' pages.
struct MembersPages<'a> {
    members: &'a BTreeMap<i32, Member>,
    mappings: &'a mut MappingReader,
}

impl Pages for MembersPages<'_> {
    fn of(&mut self, pid: i32, extent: Extent) -> AnonymousPages {
        // Gone, or not ours to look into.
        self.mappings.anonymous(pid, extent).unwrap_or_default()
    }

    fn held(&mut self, pid: i32) -> ByteSize {
        let counts = self.members.get(&pid).and_then(|it| it.counts.as_ref());
        let pages = counts.and_then(|counts| counts.read().ok());
        pages.map_or(ByteSize::ZERO, |pages| pages.anonymous)
    }
}
