//! The whole examination as JSON: `cargo run -p memcap-probe --example doctor`, and
//! with `-- --host FOLDER` that of a saved host.
#![forbid(unsafe_code)]

use std::error::Error;
use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use memcap_probe::bundle::Bundle;
use memcap_probe::{Roots, examine, replay, trial};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let Some((first, rest)) = args.split_first()
        && first == trial::HOG_ARGUMENT
    {
        return Ok(trial::hog_main(rest));
    }
    let report = match args.as_slice() {
        [option, folder] if option == "--host" => replay(&Bundle::open(Path::new(folder))?),
        _ => examine(&Roots::default(), Some(&std::env::current_exe()?)),
    };
    let text = serde_json::to_string_pretty(&report)?;
    writeln!(std::io::stdout(), "{text}")?;
    Ok(ExitCode::SUCCESS)
}
