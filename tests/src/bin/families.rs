//! `families WAY BYTES [--count N] [--writers N] [--reserve BYTES] [--opaque]
//! [--rate BYTES_PER_S] [--hold SECONDS] [--folder DIR] [--progress FILE]`: comes to hold memory in one of the ways
//! that a watcher of processes finds hard, and holds it.
//!
//! WAY is:
//! - `inherit`: touches BYTES and forks N children, which only hold;
//! - `rewrite`: the same, and each child (or as many as there are writers) then
//!   writes all of it, so that (N + 1) x BYTES are there in the end;
//! - `shared`: maps BYTES shared; N children touch all of it, and one byte in
//!   memory is one byte in all of them;
//! - `outlive`: touches BYTES mapped shared, as N children do, which hold for
//!   the given time; when they have ended, of which only the first is waited for,
//!   touches BYTES of its own, so that 2 x BYTES are there in the end;
//! - `filled`: maps BYTES shared and touches nothing; N children touch a part each, one
//!   after the other, and end;
//! - `one-memory`: touches three quarters of BYTES; a child with the same memory, for
//!   which it waits, touches the rest;
//! - `orphans`: touches BYTES; N children each fork one that holds, and end;
//! - `mapped-file`: touches BYTES of an unnamed file in DIR through a mapping;
//! - `written-file`: writes BYTES to an unnamed file in DIR, and maps nothing;
//! - `threads`: N threads touch BYTES together;
//! - `huge`: touches BYTES in huge pages, mapped first;
//! - `maps`: maps BYTES in N parts, then touches one after the other.
//!
//! N is 2. Where something is to be reserved, so much is mapped and can never be
//! touched. Who is opaque may not be looked into by its own user. RATE is each process's. Slot 0 of the ledger is the first
//! process's, child or thread number i has slot i, counted from 1 (of `outlive`, slot 1
//! is the first process's shared memory). Exits 7
//! where the kernel refuses memory, 4 where a child did not exit 0.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::Duration;

use integration_tests::job::{
    Appetite, Arguments, EXIT_REFUSED, End, Ledger, alarm, consume, continue_in_child, end_of,
    end_without_waiting, fork_job, hold, keep_pace, map_file, map_huge, map_private, map_shared,
    reserve, share_memory_with_child, touch_all,
};
use memcap_linux::ByteSize;

/// Some child did not exit 0.
const EXIT_CHILD_FAILED: i32 = 4;

/// Why a family did not come to hold its memory.
enum Failure {
    /// The kernel refused memory.
    Refused,
    /// A child was killed, or failed.
    Child,
    /// Anything else.
    Other(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Other(error)
    }
}

struct Family {
    bytes: ByteSize,
    count: usize,
    writers: usize,
    rate: Option<ByteSize>,
    holding: Duration,
    folder: PathBuf,
    ledger: Option<Ledger>,
}

