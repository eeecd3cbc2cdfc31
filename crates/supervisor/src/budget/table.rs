//! The table at which the keepers of a budget's members sit: a few words of
//! shared memory each, in which a keeper writes what its tree holds and reads
//! what the others' do. Nobody waits for anybody: a keeper that is stopped or
//! killed holds up no other.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::time::Duration;

use memcap_linux::{ByteSize, ProcessId, SharedWords};
use nix::time::{ClockId, clock_gettime};

use super::rules::{Member, Phase};

/// How many members a budget may have at a time.
pub(crate) const SEATS: usize = 256;
/// Words before the first seat.
const HEAD: usize = 8;
/// Words of a seat: a cache line.
const SEAT: usize = 8;
/// A keeper looks at least four times a second. One that has not for so long is
/// dead, stopped, or gets no processor.
const LATELY: Duration = Duration::from_millis(600);
/// How long after the death of its keeper what a tree held still counts: the
/// embedding program ends what is left of it meanwhile.
const AFTERLIFE: Duration = Duration::from_secs(2);
/// How long memory may take to come back from a tree that is being ended.
/// Afterwards the next has to go.
pub(crate) const COMING_BACK: Duration = Duration::from_secs(2);

// Words of the head.
const HEADROOM: usize = 0;
const PEAK: usize = 1;
const SEATS_USED: usize = 2;

// Words of a seat. The first names whose it is: the order, and the phase in the
// lowest byte; 0 while it is free.
const STANDING: usize = 0;
const PID: usize = 1;
const START: usize = 2;
const AT_LEAST: usize = 3;
const AT_MOST: usize = 4;
const LOOKED: usize = 5;
/// One more than the bytes; 0 where nothing is expected.
const EXPECTED: usize = 6;
const SINCE: usize = 7;

const RUNNING: u64 = 1;
const PAUSED: u64 = 2;
const ENDING: u64 = 3;

/// Which seat, and who sits there: a seat is taken again by others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Ticket {
    pub(crate) seat: usize,
    /// How many members were started before.
    pub(crate) order: u64,
}

/// The table.
#[derive(Debug)]
pub(crate) struct Table {
    shared: SharedWords,
}

impl Table {
    /// An empty one, and the descriptor by which keepers find it.
    pub(crate) fn create() -> io::Result<(Table, OwnedFd)> {
        let (shared, file) = SharedWords::create(HEAD + SEATS * SEAT)?;
        let table = Table { shared };
        table.head(HEADROOM).store(u64::MAX, Relaxed);
        Ok((table, file))
    }

