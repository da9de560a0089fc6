//! `describe`: an object in detail, laid out as kubectl lays it out, with what happened to it at the end.
mod configuration;
mod events;
mod network;
mod node;
mod page;
mod plugin;
mod pod;
mod scheduling;
mod template;
mod workload;

use crate::{
    doc::{Doc, list},
    print::Moment,
    session::Session,
    verbs,
};
use anyhow::Result;
use page::Page;
use sampan_api::rpc::{self, PluginFigures};

/// What is shown beside the object itself.
#[derive(Default)]
pub struct Related {
    /// None: not asked for.
    pub events: Option<Vec<Doc>>,
    /// The pods of a replica set, a job, a deployment or a node.
    pub pods: Vec<Doc>,
    /// The replica sets of a deployment.
    pub sets: Vec<Doc>,
    /// The Services of an Ingress' namespace.
    pub services: Vec<Doc>,
    /// The slices of endpoints of a Service, or of those.
    pub slices: Vec<Doc>,
    pub figures: Option<PluginFigures>,
}

impl Related {
    /// Gets what belongs to an object's description.
    ///
    /// # Errors
    /// If the server cannot be asked.
    pub async fn of(doc: &Doc, events: bool, session: &Session) -> Result<Self> {
        let mut related = Related::default();
        let all = |resource: &str, fields: String| rpc::Selection {
            resource: resource.to_owned(),
            namespace: doc.namespace().to_owned(),
            field_selector: fields,
            ..rpc::Selection::default()
        };
        let owned = |other: &Doc| {
            list(&other.value, "/metadata/ownerReferences")
                .iter()
                .any(|o| o["uid"] == doc.uid())
        };
        match doc.kind.kind {
            "ReplicaSet" | "Job" => {
                related.pods = session.list(&all("pods", String::new())).await?.objects;
                related.pods.retain(owned);
            }
            "Deployment" => {
                related.sets = session.list(&all("replicasets.apps", String::new())).await?.objects;
                related.sets.retain(owned);
            }
            "Service" | "Ingress" => {
                let mut slices = all("endpointslices.discovery.k8s.io", String::new());
                if doc.kind.kind == "Service" {
                    slices.label_selector = format!("kubernetes.io/service-name={}", doc.name());
                } else {
                    related.services = session.list(&all("services", String::new())).await?.objects;
                }
                related.slices = session.list(&slices).await?.objects;
            }
            "Node" => {
                related.pods = session
                    .list(&all("pods", format!("spec.nodeName={}", doc.name())))
                    .await?
                    .objects
            }
            _ => {}
        }
        if events {
            let mut found = session
                .list(&verbs::events::selection(doc.kind, doc.namespace(), doc.name()))
                .await?
                .objects;
            // Of this one, and not of one that had its name before.
            found.retain(|event| {
                matches!(event.text("/involvedObject/uid"), "") || event.text("/involvedObject/uid") == doc.uid()
            });
            related.events = Some(found);
        }
        Ok(related)
    }
}

/// The description of an object.
pub fn describe(doc: &Doc, related: &Related, now: Moment) -> String {
    let mut page = Page::default();
    match doc.kind.kind {
        "Pod" => pod::describe(doc, now, &mut page),
        "Deployment" => workload::deployment(doc, related, &mut page),
        "ReplicaSet" => workload::replica_set(doc, related, &mut page),
        "Job" => workload::job(doc, related, &mut page),
        "Node" => node::describe(doc, related, now, &mut page),
        "Service" => network::service(doc, related, &mut page),
        "Ingress" => network::ingress(doc, related, &mut page),
        "NetworkPolicy" => network::policy(doc, &mut page),
        "ConfigMap" => configuration::config_map(doc, &mut page),
        "Secret" => configuration::secret(doc, &mut page),
        "Namespace" => configuration::namespace(doc, &mut page),
        "PriorityClass" => scheduling::priority_class(doc, &mut page),
        "PodDisruptionBudget" => scheduling::disruption_budget(doc, &mut page),
        "Plugin" => plugin::describe(doc, related, &mut page),
        _ => configuration::other(doc, &mut page),
    }
    if let Some(events) = &related.events
        && !matches!(doc.kind.kind, "Event" | "Secret")
    {
        events::describe(events, now, &mut page);
    }
    page.to_text()
}

/// The pod template of an object, as a rollout's history shows it.
pub fn template(doc: &Doc) -> String {
    let mut page = Page::default();
    template::describe(doc.at("/spec/template"), &mut page);
    page.to_text()
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
