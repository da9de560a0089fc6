//! The demo: a story told on a cluster that is gone afterwards.
use anyhow::{Result, bail};
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  sampan demo")]
pub struct DemoArgs {}

/// Tells the story; success only if all of it was seen.
///
/// # Errors
/// If it could not be told to its end.
pub async fn run(_args: DemoArgs) -> Result<ExitCode> {
    bail!("the demo is not in this build")
}
