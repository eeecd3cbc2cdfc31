use super::*;

fn request<'a>(program: &'a OsStr, args: &'a [OsString]) -> SpawnRequest<'a> {
    SpawnRequest {
        program,
        args,
        env: &[],
        current_dir: None,
        streams: [None; 3],
        closed_streams: [false; 3],
        process_group: None,
        entrances: &[],
        data_limit: None,
        oom_score_adj: None,
        owns_its_proc: false,
        signal_mask: 0,
        ignored_signals: 0,
    }
}

fn exit_code(pid: i32) -> i32 {
    let mut status = 0;
    // SAFETY: waits for our own child into a live integer.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    assert!(libc::WIFEXITED(status), "status {status}");
    libc::WEXITSTATUS(status)
}

#[test]
fn a_program_is_found_and_its_status_is_its_own() {
    let args = [OsString::from("-c"), OsString::from("exit 7")];
    let spawned = spawn(&request(OsStr::new("sh"), &args)).expect("starts");
    assert_eq!(exit_code(spawned.pid), 7);
}

#[test]
fn failures_name_their_step() {
    let missing = spawn(&request(OsStr::new("no-such-program-anywhere"), &[])).unwrap_err();
    assert_eq!(missing.step, SpawnStep::Exec);
    assert_eq!(missing.source.raw_os_error(), Some(libc::ENOENT));
    let denied = spawn(&request(OsStr::new("/etc/passwd"), &[])).unwrap_err();
    assert_eq!(denied.step, SpawnStep::Exec);
    assert_eq!(denied.source.raw_os_error(), Some(libc::EACCES));
}

#[test]
fn a_script_without_an_interpreter_is_given_to_the_shell() {
    let dir = tempfile::tempdir().expect("a folder");
    let script = dir.path().join("script");
    std::fs::write(&script, "test \"$1\" = 'a b' && exit 9\n").expect("a script");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, mode).expect("executable");
    let args = [OsString::from("a b")];
    let spawned = spawn(&request(script.as_os_str(), &args)).expect("starts");
    assert_eq!(exit_code(spawned.pid), 9);
    let empty = spawn(&request(OsStr::new(""), &[])).unwrap_err();
    assert_eq!(
        (empty.step, empty.source.raw_os_error()),
        (SpawnStep::Exec, Some(libc::ENOENT))
    );
}

#[test]
fn streams_and_directory_are_the_ones_asked_for() {
    use std::io::Write;
    use std::os::fd::AsFd;
    let dir = tempfile::tempdir().expect("a folder");
    let args = [
        OsString::from("-c"),
        OsString::from("read word; echo \"$word in $(pwd -P)\" >&2"),
    ];
    let (stdin, mut feed) = io::pipe().expect("a pipe");
    let (mut said, stderr) = io::pipe().expect("a pipe");
    let spawned = spawn(&SpawnRequest {
        current_dir: Some(dir.path()),
        streams: [Some(stdin.as_fd()), None, Some(stderr.as_fd())],
        ..request(OsStr::new("sh"), &args)
    })
    .expect("starts");
    drop((stdin, stderr));
    feed.write_all(b"hello\n").expect("fed");
    let mut text = String::new();
    said.read_to_string(&mut text).expect("read");
    assert_eq!(exit_code(spawned.pid), 0);
    let real = dir.path().canonicalize().expect("a real path");
    assert_eq!(text, format!("hello in {}\n", real.display()));

    let missing = dir.path().join("missing");
    let refused = spawn(&SpawnRequest {
        current_dir: Some(&missing),
        ..request(OsStr::new("sh"), &[])
    })
    .unwrap_err();
    assert_eq!(refused.step, SpawnStep::WorkingDirectory);
    assert_eq!(refused.source.raw_os_error(), Some(libc::ENOENT));
}

#[test]
fn closed_streams_are_closed() {
    let script = "for n in 0 1 2; do [ -e /proc/self/fd/$n ]; echo $n $? >>\"$0\"; done";
    let dir = tempfile::tempdir().expect("a folder");
    let seen = dir.path().join("seen");
    let args = ["-c".into(), script.into(), seen.clone().into_os_string()];
    let spawned = spawn(&SpawnRequest {
        closed_streams: [true, false, true],
        ..request(OsStr::new("sh"), &args)
    })
    .expect("starts");
    assert_eq!(exit_code(spawned.pid), 0);
    let text = std::fs::read_to_string(seen).expect("written");
    assert_eq!(text, "0 1\n1 0\n2 1\n");
}

#[test]
fn limits_hold_in_the_child() {
    let args = [
        OsString::from("-c"),
        OsString::from("test $(ulimit -d) = 65536"),
    ];
    let wanted = SpawnRequest {
        data_limit: Some(DataLimit::Fixed(ByteSize::from_mib(64))),
        ..request(OsStr::new("sh"), &args)
    };
    assert_eq!(exit_code(spawn(&wanted).expect("starts").pid), 0);
    let args = [
        OsString::from("-c"),
        OsString::from("test $(ulimit -S -d) = 65536 -a $(ulimit -H -d) = $0"),
        hard_data_limit(),
    ];
    let wanted = SpawnRequest {
        args: &args,
        data_limit: Some(DataLimit::Soft(ByteSize::from_mib(64))),
        ..request(OsStr::new("sh"), &args)
    };
    assert_eq!(exit_code(spawn(&wanted).expect("starts").pid), 0);
}

/// As `ulimit` writes it.
fn hard_data_limit() -> OsString {
    use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
    let (_soft, hard) = getrlimit(Resource::RLIMIT_DATA).expect("readable");
    match hard {
        RLIM_INFINITY => "unlimited".into(),
        bytes => (bytes / 1024).to_string().into(),
    }
}
