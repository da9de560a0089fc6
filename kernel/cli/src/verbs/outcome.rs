//! What verbs that change something say: `deployment.apps/web created`, or the object as `-o` asks.
use crate::{doc::Doc, print::Format, session::Asked};
use anyhow::Result;
use clap::{Args, ValueEnum};
use sampan_api::rpc::{FieldValidation, write_response::Outcome};

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

/// What becomes of manifests with fields that are not known.
#[derive(Clone, Copy, Debug, Args)]
pub struct Validate {
    /// Unknown fields: strict (or true) refuses them, warn says so, ignore (or false) says nothing
    #[arg(long, value_parser = directive, default_value = "strict", value_name = "HOW",
        num_args = 0..=1, default_missing_value = "strict", require_equals = true)]
    validate: FieldValidation,
}

impl Validate {
    /// How a manifest is asked for.
    pub fn asked(self, says: &Says) -> Asked {
        Asked {
            dry_run: says.on_server(),
            unknown: self.validate,
        }
    }
}

fn directive(text: &str) -> Result<FieldValidation, String> {
    match text {
        "strict" | "true" => Ok(FieldValidation::Strict),
        "warn" => Ok(FieldValidation::Warn),
        "ignore" | "false" => Ok(FieldValidation::Ignore),
        _ => Err("must be one of: strict (or true), warn, ignore (or false)".to_owned()),
    }
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
