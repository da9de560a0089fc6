//! The pods behind what users name: a deployment, a replica set, a job, a service.
use crate::{
    doc::{Doc, list},
    print::columns,
    session::Session,
    targets::{self, Scope},
};
use anyhow::{Result, bail};
use sampan_api::LabelSelector;

/// The pods of an object, those first that are ready.
///
/// # Errors
/// If it is of no kind that has pods, or has none now.
pub async fn pods_of(owner: &Doc, session: &Session) -> Result<Vec<Doc>> {
    let mut labels = match owner.kind.kind {
        "Deployment" | "ReplicaSet" => columns::selector(owner.at("/spec/selector")),
        "Job" => match columns::selector(owner.at("/spec/selector")) {
            none if none == "<none>" => columns::joined(owner.at("/spec/template/metadata/labels")),
            selector => selector,
        },
        "Service" => columns::joined(owner.at("/spec/selector")),
        _ => bail!(
            "{} has no pods: name a pod, deployment, replicaset, job or service",
            owner.full_name()
        ),
    };
    if labels == "<none>" {
        labels.clear();
    }
    LabelSelector::parse(&labels)?;
    let scope = Scope {
        labels,
        ..Scope::default()
    };
    let mut selection = scope.selection(targets::kind("pods")?, session);
    owner.namespace().clone_into(&mut selection.namespace);
    let mut found = session.list(&selection).await?.objects;
    if owner.kind.kind == "Job" {
        found.retain(|pod| {
            list(&pod.value, "/metadata/ownerReferences")
                .iter()
                .any(|o| o["uid"] == owner.uid())
        });
    }
    if found.is_empty() {
        bail!(
            "{} has no pods now: `sampan describe {}` may say why",
            owner.full_name(),
            owner.full_name()
        );
    }
    found.sort_by_key(|pod| {
        (
            !columns::pod_is_ready(&pod.value),
            pod.text("/status/phase") != "Running",
            pod.name().to_owned(),
        )
    });
    Ok(found)
}
