//! Job control: a shell on a terminal sees of memcap what it would see of the
//! job, and the terminal is as it was after a kill.

use std::time::Duration;

use integration_tests::each_setting;
use integration_tests::harness::{Finished, Invocation, Scene, Terminal, poll_until, wait_until};
use nix::sys::signal::Signal;

each_setting!(
    a_job_that_stops_itself_gives_the_terminal_back,
    ctrl_z_stops_and_bg_and_fg_continue,
    a_background_job_that_reads_is_stopped,
    an_inner_shell_is_suspended_and_comes_back,
    a_stopped_job_is_not_out_of_time,
    a_stopped_job_can_be_told_to_end,
    modes_are_as_before_after_a_kill,
    modes_that_a_job_leaves_on_purpose_stay,
    the_foreground_is_given_back_after_a_kill,
);

/// An interactive shell; what is typed echoes, so words that are waited for
/// are typed in another spelling than they are printed in.
fn shell(scene: &Scene) -> Terminal {
    let bash = scene
        .plain()
        .command("bash", ["--norc", "--noprofile", "-i"]);
    let mut terminal = bash.variable("PS1", "ready> ").start_on_terminal();
    terminal.read_until("ready> ");
    terminal
}

fn memcap(scene: &Scene) -> Invocation<'_> {
    scene.memcap().option("--quiet").memory("64M")
}

fn type_line(terminal: &mut Terminal, line: &str) {
    terminal.press(format!("{line}\n").as_bytes());
}

fn leave(mut terminal: Terminal, scene: &Scene) {
    type_line(&mut terminal, "exit");
    terminal.read_to_end();
    terminal.code();
    scene.assert_nothing_left();
}

fn a_job_that_stops_itself_gives_the_terminal_back(scene: &Scene) {
    let mut terminal = shell(scene);
    for signal in ["STOP", "TSTP"] {
        let script = format!("kill -{signal} $$; echo goes' 'on");
        type_line(&mut terminal, &memcap(scene).shell(&script).line());
        terminal.read_until("Stopped");
        type_line(&mut terminal, "fg");
        terminal.read_until("goes on");
        type_line(&mut terminal, "echo code' '$?");
        terminal.read_until("code 0");
    }
    leave(terminal, scene);
}

fn ctrl_z_stops_and_bg_and_fg_continue(scene: &Scene) {
    let mut terminal = shell(scene);
    let script = "echo has' 'begun; exec sleep 100";
    type_line(&mut terminal, &memcap(scene).shell(script).line());
    terminal.read_until("has begun");
    terminal.press(b"\x1a");
    terminal.read_until("Stopped");
    type_line(&mut terminal, "bg; jobs");
    terminal.read_until("Running");
    type_line(&mut terminal, "fg");
    wait_for_foreground(scene);
    terminal.press(b"\x03");
    terminal.read_until("ready> ");
    type_line(&mut terminal, "echo code' '$?");
    terminal.read_until("code 130");
    leave(terminal, scene);
}

/// What is typed before the shell has handed the terminal over is the shell's.
fn wait_for_foreground(scene: &Scene) {
    wait_until("the job is in the foreground again", || {
        let own = scene.processes();
        let mut shells = own.iter().filter(|process| process.name == "bash");
        shells.all(|shell| !is_foreground(shell.pid))
    });
}

/// Whether the process's group is its terminal's foreground group.
fn is_foreground(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let Some((_, behind)) = stat.rsplit_once(") ") else {
        return false;
    };
    // proc_pid_stat(5): fields 5 (pgrp) and 8 (tpgid).
    let fields: Vec<&str> = behind.split(' ').collect();
    fields.get(2) == fields.get(5)
}

fn a_background_job_that_reads_is_stopped(scene: &Scene) {
    let mut terminal = shell(scene);
    let line = memcap(scene).command("cat", [""; 0]).line();
    // The shell tells of stopped jobs before it prompts.
    type_line(
        &mut terminal,
        &format!("{line} & until jobs | grep -q Stop''ped; do sleep 0.05; done; echo it' 'stops"),
    );
    terminal.read_until("it stops");
    terminal.read_until("ready> ");
    type_line(&mut terminal, "fg");
    wait_for_foreground(scene);
    terminal.press(b"through\n");
    // Once echoed by the terminal, once written by `cat`.
    terminal.read_until("through\r\nthrough");
    terminal.press(b"\x04");
    terminal.read_until("ready> ");
    leave(terminal, scene);
}

