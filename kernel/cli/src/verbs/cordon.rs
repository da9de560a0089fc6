//! `cordon` and `uncordon`: whether pods may be placed on a node.
use super::outcome::DryRun;
use crate::{
    doc::Doc,
    failure::Tally,
    session::Session,
    targets::{Scope, kind},
};
use anyhow::{Result, bail};
use clap::Args;
use serde_json::{Value, json};

const EXAMPLES: &str = "Examples:
  sampan cordon n1
  sampan uncordon n1
  sampan cordon -l disk=old";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CordonArgs {
    /// The nodes
    #[arg(value_name = "NODE")]
    nodes: Vec<String>,
    /// Nodes with these labels
    #[arg(short = 'l', long)]
    selector: Option<String>,
    /// Only say what would be done
    #[arg(long, value_enum, default_value_t, num_args = 0..=1, default_missing_value = "client", require_equals = true)]
    dry_run: DryRun,
}

pub async fn run(args: CordonArgs, cordoned: bool, session: &Session) -> Result<()> {
    let mut tally = Tally::default();
    for node in nodes(&args.nodes, args.selector.as_deref(), session, &mut tally).await? {
        tally.note(set(&node, cordoned, args.dry_run != DryRun::None, session).await);
    }
    tally.finish()
}

/// The nodes by name or selector.
pub async fn nodes(names: &[String], selector: Option<&str>, session: &Session, tally: &mut Tally) -> Result<Vec<Doc>> {
    let kind = kind("node")?;
    match (names, selector) {
        ([], Some(labels)) => {
            let scope = Scope {
                labels: labels.to_owned(),
                ..Scope::default()
            };
            scope.check()?;
            Ok(session.list(&scope.selection(kind, session)).await?.objects)
        }
        ([], None) => bail!("say which node, or a selector (-l)"),
        (_, Some(_)) => bail!("name nodes or give a selector, not both"),
        (names, None) => {
            let mut docs = Vec::new();
            for name in names {
                let name = name
                    .strip_prefix("node/")
                    .or_else(|| name.strip_prefix("nodes/"))
                    .unwrap_or(name);
                docs.extend(tally.note(session.get(&crate::targets::key(kind, "", name)).await));
            }
            Ok(docs)
        }
    }
}

/// Makes a node take pods or not, and says so.
pub async fn set(node: &Doc, cordoned: bool, dry_run: bool, session: &Session) -> Result<()> {
    let word = if cordoned { "cordoned" } else { "uncordoned" };
    let is = node.at("/spec/unschedulable") == &Value::Bool(true);
    if is == cordoned {
        println!("{} already {word}", node.full_name());
        return Ok(());
    }
    if dry_run {
        println!("{} {word} (dry run)", node.full_name());
        return Ok(());
    }
    let value = if cordoned { Value::Bool(true) } else { Value::Null };
    session
        .merge(&node.key(), &json!({"spec": {"unschedulable": value}}), 0)
        .await?;
    println!("{} {word}", node.full_name());
    Ok(())
}
