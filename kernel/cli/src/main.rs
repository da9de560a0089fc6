//! The `sampan` binary; all of it is in the library, so that tests can use the parts.

/// A durable write makes some dozens of small allocations, on several threads: this one takes half the time of the
/// system's for them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    sampan_cli::main()
}
