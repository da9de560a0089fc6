//! Who may do what: one small table.
use crate::{
    features,
    pki::{Identity, MASTERS},
};
use sampan_api::{ApiError, Key, Object, Operation, Reason, Write};
use sampan_state::Snapshot;
use std::fmt;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    UpdateStatus,
    Delete,
    /// To take an object away for good, whatever holds it up.
    Finish,
    Bind,
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verb::Get => "get",
            Verb::List => "list",
            Verb::Watch => "watch",
            Verb::Create => "create",
            Verb::Update => "update",
            Verb::Patch => "patch",
            Verb::UpdateStatus => "update the status of",
            Verb::Delete => "delete",
            Verb::Finish => "take away",
            Verb::Bind => "bind",
        })
    }
}

impl Verb {
    /// What a write of a plan asks for.
    pub fn of_write(write: &Write) -> Self {
        match &write.operation {
            Operation::Create(_) => Verb::Create,
            Operation::Replace(_) => Verb::Update,
            Operation::Merge(_) => Verb::Patch,
            Operation::ReplaceStatus(_) | Operation::MergeStatus(_) => Verb::UpdateStatus,
            Operation::Delete(deletion) if deletion.final_ => Verb::Finish,
            Operation::Delete(_) => Verb::Delete,
            Operation::Bind(_) => Verb::Bind,
        }
    }
}

/// Of a resource, those objects that an agent may touch.
#[derive(Clone, Copy, Debug)]
enum Which {
    All,
    /// The Node of its own name.
    OwnNode,
    /// Pods bound to its node.
    OwnPods,
    /// What a pod bound to its node names.
    NamedByOwnPods,
    /// Certificates that an Ingress shows, since each node answers for all of them.
    NamedByIngresses,
}

/// What agents may do. People of the group `system:masters` may do everything, and all others nothing.
const AGENTS: &[(&[Verb], &[&str], Which)] = &[
    (
        &[Verb::Get, Verb::List, Verb::Watch],
        &[
            "pods",
            "nodes",
            "namespaces",
            "services",
            "configmaps",
            "events",
            "endpointslices.discovery.k8s.io",
            "networkpolicies.networking.k8s.io",
            "ingresses.networking.k8s.io",
            "ingressclasses.networking.k8s.io",
            "plugins.sampan.dev",
        ],
        Which::All,
    ),
    (&[Verb::Get], &["secrets"], Which::NamedByOwnPods),
    (&[Verb::Get], &["secrets"], Which::NamedByIngresses),
    (
        &[Verb::Create, Verb::Update, Verb::Patch, Verb::UpdateStatus],
        &["nodes"],
        Which::OwnNode,
    ),
    (&[Verb::UpdateStatus, Verb::Finish], &["pods"], Which::OwnPods),
    (&[Verb::Create, Verb::Patch], &["events"], Which::All),
];

/// Whether somebody may do something with an object, or (with an empty name) with all of a resource.
///
/// # Errors
/// `Forbidden`, naming who, what and which.
pub fn check(who: &Identity, verb: Verb, key: &Key, state: &Snapshot) -> Result<(), ApiError> {
    if &*key.resource == features::RESOURCE && !matches!(verb, Verb::Get | Verb::List | Verb::Watch) {
        let message = format!("nobody may {verb} {}: the servers alone write it", key.resource);
        return Err(ApiError::new(Reason::Forbidden, message));
    }
    if who.is_in(MASTERS) {
        return Ok(());
    }
    let allowed = who.node().is_some_and(|node| {
        let rules = AGENTS
            .iter()
            .filter(|(verbs, resources, _)| verbs.contains(&verb) && resources.contains(&&*key.resource));
        rules
            .into_iter()
            .any(|(_, _, which)| is_among(*which, node, key, state))
    });
    if allowed {
        return Ok(());
    }
    let what = if key.name.is_empty() {
        key.resource.to_string()
    } else {
        key.to_string()
    };
    let why = match who.node() {
        Some(node) => {
            format!("an agent may only write its own node and the pods bound to \"{node}\", and read what they need")
        }
        None => format!(
            "that needs the group {MASTERS}, and the certificate names {}",
            listed(&who.groups)
        ),
    };
    Err(ApiError::new(
        Reason::Forbidden,
        format!("user \"{}\" may not {verb} {what}: {why}", who.user),
    ))
}

/// Whether somebody may use what is not an object: plugins, images, logs, figures.
///
/// # Errors
/// `Forbidden`, naming who and what.
pub fn check_master(who: &Identity, what: &str) -> Result<(), ApiError> {
    if who.is_in(MASTERS) {
        return Ok(());
    }
    let groups = listed(&who.groups);
    let message = format!(
        "user \"{}\" may not {what}: that needs the group {MASTERS}, and the certificate names {groups}",
        who.user
    );
    Err(ApiError::new(Reason::Forbidden, message))
}

fn listed(groups: &[String]) -> String {
    if groups.is_empty() {
        "no group".to_owned()
    } else {
        groups.join(", ")
    }
}