fn main() {
    alarm();
    let mut arguments = Arguments::of_process();
    let count = arguments.option("--count").unwrap_or(2);
    let writers = arguments.option("--writers").unwrap_or(count);
    let reserved: ByteSize = arguments.option("--reserve").unwrap_or_default();
    let is_opaque = arguments.flag("--opaque");
    let rate = arguments.option("--rate");
    let holding = Duration::from_secs_f64(arguments.option("--hold").unwrap_or(0.0));
    let folder = arguments.option("--folder").unwrap_or_default();
    let progress: Option<PathBuf> = arguments.option("--progress");
    let way: String = arguments.positional("WAY");
    let body = match way.as_str() {
        "inherit" => Family::inherit,
        "rewrite" => Family::rewrite,
        "shared" => Family::shared,
        "outlive" => Family::outlive,
        "filled" => Family::filled,
        "one-memory" => Family::one_memory,
        "orphans" => Family::orphans,
        "mapped-file" => Family::mapped_file,
        "written-file" => Family::written_file,
        "threads" => Family::threads,
        "huge" => Family::huge,
        "maps" => Family::maps,
        _ => arguments.fail(&format!("`{way}` is no way")),
    };
    let bytes = arguments.positional("BYTES");
    let ledger = progress.map(|path| match Ledger::open(&path) {
        Ok(ledger) => ledger,
        Err(error) => arguments.fail(&format!("{}: {error}", path.display())),
    });
    arguments.finish();

    if reserved > ByteSize::ZERO && reserve(reserved).is_none() {
        std::process::exit(EXIT_REFUSED);
    }
    if is_opaque && let Err(error) = nix::sys::prctl::set_dumpable(false) {
        eprintln!("families: prctl: {error}");
        std::process::exit(1);
    }
    let family = Family {
        bytes,
        count,
        writers,
        rate,
        holding,
        folder,
        ledger,
    };
    std::process::exit(match body(&family) {
        Ok(()) => 0,
        Err(Failure::Refused) => EXIT_REFUSED,
        Err(Failure::Child) => EXIT_CHILD_FAILED,
        Err(Failure::Other(error)) => {
            eprintln!("families: {way}: {error}");
            1
        }
    })
}

impl Family {
    fn inherit(&self) -> Result<(), Failure> {
        let memory = map_private(self.bytes).ok_or(Failure::Refused)?;
        touch_all(memory, None, self.ledger.as_ref(), 0);
        self.children(|_| hold(self.holding))
    }

    fn rewrite(&self) -> Result<(), Failure> {
        let memory = map_private(self.bytes).ok_or(Failure::Refused)?;
        touch_all(memory, None, self.ledger.as_ref(), 0);
        // Of a process that is being forked, nobody sees yet what it shares: none writes
        // before all are there.
        let (all_are_there, writer) = io::pipe()?;
        let writer = std::cell::Cell::new(Some(writer));
        self.children_then(
            |slot| {
                drop(writer.take());
                let _ = (&all_are_there).read(&mut [0]);
                match slot <= self.writers {
                    true => self.touch(memory, slot),
                    false => hold(self.holding),
                }
            },
            || drop(writer.take()),
        )
    }

    fn shared(&self) -> Result<(), Failure> {
        let memory = map_shared(self.bytes).ok_or(Failure::Refused)?;
        self.children(|slot| self.touch(memory, slot))
    }

    fn outlive(&self) -> Result<(), Failure> {
        let shared = map_shared(self.bytes).ok_or(Failure::Refused)?;
        touch_all(shared, None, self.ledger.as_ref(), 1);
        let mut children = Vec::new();
        for _ in 0..self.count {
            children.push(fork_job(|| {
                touch_all(shared, None, None, 0);
                hold(self.holding);
                0
            })?);
        }
        for child in &children {
            end_without_waiting(*child)?;
        }
        end_of(children[0])?;
        self.touch(map_private(self.bytes).ok_or(Failure::Refused)?, 0);
        Ok(())
    }

    fn filled(&self) -> Result<(), Failure> {
        let shared = map_shared(self.bytes).ok_or(Failure::Refused)?;
        let part = shared.len() / self.count.max(1);
        for (slot, part) in (1..=self.count).zip(shared.chunks_mut(part)) {
            let filler = fork_job(|| {
                touch_all(part, self.rate, self.ledger.as_ref(), slot);
                0
            })?;
            if end_of(filler)? != End::Exited(0) {
                return Err(Failure::Child);
            }
        }
        hold(self.holding);
        Ok(())
    }

    fn one_memory(&self) -> Result<(), Failure> {
        let memory = map_private(self.bytes).ok_or(Failure::Refused)?;
        let (first, rest) = memory.split_at_mut(memory.len() / 4 * 3);
        touch_all(first, None, self.ledger.as_ref(), 0);
        let rest = std::cell::RefCell::new(rest);
        share_memory_with_child(|| {
            self.touch(&mut rest.borrow_mut(), 1);
            0
        })?;
        Ok(())
    }