    /// The one behind a descriptor.
    pub(crate) fn attach(file: BorrowedFd<'_>) -> io::Result<Table> {
        let shared = SharedWords::attach(file)?;
        if shared.words().len() != HEAD + SEATS * SEAT {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(Table { shared })
    }

    /// Takes a free seat for a member that is about to be started; `None` where
    /// there is none.
    pub(crate) fn claim(&self, order: u64, expected: Option<ByteSize>) -> Option<Ticket> {
        let standing = standing(order, RUNNING);
        let seat = (0..SEATS).find(|seat| {
            self.word(*seat, STANDING)
                .compare_exchange(0, standing, AcqRel, Relaxed)
                .is_ok()
        })?;
        for word in [PID, START, AT_LEAST, AT_MOST, SINCE] {
            self.word(seat, word).store(0, Relaxed);
        }
        self.word(seat, EXPECTED).store(encoded(expected), Relaxed);
        self.word(seat, LOOKED).store(micros(now()), Release);
        let used = u64::try_from(seat).unwrap_or(0) + 1;
        self.head(SEATS_USED).fetch_max(used, AcqRel);
        Some(Ticket { seat, order })
    }

    /// Says whose keeper sits there.
    pub(crate) fn sit(&self, ticket: Ticket, keeper: ProcessId) {
        self.word(ticket.seat, START).store(keeper.start, Relaxed);
        let pid = u64::from(keeper.pid.unsigned_abs());
        self.word(ticket.seat, PID).store(pid, Release);
    }

    /// Writes down what a tree holds.
    pub(crate) fn tell(&self, ticket: Ticket, at_least: ByteSize, at_most: ByteSize) {
        self.word(ticket.seat, AT_LEAST)
            .store(at_least.bytes(), Relaxed);
        self.word(ticket.seat, AT_MOST)
            .store(at_most.bytes(), Relaxed);
        self.word(ticket.seat, LOOKED).store(micros(now()), Release);
    }

    /// Writes down what a tree is expected to hold from now on. Where somebody else
    /// has the seat by now, nothing happens; should they take it in this very
    /// moment, they are expected to hold something else, which limits nothing.
    pub(crate) fn expect(&self, ticket: Ticket, bytes: ByteSize) {
        if self.word(ticket.seat, STANDING).load(Acquire) >> 8 == ticket.order {
            self.word(ticket.seat, EXPECTED)
                .store(encoded(Some(bytes)), Release);
        }
    }

    /// Writes down what becomes of a tree.
    pub(crate) fn turn_to(&self, ticket: Ticket, phase: Phase) {
        let code = match phase {
            Phase::Running => RUNNING,
            Phase::Paused => PAUSED,
            Phase::Ending => ENDING,
        };
        self.word(ticket.seat, SINCE).store(micros(now()), Relaxed);
        self.word(ticket.seat, STANDING)
            .store(standing(ticket.order, code), Release);
    }

    /// Gives the seat back; a second time, or when somebody else has it by now,
    /// nothing happens.
    pub(crate) fn leave(&self, ticket: Ticket) {
        for code in [RUNNING, PAUSED, ENDING] {
            let mine = standing(ticket.order, code);
            let word = self.word(ticket.seat, STANDING);
            let _ = word.compare_exchange(mine, 0, AcqRel, Relaxed);
        }
    }

    /// Fills `members` with all there are. Who has not looked lately is looked
    /// for: a dead keeper's tree counts for a moment, and no longer.
    pub(crate) fn read(&self, members: &mut Vec<Member>) {
        members.clear();
        let used = usize::try_from(self.head(SEATS_USED).load(Acquire)).unwrap_or(SEATS);
        let now = now();
        members.extend((0..used.min(SEATS)).filter_map(|seat| self.member(seat, now)));
    }

    fn member(&self, seat: usize, now: Duration) -> Option<Member> {
        let word = |index| self.word(seat, index).load(Acquire);
        let before = word(STANDING);
        let phase = match before & 0xff {
            0 => return None,
            PAUSED => Phase::Paused,
            ENDING => Phase::Ending,
            _ => Phase::Running,
        };
        let since = |index| now.saturating_sub(Duration::from_micros(word(index)));
        let silent = since(LOOKED);
        let keeper = ProcessId {
            pid: i32::try_from(word(PID)).unwrap_or(0),
            start: word(START),
        };
        let is_dead = silent > LATELY && keeper.pid != 0 && keeper.is_gone();
        if is_dead && silent > AFTERLIFE {
            return None;
        }
        // What it holds is no more on its way than that of any other.
        let is_stuck = phase == Phase::Ending && since(SINCE) > COMING_BACK;
        let member = Member {
            order: before >> 8,
            phase: if is_stuck { Phase::Running } else { phase },
            at_least: ByteSize::from_bytes(word(AT_LEAST)),
            at_most: ByteSize::from_bytes(word(AT_MOST)),
            expected: word(EXPECTED).checked_sub(1).map(ByteSize::from_bytes),
            can_act: !is_dead && !is_stuck && silent <= LATELY,
        };
        // Left, or taken by somebody else, while it was read.
        (word(STANDING) >> 8 == before >> 8).then_some(member)
    }

    /// Notes what all hold together.
    pub(crate) fn note_peak(&self, used: ByteSize) {
        self.head(PEAK).fetch_max(used.bytes(), AcqRel);
    }

    /// The most that was noted.
    pub(crate) fn peak(&self) -> ByteSize {
        ByteSize::from_bytes(self.head(PEAK).load(Acquire))
    }

    /// Notes how much is left of the total. True: so much less than everybody
    /// knows that all have to look again.
    pub(crate) fn is_news(&self, headroom: ByteSize) -> bool {
        let known = self.head(HEADROOM).load(Acquire);
        let level = match headroom.bytes() {
            0 => 0,
            bytes => bytes.max(SMALLEST_NEWS.bytes()),
        };
        let is_news = level <= known / 2 && known > 0;
        let has_grown = level / 2 >= known;
        if is_news || has_grown {
            self.head(HEADROOM).store(level, Release);
        }
        is_news
    }

    fn head(&self, index: usize) -> &AtomicU64 {
        &self.shared.words()[index]
    }

    fn word(&self, seat: usize, index: usize) -> &AtomicU64 {
        &self.shared.words()[HEAD + seat * SEAT + index]
    }
}

/// Below this everybody looks as often as anybody can.
const SMALLEST_NEWS: ByteSize = ByteSize::from_mib(4);

/// As the table has it.
fn encoded(expected: Option<ByteSize>) -> u64 {
    expected.map_or(0, |bytes| bytes.bytes().saturating_add(1))
}

fn standing(order: u64, code: u64) -> u64 {
    order << 8 | code
}

/// The time that all processes share.
fn now() -> Duration {
    // The clock is always there.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    fn mib(mib: u64) -> ByteSize {
        ByteSize::from_mib(mib)
    }

