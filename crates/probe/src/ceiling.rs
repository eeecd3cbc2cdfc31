//! The limits this process lives under already: a job can never have more.

use std::path::PathBuf;

use memcap_linux::ByteSize;
use memcap_linux::meminfo::MachineMemory;
use serde::{Deserialize, Serialize};

use crate::{Fact, V1Place, V2Place, v1, v2};

/// One limit that is there already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ceiling {
    /// How much.
    pub bytes: ByteSize,
    /// The control file it was read from; `None` for the machine's memory.
    pub file: Option<PathBuf>,
}

/// All of them, lowest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Ceilings(Vec<Ceiling>);

impl Ceilings {
    /// Orders limits, lowest first.
    pub fn new(mut all: Vec<Ceiling>) -> Ceilings {
        all.sort_by_key(|ceiling| ceiling.bytes);
        Ceilings(all)
    }

    /// The one that would be met first; `None` when nothing could be read.
    pub fn lowest(&self) -> Option<&Ceiling> {
        self.0.first()
    }

    /// These and more.
    #[must_use]
    pub fn and(&self, more: &[Ceiling]) -> Ceilings {
        Ceilings::new(self.0.iter().chain(more).cloned().collect())
    }

    /// All of them, lowest first.
    pub fn all(&self) -> &[Ceiling] {
        &self.0
    }
}

pub(crate) fn gather(
    memory: &Fact<MachineMemory>,
    cgroup_v2: &Fact<V2Place>,
    cgroup_v1: &Fact<V1Place>,
) -> Ceilings {
    let machine = memory.value().map(|memory| Ceiling {
        bytes: memory.total,
        file: None,
    });
    let groups = cgroup_v2
        .value()
        .map(v2::limits)
        .into_iter()
        .chain(cgroup_v1.value().map(v1::limits))
        .flatten()
        .map(|(file, bytes)| Ceiling {
            bytes,
            file: Some(file),
        });
    Ceilings::new(machine.into_iter().chain(groups).collect())
}
