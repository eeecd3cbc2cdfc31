//! Programs that people work with on a terminal.

use integration_tests::each_setting;
use integration_tests::harness::{Invocation, Requirement, SYSTEM_PATH, Scene};

use super::{
    expect_code, interactive, leave, memcap, shell, type_line, wait_for_foreground,
    wait_until_asleep,
};

each_setting!(
    vim_is_suspended_and_comes_back,
    less_fills_a_window_that_grows,
    a_python_prompt_survives_ctrl_c,
    an_inner_shell_has_jobs_of_its_own,
);

/// How often an editor is suspended: what goes wrong with it depends on who
/// is faster.
const TURNS: usize = 20;

fn vim<'scene>(invocation: Invocation<'scene>, path: &str) -> Invocation<'scene> {
    // Without anybody's settings, and without a swap file.
    invocation.command("vim", ["-Nu", "NONE", "-i", "NONE", "-n", path])
}

fn vim_is_suspended_and_comes_back(scene: &Scene) {
    if !Requirement::Terminal.is_met() {
        return;
    }
    let text = scene.word("text");
    std::fs::write(&text, "here-is-text\n").expect("a file");
    open_to_all(&text);
    let mut terminal = shell(scene);
    type_line(&mut terminal, &vim(memcap(scene), &text).line());
    terminal.read_until("here-is-text");
    for turn in 1..=TURNS {
        terminal.press(format!("oline {turn}\x1b:w\r").as_bytes());
        terminal.read_until(&format!("{}L, ", turn + 1));
        terminal.press(b"\x1a");
        terminal.read_until("Stopped");
        terminal.read_until("ready> ");
        // The shell has the terminal, as it was.
        type_line(&mut terminal, "stty -a | grep -c ' icanon.* echo '");
        terminal.read_until("ready> ");
        type_line(&mut terminal, "fg");
        terminal.read_until("here-is-text");
    }
    terminal.press(b":%s/line/row/\r:wq\r");
    terminal.read_until("ready> ");
    expect_code(&mut terminal, 0);
    let written = std::fs::read_to_string(&text).expect("a file");
    let rows = (1..=TURNS).map(|turn| format!("row {turn}\n"));
    let expected: String = std::iter::once("here-is-text\n".to_owned())
        .chain(rows)
        .collect();
    assert_eq!(written, expected);
    leave(terminal, scene);
}

fn open_to_all(path: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o666)).expect("permissions");
}

fn less_fills_a_window_that_grows(scene: &Scene) {
    if !Requirement::Terminal.is_met() {
        return;
    }
    let text = scene.word("text");
    let lines = (1..=200).map(|number| format!("this is line {number}.\n"));
    std::fs::write(&text, lines.collect::<String>()).expect("a file");
    let mut terminal = shell(scene);
    let less = memcap(scene).command("less", [&text]);
    type_line(
        &mut terminal,
        &format!("LESS= LESSHISTFILE=- {}", less.line()),
    );
    let shown = terminal.read_until("line 23.");
    assert!(!shown.contains("line 24."), "{shown}");
    terminal.read_until("/text");
    wait_until_asleep(scene, "less");
    terminal.resize(50, 60);
    terminal.read_until("line 49.");
    wait_until_asleep(scene, "less");
    terminal.press(b"\x1a");
    terminal.read_until("Stopped");
    type_line(&mut terminal, "fg");
    terminal.read_until("line 49.");
    terminal.press(b"G");
    terminal.read_until("line 200.");
    terminal.press(b"q");
    terminal.read_until("ready> ");
    expect_code(&mut terminal, 0);
    leave(terminal, scene);
}

fn a_python_prompt_survives_ctrl_c(scene: &Scene) {
    if !Requirement::Terminal.is_met() {
        return;
    }
    let python = memcap(scene).command("python3", ["-q"]);
    let mut terminal = python
        .variable("PYTHON_BASIC_REPL", "1")
        .variable("PATH", SYSTEM_PATH)
        .start_on_terminal();
    terminal.read_until(">>> ");
    // At the prompt, and while something runs.
    terminal.press(b"half a line");
    terminal.read_until("half a line");
    wait_until_asleep(scene, "python3");
    terminal.press(b"\x03");
    terminal.read_until("KeyboardInterrupt");
    terminal.read_until(">>> ");
    type_line(
        &mut terminal,
        "import time; print('be' + 'gun'); time.sleep(100)",
    );
    terminal.read_until("begun");
    wait_until_asleep(scene, "python3");
    terminal.press(b"\x03");
    terminal.read_until("KeyboardInterrupt");
    terminal.read_until(">>> ");
    type_line(&mut terminal, "print(6 * 7000)");
    terminal.read_until("42000");
    terminal.read_until(">>> ");
    terminal.press(b"\x04");
    let rest = terminal.read_to_end();
    assert_eq!(terminal.code(), 0, "{rest}");
    scene.assert_nothing_left();
}

fn an_inner_shell_has_jobs_of_its_own(scene: &Scene) {
    let mut terminal = shell(scene);
    let inner = interactive(memcap(scene));
    type_line(&mut terminal, &format!("PS1='inner''> ' {}", inner.line()));
    terminal.read_until("inner> ");
    type_line(&mut terminal, "sh -c 'echo be\"\"gun; exec sleep 100'");
    terminal.read_until("begun");
    terminal.press(b"\x1a");
    terminal.read_until("Stopped");
    // The outer shell is not asked.
    terminal.read_until("inner> ");
    type_line(&mut terminal, "fg");
    wait_for_foreground(scene);
    terminal.press(b"\x03");
    terminal.read_until("inner> ");
    type_line(&mut terminal, "exit $?");
    terminal.read_until("ready> ");
    expect_code(&mut terminal, 130);
    leave(terminal, scene);
}
