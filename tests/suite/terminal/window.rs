//! The size of the window.

use integration_tests::each_setting;
use integration_tests::harness::Scene;

use super::memcap;

each_setting!(the_job_knows_the_size, the_job_is_told_of_a_new_size,);

fn the_job_knows_the_size(scene: &Scene) {
    let script = "stty size; read line; stty size";
    let mut terminal = memcap(scene).shell(script).start_on_terminal();
    terminal.read_until("24 80");
    terminal.resize(31, 97);
    terminal.press(b"\n");
    terminal.read_until("31 97");
    terminal.read_to_end();
    assert_eq!(terminal.code(), 0);
    scene.assert_nothing_left();
}

fn the_job_is_told_of_a_new_size(scene: &Scene) {
    let script = "trap 'stty size' WINCH; echo ready; while :; do sleep 0.01; done";
    let mut terminal = memcap(scene).shell(script).start_on_terminal();
    terminal.read_until("ready");
    for (rows, columns) in [(10, 20), (50, 132), (24, 80)] {
        terminal.resize(rows, columns);
        terminal.read_until(&format!("{rows} {columns}"));
    }
    terminal.press(b"\x03");
    let rest = terminal.read_to_end();
    assert_eq!(terminal.code(), 130, "{rest}");
    scene.assert_nothing_left();
}
