//! The managers of a host: which one can give us a scope, where that would be,
//! and asking for it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use memcap_linux::cgroup::{V2Group, own_memberships};
use memcap_linux::{FileError, mounts, one_line};
use serde::{Deserialize, Serialize};

use super::connection::{BusError, Connection};
use super::message::{Call, Message, Writer};
use crate::ceiling::Ceiling;
use crate::host::{directory, upwards};
use crate::{Fact, Roots, V2Place, v2};

/// How long a manager may take to say where it is. A living one takes a
/// millisecond.
pub(super) const LOOK: Duration = Duration::from_secs(3);
/// How long it may take to make a scope. A living one takes a few milliseconds;
/// one that reloads its units can take seconds.
const START: Duration = Duration::from_secs(15);

pub(super) const NAME: &str = "org.freedesktop.systemd1";
const OBJECT: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const BUS: &str = "org.freedesktop.DBus";
const BUS_OBJECT: &str = "/org/freedesktop/DBus";

/// Which manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Instance {
    /// The user's own.
    User,
    /// The machine's, PID 1.
    System,
}

impl Instance {
    /// Where units go that name no slice.
    fn default_slice(self) -> &'static str {
        match self {
            Instance::User => "app.slice",
            Instance::System => "system.slice",
        }
    }
}

/// A socket of a manager: its own, or the one of a bus that it is on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Address {
    socket: PathBuf,
    is_bus: bool,
    /// Who must be listening there.
    owner: u32,
}

/// Where systemd would make a scope for us.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemdPlace {
    /// Who makes it.
    pub instance: Instance,
    address: Address,
    /// The slice it is put in: the innermost one that we are in already, so
    /// that the limits of slices stay in force, else the manager's default.
    pub slice: String,
    /// The slice's directory, which may not be there yet.
    pub parent: PathBuf,
    /// Finite limits in force there.
    pub ceilings: Vec<Ceiling>,
}

/// A scope could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ScopeError {
    /// The manager could not be asked, or refused.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The job that makes the scope did not succeed.
    #[error("systemd could not make `{unit}`: {result}")]
    Job {
        /// The scope.
        unit: String,
        /// systemd's word for it, such as `failed` or `timeout`.
        result: String,
    },
    /// Where we are now could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// systemd said that we are in the scope, and the kernel that we are not.
    #[error("systemd made `{unit}`, but we are in `{group}`")]
    NotMoved {
        /// The scope.
        unit: String,
        /// Our group.
        group: String,
    },
    /// The scope is not below any mount that we see.
    #[error("the scope is out of sight: {0}")]
    OutOfSight(String),
}

/// Asks the managers, the user's own first, which would give us a scope with a
/// memory controller. Without systemd this costs one look at a directory.
pub(crate) fn observe(roots: &Roots, cgroup_v2: &Fact<V2Place>) -> Fact<SystemdPlace> {
    if !roots.at(Path::new("/run/systemd/system")).is_dir() {
        return Fact::absent("this machine is not run by systemd (no /run/systemd/system)");
    }
    if let Some(observed) = roots.observed() {
        let nobody = || Fact::unknown_since("a captured host has nobody to ask");
        return observed.scope.clone().unwrap_or_else(nobody);
    }
    let Some(own) = cgroup_v2.value() else {
        let because = cgroup_v2.because().unwrap_or("no cgroup v2");
        return Fact::absent(format!("scopes are in cgroup v2: {because}"));
    };
    let mut reasons = Vec::new();
    let mut certain = true;
    for (instance, address) in candidates(nix::unistd::geteuid().as_raw()) {
        match control_group(&address) {
            Ok(group) => return place(roots, own, instance, address, &group),
            Err(error) => {
                certain &= error.is_absence();
                reasons.push(one_line(&error));
            }
        }
    }
    let because = reasons.join("; ");
    if certain {
        Fact::absent(because)
    } else {
        Fact::Unknown { because }
    }
}

