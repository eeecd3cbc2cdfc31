//! Where this user's programs tell each other what the trial before a run has
//! shown: in the session's own folder, which goes at logout, or in the user's
//! cache.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use memcap_supervisor::Supervisor;

const OURS: &str = "memcap";

/// The same with the user's folder, where there is one.
pub(crate) fn with_folder(supervisor: Supervisor) -> Supervisor {
    match folder(|name| std::env::var_os(name), belongs_to_us) {
        Some(folder) => supervisor.proof_cache(folder),
        None => supervisor,
    }
}

/// The first that belongs to us: after `sudo` the variables may still name
/// another user's.
fn folder(
    variable: impl Fn(&str) -> Option<OsString>,
    belongs_to_us: impl Fn(&PathBuf) -> bool,
) -> Option<PathBuf> {
    let base = |name| {
        variable(name)
            .map(PathBuf::from)
            .filter(|p| p.is_absolute())
    };
    let session = base("XDG_RUNTIME_DIR").filter(&belongs_to_us);
    let home = || base("HOME").filter(&belongs_to_us);
    let found = session.or_else(|| home().map(|home| home.join(".cache")));
    found.map(|folder| folder.join(OURS))
}

fn belongs_to_us(folder: &PathBuf) -> bool {
    let owner = std::fs::metadata(folder).map(|data| data.uid());
    owner.is_ok_and(|uid| uid == nix::unistd::geteuid().as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_users_folder_is_nobodys() {
        let chosen = |variables: &[(&str, &str)], ours: &[&str]| {
            let find = |name: &str| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| OsString::from(value))
            };
            folder(find, |path| ours.iter().any(|own| path.as_os_str() == *own))
        };
        let both = [("XDG_RUNTIME_DIR", "/run/user/7"), ("HOME", "/home/a")];
        let path = |text: &str| Some(PathBuf::from(text));
        let cases = [
            (
                &both[..],
                &["/run/user/7", "/home/a"][..],
                path("/run/user/7/memcap"),
            ),
            (&both[1..], &["/home/a"], path("/home/a/.cache/memcap")),
            (&both, &["/home/a"], path("/home/a/.cache/memcap")),
            (&both, &["/root"], None),
            (&[("HOME", "relative")], &["relative"], None),
            (&[], &[], None),
        ];
        for (variables, ours, expected) in cases {
            assert_eq!(chosen(variables, ours), expected, "{variables:?} {ours:?}");
        }
    }
}