fn an_inner_shell_is_suspended_and_comes_back(scene: &Scene) {
    let mut terminal = shell(scene);
    let inner = memcap(scene).command("bash", ["--norc", "--noprofile", "-i"]);
    type_line(&mut terminal, &format!("PS1='inner\\$ ' {}", inner.line()));
    terminal.read_until("inner");
    type_line(&mut terminal, "echo in' 'side; suspend");
    terminal.read_until("in side");
    terminal.read_until("Stopped");
    type_line(&mut terminal, "fg");
    type_line(&mut terminal, "echo back' 'again");
    terminal.read_until("back again");
    type_line(&mut terminal, "exit 7");
    terminal.read_until("ready> ");
    type_line(&mut terminal, "echo code' '$?");
    terminal.read_until("code 7");
    leave(terminal, scene);
}

fn stopped_by_itself(scene: &Scene, behind: &str, during: impl FnOnce(i32)) -> Finished {
    let script = format!("kill -STOP $$; {behind}");
    let memcap = scene.memcap().memory("64M");
    let running = memcap.option("--time").option("1s").shell(&script).start();
    let pid = running.pid();
    wait_until("memcap stops with the job", || is_stopped(pid));
    during(pid);
    running.signal_group(Signal::SIGCONT);
    running.wait()
}

fn is_stopped(pid: i32) -> bool {
    integration_tests::harness::Process::of(pid).is_some_and(|process| process.state == 'T')
}

fn a_stopped_job_is_not_out_of_time(scene: &Scene) {
    // Longer than the limit and the grace together.
    let finished = stopped_by_itself(scene, "exit 4", |pid| {
        let ended = poll_until(Duration::from_millis(3500), || {
            (!is_stopped(pid)).then_some(())
        });
        assert_eq!(ended, None, "memcap goes on before the job does");
    });
    finished.expect_code(4).expect_verdict("finished");
    let finished = stopped_by_itself(scene, "sleep 100", |_| {});
    finished.expect_code(124).expect_verdict("time-limit");
    scene.assert_nothing_left();
}

fn a_stopped_job_can_be_told_to_end(scene: &Scene) {
    let script = "trap 'exit 23' TERM; kill -STOP $$; sleep 100";
    let running = scene.memcap().memory("64M").shell(script).start();
    let pid = running.pid();
    wait_until("memcap stops with the job", || is_stopped(pid));
    running.signal(Signal::SIGTERM);
    // As a shell's `kill` does for a stopped job.
    running.signal(Signal::SIGCONT);
    running.wait().expect_code(23);
    scene.assert_nothing_left();
}

/// What `script` shows on a terminal that is its own alone.
fn shown(scene: &Scene, script: &str) -> String {
    let mut terminal = scene.plain().shell(script).start_on_terminal();
    let text = terminal.read_to_end();
    terminal.code();
    scene.assert_nothing_left();
    text
}

fn modes_are_as_before_after_a_kill(scene: &Scene) {
    let line = memcap(scene).shell("stty -echo -icanon; kill -9 $$").line();
    let text = shown(scene, &format!("{line}; stty -a"));
    assert!(
        text.contains(" icanon") && text.contains(" echo "),
        "{text}"
    );
}

fn modes_that_a_job_leaves_on_purpose_stay(scene: &Scene) {
    let line = memcap(scene).shell("stty -echo").line();
    let text = shown(scene, &format!("{line}; stty -a"));
    assert!(text.contains("-echo "), "{text}");
}

fn the_foreground_is_given_back_after_a_kill(scene: &Scene) {
    // An interactive shell gives its jobs groups of their own and the terminal.
    let inner = ["--norc", "--noprofile", "-ic", "sleep 100; true"];
    let line = memcap(scene)
        .option("--time=500ms")
        .option("--grace=0s")
        .command("bash", inner)
        .line();
    // Only the foreground may change the terminal.
    let text = shown(
        scene,
        &format!("{line}; echo code $?; stty echo && echo is' 'ours"),
    );
    assert!(
        text.contains("code 124") && text.contains("is ours"),
        "{text}"
    );
}
