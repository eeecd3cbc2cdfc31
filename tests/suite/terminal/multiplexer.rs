//! What stands between a terminal and its user.

use integration_tests::each_setting;
use integration_tests::harness::{
    Finished, PATIENCE, Requirement, SYSTEM_PATH, Scene, poll_until, wait_until,
};

use super::{interactive, memcap};

each_setting!(
    a_shell_in_a_tmux_window,
    a_tmux_window_that_is_closed_leaves_nothing,
    a_run_that_script_records,
);

/// A private tmux server with one window.
struct Tmux<'scene> {
    scene: &'scene Scene,
}

impl<'scene> Tmux<'scene> {
    /// With `line` (for sh) in the window.
    fn start(scene: &'scene Scene, line: &str) -> Tmux<'scene> {
        let tmux = Tmux { scene };
        tmux.tell(&["new-session", "-d", "-x", "80", "-y", "24", line]);
        tmux
    }

    fn run(&self, words: &[&str]) -> Finished {
        let socket = self.scene.word("tmux");
        let mut all = vec!["-u", "-f", "/dev/null", "-S", &socket];
        all.extend(words);
        let tmux = self.scene.plain().command("tmux", all);
        // A tmux around the tests is none of their business.
        let tmux = tmux.variable("TMUX", "").variable("SHELL", "/bin/sh");
        tmux.variable("PATH", SYSTEM_PATH)
            .variable("PS1", "ready> ")
            .run()
    }

    fn tell(&self, words: &[&str]) {
        self.run(words).expect_code(0);
    }

    /// Types `keys`, in the words of tmux(1).
    fn press(&self, keys: &[&str]) {
        self.tell(&[&["send-keys"], keys].concat());
    }

    fn type_line(&self, line: &str) {
        self.press(&["-l", line]);
        self.press(&["Enter"]);
    }

    /// Waits until the window shows `text`.
    fn wait_for(&self, text: &str) {
        let mut shown = String::new();
        let found = poll_until(PATIENCE, || {
            let captured = self.run(&["capture-pane", "-pJ"]);
            shown = String::from_utf8_lossy(&captured.stdout).into_owned();
            shown.contains(text).then_some(())
        });
        assert!(found.is_some(), "no {text:?} in\n{shown}");
    }
}

impl Drop for Tmux<'_> {
    fn drop(&mut self) {
        // Its server is gone when its window has gone.
        self.run(&["kill-server"]);
    }
}

fn a_shell_in_a_tmux_window(scene: &Scene) {
    if !Requirement::Terminal.is_met() {
        return;
    }
    let tmux = Tmux::start(scene, &interactive(memcap(scene)).line());
    tmux.wait_for("ready>");
    tmux.type_line("stty size");
    tmux.wait_for("24 80");
    tmux.tell(&["resize-window", "-x", "100", "-y", "30"]);
    tmux.type_line("clear; stty size");
    tmux.wait_for("30 100");
    // A job of the shell's, and an editor.
    tmux.type_line("clear; sh -c 'echo be\"\"gun; exec sleep 100'");
    tmux.wait_for("begun");
    tmux.press(&["C-z"]);
    tmux.wait_for("Stopped");
    tmux.type_line("clear; kill %1; wait; vim -Nu NONE -i NONE -n new");
    tmux.wait_for("[New]");
    tmux.press(&["i"]);
    tmux.press(&["-l", "typed within"]);
    tmux.press(&["Escape"]);
    tmux.press(&["C-z"]);
    tmux.wait_for("Stopped");
    tmux.type_line("fg");
    tmux.wait_for("typed within");
    tmux.type_line(":wq");
    tmux.wait_for("ready>");
    tmux.type_line("clear; cat new | tr a-z A-Z; exit");
    wait_until("the window closes", || scene.processes().is_empty());
    let written = std::fs::read_to_string(scene.path("new")).expect("a file");
    assert_eq!(written, "typed within\n");
    scene.assert_nothing_left();
}

fn a_tmux_window_that_is_closed_leaves_nothing(scene: &Scene) {
    if !Requirement::Terminal.is_met() {
        return;
    }
    let script = "sleep 100 & setsid sleep 100 & echo be''gun; wait";
    let tmux = Tmux::start(scene, &memcap(scene).shell(script).line());
    tmux.wait_for("begun");
    tmux.tell(&["kill-window"]);
    scene.assert_nothing_left_soon();
}

fn a_run_that_script_records(scene: &Scene) {
    if !Requirement::Terminal.is_met() {
        return;
    }
    let line = memcap(scene)
        .shell("tty -s && echo on a terminal; exit 6")
        .line();
    let words = ["-qec", &line, "/dev/null"];
    let script = || {
        let script = scene.plain().command("script", words);
        script.variable("SHELL", "/bin/sh")
    };
    // From a terminal and without one.
    let mut terminal = script().start_on_terminal();
    terminal.read_until("on a terminal");
    terminal.read_to_end();
    assert_eq!(terminal.code(), 6);
    let finished = script().run();
    finished.expect_code(6);
    assert_eq!(finished.stdout, b"on a terminal\r\n", "{finished}");
    scene.assert_nothing_left();
}
