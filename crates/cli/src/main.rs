//! memcap: run a command, or a marker-pdf conversion, under a memory limit
//! that really holds.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    memcap_cli::main()
}
