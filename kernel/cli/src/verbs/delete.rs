//! `delete`: takes objects away, and waits until they are gone.
use super::outcome::DryRun;
use crate::{
    doc::{Doc, typed},
    failure::{self, Tally},
    print::age,
    progress,
    session::{Seen, Session},
    targets::{Scope, Which},
    terminal,
};
use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use sampan_api::rpc::{self, write_response::Outcome};
use std::time::Duration;

const EXAMPLES: &str = "Examples:
  sampan delete -f web.yaml
  sampan delete deploy/web
  sampan delete pods -l app=web
  sampan delete pod stuck --grace-period=0 --force
  sampan delete jobs --all --wait=false";

/// How long a deletion is waited for where the user says nothing.
const PATIENCE: Duration = Duration::from_secs(7 * 24 * 3600);

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct DeleteArgs {
    #[command(flatten)]
    which: Which,
    /// In all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// All objects of the type
    #[arg(long)]
    all: bool,
    /// Only those with these fields
    #[arg(long)]
    field_selector: Option<String>,
    /// What becomes of what belongs to it
    #[arg(long, value_enum, default_value = "background")]
    cascade: Cascade,
    /// Seconds a pod gets to end
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, default_value_t = -1)]
    grace_period: i64,
    /// Do not wait for the node's word that a pod has ended
    #[arg(long)]
    force: bool,
    /// Let it end within a second
    #[arg(long, conflicts_with = "grace_period")]
    now: bool,
    /// Wait until it is gone
    #[arg(long, default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    wait: bool,
    /// How long to wait; 0 is for as long as it takes
    #[arg(long, value_parser = age::parse_duration, default_value = "0s")]
    timeout: Duration,
    /// It is no error if it is not there
    #[arg(long)]
    ignore_not_found: bool,
    /// Only say what would be deleted
    #[arg(long, value_enum, default_value_t, num_args = 0..=1, default_missing_value = "client", require_equals = true)]
    dry_run: DryRun,
    /// `name` prints names alone
    #[arg(short = 'o', long, value_parser = ["name"])]
    output: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Cascade {
    /// It goes, and what belongs to it after it
    Background,
    /// What belongs to it goes first
    Foreground,
    /// What belongs to it stays
    Orphan,
}

pub async fn run(args: DeleteArgs, session: &Session) -> Result<()> {
    let grace = args.grace()?;
    let scope = Scope {
        fields: args.field_selector.clone().unwrap_or_default(),
        ..args.which.scope(args.all_namespaces)
    };
    if args.all && !scope.labels.is_empty() {
        bail!("--all and a selector exclude each other");
    }
    let mut tally = Tally::default();
    let docs = objects(&args, session, &scope, &mut tally).await?;
    if args.force && args.dry_run == DryRun::None && docs.iter().any(|doc| doc.kind.kind == "Pod") {
        terminal::warn(
            "Immediate deletion does not wait for confirmation that the running resource has been terminated. \
             The resource may continue to run on the cluster indefinitely.",
        );
    }
    let mut going = Vec::new();
    for doc in docs {
        if let Some(outcome) = tally.note(args.delete(&doc, grace, session).await).flatten() {
            args.say(&doc);
            if args.dry_run == DryRun::None && (outcome == Outcome::Deleting || args.cascade == Cascade::Foreground) {
                going.push(doc);
            }
        }
    }
    if args.wait && !args.force {
        let patience = if args.timeout.is_zero() { PATIENCE } else { args.timeout };
        let all = async {
            for doc in &going {
                let spinner = progress::spinner(&format!("{} is going", doc.full_name()));
                until_gone(doc, session).await?;
                spinner.finish_and_clear();
            }
            Ok::<_, anyhow::Error>(())
        };
        match tokio::time::timeout(patience, all).await {
            Ok(result) => result?,
            Err(_) => bail!("timed out waiting for the deletion after {patience:?}; it goes on"),
        }
    }
    tally.finish()
}

