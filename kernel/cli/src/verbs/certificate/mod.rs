//! `certificate`: who shows which, until when, and getting a new one.
mod renew;
mod rows;

use crate::{
    cli::Global,
    failure,
    print::Format,
    session::{Session, Shown},
    terminal,
    verbs::about,
};
use anyhow::Result;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use renew::RenewArgs;
use rows::Row;
use sampan_api::{Reason, rpc};
use serde_json::json;

const EXAMPLES: &str = "Examples:
  sampan certificate list
  sampan certificate show
  sampan certificate renew                # the current context's own
  sampan certificate renew node/n1        # servers and nodes renew by themselves; this makes one do it now";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CertificateArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List the certificates of the cluster, and the context's own
    #[command(visible_alias = "ls", after_help = "Example:\n  sampan certificate list -o wide")]
    List(OutputArgs),
    /// Show the context's own certificate
    #[command(after_help = "Example:\n  sampan certificate show --context lab -o json")]
    Show(OutputArgs),
    /// Get a new certificate for the context, or make a server or node do so
    Renew(RenewArgs),
}

#[derive(Debug, Args)]
struct OutputArgs {
    /// wide, yaml, json, jsonpath=…
    #[arg(short = 'o', long, value_name = "FORMAT", value_parser = Format::parse)]
    output: Option<Format>,
}

/// # Errors
/// What the server refuses, or that the context's certificate cannot be used.
pub async fn run(args: CertificateArgs, global: &Global) -> Result<()> {
    match args.what {
        What::List(args) => list(args.output, &global.session()?).await,
        What::Show(args) => show(args.output.as_ref(), &Shown::of(&global.access()?)?),
        What::Renew(args) => renew::run(args, global).await,
    }
}

async fn list(output: Option<Format>, session: &Session) -> Result<()> {
    let request = rpc::ListCertificatesRequest {};
    let found = session
        .again(|| async { session.certificates().list(request).await })
        .await;
    let mut rows = match found {
        Ok(found) => found.certificates.into_iter().map(Row::of).collect(),
        // One's own everybody may see.
        Err(error) if failure::reason(&error) == Some(Reason::Forbidden) => {
            terminal::warn(&failure::words(&error));
            Vec::new()
        }
        Err(error) => return Err(error),
    };
    rows.push(Row::of_context(session.shown()));
    let now = Timestamp::now();
    match &output {
        None | Some(Format::Wide) => {
            print!("{}", rows::table(&rows, output.is_some(), now));
            for row in rows.iter().filter(|row| !row.problem.is_empty()) {
                terminal::warn(&row.problem);
            }
            Ok(())
        }
        other => {
            let all: Vec<_> = rows.iter().map(Row::value).collect();
            about::print(other.as_ref(), &json!({"certificates": all}), String::new)
        }
    }
}

fn show(output: Option<&Format>, shown: &Shown) -> Result<()> {
    let row = Row::of_context(shown);
    let wide = Some(&Format::Wide);
    let output = output.filter(|_| output != wide);
    about::print(output, &row.value(), || rows::page(&row, Timestamp::now()))
}
