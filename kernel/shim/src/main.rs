//! The binary: `sampan-shim run --pod DIR`.
use std::{path::Path, process::ExitCode};

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    match arguments
        .iter()
        .map(|argument| argument.to_str())
        .collect::<Vec<_>>()
        .as_slice()
    {
        [Some("run"), Some("--pod"), _] => sampan_shim::pod::run(Path::new(&arguments[2])),
        _ => {
            eprintln!("usage: sampan-shim run --pod DIR");
            ExitCode::from(2)
        }
    }
}
