//! Terminals: job control, programs that fill the screen, prompts, and what
//! stands between a terminal and its user (tmux, script).

mod job_control;
mod multiplexer;
mod programs;
mod window;

use integration_tests::harness::{Invocation, SYSTEM_PATH, Scene, Terminal, wait_until};

/// An interactive shell; what is typed echoes, so words that are waited for
/// are typed in another spelling than they are printed in.
fn shell(scene: &Scene) -> Terminal<'_> {
    let mut terminal = interactive(scene.plain())
        .variable("PS1", "ready> ")
        .variable("PATH", SYSTEM_PATH)
        .variable("TERM", "xterm")
        .start_on_terminal();
    terminal.read_until("ready> ");
    terminal
}

fn interactive(invocation: Invocation<'_>) -> Invocation<'_> {
    invocation.command("bash", ["--norc", "--noprofile", "-i"])
}

fn memcap(scene: &Scene) -> Invocation<'_> {
    scene.memcap().option("--quiet").memory("64M")
}

fn type_line(terminal: &mut Terminal<'_>, line: &str) {
    terminal.press(format!("{line}\n").as_bytes());
}

/// Insists on the code of the command before.
fn expect_code(terminal: &mut Terminal<'_>, code: i32) {
    type_line(terminal, "echo code' '$?.");
    let shown = terminal.read_until("ready> ");
    assert!(shown.contains(&format!("code {code}.")), "{shown}");
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

/// Waits until `program` sleeps. Between what it writes and its next look at
/// the terminal, many a program does not heed a signal before the next key, with
/// or without memcap.
fn wait_until_asleep(scene: &Scene, program: &str) {
    wait_until("the program waits for keys", || {
        let own = scene.processes();
        let mut found = own.iter().filter(|process| process.name == program);
        found.any(|process| process.state == 'S')
    });
}

fn leave(mut terminal: Terminal<'_>, scene: &Scene) {
    type_line(&mut terminal, "exit");
    terminal.read_to_end();
    terminal.code();
    scene.assert_nothing_left();
}