    fn read(table: &Table) -> Vec<Member> {
        let mut members = Vec::new();
        table.read(&mut members);
        members
    }

    /// As if its keeper had last looked so long ago.
    fn age(table: &Table, ticket: Ticket, word: usize, by: Duration) {
        let then = micros(now().saturating_sub(by));
        table.word(ticket.seat, word).store(then, Release);
    }

    #[test]
    fn what_one_writes_the_other_reads() {
        let (host, file) = Table::create().expect("made");
        let keeper = Table::attach(file.as_fd()).expect("attached");
        assert_eq!(read(&host), []);
        let ticket = host.claim(5, Some(mib(0))).expect("a seat");
        keeper.sit(ticket, ProcessId::current().expect("ourselves"));
        keeper.tell(ticket, mib(3), mib(4));
        let member = Member {
            order: 5,
            phase: Phase::Running,
            at_least: mib(3),
            at_most: mib(4),
            expected: Some(mib(0)),
            can_act: true,
        };
        assert_eq!(read(&host), [member]);
        keeper.turn_to(ticket, Phase::Ending);
        assert_eq!(read(&host)[0].phase, Phase::Ending);
        host.expect(ticket, mib(7));
        assert_eq!(read(&keeper)[0].expected, Some(mib(7)));
        keeper.leave(ticket);
        assert_eq!(read(&host), []);
        // The next has it; the last one's leaving again is not its own.
        let next = host.claim(6, None).expect("a seat");
        assert_eq!(next.seat, ticket.seat);
        host.leave(ticket);
        host.expect(ticket, mib(9));
        assert_eq!(read(&host).len(), 1);
        assert_eq!(read(&host)[0].expected, None);
    }

    #[test]
    fn seats_end() {
        let (table, _file) = Table::create().expect("made");
        let tickets: Vec<Ticket> = (0..300)
            .filter_map(|order| table.claim(order, None))
            .collect();
        assert_eq!(tickets.len(), SEATS);
        table.leave(tickets[7]);
        let last = table.claim(400, None).map(|ticket| ticket.seat);
        assert_eq!(last, Some(7));
    }

    #[test]
    fn a_dead_keepers_tree_counts_for_a_moment_and_a_stopped_ones_for_ever() {
        let (table, _file) = Table::create().expect("made");
        let ourselves = ProcessId::current().expect("ourselves");
        let dead = ProcessId {
            start: ourselves.start + 1,
            ..ourselves
        };
        let sit = |order, keeper| {
            let ticket = table.claim(order, None).expect("a seat");
            table.sit(ticket, keeper);
            table.tell(ticket, mib(9), mib(9));
            ticket
        };
        let (gone, stopped) = (sit(0, dead), sit(1, ourselves));
        let seen = |age_of_both| {
            for ticket in [gone, stopped] {
                age(&table, ticket, LOOKED, age_of_both);
            }
            let read = read(&table);
            read.iter()
                .map(|member| (member.order, member.can_act))
                .collect::<Vec<_>>()
        };
        assert_eq!(seen(Duration::ZERO), [(0, true), (1, true)]);
        assert_eq!(seen(LATELY * 2), [(0, false), (1, false)]);
        assert_eq!(seen(AFTERLIFE * 2), [(1, false)]);
    }

    #[test]
    fn who_does_not_come_to_an_end_is_not_waited_for() {
        let (table, _file) = Table::create().expect("made");
        let ticket = table.claim(0, None).expect("a seat");
        table.turn_to(ticket, Phase::Ending);
        age(&table, ticket, SINCE, COMING_BACK * 2);
        let member = read(&table)[0];
        assert_eq!((member.phase, member.can_act), (Phase::Running, false));
    }

    #[test]
    fn everybody_is_told_when_half_of_the_room_is_gone() {
        let (table, _file) = Table::create().expect("made");
        let news: Vec<bool> = [
            512, 300, 257, 256, 128, 127, 600, 301, 300, 3, 2, 0, 0, 3, 8,
        ]
        .map(|left| table.is_news(mib(left)))
        .to_vec();
        let told = [0, 3, 4, 8, 9, 11];
        let expected: Vec<bool> = (0..15).map(|n| told.contains(&n)).collect();
        assert_eq!(news, expected);
    }

    #[test]
    fn the_peak_is_the_most() {
        let (table, _file) = Table::create().expect("made");
        for size in [3, 9, 4] {
            table.note_peak(mib(size));
        }
        assert_eq!(table.peak(), mib(9));
    }
}
