//! A node of plugins: what was told and what came of it, compared at each step with a fresh instance.
use crate::{
    ingress::OfIngress,
    network::{Delta, Identity, Key, Object, OfNetwork, range},
    planning::{Planner, Policy, Tabled},
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A node that runs one network plugin.
pub type Datapath<N> = Told<OfNetwork<N>>;

/// A node that runs one ingress plugin.
pub type Routing<I> = Told<OfIngress<I>>;

/// A node that runs one plugin.
pub struct Told<P: Policy> {
    planner: Planner<P>,
    me: Identity,
    config: String,
    objects: BTreeMap<(String, String, String), String>,
    entries: Entries<P::Entry>,
}

type Entries<E> = BTreeMap<<E as Tabled>::Key, E>;
type Ops<P> = Vec<<<P as Policy>::Entry as Tabled>::Op>;

/// The resource of a kind.
fn resource(kind: &str) -> &'static str {
    match kind {
        "Node" => "nodes",
        "Namespace" => "namespaces",
        "Service" => "services",
        "EndpointSlice" => "endpointslices.discovery.k8s.io",
        "Pod" => "pods",
        "NetworkPolicy" => "networkpolicies.networking.k8s.io",
        "Ingress" => "ingresses.networking.k8s.io",
        "IngressClass" => "ingressclasses.networking.k8s.io",
        other => panic!("no kind {other} here"),
    }
}

fn key((resource, namespace, name): &(String, String, String)) -> Key {
    Key {
        resource: resource.clone(),
        namespace: namespace.clone(),
        name: name.clone(),
    }
}

impl<P: Policy> Told<P> {
    /// The node `node`, whose pods are in 10.244.1.0/24.
    pub fn new(node: &str, config: &Value) -> Self {
        let read = |text| range(text).into_iter().collect();
        let me = Identity {
            node: node.to_owned(),
            pod_ranges: read("10.244.1.0/24"),
            service_ranges: read("10.96.0.0/12"),
        };
        let mut datapath = Told {
            planner: Planner::default(),
            me,
            config: if config.is_null() {
                "{}".to_owned()
            } else {
                config.to_string()
            },
            objects: BTreeMap::new(),
            entries: BTreeMap::new(),
        };
        datapath.planner = datapath.fresh();
        datapath
    }

    fn fresh(&self) -> Planner<P> {
        let mut planner = Planner::default();
        if let Err(error) = planner.configure(&self.config) {
            panic!("the config was refused: {error}");
        }
        planner.start(self.me.clone());
        planner
    }

    /// Objects that are new or changed.
    pub fn apply(&mut self, objects: &[Value]) -> Ops<P> {
        let deltas = objects.iter().map(|object| {
            let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
            let kind = object["kind"].as_str().unwrap_or_default();
            let own = (resource(kind).to_owned(), text("namespace"), text("name"));
            self.objects.insert(own.clone(), object.to_string());
            Delta::Changed(Object {
                key: key(&own),
                json: object.to_string(),
            })
        });
        let deltas = deltas.collect();
        self.plan(deltas)
    }

    /// An object that is gone.
    pub fn delete(&mut self, kind: &str, namespace: &str, name: &str) -> Ops<P> {
        let own = (resource(kind).to_owned(), namespace.to_owned(), name.to_owned());
        assert!(
            self.objects.remove(&own).is_some(),
            "{kind} {namespace}/{name} was not there"
        );
        self.plan(vec![Delta::Gone(key(&own))])
    }

    fn plan(&mut self, deltas: Vec<Delta>) -> Ops<P> {
        let ops = self.planner.plan(deltas);
        carry_out(&mut self.entries, &ops);
        ops
    }

    /// The sum of what was answered.
    pub fn entries(&self) -> Vec<P::Entry> {
        self.entries.values().cloned().collect()
    }

    /// That a fresh instance, told everything at once, wants the same.
    pub fn agrees_with_a_fresh_one(&self) {
        let told = self.objects.iter().map(|(own, json)| {
            Delta::Changed(Object {
                key: key(own),
                json: json.clone(),
            })
        });
        let mut entries = BTreeMap::new();
        carry_out(&mut entries, &self.fresh().plan(told.collect()));
        assert_eq!(entries, self.entries, "a fresh instance wants other entries");
    }
}

/// Does what operations say; one that makes no sense is a failure.
fn carry_out<E: Tabled>(entries: &mut Entries<E>, ops: &[E::Op]) {
    for op in ops {
        match E::said(op) {
            Ok(entry) => {
                let before = entries.insert(entry.key(), entry.clone());
                assert_ne!(before.as_ref(), Some(entry), "set to what it was");
            }
            Err(key) => assert!(entries.remove(key).is_some(), "{key:?} is not there to be removed"),
        }
    }
}

/// A node with pods in a range.
pub fn network_node(name: &str, pods: &str, address: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {"podCIDR": pods, "podCIDRs": [pods]},
        "status": {"addresses": [{"type": "Hostname", "address": name}, {"type": "InternalIP", "address": address}]}})
}

/// Draws numbers, the same for the same seed: for tests over random objects.
pub struct Draw(u64);

impl Draw {
    pub fn new(seed: u64) -> Self {
        Draw(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below another (`SplitMix64`).
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((bits ^ (bits >> 31)) % limit as u64).unwrap_or(0)
    }

    /// One of some.
    pub fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// True so many times in a hundred.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}
