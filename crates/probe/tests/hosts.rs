//! Facts and findings on captured hosts: folders of /proc and /sys text.
//!
//! The texts follow what the layouts show in virtual machines; a directory or
//! file that the captured process could not write lacks the owner's write bit.

#[path = "hosts/access.rs"]
mod access;
#[path = "hosts/builder.rs"]
mod builder;
#[path = "hosts/bundles.rs"]
mod bundles;
#[path = "hosts/controller.rs"]
mod controller;
#[path = "hosts/findings.rs"]
mod findings;
#[path = "hosts/honest.rs"]
mod honest;
#[path = "hosts/hostile.rs"]
mod hostile;
#[path = "hosts/limits.rs"]
mod limits;
#[path = "hosts/v1.rs"]
mod v1;
#[path = "hosts/v2.rs"]
mod v2;
