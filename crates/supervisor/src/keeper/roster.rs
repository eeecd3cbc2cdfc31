//! Who belongs to the tree: who is in its directory, and who descends from its members.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use memcap_linux::cgroup::{MemberList, V2Group};
use memcap_linux::proc::{self, NewestPid, Stat};

use super::member::Member;

/// Beside a directory that follows the tree, all processes are listed this often, and
/// only where somebody was born.
const BETWEEN_LISTINGS: Duration = Duration::from_millis(250);

/// The members that are known, and where newcomers are looked for.
#[derive(Debug)]
pub(super) struct Roster {
    pub(super) members: BTreeMap<i32, Member>,
    /// Processes that are none of ours, so that they are asked only once.
    strangers: BTreeSet<i32>,
    newest_pid: Option<u64>,
    /// Whether the next look lists all processes, whoever was born until then.
    is_listed_again: bool,
    /// Opened at the first look: what is open when the job starts is closed then.
    births: Option<NewestPid>,
    listed: Option<MemberList>,
    /// When all processes were last listed beside a directory.
    listed_all: Option<Instant>,
    /// Kept between looks for their memory.
    pids: Vec<i32>,
    /// Whose children are members; this process's own unless told otherwise.
    root: i32,
}

impl Default for Roster {
    fn default() -> Roster {
        Roster {
            members: BTreeMap::new(),
            strangers: BTreeSet::new(),
            newest_pid: None,
            is_listed_again: false,
            births: None,
            listed: None,
            listed_all: None,
            pids: Vec::new(),
            root: i32::try_from(std::process::id()).unwrap_or(0),
        }
    }
}

impl Roster {
    /// Where no directory follows the tree, everything that is there already
    /// is taken note of as none of ours: call it before the job starts, when
    /// that costs no time in which the job grows.
    pub(super) fn begin(directory: Option<&V2Group>) -> Roster {
        let strangers = match directory {
            Some(_) => BTreeSet::new(),
            None => proc::pids().unwrap_or_default().into_iter().collect(),
        };
        Roster {
            strangers,
            listed_all: Some(Instant::now()),
            ..Roster::default()
        }
    }

    /// Makes the main process the root, where this process has other children.
    pub(super) fn follow(&mut self, main: i32) {
        self.root = main;
        // Known before its children are looked for.
        if let Ok(stat) = Stat::read(main) {
            self.admit(&[stat]);
        }
    }

    /// Brings the members up to date; true when somebody joined.
    pub(super) fn bring_up_to_date(&mut self, directory: Option<&V2Group>) -> bool {
        if let Some(group) = directory
            && self.list(group).is_some()
        {
            let known = self.members.len();
            let joined: Vec<Stat> = self
                .pids
                .iter()
                .filter(|pid| !self.members.contains_key(pid))
                .filter_map(|pid| Stat::read(*pid).ok())
                .collect();
            self.admit(&joined);
            let joined = self.members.len() > known;
            // Whoever leaves the directory stays a member, and so are its children.
            let is_due = self
                .listed_all
                .is_none_or(|at| at.elapsed() >= BETWEEN_LISTINGS);
            if !is_due {
                return joined;
            }
            self.listed_all = Some(Instant::now());
            return self.find_newborn() || joined;
        }
        self.find_newborn()
    }

    /// Looks for processes below members, where anybody was born since the last time.
    fn find_newborn(&mut self) -> bool {
        if self.births.is_none() {
            self.births = NewestPid::open().ok();
        }
        let newest_pid = self.births.as_ref().and_then(NewestPid::read);
        let somebody_was_born = newest_pid.is_none() || newest_pid != self.newest_pid;
        if !somebody_was_born && !self.is_listed_again {
            return false;
        }
        // A pid is given before its process can be seen, so the next look lists too.
        self.is_listed_again = somebody_was_born;
        if newest_pid < self.newest_pid {
            // Pids start over: a stranger's may be one of ours now.
            self.strangers.clear();
        }
        self.newest_pid = newest_pid;
        self.list_newborn()
    }

    /// Puts in `pids` who is in the directory.
    fn list(&mut self, group: &V2Group) -> Option<()> {
        if self.listed.is_none() {
            self.listed = group.member_list().ok();
        }
        self.listed.as_mut()?.read(&mut self.pids).ok()
    }

    /// Reads the lines of processes that were not there at the last listing.
    fn list_newborn(&mut self) -> bool {
        let Ok(pids) = proc::pids() else { return false };
        let root = self.root;
        let mut unknown: Vec<Stat> = pids
            .iter()
            .filter(|pid| !self.members.contains_key(pid) && !self.strangers.contains(pid))
            .filter_map(|pid| Stat::read(*pid).ok())
            .collect();
        let known = self.members.len();
        // A child may come before its parent in the list.
        loop {
            let (ours, others): (Vec<Stat>, Vec<Stat>) = unknown
                .into_iter()
                .partition(|stat| stat.ppid == root || self.members.contains_key(&stat.ppid));
            unknown = others;
            if ours.is_empty() {
                break;
            }
            self.admit(&ours);
        }
        self.strangers.extend(unknown.iter().map(|stat| stat.pid));
        let still_there: BTreeSet<i32> = pids.into_iter().collect();
        self.strangers.retain(|pid| still_there.contains(pid));
        self.members.len() > known
    }

    /// Takes newcomers in.
    fn admit(&mut self, newcomers: &[Stat]) {
        let newcomers = newcomers.iter().map(|stat| (stat.pid, Member::new(stat)));
        self.members.extend(newcomers);
    }
}
