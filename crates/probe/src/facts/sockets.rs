//! Whether systemd's managers and their buses answer. Variables of the
//! environment prove nothing (WSL sets them where nobody listens), so the
//! sockets are connected to.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Fact, Roots, systemd};

/// Who answers; each with its socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sockets {
    /// The user's own manager.
    pub user_manager: Fact<PathBuf>,
    /// The user's own bus.
    pub user_bus: Fact<PathBuf>,
    /// The machine's bus.
    pub system_bus: Fact<PathBuf>,
}

impl Sockets {
    pub(super) fn observe(roots: &Roots) -> Sockets {
        if let Some(observed) = roots.observed() {
            return match &observed.sockets {
                Some(sockets) => sockets.clone(),
                None => Sockets::all(&Fact::unknown_since("not on record")),
            };
        }
        if !is_running(roots) {
            return Sockets::all(&Fact::absent("this machine is not run by systemd"));
        }
        let uid = nix::unistd::geteuid().as_raw();
        let knock = |socket: String, owner| systemd::knock(Path::new(&socket), owner);
        Sockets {
            user_manager: knock(format!("/run/user/{uid}/systemd/private"), uid),
            user_bus: knock(format!("/run/user/{uid}/bus"), uid),
            system_bus: knock("/run/dbus/system_bus_socket".to_owned(), 0),
        }
    }

    /// The same answer for all.
    pub fn all(answer: &Fact<PathBuf>) -> Sockets {
        Sockets {
            user_manager: answer.clone(),
            user_bus: answer.clone(),
            system_bus: answer.clone(),
        }
    }
}

/// What sd_booted(3) looks for.
pub(super) fn is_running(roots: &Roots) -> bool {
    roots.at(Path::new("/run/systemd/system")).is_dir()
}
