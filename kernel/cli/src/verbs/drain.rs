//! `drain`: cordons a node and moves its pods off, as their disruption budgets allow, and waits until they are gone.
use super::{cordon, delete::until_gone, outcome::DryRun};
use crate::{
    doc::{Doc, list},
    failure::{self, Tally},
    print::age,
    session::Session,
    terminal,
};
use anyhow::{Result, bail};
use clap::Args;
use sampan_api::{Reason, rpc};
use std::time::Duration;

const EXAMPLES: &str = "Examples:
  sampan drain n1
  sampan drain n1 --delete-emptydir-data --grace-period=10 --timeout=5m
  sampan drain n1 --disable-eviction   # whatever disruption budgets say
  sampan drain n1 --force              # also pods that nothing makes again";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct DrainArgs {
    /// The nodes
    #[arg(value_name = "NODE")]
    nodes: Vec<String>,
    /// Nodes with these labels
    #[arg(short = 'l', long)]
    selector: Option<String>,
    /// Leave pods that a daemon set keeps on the node
    #[arg(long)]
    ignore_daemonsets: bool,
    /// Also pods whose emptyDir volumes are lost with them
    #[arg(long)]
    delete_emptydir_data: bool,
    /// Also pods that nothing makes again
    #[arg(long)]
    force: bool,
    /// Seconds a pod gets to end; -1 is its own
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, default_value_t = -1)]
    grace_period: i64,
    /// Delete pods whatever their disruption budgets say
    #[arg(long)]
    disable_eviction: bool,
    /// How long to wait; 0 is for as long as it takes
    #[arg(long, value_parser = age::parse_duration, default_value = "0s")]
    timeout: Duration,
    /// Only pods with these labels
    #[arg(long)]
    pod_selector: Option<String>,
    /// Only say what would be done
    #[arg(long, value_enum, default_value_t, num_args = 0..=1, default_missing_value = "client", require_equals = true)]
    dry_run: DryRun,
}

/// How long to wait before a pod is tried again whose budget is used up.
const PAUSE: Duration = Duration::from_secs(5);

/// What is to become of the pods of a node.
#[derive(Default)]
struct Sorted {
    evict: Vec<Doc>,
    ignored: Vec<String>,
    daemons: Vec<String>,
    unmanaged: Vec<String>,
    with_data: Vec<String>,
}

pub async fn run(args: DrainArgs, session: &Session) -> Result<()> {
    let mut tally = Tally::default();
    for node in cordon::nodes(&args.nodes, args.selector.as_deref(), session, &mut tally).await? {
        if let Err(error) = drain(&args, &node, session).await {
            tally.fail(&error.context(format!("unable to drain node \"{}\"", node.name())));
        }
    }
    tally.finish()
}

async fn drain(args: &DrainArgs, node: &Doc, session: &Session) -> Result<()> {
    let dry_run = args.dry_run != DryRun::None;
    cordon::set(node, true, dry_run, session).await?;
    let selection = rpc::Selection {
        resource: "pods".to_owned(),
        label_selector: args.pod_selector.clone().unwrap_or_default(),
        field_selector: format!("spec.nodeName={}", node.name()),
        ..rpc::Selection::default()
    };
    let sorted = args.sort(session.list(&selection).await?.objects)?;
    if !sorted.ignored.is_empty() {
        terminal::warn(&format!(
            "ignoring DaemonSet-managed Pods: {}",
            sorted.ignored.join(", ")
        ));
    }
    if !sorted.unmanaged.is_empty() {
        terminal::warn(&format!(
            "deleting Pods that declare no controller: {}",
            sorted.unmanaged.join(", ")
        ));
    }
    if dry_run {
        sorted
            .evict
            .iter()
            .for_each(|pod| println!("evicting pod {} (dry run)", pod.key().path()));
        println!("{} drained (dry run)", node.full_name());
        return Ok(());
    }
    let evictions = sorted.evict.iter().map(|pod| evict(pod, args, session));
    let all = futures::future::join_all(evictions);
    let results = match args.timeout.is_zero() {
        true => all.await,
        false => match tokio::time::timeout(args.timeout, all).await {
            Ok(results) => results,
            Err(_) => bail!("pods are still there after {:?}; the node stays cordoned", args.timeout),
        },
    };
    results.into_iter().collect::<Result<Vec<()>>>()?;
    println!("{} drained", node.full_name());
    Ok(())
}