fn is_among(which: Which, node: &str, key: &Key, state: &Snapshot) -> bool {
    // Whether an object of the same namespace is one that names what has this key.
    let beside = |resource: &str, names: &dyn Fn(&Object) -> bool| {
        let selection = sampan_api::Selection {
            namespace: key.namespace.to_string(),
            ..sampan_api::Selection::of(resource)
        };
        !key.name.is_empty() && state.list(&selection).any(|(_, object)| names(&object))
    };
    match which {
        Which::All => true,
        Which::OwnNode => *key.name == *node,
        // A pod that is gone is nobody's any more; the answer is that it is not found.
        Which::OwnPods => state.get(key).is_none_or(|pod| bound_to(&pod, node)),
        Which::NamedByOwnPods => beside("pods", &|pod| bound_to(pod, node) && names_secret(pod, &key.name)),
        // One that is no certificate is nothing to show, whatever an Ingress says.
        Which::NamedByIngresses => {
            let is_certificate = |secret: std::sync::Arc<Object>| secret.field_value("type") == "kubernetes.io/tls";
            state.get(key).is_none_or(is_certificate)
                && beside("ingresses.networking.k8s.io", &|ingress| {
                    shows_secret(ingress, &key.name)
                })
        }
    }
}

fn bound_to(pod: &Object, node: &str) -> bool {
    pod.field_value("spec")["nodeName"] == *node
}

/// Whether a pod's spec names a secret: in a volume, an environment, or to pull its images with.
fn names_secret(pod: &Object, name: &str) -> bool {
    let spec = pod.field_value("spec");
    let items = |list: &serde_json::Value| list.as_array().cloned().unwrap_or_default();
    let pulls = items(&spec["imagePullSecrets"])
        .iter()
        .any(|secret| secret["name"] == *name);
    let volumes = items(&spec["volumes"]).iter().any(|volume| {
        let projected = items(&volume["projected"]["sources"]);
        volume["secret"]["secretName"] == *name || projected.iter().any(|source| source["secret"]["name"] == *name)
    });
    let containers = ["containers", "initContainers"].map(|list| items(&spec[list])).concat();
    pulls
        || volumes
        || containers.iter().any(|container| {
            items(&container["envFrom"])
                .iter()
                .any(|from| from["secretRef"]["name"] == *name)
                || items(&container["env"])
                    .iter()
                    .any(|var| var["valueFrom"]["secretKeyRef"]["name"] == *name)
        })
}

/// Whether an Ingress names a secret for TLS.
fn shows_secret(ingress: &Object, name: &str) -> bool {
    let spec = ingress.field_value("spec");
    let tls = spec["tls"].as_array().into_iter().flatten();
    tls.into_iter().any(|one| one["secretName"] == *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(spec: &serde_json::Value) -> Object {
        Object::default().with_field("spec", spec)
    }

    #[test]
    fn a_pod_names_its_secrets() {
        use serde_json::json;
        for spec in [
            json!({"imagePullSecrets": [{"name": "s"}]}),
            json!({"volumes": [{"secret": {"secretName": "s"}}]}),
            json!({"volumes": [{"projected": {"sources": [{"secret": {"name": "s"}}]}}]}),
            json!({"containers": [{"envFrom": [{"secretRef": {"name": "s"}}]}]}),
            json!({"initContainers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "s"}}}]}]}),
        ] {
            assert!(names_secret(&pod(&spec), "s"), "{spec}");
            assert!(!names_secret(&pod(&spec), "t"), "{spec}");
        }
    }

    #[test]
    fn an_ingress_shows_its_secrets() {
        let spec = serde_json::json!({"tls": [{"hosts": ["a.example"]}, {"secretName": "s"}]});
        let ingress = Object::default().with_field("spec", &spec);
        assert!(shows_secret(&ingress, "s") && !shows_secret(&ingress, "t"));
        assert!(!shows_secret(&Object::default(), "s"));
    }

    #[test]
    fn denials_name_who_what_and_which() {
        let state = Snapshot::default();
        let key = Key::new("deployments.apps", "default", "web");
        let bob = Identity {
            user: "bob".to_owned(),
            groups: vec!["devs".to_owned()],
        };
        let error = check(&bob, Verb::Delete, &key, &state).unwrap_err();
        assert_eq!(error.reason, Reason::Forbidden);
        assert!(
            error
                .message
                .starts_with("user \"bob\" may not delete deployments.apps \"web\""),
            "{error}"
        );
        let root = Identity {
            user: "root".to_owned(),
            groups: vec![MASTERS.to_owned()],
        };
        assert_eq!(check(&root, Verb::Delete, &key, &state), Ok(()));
        let cluster = features::key();
        let error = check(&root, Verb::UpdateStatus, &cluster, &state).unwrap_err();
        assert!(error.message.contains("the servers alone write it"), "{error}");
        assert_eq!(check(&root, Verb::Get, &cluster, &state), Ok(()));
    }
}
