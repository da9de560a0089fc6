//! The kinds the cluster knows: their names, short names and where they live.
use crate::{ApiError, Reason};

/// One kind of object.
#[derive(Debug, PartialEq, Eq)]
pub struct KindInfo {
    /// `apps/v1`
    pub api_version: &'static str,
    /// `Deployment`
    pub kind: &'static str,
    /// `deployments.apps`
    pub resource: &'static str,
    /// `deployments`
    pub plural: &'static str,
    pub singular: &'static str,
    pub short_names: &'static [&'static str],
    pub namespaced: bool,
}

macro_rules! kinds {
    ($($api:literal $kind:literal $resource:literal $plural:literal $singular:literal [$($short:literal),*] $ns:literal;)*) => {
        &[$(KindInfo {
            api_version: $api, kind: $kind, resource: $resource, plural: $plural, singular: $singular,
            short_names: &[$($short),*], namespaced: $ns,
        }),*]
    };
}

static KINDS: &[KindInfo] = kinds! {
    "v1" "Pod" "pods" "pods" "pod" ["po"] true;
    "v1" "Node" "nodes" "nodes" "node" ["no"] false;
    "v1" "Namespace" "namespaces" "namespaces" "namespace" ["ns"] false;
    "v1" "Service" "services" "services" "service" ["svc"] true;
    "v1" "ConfigMap" "configmaps" "configmaps" "configmap" ["cm"] true;
    "v1" "Secret" "secrets" "secrets" "secret" [] true;
    "v1" "ServiceAccount" "serviceaccounts" "serviceaccounts" "serviceaccount" ["sa"] true;
    "v1" "Event" "events" "events" "event" ["ev"] true;
    "apps/v1" "Deployment" "deployments.apps" "deployments" "deployment" ["deploy"] true;
    "apps/v1" "ReplicaSet" "replicasets.apps" "replicasets" "replicaset" ["rs"] true;
    "discovery.k8s.io/v1" "EndpointSlice" "endpointslices.discovery.k8s.io" "endpointslices" "endpointslice" [] true;
    "networking.k8s.io/v1" "NetworkPolicy" "networkpolicies.networking.k8s.io" "networkpolicies" "networkpolicy" ["netpol"] true;
    "networking.k8s.io/v1" "Ingress" "ingresses.networking.k8s.io" "ingresses" "ingress" ["ing"] true;
    "networking.k8s.io/v1" "IngressClass" "ingressclasses.networking.k8s.io" "ingressclasses" "ingressclass" [] false;
    "batch/v1" "Job" "jobs.batch" "jobs" "job" [] true;
    "scheduling.k8s.io/v1" "PriorityClass" "priorityclasses.scheduling.k8s.io" "priorityclasses" "priorityclass" ["pc"] false;
    "policy/v1" "PodDisruptionBudget" "poddisruptionbudgets.policy" "poddisruptionbudgets" "poddisruptionbudget" ["pdb"] true;
    "scheduling.x-k8s.io/v1alpha1" "PodGroup" "podgroups.scheduling.x-k8s.io" "podgroups" "podgroup" ["pg"] true;
    "sampan.dev/v1" "Plugin" "plugins.sampan.dev" "plugins" "plugin" ["plug"] false;
    "sampan.dev/v1" "Member" "members.sampan.dev" "members" "member" [] false;
    "sampan.dev/v1" "Cluster" "clusters.sampan.dev" "clusters" "cluster" [] false;
    "sampan.dev/v1" "Token" "tokens.sampan.dev" "tokens" "token" [] false;
};

/// All of them.
pub fn all() -> &'static [KindInfo] {
    KINDS
}

/// The kind of a manifest.
///
/// # Errors
/// `BadRequest` naming the nearest kind, or the apiVersion under which the kind is known.
pub fn of_manifest(api_version: &str, kind: &str) -> Result<&'static KindInfo, ApiError> {
    if let Some(info) = KINDS.iter().find(|k| k.kind == kind) {
        if info.api_version == api_version {
            return Ok(info);
        }
        return Err(ApiError::bad_request(format!(
            "no kind \"{kind}\" in apiVersion \"{api_version}\": it is in \"{}\"",
            info.api_version
        )));
    }
    let nearest = nearest(kind, KINDS.iter().map(|k| k.kind));
    Err(ApiError::bad_request(match nearest {
        Some(near) => format!("no kind \"{kind}\" is known: did you mean \"{near}\"?"),
        None => format!("no kind \"{kind}\" is known: `sampan api-resources` lists those that are"),
    }))
}

/// The kind a user names on a command line: `po`, `pod`, `pods`, `Pod`, `deployments.apps`, `deployment.apps`.
///
/// # Errors
/// `NotFound` naming the nearest.
pub fn of_name(name: &str) -> Result<&'static KindInfo, ApiError> {
    let lower = name.to_ascii_lowercase();
    let found = KINDS.iter().find(|k| {
        [k.resource, k.plural, k.singular].contains(&lower.as_str())
            || k.short_names.contains(&lower.as_str())
            || k.resource
                .strip_prefix(k.plural)
                .is_some_and(|group| lower == format!("{}{group}", k.singular))
    });
    found.ok_or_else(|| {
        let known = KINDS
            .iter()
            .flat_map(|k| [k.plural, k.singular].into_iter().chain(k.short_names.iter().copied()));
        let hint = match nearest(&lower, known) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => "`sampan api-resources` lists those that are".to_owned(),
        };
        ApiError::new(Reason::NotFound, format!("no resource type \"{name}\": {hint}"))
    })
}

/// The kind with that plural and group.
pub fn of_resource(resource: &str) -> Option<&'static KindInfo> {
    KINDS.iter().find(|k| k.resource == resource)
}

/// The nearest of `known` to a mistyped word, if one is near enough to be meant.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_ascii_lowercase();
    known
        .map(|candidate| {
            (
                strsim::damerau_levenshtein(&lower, &candidate.to_ascii_lowercase()),
                candidate,
            )
        })
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_find_kinds() {
        for name in [
            "deploy",
            "Deployment",
            "deployments",
            "deployment.apps",
            "deployments.apps",
        ] {
            assert_eq!(of_name(name).unwrap().kind, "Deployment");
        }
        assert!(of_name("pdos").unwrap_err().message.contains("\"pods\""));
    }

    #[test]
    fn unknown_kinds_name_the_nearest() {
        let error = of_manifest("apps/v1", "Deploymnet").unwrap_err();
        assert!(error.message.contains("did you mean \"Deployment\""), "{error}");
        let error = of_manifest("extensions/v1beta1", "Deployment").unwrap_err();
        assert!(error.message.contains("apps/v1"), "{error}");
        assert!(!of_manifest("v1", "Zebra").unwrap_err().message.contains("mean"));
    }
}