impl DrainArgs {
    /// # Errors
    /// If there are pods that may not go without the user's word, naming them and the word.
    fn sort(&self, pods: Vec<Doc>) -> Result<Sorted> {
        let mut sorted = Sorted::default();
        for pod in pods {
            let path = pod.key().path();
            let owner = list(&pod.value, "/metadata/ownerReferences")
                .iter()
                .find(|owner| owner["controller"] == true);
            let finished = matches!(pod.text("/status/phase"), "Succeeded" | "Failed");
            if !pod.at("/metadata/annotations/kubernetes.io~1config.mirror").is_null() {
                continue;
            }
            if owner.is_some_and(|owner| owner["kind"] == "DaemonSet") {
                let list = if self.ignore_daemonsets {
                    &mut sorted.ignored
                } else {
                    &mut sorted.daemons
                };
                list.push(path);
                continue;
            }
            if owner.is_none() && !finished {
                sorted.unmanaged.push(path.clone());
            }
            let volumes = list(&pod.value, "/spec/volumes").iter();
            if !finished && !self.delete_emptydir_data && volumes.into_iter().any(|v| v.get("emptyDir").is_some()) {
                sorted.with_data.push(path);
            }
            sorted.evict.push(pod);
        }
        let mut reasons = Vec::new();
        if !sorted.daemons.is_empty() {
            reasons.push(format!(
                "cannot delete DaemonSet-managed Pods (use --ignore-daemonsets to ignore): {}",
                sorted.daemons.join(", ")
            ));
        }
        if !sorted.with_data.is_empty() {
            reasons.push(format!(
                "cannot delete Pods with local storage (use --delete-emptydir-data to override): {}",
                sorted.with_data.join(", ")
            ));
        }
        if !sorted.unmanaged.is_empty() && !self.force {
            reasons.push(format!(
                "cannot delete Pods that declare no controller (use --force to override): {}",
                sorted.unmanaged.join(", ")
            ));
        }
        if reasons.is_empty() {
            Ok(sorted)
        } else {
            bail!("{}", reasons.join("\n"))
        }
    }
}

/// Moves a pod off, as soon as no budget is against it.
async fn evict(pod: &Doc, args: &DrainArgs, session: &Session) -> Result<()> {
    println!("evicting pod {}", pod.key().path());
    let request = rpc::DeleteRequest {
        key: Some((&pod.key()).into()),
        uid: pod.uid().to_owned(),
        grace_period_seconds: u32::try_from(args.grace_period).ok(),
        evict: !args.disable_eviction,
        ..rpc::DeleteRequest::default()
    };
    loop {
        match session.delete(request.clone()).await {
            Ok(_) => until_gone(pod, session).await?,
            Err(error) if failure::is_not_found(&error) => {}
            Err(error) if failure::reason(&error) == Some(Reason::TooManyRequests) => {
                let (name, namespace) = (pod.name(), pod.namespace());
                terminal::complain(&format!(
                    "error when evicting pods/\"{name}\" -n \"{namespace}\" (will retry after {PAUSE:?}): {error:#}"
                ));
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            Err(error) => return Err(error),
        }
        println!("{} evicted", pod.full_name());
        return Ok(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use serde_json::json;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: DrainArgs,
    }

    fn pod(name: &str, owner: Option<&str>, spec: serde_json::Value) -> Doc {
        let owners = owner
            .map(|kind| json!([{"kind": kind, "name": "x", "controller": true}]))
            .unwrap_or_default();
        Doc::new(json!({"apiVersion": "v1", "kind": "Pod", "spec": spec,
            "metadata": {"name": name, "namespace": "default", "ownerReferences": owners}}))
        .unwrap()
    }

    #[test]
    fn what_would_be_lost_needs_a_word() {
        let pods = || {
            vec![
                pod("kept", Some("ReplicaSet"), json!({})),
                pod("alone", None, json!({})),
                pod("data", Some("Job"), json!({"volumes": [{"name": "v", "emptyDir": {}}]})),
                pod("daemon", Some("DaemonSet"), json!({})),
            ]
        };
        let sort = |line: &[&str]| Line::parse_from(["drain", "n1"].iter().chain(line)).args.sort(pods());
        let Err(error) = sort(&[]) else {
            panic!("everything would be lost")
        };
        for word in [
            "--ignore-daemonsets",
            "--delete-emptydir-data",
            "--force",
            "default/alone",
        ] {
            assert!(error.to_string().contains(word), "{error}");
        }
        let sorted = sort(&["--ignore-daemonsets", "--delete-emptydir-data", "--force"]).unwrap();
        assert_eq!(
            sorted.evict.iter().map(Doc::name).collect::<Vec<_>>(),
            ["kept", "alone", "data"]
        );
    }
}
