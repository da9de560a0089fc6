//! `wait`: until objects are as wanted, or gone.
use crate::{
    doc::Doc,
    failure::{self, Tally},
    jsonpath,
    print::age,
    progress,
    session::{Seen, Session},
    targets::{self, Target, Which},
};
use anyhow::{Context, Result, bail};
use clap::Args;
use sampan_api::rpc;
use std::time::Duration;

const EXAMPLES: &str = "Examples:
  sampan wait --for=condition=Available deploy/web --timeout=60s
  sampan wait --for=condition=Complete job --all
  sampan wait --for=delete pod/web-0
  sampan wait --for=jsonpath='{.status.phase}'=Running pod/web-0
  sampan wait --for=create configmap/settings";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct WaitArgs {
    #[command(flatten)]
    which: Which,
    /// condition=NAME[=VALUE], jsonpath={PATH}[=VALUE], create or delete
    #[arg(long = "for", value_name = "WHAT", value_parser = Goal::parse)]
    goal: Goal,
    /// How long; 0 looks once
    #[arg(long, value_parser = age::parse_duration, default_value = "30s")]
    timeout: Duration,
    /// All objects of the type
    #[arg(long)]
    all: bool,
    /// In all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
}

/// What is waited for.
#[derive(Clone, Debug, PartialEq)]
enum Goal {
    Condition(String, String),
    /// Without a value: that there is one.
    Path(jsonpath::Path, Option<String>),
    Create,
    Delete,
}

impl Goal {
    fn parse(text: &str) -> Result<Self> {
        let known = "expected condition=NAME[=VALUE], jsonpath={PATH}[=VALUE], create or delete";
        if let Some(rest) = text.strip_prefix("condition=") {
            let (name, value) = rest.split_once('=').unwrap_or((rest, "True"));
            if name.is_empty() {
                bail!("\"{text}\" names no condition: {known}");
            }
            return Ok(Goal::Condition(name.to_owned(), value.to_owned()));
        }
        if let Some(rest) = text.strip_prefix("jsonpath=") {
            let end = rest
                .find('}')
                .with_context(|| format!("\"{text}\" has no path in braces: {known}"))?;
            let path = jsonpath::Path::parse(&rest[..=end])?;
            let value = &rest[end + 1..];
            return match value.strip_prefix('=') {
                Some(value) => Ok(Goal::Path(path, Some(value.trim_matches(['"', '\'']).to_owned()))),
                None if value.is_empty() => Ok(Goal::Path(path, None)),
                None => bail!("\"{text}\" has something after the path that is no =VALUE: {known}"),
            };
        }
        match text {
            "create" => Ok(Goal::Create),
            "delete" => Ok(Goal::Delete),
            _ => bail!("cannot wait for \"{text}\": {known}"),
        }
    }

    /// Whether an object that is there is as wanted.
    fn reached(&self, doc: &Doc) -> bool {
        match self {
            Goal::Condition(name, value) => {
                let conditions = crate::doc::list(&doc.value, "/status/conditions").iter();
                let mut named = conditions.filter(|c| crate::doc::text(c, "/type").eq_ignore_ascii_case(name));
                let generation = doc.at("/metadata/generation").as_i64();
                let observed = doc.at("/status/observedGeneration").as_i64();
                let stale = generation
                    .zip(observed)
                    .is_some_and(|(generation, observed)| observed < generation);
                !stale && named.any(|c| crate::doc::text(c, "/status").eq_ignore_ascii_case(value))
            }
            Goal::Path(path, value) => {
                let found = path.find(&doc.value);
                match value {
                    None => found.iter().any(|value| !value.is_null()),
                    Some(wanted) => !found.is_empty() && found.iter().all(|value| jsonpath::show(value) == *wanted),
                }
            }
            Goal::Create => true,
            Goal::Delete => false,
        }
    }
}