async fn objects(args: &DeleteArgs, session: &Session, scope: &Scope, tally: &mut Tally) -> Result<Vec<Doc>> {
    let mut inner = Tally::default();
    if !args.ignore_not_found {
        return args
            .which
            .objects(session, scope, args.all || !scope.fields.is_empty(), tally)
            .await;
    }
    scope.check()?;
    let mut docs = Vec::new();
    for (target, namespace) in args.which.targets(session)? {
        match &target.name {
            Some(name) => match session.get(&crate::targets::key(target.kind, &namespace, name)).await {
                Ok(doc) => docs.push(doc),
                Err(error) if failure::is_not_found(&error) => {}
                Err(error) => inner.fail(&error),
            },
            None if args.all || !scope.labels.is_empty() || !scope.fields.is_empty() => {
                docs.extend(session.list(&scope.selection(target.kind, session)).await?.objects);
            }
            None => bail!("say which {}: a name, a selector (-l) or --all", target.kind.plural),
        }
    }
    tally.note(inner.finish());
    Ok(docs)
}

impl DeleteArgs {
    fn grace(&self) -> Result<Option<u32>> {
        Ok(match (self.grace_period, self.now, self.force) {
            (_, true, _) => Some(1),
            (0, _, false) => {
                terminal::warn("--grace-period=0 without --force lets a pod end within a second");
                Some(1)
            }
            (1.., _, true) => bail!("--force and --grace-period above 0 exclude each other"),
            (_, _, true) => Some(0),
            (-1, ..) => None,
            (seconds, ..) => match u32::try_from(seconds) {
                Ok(seconds) => Some(seconds),
                Err(_) => bail!("--grace-period {seconds} is no number of seconds: 0 or more, or -1 for the pod's own"),
            },
        })
    }

    async fn delete(&self, doc: &Doc, grace: Option<u32>, session: &Session) -> Result<Option<Outcome>> {
        if self.dry_run == DryRun::Client {
            return Ok(Some(Outcome::Deleted));
        }
        let propagation = match self.cascade {
            Cascade::Background => rpc::Propagation::Background,
            Cascade::Foreground => rpc::Propagation::Foreground,
            Cascade::Orphan => rpc::Propagation::Orphan,
        };
        let request = rpc::DeleteRequest {
            key: Some((&doc.key()).into()),
            uid: doc.uid().to_owned(),
            propagation: propagation.into(),
            grace_period_seconds: grace,
            dry_run: self.dry_run == DryRun::Server,
            ..rpc::DeleteRequest::default()
        };
        match session.delete(request).await {
            Ok(written) => Ok(Some(written.outcome)),
            // Someone else was faster.
            Err(error) if failure::is_not_found(&error) && (self.ignore_not_found || self.by_selector()) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether the objects were found rather than named.
    fn by_selector(&self) -> bool {
        self.all || self.which.selector.is_some() || self.field_selector.is_some()
    }

    fn say(&self, doc: &Doc) {
        if self.output.is_some() {
            println!("{}", doc.full_name());
            return;
        }
        let suffix = match self.dry_run {
            DryRun::None => "",
            DryRun::Client => " (dry run)",
            DryRun::Server => " (server dry run)",
        };
        let force = if self.force { "force " } else { "" };
        println!("{} \"{}\" {force}deleted{suffix}", typed(doc.kind), doc.name());
    }
}

/// Waits until an object is gone: it, and not one that came after it under the same name.
///
/// # Errors
/// If the server cannot be asked.
pub async fn until_gone(doc: &Doc, session: &Session) -> Result<()> {
    let selection = rpc::Selection {
        resource: doc.kind.resource.to_owned(),
        namespace: doc.namespace().to_owned(),
        field_selector: format!("metadata.name={}", doc.name()),
        ..rpc::Selection::default()
    };
    let mut watcher = session.watch(selection, 0);
    let mut there = false;
    loop {
        match watcher.next().await? {
            Seen::Added(seen) | Seen::Modified(seen) if seen.uid() == doc.uid() => there = true,
            Seen::Deleted(seen) if seen.uid() == doc.uid() => return Ok(()),
            Seen::Synced(_) if !there => return Ok(()),
            Seen::Restarted => there = false,
            _ => {}
        }
    }
}