/// Sockets in the order of asking. Their places are fixed: the directory of a
/// user's manager is always `/run/user/UID` (user-runtime-dir@.service), while
/// variables are inherited through `sudo`, or set where nobody listens. A
/// manager's own socket needs no bus daemon, so it comes first. Only root may
/// ask the machine's manager: it owns what that makes.
pub(super) fn candidates(uid: u32) -> Vec<(Instance, Address)> {
    let at = |socket: String, is_bus, owner| Address {
        socket: PathBuf::from(socket),
        is_bus,
        owner,
    };
    let runtime = format!("/run/user/{uid}");
    let mut all = vec![
        (
            Instance::User,
            at(format!("{runtime}/systemd/private"), false, uid),
        ),
        (Instance::User, at(format!("{runtime}/bus"), true, uid)),
    ];
    if uid == 0 {
        let private = at("/run/systemd/private".into(), false, 0);
        let bus = at("/run/dbus/system_bus_socket".into(), true, 0);
        all.extend([(Instance::System, private), (Instance::System, bus)]);
    }
    all
}

fn place(
    roots: &Roots,
    own: &V2Place,
    instance: Instance,
    address: Address,
    control_group: &str,
) -> Fact<SystemdPlace> {
    let manager = match seen(roots, control_group) {
        Ok(dir) => dir,
        Err(because) => return Fact::absent(because),
    };
    let controllers = match V2Group::at(&manager).controllers() {
        Ok(controllers) => controllers,
        Err(error) => return Fact::unknown(&error),
    };
    if !controllers.iter().any(|name| name == "memory") {
        return Fact::absent(format!(
            "{} has no memory controller, so systemd would accept a limit and not set it",
            manager.display()
        ));
    }
    let (slice, parent) = slice(&own.own, &manager, instance);
    if let Some(limit) = left_behind(own, &parent) {
        return Fact::absent(limit);
    }
    let ceilings = v2::limits_at(&upwards(&parent, &own.mount_point));
    Fact::present(SystemdPlace {
        instance,
        address,
        slice,
        parent,
        ceilings: ceilings
            .into_iter()
            .map(|(file, bytes)| Ceiling {
                bytes,
                file: Some(file),
            })
            .collect(),
    })
}

/// A group's directory, from its path in /proc/PID/cgroup.
fn seen(roots: &Roots, group: &str) -> Result<PathBuf, String> {
    let mounts = mounts::read(&roots.proc()).map_err(|error| one_line(&error))?;
    let mount = mounts
        .iter()
        .rev()
        .find(|mount| mount.file_system == "cgroup2")
        .ok_or("no cgroup2 file system is mounted")?;
    directory(roots, mount, group)
}

/// The innermost slice of this manager that we are in, and its directory.
fn slice(own: &Path, manager: &Path, instance: Instance) -> (String, PathBuf) {
    let mut innermost = None;
    if let Ok(below) = own.strip_prefix(manager) {
        let mut dir = manager.to_owned();
        for component in below {
            let Some(name) = component.to_str().filter(|name| name.ends_with(".slice")) else {
                break;
            };
            dir.push(name);
            innermost = Some((name.to_owned(), dir.clone()));
        }
    }
    innermost.unwrap_or_else(|| {
        let name = instance.default_slice();
        (name.to_owned(), manager.join(name))
    })
}

/// A limit that holds for us now and would not hold there, in words.
fn left_behind(own: &V2Place, parent: &Path) -> Option<String> {
    own.lineage()
        .iter()
        .filter(|dir| !parent.starts_with(dir))
        .find_map(|dir| {
            let limit = v2::own_limit(dir)?;
            Some(format!(
                "{} has {limit}, which must not be left",
                dir.display()
            ))
        })
}

pub(super) fn open(address: &Address, time: Duration) -> Result<Connection, BusError> {
    let mut connection = Connection::open(&address.socket, address.owner, time)?;
    if address.is_bus {
        connection.call(&bus_call("Hello", "", &[]))?;
    }
    Ok(connection)
}

/// Whether a manager or a bus answers there. One that is alive takes a
/// millisecond, one that hangs three seconds.
pub(crate) fn knock(socket: &Path, owner: u32) -> Fact<PathBuf> {
    match Connection::open(socket, owner, LOOK) {
        Ok(_) => Fact::present(socket.to_owned()),
        Err(error) if error.is_absence() => Fact::absent(one_line(&error)),
        Err(error) => Fact::unknown(&error),
    }
}

