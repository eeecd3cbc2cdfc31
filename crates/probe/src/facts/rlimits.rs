//! Limits of single processes that we pass on to everything we start.

use memcap_linux::ByteSize;
use memcap_linux::cgroup::Limit;
use serde::{Deserialize, Serialize};

use super::read;
use crate::{Fact, Roots};

/// One resource's limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// What is in force; a process may raise it to the hard one.
    pub soft: Limit,
    /// What only root may raise.
    pub hard: Limit,
}

/// Those that concern memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimits {
    /// `ulimit -d`: private writable mappings.
    pub data: Rlimit,
    /// `ulimit -v`: every mapping. Breaks CUDA, node and the JVM where set.
    pub address_space: Rlimit,
    /// `ulimit -s`.
    pub stack: Rlimit,
    /// `ulimit -l`: memory that may be locked.
    pub locked: Rlimit,
}

impl Rlimits {
    pub(super) fn observe(roots: &Roots) -> Fact<Rlimits> {
        const FILE: &str = "/proc/self/limits";
        read::required(roots, FILE).and_then(|text| Fact::understood(parse(&text), FILE))
    }
}

fn parse(text: &str) -> Option<Rlimits> {
    let of = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        let mut words = line.split_whitespace();
        Some(Rlimit {
            soft: limit(words.next()?)?,
            hard: limit(words.next()?)?,
        })
    };
    Some(Rlimits {
        data: of("Max data size ")?,
        address_space: of("Max address space ")?,
        stack: of("Max stack size ")?,
        locked: of("Max locked memory ")?,
    })
}

fn limit(word: &str) -> Option<Limit> {
    match word {
        "unlimited" => Some(Limit::Unlimited),
        number => Some(Limit::At(ByteSize::from_bytes(number.parse().ok()?))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_from_their_lines() {
        let text = "\
Limit                     Soft Limit           Hard Limit           Units     
Max data size             unlimited            unlimited            bytes     
Max stack size            8388608              unlimited            bytes     
Max locked memory         65536                65536                bytes     
Max address space         4294967296           unlimited            bytes     
";
        let limits = parse(text).expect("limits");
        assert_eq!(limits.data.soft, Limit::Unlimited);
        assert_eq!(limits.address_space.soft, Limit::At(ByteSize::from_gib(4)));
        assert_eq!(parse(""), None);
        assert_eq!(parse(&text.replace("8388608", "many")), None);
    }
}
