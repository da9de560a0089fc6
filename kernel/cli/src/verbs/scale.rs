//! `scale`: how many replicas there are to be.
use super::outcome::{DryRun, Says};
use crate::{doc::number, failure::Tally, session::Session, targets::Which};
use anyhow::{Result, anyhow};
use clap::Args;
use serde_json::json;

const EXAMPLES: &str = "Examples:
  sampan scale deploy/web --replicas=3
  sampan scale rs/web-6d4cf56db6 --current-replicas=2 --replicas=0
  sampan scale deploy --all --replicas=1";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ScaleArgs {
    #[command(flatten)]
    which: Which,
    #[arg(long)]
    replicas: u32,
    /// Only if there are so many now
    #[arg(long)]
    current_replicas: Option<i64>,
    /// All of the type
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    says: Says,
}

pub async fn run(args: ScaleArgs, session: &Session) -> Result<()> {
    let mut tally = Tally::default();
    for doc in args
        .which
        .objects(session, &args.which.scope(false), args.all, &mut tally)
        .await?
    {
        if !matches!(doc.kind.kind, "Deployment" | "ReplicaSet") {
            tally.fail(&anyhow!(
                "{} has no replicas: deployments and replica sets have",
                doc.full_name()
            ));
            continue;
        }
        let now = doc.at("/spec/replicas").as_i64().unwrap_or(1);
        if args.current_replicas.is_some_and(|expected| expected != now) {
            let wanted = args.current_replicas.unwrap_or_default();
            tally.fail(&anyhow!(
                "{} has {now} replicas, not {wanted}: it was left as it is",
                doc.full_name()
            ));
            continue;
        }
        if args.says.dry_run == DryRun::None {
            // Who names the replicas that it has must not be overtaken.
            let expect = if args.current_replicas.is_some() {
                doc.revision()
            } else {
                0
            };
            let patch = json!({"spec": {"replicas": args.replicas}});
            let Some(written) = tally.note(session.merge(&doc.key(), &patch, expect).await) else {
                continue;
            };
            debug_assert!(
                written
                    .object
                    .as_ref()
                    .is_none_or(|o| number(&o.value, "/spec/replicas") == i64::from(args.replicas))
            );
            tally.note(args.says.say(written.object.as_ref().unwrap_or(&doc), "scaled"));
        } else {
            tally.note(args.says.say(&doc, "scaled"));
        }
    }
    tally.finish()
}
