//! What a conversion would meet on this machine, told before there is a
//! document: which marker, on which device, and what its smallest run takes.

use memcap_linux::ByteSize;
use serde::Serialize;

use crate::device::{self, DeviceFinding};
use crate::environment::World;
use crate::estimate::{Conditions, MemoryModel};
use crate::install::{self, InstallError, Installation, PageSize};
use crate::pages::PageSet;
use crate::recovery::Effort;
use crate::runner::Runner;
use crate::weights::{self, Weights};

/// An installed marker and what it needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// Which one.
    pub marker: Installation,
    /// Where it will compute.
    pub device: DeviceFinding,
    /// Its models.
    pub weights: Weights,
    /// The estimated peak of a run over one letter page, in bytes: less than
    /// this free, and nothing can be converted. It is the sum that every estimate is
    /// before anything was learned (`estimate/prior.rs` has its constants with where they
    /// were measured); nothing is added here.
    pub smallest_run: ByteSize,
}

/// Looks for marker and adds up what it needs. Starts an interpreter, but not
/// marker.
///
/// # Errors
/// When no interpreter has marker, or the one that has it cannot be driven.
pub fn readiness(world: &World, runner: &mut dyn Runner) -> Result<Readiness, InstallError> {
    let (marker, _) = install::find(None, None, world, runner)?;
    let weights = weights::find(world);
    let conditions = Conditions {
        accounting: runner.accounting(),
        ..Conditions::least(marker.version, weights.clone())
    };
    let model = MemoryModel::new(conditions, &[]);
    Ok(Readiness {
        device: device::find(world, marker.torch.as_deref()),
        marker,
        weights,
        smallest_run: model.run(&PageSet::all(1), Effort::Usual, |_| PageSize::LETTER),
    })
}
