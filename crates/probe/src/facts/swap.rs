//! Swap, and whether a limit can include it.

use memcap_linux::ByteSize;
use serde::{Deserialize, Serialize};

use super::read;
use crate::{Fact, Host, Roots};

/// The machine's swap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swap {
    /// All of it.
    pub total: ByteSize,
    /// How much of it is in use.
    pub used: ByteSize,
    /// How many files and partitions it is on.
    pub areas: usize,
    /// Whether control groups count it; absent where there is no group to tell
    /// by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_counted: Option<bool>,
}

impl Swap {
    pub(super) fn observe(roots: &Roots, host: &Host) -> Fact<Swap> {
        let listed = match read::optional(roots, "/proc/swaps") {
            Fact::Present { value } => value,
            // A kernel without swap has no such file, and says 0 in meminfo.
            Fact::Absent { because } => {
                return match host.memory.value() {
                    Some(memory) if memory.swap_total == ByteSize::ZERO => Fact::absent(because),
                    _ => Fact::unknown_since(because),
                };
            }
            Fact::Unknown { because } => return Fact::unknown_since(because),
        };
        let areas = parse(&listed);
        if areas.is_empty() {
            return Fact::absent("no swap is in use (/proc/swaps)");
        }
        let sum = |part: fn(&(u64, u64)) -> u64| {
            let kib = areas.iter().map(part).fold(0, u64::saturating_add);
            ByteSize::from_bytes(kib.saturating_mul(1024))
        };
        Fact::present(Swap {
            total: sum(|area| area.0),
            used: sum(|area| area.1),
            areas: areas.len(),
            is_counted: is_counted(host),
        })
    }
}

/// Size and use of each area in KiB. The name before them may hold blanks
/// (written as `\040`), so columns are counted from the end.
fn parse(text: &str) -> Vec<(u64, u64)> {
    let area = |line: &str| {
        let mut columns = line.split_whitespace().rev();
        let _priority = columns.next()?;
        let used = columns.next()?.parse().ok()?;
        let size = columns.next()?.parse().ok()?;
        Some((size, used))
    };
    text.lines().skip(1).filter_map(area).collect()
}

/// The topmost group has no file to tell by.
fn is_counted(host: &Host) -> Option<bool> {
    if let Some(place) = host.cgroup_v1.value() {
        return Some(place.counts_swap);
    }
    let place = host.cgroup_v2.value()?;
    let limited = place
        .lineage()
        .into_iter()
        .find(|dir| dir.join("memory.max").exists())?;
    Some(limited.join("memory.swap.max").exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_are_read_from_the_end() {
        let text = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n\
                    /swap\\040file                           file\t\t4194300\t1024\t-2\n\
                    /dev/zram0                              partition\t100\t0\t100\n\
                    nonsense\n";
        assert_eq!(parse(text), [(4_194_300, 1024), (100, 0)]);
        assert!(parse("").is_empty());
    }
}