    fn orphans(&self) -> Result<(), Failure> {
        let memory = map_private(self.bytes).ok_or(Failure::Refused)?;
        touch_all(memory, None, self.ledger.as_ref(), 0);
        for _ in 0..self.count {
            let child = fork_job(|| match continue_in_child() {
                Ok(()) => {
                    hold(self.holding);
                    0
                }
                Err(_) => 1,
            })?;
            end_of(child)?;
        }
        hold(self.holding + self.holding);
        Ok(())
    }

    fn mapped_file(&self) -> Result<(), Failure> {
        self.touch(map_file(&self.unnamed_file()?, self.bytes)?, 0);
        Ok(())
    }

    fn written_file(&self) -> Result<(), Failure> {
        let mut file = self.unnamed_file()?;
        let block = vec![1; 1 << 20];
        let begin = std::time::Instant::now();
        for written in 1..=self.bytes.bytes() >> 20 {
            file.write_all(&block)?;
            keep_pace(begin, written << 20, self.rate);
            if let Some(ledger) = &self.ledger {
                ledger.write(0, written << 20)?;
            }
        }
        hold(self.holding);
        Ok(())
    }

    fn threads(&self) -> Result<(), Failure> {
        let appetite = Appetite {
            rate: self.rate,
            step: ByteSize::from_kib(256),
            ..Appetite::of(self.part())
        };
        let body = |slot| {
            let eaten = consume(appetite, self.ledger.as_ref(), slot);
            if eaten.is_ok() {
                hold(self.holding);
            }
            eaten.is_ok()
        };
        let all_fed = std::thread::scope(|scope| {
            let start = |slot| {
                std::thread::Builder::new()
                    .stack_size(64 << 10)
                    .spawn_scoped(scope, move || body(slot))
            };
            let started: Vec<_> = (1..=self.count).map(start).collect();
            started
                .into_iter()
                .all(|thread| thread.is_ok_and(|thread| thread.join().unwrap_or(false)))
        });
        if all_fed {
            Ok(())
        } else {
            Err(Failure::Refused)
        }
    }

    fn huge(&self) -> Result<(), Failure> {
        self.touch(map_huge(self.bytes).ok_or(Failure::Refused)?, 0);
        Ok(())
    }

    fn maps(&self) -> Result<(), Failure> {
        let parts: Option<Vec<_>> = (0..self.count).map(|_| map_private(self.part())).collect();
        for (slot, part) in parts.ok_or(Failure::Refused)?.into_iter().enumerate() {
            touch_all(part, self.rate, self.ledger.as_ref(), slot);
        }
        hold(self.holding);
        Ok(())
    }

    fn touch(&self, memory: &mut [u8], slot: usize) {
        touch_all(memory, self.rate, self.ledger.as_ref(), slot);
        hold(self.holding);
    }

    /// Forks the children, each with its slot, and waits for all.
    fn children(&self, body: impl FnMut(usize)) -> Result<(), Failure> {
        self.children_then(body, || ())
    }

    /// The same; `then` is called once all are there.
    fn children_then(
        &self,
        mut body: impl FnMut(usize),
        then: impl FnOnce(),
    ) -> Result<(), Failure> {
        let mut started = Vec::new();
        for slot in 1..=self.count {
            started.push(fork_job(|| {
                body(slot);
                0
            })?);
        }
        then();
        let mut ended_well = true;
        for child in started {
            ended_well &= end_of(child)? == End::Exited(0);
        }
        if ended_well {
            Ok(())
        } else {
            Err(Failure::Child)
        }
    }

    /// One of `count` equal parts.
    fn part(&self) -> ByteSize {
        ByteSize::from_bytes(self.bytes.bytes() / self.count.max(1) as u64)
    }

    /// A file that is gone with its last user.
    fn unnamed_file(&self) -> io::Result<File> {
        File::options()
            .read(true)
            .write(true)
            .custom_flags(libc::O_TMPFILE)
            .open(&self.folder)
    }
}