fn bus_call<'a>(member: &'a str, signature: &'a str, body: &'a [u8]) -> Call<'a> {
    Call {
        destination: BUS,
        path: BUS_OBJECT,
        interface: BUS,
        member,
        signature,
        body,
    }
}

fn manager_call<'a>(member: &'a str, signature: &'a str, body: &'a [u8]) -> Call<'a> {
    Call {
        destination: NAME,
        path: OBJECT,
        interface: MANAGER,
        member,
        signature,
        body,
    }
}

/// The group below which a manager puts its units; the root's name is empty.
fn control_group(address: &Address) -> Result<String, BusError> {
    let mut connection = open(address, LOOK)?;
    let mut body = Writer::default();
    body.text(MANAGER);
    body.text("ControlGroup");
    let answer = connection.call(&Call {
        interface: "org.freedesktop.DBus.Properties",
        ..manager_call("Get", "ss", &body.bytes)
    })?;
    let mut values = answer.reader();
    match (values.signature(), values.text()) {
        (Some("s"), Some(group)) => Ok(format!("/{}", group.trim_start_matches('/'))),
        _ => Err(connection.nonsense()),
    }
}

/// Has this process moved into a new scope of this name, and returns its
/// directory once the kernel confirms that we are there.
///
/// The scope is ours to divide (`Delegate=yes`), and systemd removes it when
/// its last process is gone, however it ended.
///
/// # Errors
/// When the manager is gone, refuses, or does not answer in 15 s.
pub fn start_scope(place: &SystemdPlace, unit: &str) -> Result<PathBuf, ScopeError> {
    let mut connection = open(&place.address, START)?;
    if place.address.is_bus {
        let mut body = Writer::default();
        body.text(&format!(
            "type='signal',sender='{NAME}',interface='{MANAGER}',member='JobRemoved'"
        ));
        connection.call(&bus_call("AddMatch", "s", &body.bytes))?;
    }
    // Before the job exists, so that its end cannot be missed.
    connection.call(&manager_call("Subscribe", "", &[]))?;
    let body = scope_arguments(unit, &place.slice, std::process::id());
    let answer = connection.call(&manager_call(
        "StartTransientUnit",
        "ssa(sv)a(sa(sv))",
        &body,
    ))?;
    let job = answer
        .reader()
        .text()
        .map(str::to_owned)
        .ok_or_else(|| connection.nonsense())?;
    let result = loop {
        if let Some(result) = result_of(&job, &connection.signal()?) {
            break result;
        }
    };
    if result != "done" {
        return Err(ScopeError::Job {
            unit: unit.to_owned(),
            result: result.replace(char::is_control, " "),
        });
    }
    whereabouts(unit)
}

fn scope_arguments(unit: &str, slice: &str, pid: u32) -> Vec<u8> {
    let mut body = Writer::default();
    body.text(unit);
    // Fail where there is such a unit already; our names are unique.
    body.text("fail");
    body.array(8, |properties| {
        properties.property("Description", "s", |value| {
            value.text("a command limited by memcap");
        });
        properties.property("Slice", "s", |value| value.text(slice));
        properties.property("Delegate", "b", |value| value.number(1));
        // Nothing of it stays behind, also when it failed.
        properties.property("CollectMode", "s", |value| {
            value.text("inactive-or-failed");
        });
        properties.property("PIDs", "au", |value| {
            value.array(4, |pids| pids.number(pid));
        });
    });
    // No auxiliary units.
    body.array(8, |_| {});
    body.bytes
}

/// How a job ended, if this is the signal that says so: its number, its path,
/// its unit, its result.
fn result_of(job: &str, signal: &Message) -> Option<String> {
    if signal.member.as_deref() != Some("JobRemoved") || signal.signature != "uoss" {
        return None;
    }
    let mut values = signal.reader();
    let (_number, path, _unit) = (values.number()?, values.text()?, values.text()?);
    let result = values.text()?;
    (path == job).then(|| result.to_owned())
}

