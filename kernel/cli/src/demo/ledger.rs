//! What the demo saw of pods: every binding, and that none changed.
use sampan_api::{Object, plan::POLICY_ANNOTATION};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

/// All pods that were ever seen, and what they are now.
#[derive(Default)]
pub struct Ledger {
    pods: BTreeMap<String, Entry>,
    /// Pods that were bound to one node and then to another.
    pub bound_twice: BTreeSet<String>,
}

#[derive(Default)]
struct Entry {
    name: String,
    app: String,
    node: String,
    policy: String,
    ready: bool,
    gone: bool,
    deleting: bool,
    address: Option<SocketAddr>,
}

impl Ledger {
    /// Takes in a pod as it is, or as it was when it went.
    pub fn see(&mut self, pod: &Object, gone: bool) {
        let spec = pod.field_value("spec");
        let status = pod.field_value("status");
        let entry = self.pods.entry(pod.metadata.uid.clone()).or_default();
        let node = spec["nodeName"].as_str().unwrap_or_default();
        if !entry.node.is_empty() && node != entry.node {
            self.bound_twice.insert(pod.metadata.name.clone());
        }
        entry.name.clone_from(&pod.metadata.name);
        entry.app = pod.metadata.labels.get("app").cloned().unwrap_or_default();
        node.clone_into(&mut entry.node);
        entry.policy = pod
            .metadata
            .annotations
            .get(POLICY_ANNOTATION)
            .cloned()
            .unwrap_or_default();
        entry.deleting = pod.metadata.deletion_timestamp.is_some();
        entry.gone = gone;
        let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
        entry.ready = conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True");
        let port = spec["containers"][0]["ports"][0]["containerPort"]
            .as_u64()
            .and_then(|p| u16::try_from(p).ok());
        let ip = status["podIP"].as_str().and_then(|ip| ip.parse::<IpAddr>().ok());
        entry.address = ip.zip(port).map(SocketAddr::from);
    }

    fn alive<'a>(&'a self, app: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.pods
            .values()
            .filter(move |pod| pod.app == app && !pod.gone && !pod.deleting)
    }

    /// Where the ready pods of an app answer.
    pub fn endpoints(&self, app: &str) -> Vec<SocketAddr> {
        self.alive(app)
            .filter(|pod| pod.ready)
            .filter_map(|pod| pod.address)
            .collect()
    }

    /// How many pods of an app there are, and how many of them are ready.
    pub fn count(&self, app: &str) -> (usize, usize) {
        let pods: Vec<_> = self.alive(app).collect();
        (pods.len(), pods.iter().filter(|pod| pod.ready).count())
    }

    /// Pods that went although nobody asked for it.
    pub fn lost(&self) -> Vec<String> {
        self.pods
            .values()
            .filter(|pod| pod.gone || pod.deleting)
            .map(|pod| pod.name.clone())
            .collect()
    }

    /// How many pods each policy bound, by digest.
    pub fn bound_by(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for pod in self.pods.values().filter(|pod| !pod.node.is_empty()) {
            *counts.entry(pod.policy.clone()).or_default() += 1;
        }
        counts
    }
}
