//! `rollout`: how a deployment's change goes on, and how it is taken back.
mod history;
mod status;

pub use status::verdict;

use super::outcome::Says;
use crate::{doc::Doc, failure::Tally, print::age, session::Session, targets::Which};
use anyhow::{Result, anyhow, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::time::Duration;

const EXAMPLES: &str = "Examples:
  sampan rollout status deploy/web
  sampan rollout history deploy/web --revision=2
  sampan rollout undo deploy/web --to-revision=2
  sampan rollout restart deploy/web
  sampan rollout pause deploy/web";

/// What a restart is known by.
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct RolloutArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Follow a rollout until it is done
    #[command(after_help = "Example:\n  sampan rollout status deploy/web --timeout=2m")]
    Status {
        #[command(flatten)]
        which: Which,
        /// Go on until it is done
        #[arg(short = 'w', long, default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
        watch: bool,
        /// How long; 0 is for as long as it takes
        #[arg(long, value_parser = age::parse_duration, default_value = "0s")]
        timeout: Duration,
        /// Only as long as this revision is the newest
        #[arg(long, default_value_t = 0)]
        revision: i64,
    },
    /// List what was rolled out before
    #[command(after_help = "Example:\n  sampan rollout history deploy/web --revision=2")]
    History {
        #[command(flatten)]
        which: Which,
        /// Show this revision in detail
        #[arg(long, default_value_t = 0)]
        revision: i64,
    },
    /// Go back to what was rolled out before
    #[command(after_help = "Example:\n  sampan rollout undo deploy/web --to-revision=2")]
    Undo {
        #[command(flatten)]
        which: Which,
        /// The revision to go back to; 0 is the one before
        #[arg(long, default_value_t = 0)]
        to_revision: i64,
        #[command(flatten)]
        says: Says,
    },
    /// Replace all pods by new ones
    #[command(after_help = "Example:\n  sampan rollout restart deploy/web")]
    Restart {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        says: Says,
    },
    /// Let changes wait
    #[command(after_help = "Example:\n  sampan rollout pause deploy/web")]
    Pause {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        says: Says,
    },
    /// Go on with changes that wait
    #[command(after_help = "Example:\n  sampan rollout resume deploy/web")]
    Resume {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        says: Says,
    },
}

pub async fn run(args: RolloutArgs, session: &Session) -> Result<()> {
    let mut tally = Tally::default();
    match args.verb {
        Verb::Status {
            which,
            watch,
            timeout,
            revision,
        } => {
            for doc in deployments(&which, session, &mut tally).await? {
                tally.note(status::follow(&doc, watch, timeout, revision, session).await);
            }
        }
        Verb::History { which, revision } => {
            for doc in deployments(&which, session, &mut tally).await? {
                tally.note(history::show(&doc, revision, session).await);
            }
        }
        Verb::Undo {
            which,
            to_revision,
            says,
        } => {
            for doc in deployments(&which, session, &mut tally).await? {
                tally.note(history::undo(&doc, to_revision, &says, session).await);
            }
        }
        Verb::Restart { which, says } => {
            for doc in deployments(&which, session, &mut tally).await? {
                tally.note(restart(&doc, &says, session).await);
            }
        }
        Verb::Pause { which, says } => {
            for doc in deployments(&which, session, &mut tally).await? {
                tally.note(pause(&doc, true, &says, session).await);
            }
        }
        Verb::Resume { which, says } => {
            for doc in deployments(&which, session, &mut tally).await? {
                tally.note(pause(&doc, false, &says, session).await);
            }
        }
    }
    tally.finish()
}

/// The deployments that are meant; nothing else rolls out yet.
async fn deployments(which: &Which, session: &Session, tally: &mut Tally) -> Result<Vec<Doc>> {
    let docs = which.objects(session, &which.scope(false), true, tally).await?;
    if let Some(other) = docs.iter().find(|doc| doc.kind.kind != "Deployment") {
        bail!("{} is not rolled out: deployments are", other.full_name());
    }
    Ok(docs)
}

fn is_paused(doc: &Doc) -> bool {
    doc.at("/spec/paused") == &Value::Bool(true)
}

async fn restart(doc: &Doc, says: &Says, session: &Session) -> Result<()> {
    if is_paused(doc) {
        return Err(anyhow!(
            "{} is paused: `sampan rollout resume` it before it can be restarted",
            doc.full_name()
        ));
    }
    let now = jiff::Timestamp::now();
    let now = format!("{now:.0}");
    let patch = json!({"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: now}}}}});
    change(doc, &patch, "restarted", says, session).await
}

async fn pause(doc: &Doc, paused: bool, says: &Says, session: &Session) -> Result<()> {
    if is_paused(doc) == paused {
        let word = if paused { "already paused" } else { "not paused" };
        return Err(anyhow!("deployments.apps \"{}\" is {word}", doc.name()));
    }
    let value = if paused { Value::Bool(true) } else { Value::Null };
    let word = if paused { "paused" } else { "resumed" };
    change(doc, &json!({"spec": {"paused": value}}), word, says, session).await
}

/// Makes a change, or only says it.
async fn change(doc: &Doc, patch: &Value, done: &str, says: &Says, session: &Session) -> Result<()> {
    if says.on_client() {
        return says.say(doc, done);
    }
    let request = sampan_api::rpc::PatchRequest {
        key: Some((&doc.key()).into()),
        r#type: sampan_api::rpc::PatchType::Merge.into(),
        patch: patch.to_string().into(),
        dry_run: says.on_server(),
        ..Default::default()
    };
    let written = session.patch(request).await?;
    says.say(written.object.as_ref().unwrap_or(doc), done)
}
