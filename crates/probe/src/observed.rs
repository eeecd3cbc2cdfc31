//! What a captured host has on record beside its files: answers that were not
//! read but asked for.

use std::collections::BTreeMap;
use std::path::PathBuf;

use memcap_linux::ByteSize;
use serde::{Deserialize, Serialize};

use crate::facts::{Features, Sockets};
use crate::{Fact, SystemdPlace};

/// Answers of a host that cannot be asked again. Absent is not on record.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    /// The process that looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Its effective user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// The captured paths that it could write; where absent, those whose copy
    /// has the owner's write bit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writable: Option<Vec<PathBuf>>,
    /// The groups that are systemd's own affair.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub undelegated: Vec<PathBuf>,
    /// Who answered over systemd's sockets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sockets: Option<Sockets>,
    /// What the kernel offered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<Features>,
    /// What the resident sets of the processes in limited groups added up to,
    /// by the group's directory.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub resident: BTreeMap<PathBuf, ByteSize>,
    /// How many processes the machine's OOM killer took, by the kernel's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_kills: Option<u64>,
    /// What systemd would have given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Fact<SystemdPlace>>,
}
