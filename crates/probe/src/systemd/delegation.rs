//! Whether a unit's group is ours to divide, or still systemd's own affair.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::Path;

use memcap_linux::cgroup::is_marked_delegated;

use super::connection::BusError;
use super::manager::{Address, Instance, LOOK, NAME, candidates, open};
use super::message::{Call, Writer};

/// Whether a group is that of a unit which systemd has not delegated. It ends such a
/// unit after an OOM kill anywhere below it (`OOMPolicy=`, systemd.service(5)). Costs a
/// look at an attribute, and for a unit of the user's own manager a question.
pub(crate) fn is_undelegated_unit(group: &Path) -> bool {
    let Some((unit, kind)) = unit_of(group) else {
        return false;
    };
    if is_marked_delegated(group) {
        return false;
    }
    // A user's manager leaves no mark on its units (seen with systemd 252).
    let uid = nix::unistd::geteuid().as_raw();
    let manager = format!("user@{uid}.service");
    let is_of_user = group
        .ancestors()
        .skip(1)
        .any(|dir| dir.file_name() == Some(OsStr::new(&manager)));
    let is_delegated = |(instance, address): &(Instance, Address)| {
        *instance == Instance::User && delegates(address, unit, kind).unwrap_or(false)
    };
    !(is_of_user && candidates(uid).iter().any(is_delegated))
}

/// The unit that a group is named after, and its kind in the names of systemd's
/// interfaces.
fn unit_of(group: &Path) -> Option<(&str, &'static str)> {
    let name = group.file_name()?.to_str()?;
    let kind = match group.extension()?.to_str()? {
        "scope" => "Scope",
        "service" => "Service",
        _ => return None,
    };
    Some((name, kind))
}

/// What a manager says of one of its units.
fn delegates(address: &Address, unit: &str, kind: &str) -> Result<bool, BusError> {
    let mut connection = open(address, LOOK)?;
    let mut body = Writer::default();
    body.text(&format!("{NAME}.{kind}"));
    body.text("Delegate");
    let answer = connection.call(&Call {
        destination: NAME,
        path: &object_of(unit),
        interface: "org.freedesktop.DBus.Properties",
        member: "Get",
        signature: "ss",
        body: &body.bytes,
    })?;
    let mut values = answer.reader();
    match (values.signature(), values.number()) {
        (Some("b"), Some(is_so)) => Ok(is_so == 1),
        _ => Err(connection.nonsense()),
    }
}

/// The object of a unit: what is not a letter or a digit, and a digit at the start,
/// is written in hexadecimal (sd_bus_path_encode(3)).
fn object_of(unit: &str) -> String {
    let mut path = "/org/freedesktop/systemd1/unit/".to_owned();
    for (index, byte) in unit.bytes().enumerate() {
        if byte.is_ascii_alphabetic() || (byte.is_ascii_digit() && index > 0) {
            path.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(path, "_{byte:02x}");
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_services_and_scopes_are_units_with_processes() {
        let cases = [
            ("/c/app.slice/run-1.scope", Some(("run-1.scope", "Scope"))),
            (
                "/c/user@1000.service",
                Some(("user@1000.service", "Service")),
            ),
            ("/c/app.slice", None),
            ("/c/memcap-1", None),
            ("/", None),
        ];
        for (group, unit) in cases {
            assert_eq!(unit_of(Path::new(group)), unit, "{group}");
        }
    }

    #[test]
    fn a_name_becomes_an_object() {
        let below = |unit| object_of(unit).replace("/org/freedesktop/systemd1/unit/", "");
        assert_eq!(below("run-1.scope"), "run_2d1_2escope");
        assert_eq!(below("1@x.service"), "_31_40x_2eservice");
    }
}
