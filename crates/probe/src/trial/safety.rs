//! Whether trials would endanger anything: they touch about 100 MiB, for some
//! tens of milliseconds, and let the kernel kill their own child.

use std::path::Path;

use memcap_linux::ByteSize;
use memcap_linux::cgroup::FlatKeyed;

use crate::{Ceiling, Ceilings, Host};

/// What must be free on the machine, whose OOM killer may take anything.
const NEEDED_ON_MACHINE: ByteSize = ByteSize::from_mib(512);
/// What must be free below every limit in force: more than twice what a trial
/// touches.
const NEEDED: ByteSize = ByteSize::from_mib(256);

/// The same for a trial that touches two MiB and kills nobody.
const NEEDED_HARMLESS: ByteSize = ByteSize::from_mib(16);

/// Whether there is room enough; the reason where there is not.
pub(super) fn check(host: &Host) -> Result<(), String> {
    room(host, NEEDED_ON_MACHINE, host.ceilings.all(), NEEDED)
}

/// Whether [`super::try_v1`] and [`super::try_v2`] cannot make anybody around the
/// place of a run go for memory, given the limits around that.
///
/// # Errors
/// The reason why there is not room enough.
pub fn room_for_harmless(host: &Host, ceilings: &Ceilings) -> Result<(), String> {
    room(host, NEEDED_HARMLESS, ceilings.all(), NEEDED_HARMLESS)
}

fn room(
    host: &Host,
    on_machine: ByteSize,
    ceilings: &[Ceiling],
    needed: ByteSize,
) -> Result<(), String> {
    let available = match host.memory.value() {
        Some(memory) => memory.available,
        None => return Err("how much memory is free is not known".to_owned()),
    };
    match available {
        Some(available) if available < on_machine => {
            return Err(format!(
                "only {available} of memory is available; trials want {on_machine}"
            ));
        }
        Some(_) => {}
        None => return Err("the kernel does not say how much memory is available".to_owned()),
    }
    ceilings
        .iter()
        .try_for_each(|ceiling| below_limit(ceiling, needed))
}

/// An enclosing group near its limit might be killed as a whole, us included.
fn below_limit(ceiling: &Ceiling, needed: ByteSize) -> Result<(), String> {
    let Some(dir) = ceiling.file.as_deref().and_then(Path::parent) else {
        return Ok(());
    };
    let used = held(dir).unwrap_or(ByteSize::ZERO);
    let free = ceiling.bytes.saturating_sub(used);
    if free < needed {
        return Err(format!(
            "only {free} is free below the limit of {}; trials want {needed}",
            dir.display()
        ));
    }
    Ok(())
}

/// What a group holds and the kernel could not simply drop: its charge without
/// page cache.
fn held(dir: &Path) -> Option<ByteSize> {
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).ok();
    let charged: u64 = read("memory.current")
        .or_else(|| read("memory.usage_in_bytes"))?
        .trim()
        .parse()
        .ok()?;
    let stat = FlatKeyed::parse(&read("memory.stat")?);
    let cached = |v1: &str, v2: &str| stat.get(v1).or_else(|| stat.get(v2)).unwrap_or(0);
    let droppable = cached("total_inactive_file", "inactive_file")
        .saturating_add(cached("total_active_file", "active_file"));
    Some(ByteSize::from_bytes(charged.saturating_sub(droppable)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_near_its_limit_is_left_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        let put =
            |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("put");
        let ceiling = |gib| Ceiling {
            bytes: ByteSize::from_gib(gib),
            file: Some(dir.path().join("memory.max")),
        };
        put("memory.current", "943718400\n");
        put("memory.stat", "anon 5\ninactive_file 0\nactive_file 0\n");
        assert!(
            below_limit(&ceiling(1), NEEDED).is_err(),
            "124 MiB are free"
        );
        assert!(below_limit(&ceiling(2), NEEDED).is_ok());
        put(
            "memory.stat",
            "anon 5\ninactive_file 900000000\nactive_file 0\n",
        );
        assert!(
            below_limit(&ceiling(1), NEEDED).is_ok(),
            "page cache makes way"
        );
    }
}
