//! Job control: a shell on a terminal sees of memcap what it would see of the
//! job, and the terminal is as it was after a kill.

use std::path::PathBuf;
use std::time::Duration;

use integration_tests::each_setting;
use integration_tests::harness::{Finished, Process, Running, Scene, poll_until, wait_until};
use nix::sys::signal::Signal;

use super::{leave, memcap, shell, type_line, wait_for_foreground};

each_setting!(
    a_job_that_stops_itself_gives_the_terminal_back,
    ctrl_z_stops_and_bg_and_fg_continue,
    a_background_job_that_reads_is_stopped,
    an_inner_shell_is_suspended_and_comes_back,
    a_stopped_job_is_not_out_of_time,
    a_stopped_job_can_be_told_to_end,
    a_group_that_is_stopped_and_continued_goes_on,
    a_group_that_is_continued_at_once_goes_on,
    a_group_that_is_stopped_again_at_once_stays_stopped,
    a_memcap_that_is_stopped_and_continued_takes_the_job_along,
    what_a_job_sends_its_group_comes_once,
    modes_are_as_before_after_a_kill,
    modes_that_a_job_leaves_on_purpose_stay,
    the_foreground_is_given_back_after_a_kill,
);

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
    Process::of(pid).is_some_and(|process| process.state == 'T')
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

/// As a shell does with `kill -TSTP %1` and `bg`. The job has the signal from
/// the group, and memcap's copy of it must not come when it has been continued.
fn a_group_that_is_stopped_and_continued_goes_on(scene: &Scene) {
    in_turns(scene, 20, Running::signal_group);
}

fn a_memcap_that_is_stopped_and_continued_takes_the_job_along(scene: &Scene) {
    in_turns(scene, 1, Running::signal);
}

/// Stops and continues a job, by `signal`, which tells it to whom it should.
fn in_turns<'scene>(scene: &'scene Scene, turns: usize, signal: impl Fn(&Running<'scene>, Signal)) {
    let job = Counting::start(scene);
    for _ in 0..turns {
        signal(&job.running, Signal::SIGTSTP);
        job.wait_until_stopped();
        signal(&job.running, Signal::SIGCONT);
        job.wait_until_it_hears();
    }
    job.end();
}

/// As a script does that does not look what has come of it.
fn a_group_that_is_continued_at_once_goes_on(scene: &Scene) {
    let job = Counting::start(scene);
    for _ in 0..20 {
        job.running.signal_group(Signal::SIGTSTP);
        job.running.signal_group(Signal::SIGCONT);
        job.wait_until_it_hears();
    }
    let stopped = poll_until(A_WHILE, || is_stopped(job.running.pid()).then_some(()));
    assert_eq!(stopped, None, "nobody has asked for it since");
    job.end();
}

fn a_group_that_is_stopped_again_at_once_stays_stopped(scene: &Scene) {
    let job = Counting::start(scene);
    job.running.signal_group(Signal::SIGTSTP);
    for _ in 0..20 {
        job.wait_until_stopped();
        job.running.signal_group(Signal::SIGCONT);
        job.running.signal_group(Signal::SIGTSTP);
    }
    job.wait_until_stopped();
    let pid = job.running.pid();
    let goes_on = poll_until(A_WHILE, || (!is_stopped(pid)).then_some(()));
    assert_eq!(goes_on, None, "nobody has asked for it since");
    job.running.signal_group(Signal::SIGCONT);
    job.wait_until_it_hears();
    job.end();
}

/// Longer than what is passed on late could take.
const A_WHILE: Duration = Duration::from_millis(200);

/// A job that counts the SIGUSR1 it gets.
struct Counting<'scene> {
    scene: &'scene Scene,
    running: Running<'scene>,
    heard: PathBuf,
}

impl<'scene> Counting<'scene> {
    fn start(scene: &'scene Scene) -> Counting<'scene> {
        let heard = scene.path("heard");
        // Without a child, since a shell that waits for its child's `exec` is not
        // stopped when that one is, and without a wait, before which a signal could
        // come unheeded.
        let script = format!(
            "trap 'echo >>{0}' USR1; trap 'exit 5' TERM; echo >{0}; while :; do :; done",
            heard.display()
        );
        let running = memcap(scene).shell(&script).start();
        let job = Counting {
            scene,
            running,
            heard,
        };
        wait_until("the job is ready", || job.lines() == 1);
        job
    }

    fn lines(&self) -> usize {
        std::fs::read(&self.heard).map_or(0, |text| text.len())
    }

    fn wait_until_stopped(&self) {
        let pid = self.running.pid();
        wait_until("memcap stops with the job", || is_stopped(pid));
    }

    /// What memcap passes on reaches the job, and the job runs.
    fn wait_until_it_hears(&self) {
        let before = self.lines();
        self.running.signal(Signal::SIGUSR1);
        wait_until("the job goes on", || self.lines() == before + 1);
    }

    fn end(self) {
        self.running.signal(Signal::SIGTERM);
        self.running.wait().expect_code(5);
        self.scene.assert_nothing_left();
    }
}

fn what_a_job_sends_its_group_comes_once(scene: &Scene) {
    let ready = scene.path("ready");
    let script = format!(
        "trap 'echo got it' USR1; trap 'exit 5' TERM; kill -USR1 0; echo >{}; \
         while :; do sleep 0.01; done",
        ready.display()
    );
    let running = memcap(scene).shell(&script).start();
    wait_until("the job is ready", || ready.exists());
    // Passed on behind all that came before.
    running.signal(Signal::SIGTERM);
    let finished = running.wait();
    finished.expect_code(5);
    assert_eq!(finished.stdout, b"got it\n", "{finished}");
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