pub async fn run(args: WaitArgs, session: &Session) -> Result<()> {
    let scope = args.which.scope(args.all_namespaces);
    scope.check()?;
    let mut waited: Vec<(Target, String)> = Vec::new();
    for (target, namespace) in args.which.targets(session)? {
        if target.name.is_some() {
            waited.push((target, namespace));
            continue;
        }
        if !args.all && scope.labels.is_empty() {
            bail!("say which {}: a name, a selector (-l) or --all", target.kind.plural);
        }
        let found = session.list(&scope.selection(target.kind, session)).await?.objects;
        let named = |doc: Doc| {
            (
                Target {
                    kind: doc.kind,
                    name: Some(doc.name().to_owned()),
                },
                doc.namespace().to_owned(),
            )
        };
        waited.extend(found.into_iter().map(named));
    }
    if waited.is_empty() {
        if args.goal == Goal::Delete {
            return Ok(());
        }
        bail!("no matching resources found");
    }
    // One clock for all of them, as a user means it.
    let end = tokio::time::Instant::now() + args.timeout;
    let mut tally = Tally::default();
    for (target, namespace) in &waited {
        let name = format!("{}/{}", target.kind.plural, target.name.as_deref().unwrap_or_default());
        let spinner = progress::spinner(&format!("waiting for {name}"));
        let result = match args.timeout.is_zero() {
            true => once(&args.goal, target, namespace, session).await,
            false => match tokio::time::timeout_at(end, until(&args.goal, target, namespace, session)).await {
                Ok(result) => result.map(|()| true),
                Err(_) => Ok(false),
            },
        };
        spinner.finish_and_clear();
        match result {
            Ok(true) => println!(
                "{}/{} condition met",
                crate::doc::typed(target.kind),
                target.name.as_deref().unwrap_or_default()
            ),
            Ok(false) => tally.fail(&anyhow::anyhow!("timed out waiting for the condition on {name}")),
            Err(error) => tally.fail(&error),
        }
    }
    tally.finish()
}

async fn once(goal: &Goal, target: &Target, namespace: &str, session: &Session) -> Result<bool> {
    let key = targets::key(target.kind, namespace, target.name.as_deref().unwrap_or_default());
    match session.get(&key).await {
        Ok(doc) => Ok(goal.reached(&doc)),
        Err(error) if failure::is_not_found(&error) && *goal == Goal::Delete => Ok(true),
        Err(error) if failure::is_not_found(&error) && *goal == Goal::Create => Ok(false),
        Err(error) => Err(error),
    }
}

async fn until(goal: &Goal, target: &Target, namespace: &str, session: &Session) -> Result<()> {
    let key = targets::key(target.kind, namespace, target.name.as_deref().unwrap_or_default());
    let selection = rpc::Selection {
        resource: key.resource.to_string(),
        namespace: key.namespace.to_string(),
        field_selector: format!("metadata.name={}", key.name),
        ..rpc::Selection::default()
    };
    let mut watcher = session.watch(selection, 0);
    let mut there = false;
    loop {
        match watcher.next().await? {
            Seen::Added(doc) | Seen::Modified(doc) => {
                there = true;
                if goal.reached(&doc) {
                    return Ok(());
                }
            }
            Seen::Deleted(_) if *goal == Goal::Delete => return Ok(()),
            Seen::Deleted(_) => there = false,
            Seen::Synced(_) if !there => match goal {
                Goal::Delete => return Ok(()),
                Goal::Create => {}
                // As kubectl: what is not there will not become anything.
                _ => return Err(sampan_api::ApiError::not_found(&key).into()),
            },
            Seen::Synced(_) => {}
            Seen::Restarted => there = false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn deployment() -> Doc {
        Doc::new(json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "generation": 2},
            "status": {"observedGeneration": 2, "replicas": 3, "conditions": [{"type": "Available", "status": "True"}]}}))
        .unwrap()
    }

    #[test]
    fn goals() {
        let reached = |text: &str| Goal::parse(text).unwrap().reached(&deployment());
        for goal in [
            "condition=Available",
            "condition=available=true",
            "jsonpath={.status.replicas}=3",
            "jsonpath={.status.replicas}",
            "create",
        ] {
            assert!(reached(goal), "{goal}");
        }
        for goal in [
            "condition=Progressing",
            "condition=Available=False",
            "jsonpath={.status.replicas}=4",
            "jsonpath={.x}=1",
            "delete",
        ] {
            assert!(!reached(goal), "{goal}");
        }
        for wrong in ["", "ready", "condition=", "jsonpath=.x", "jsonpath={.x}y"] {
            assert!(Goal::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_was_observed_before_the_change_does_not_count() {
        let mut doc = deployment();
        doc.value["metadata"]["generation"] = 3.into();
        assert!(!Goal::parse("condition=Available").unwrap().reached(&doc));
    }
}
