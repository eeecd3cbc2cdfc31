//! `exit-with CODE`, or `exit-with --signal N`: ends at once in the way asked
//! for, without a core dump.

use std::time::Duration;

use integration_tests::job::{Arguments, alarm, hold, raise_default, stop_dumping_core};
use nix::sys::signal::Signal;

fn main() {
    alarm();
    let mut arguments = Arguments::of_process();
    let Some(number) = arguments.option::<i32>("--signal") else {
        let code = arguments.positional("CODE");
        arguments.finish();
        std::process::exit(code)
    };
    let Ok(signal) = Signal::try_from(number) else {
        arguments.fail(&format!("{number} is no signal"))
    };
    arguments.finish();
    let raised = stop_dumping_core().and_then(|()| raise_default(signal));
    if let Err(error) = raised {
        eprintln!("exit-with: {error}");
        std::process::exit(1)
    }
    // A stop signal ends nothing; whoever sent it may continue us.
    hold(Duration::from_secs(1));
    std::process::exit(1)
}