/// Our own directory, which must be the scope's.
fn whereabouts(unit: &str) -> Result<PathBuf, ScopeError> {
    let roots = Roots::default();
    let group = own_memberships(&roots.proc())?
        .into_iter()
        .find(|membership| membership.is_v2())
        .map(|membership| membership.path)
        .unwrap_or_default();
    if !group.ends_with(&format!("/{unit}")) {
        return Err(ScopeError::NotMoved {
            unit: unit.to_owned(),
            group,
        });
    }
    seen(&roots, &group).map_err(ScopeError::OutOfSight)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_stays_in_every_slice_that_we_are_in() {
        let user = "/c/user.slice/user-1000.slice/user@1000.service";
        let cases = [
            // From a terminal of the desktop, and from outside the manager.
            (
                Instance::User,
                "/c/user.slice/user-1000.slice/user@1000.service/app.slice/term.scope",
                user,
                "app.slice",
            ),
            (
                Instance::User,
                "/c/user.slice/user-1000.slice/user@1000.service/app.slice/app-batch.slice/a.service",
                user,
                "app.slice/app-batch.slice",
            ),
            (Instance::User, "/c", user, "app.slice"),
            (
                Instance::User,
                "/c/user.slice/user-1000.slice/session-1.scope",
                user,
                "app.slice",
            ),
            // Slices inside a service are not the machine's manager's.
            (
                Instance::System,
                "/c/user.slice/user-1000.slice/user@1000.service/app.slice/term.scope",
                "/c",
                "user.slice/user-1000.slice",
            ),
            (
                Instance::System,
                "/c/system.slice/ssh.service",
                "/c",
                "system.slice",
            ),
            (Instance::System, "/c/init.scope", "/c", "system.slice"),
        ];
        for (instance, own, manager, wanted) in cases {
            let (name, dir) = slice(Path::new(own), Path::new(manager), instance);
            assert_eq!(dir, Path::new(manager).join(wanted), "{own}");
            assert!(wanted.ends_with(&name), "{own}: {name}");
        }
    }

    #[test]
    fn limits_that_do_not_hold_there_are_found() {
        let root = tempfile::tempdir().expect("a folder");
        let at = |path: &str| root.path().join(path);
        let own = at("user.slice/session.scope");
        std::fs::create_dir_all(&own).expect("a folder");
        let place = V2Place {
            mount_point: root.path().to_owned(),
            own: own.clone(),
            memory_base: Fact::absent("not ours to write"),
            containment_base: Fact::absent("not ours to write"),
        };
        let left = |parent: &str| left_behind(&place, &at(parent)).is_some();
        std::fs::write(at("user.slice/memory.max"), "4096\n").expect("put");
        std::fs::write(own.join("memory.max"), "max\n").expect("put");
        assert!(!left("user.slice/user@1000.service/app.slice"));
        assert!(left("system.slice"));
        std::fs::write(own.join("memory.high"), "4096\n").expect("put");
        assert!(left("user.slice/user@1000.service/app.slice"));
        assert!(!left("user.slice/session.scope/app.slice"));
    }

    #[test]
    fn only_root_asks_the_machines_manager() {
        let asked = |uid| {
            candidates(uid)
                .into_iter()
                .map(|(instance, _)| instance)
                .collect::<Vec<_>>()
        };
        assert_eq!(asked(1000), [Instance::User; 2]);
        assert!(asked(0).contains(&Instance::System));
        assert!(
            candidates(1000)
                .iter()
                .all(|(_, address)| address.owner == 1000)
        );
    }

    #[test]
    fn the_result_of_another_job_is_not_ours() {
        let mut body = Writer::default();
        body.number(7);
        body.text("/job/7");
        body.text("a.scope");
        body.text("done");
        let signal = |member: &str| Message {
            member: Some(member.to_owned()),
            signature: "uoss".into(),
            body: body.bytes.clone(),
            ..Message::default()
        };
        assert_eq!(
            result_of("/job/7", &signal("JobRemoved")).as_deref(),
            Some("done")
        );
        assert_eq!(result_of("/job/8", &signal("JobRemoved")), None);
        assert_eq!(result_of("/job/7", &signal("JobNew")), None);
    }
}
