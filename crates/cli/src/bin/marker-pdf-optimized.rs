//! The spelling of marker-pdf-optimized, for people who have it in scripts.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    memcap_cli::drop_in_main()
}
