//! The `sampan` binary; all of it is in the library, so that tests can use the parts.
fn main() -> std::process::ExitCode {
    sampan_cli::main()
}
