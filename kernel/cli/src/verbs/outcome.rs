//! What verbs that change something say: `deployment.apps/web created`, or the object as `-o` asks.
use crate::{doc::Doc, print::Format};
use anyhow::Result;
use clap::{Args, ValueEnum};
use sampan_api::rpc::write_response::Outcome;

/// Whether something is done, or only tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum DryRun {
    #[default]
    None,
    /// Only read and checked here
    Client,
    /// Checked and decided by the server, and not done
    Server,
}

/// The arguments of verbs that change something.
#[derive(Clone, Debug, Default, Args)]
pub struct Says {
    /// Only say what would be done
    #[arg(long, value_enum, default_value_t, num_args = 0..=1, default_missing_value = "client", require_equals = true)]
    pub dry_run: DryRun,
    /// How to print the object: name, yaml, json, jsonpath=…
    #[arg(short = 'o', long, value_name = "FORMAT", value_parser = Format::parse)]
    pub output: Option<Format>,
}

impl Says {
    pub fn on_client(&self) -> bool {
        self.dry_run == DryRun::Client
    }

    pub fn on_server(&self) -> bool {
        self.dry_run == DryRun::Server
    }

    /// Prints what came of an object.
    ///
    /// # Errors
    /// If it cannot be printed in the form that was asked for.
    pub fn say(&self, doc: &Doc, done: &str) -> Result<()> {
        match &self.output {
            Some(format) => print!("{}", format.one(doc)?),
            None => println!("{} {done}{}", doc.full_name(), self.suffix()),
        }
        Ok(())
    }

    /// What tells a trial from the real thing.
    pub fn suffix(&self) -> &'static str {
        match self.dry_run {
            DryRun::None => "",
            DryRun::Client => " (dry run)",
            DryRun::Server => " (server dry run)",
        }
    }
}

/// The server's word for what came of a write.
pub fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Created => "created",
        Outcome::Configured | Outcome::Unspecified => "configured",
        Outcome::Unchanged => "unchanged",
        Outcome::Deleted | Outcome::Deleting => "deleted",
    }
}
