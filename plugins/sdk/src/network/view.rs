//! What a plugin was told, each object read once, and what a change changed.
use super::{
    Address, Delta, EndpointSlice, Identity, Ingress, IngressClass, Key, Namespace, NetworkPolicy, Node, Pod, Range,
    Service, objects::read,
};
use crate::Value;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// A namespace (empty for objects of the whole cluster) and a name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    pub namespace: String,
    pub name: String,
}

impl Name {
    pub fn new(namespace: &str, name: &str) -> Self {
        Name {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// An object before and after a change; both are absent only where an object could never be read.
pub struct Pair<'a, T> {
    pub name: &'a Name,
    pub before: Option<&'a T>,
    pub after: Option<&'a T>,
}

impl<'a, T> Pair<'a, T> {
    /// What it was and what it is.
    pub fn both(&self) -> impl Iterator<Item = &'a T> {
        self.before.into_iter().chain(self.after)
    }
}

/// What was changed, by resource.
pub enum Change<'a> {
    Node(Pair<'a, Node>),
    Namespace(Pair<'a, Namespace>),
    Service(Pair<'a, Service>),
    EndpointSlice(Pair<'a, EndpointSlice>),
    Pod(Pair<'a, Pod>),
    NetworkPolicy(Pair<'a, NetworkPolicy>),
    Ingress(Pair<'a, Ingress>),
    IngressClass(Pair<'a, IngressClass>),
    /// Of any other resource.
    Other(&'a str, Pair<'a, Value>),
}

/// All that a plugin was told.
#[derive(Debug, Default)]
pub struct View {
    /// Where it runs.
    pub node: String,
    /// The ranges of that node's pods.
    pub pod_ranges: Vec<Range>,
    /// The ranges of Services' cluster addresses.
    pub service_ranges: Vec<Range>,
    pub nodes: BTreeMap<Name, Node>,
    pub namespaces: BTreeMap<Name, Namespace>,
    pub services: BTreeMap<Name, Service>,
    pub pods: BTreeMap<Name, Pod>,
    pub policies: BTreeMap<Name, NetworkPolicy>,
    pub ingresses: BTreeMap<Name, Ingress>,
    pub ingress_classes: BTreeMap<Name, IngressClass>,
    /// Objects of other resources, by resource.
    pub others: BTreeMap<String, BTreeMap<Name, Value>>,
    /// The slices of each Service.
    slices: BTreeMap<Name, BTreeMap<String, EndpointSlice>>,
    /// The Service that each slice belongs to.
    services_of_slices: BTreeMap<Name, String>,
    /// The Ingresses that are about each host, and that name each Service.
    ingresses_by_host: Index<String>,
    ingresses_by_service: Index<Name>,
    /// The ranges and addresses that nodes have, by their prefixes: how many say so.
    places: BTreeMap<u8, BTreeMap<Address, usize>>,
}

/// Which objects say something.
type Index<K> = BTreeMap<K, BTreeSet<Name>>;

impl View {
    pub(crate) fn new(me: Identity) -> Self {
        View {
            node: me.node,
            pod_ranges: me.pod_ranges,
            service_ranges: me.service_ranges,
            ..View::default()
        }
    }

    /// The slices of a Service, by name.
    pub fn slices_of(&self, service: &Name) -> impl Iterator<Item = &EndpointSlice> {
        self.slices.get(service).into_iter().flat_map(BTreeMap::values)
    }

    /// The pods of a namespace.
    pub fn pods_within<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = (&'a Name, &'a Pod)> {
        let first = Name::new(namespace, "");
        self.pods
            .range(first..)
            .take_while(move |(name, _)| name.namespace == namespace)
    }

    /// The policies of a namespace.
    pub fn policies_within<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = (&'a Name, &'a NetworkPolicy)> {
        let first = Name::new(namespace, "");
        self.policies
            .range(first..)
            .take_while(move |(name, _)| name.namespace == namespace)
    }

    /// The Ingresses that are about a host; the empty one is every host.
    pub fn ingresses_about(&self, host: &str) -> impl Iterator<Item = (&Name, &Ingress)> {
        let names = self.ingresses_by_host.get(host);
        names
            .into_iter()
            .flatten()
            .filter_map(|name| self.ingresses.get_key_value(name))
    }

    /// The hosts that Ingresses are about.
    pub fn hosts(&self) -> impl Iterator<Item = &String> {
        self.ingresses_by_host.keys()
    }

    /// The Ingresses that name a Service.
    pub fn ingresses_to(&self, service: &Name) -> impl Iterator<Item = (&Name, &Ingress)> {
        let names = self.ingresses_by_service.get(service);
        names
            .into_iter()
            .flatten()
            .filter_map(|name| self.ingresses.get_key_value(name))
    }

    /// The Services that Ingresses name.
    pub fn services_of_ingresses(&self) -> impl Iterator<Item = &Name> {
        self.ingresses_by_service.keys()
    }

    /// Whether an address is in the range of a node's pods, or a node's own.
    pub fn is_within_nodes(&self, address: Address) -> bool {
        let mut ranges = self.places.iter();
        ranges.any(|(prefix, starts)| {
            address
                .within(*prefix)
                .is_some_and(|range| starts.contains_key(&range.address))
        })
    }

    /// Whether a pod runs on this node.
    pub fn is_local(&self, pod: &Pod) -> bool {
        pod.spec.node_name == self.node
    }

    /// Takes a change in, and tells what it changed.
    pub(crate) fn take_in(&mut self, delta: Delta, told: &mut dyn FnMut(&View, &Change<'_>)) {
        let (key, json) = match delta {
            Delta::Changed(object) => (object.key, Some(object.json)),
            Delta::Gone(key) => (key, None),
        };
        let json = json.as_deref();
        let Key {
            resource,
            namespace,
            name,
        } = key;
        let name = &Name { namespace, name };
        macro_rules! pair {
            ($map:ident, $change:expr) => {{
                let before = swap(&mut self.$map, name, json);
                let after = self.$map.get(name);
                let before = before.as_ref();
                told(self, &$change(Pair { name, before, after }));
            }};
        }
        match resource.as_str() {
            "nodes" => {
                let before = swap(&mut self.nodes, name, json);
                self.place(before.as_ref(), name);
                let after = self.nodes.get(name);
                let before = before.as_ref();
                told(self, &Change::Node(Pair { name, before, after }));
            }
            "namespaces" => pair!(namespaces, Change::Namespace),
            "services" => pair!(services, Change::Service),
            "pods" => pair!(pods, Change::Pod),
            "networkpolicies.networking.k8s.io" => pair!(policies, Change::NetworkPolicy),
            "ingressclasses.networking.k8s.io" => pair!(ingress_classes, Change::IngressClass),
            "ingresses.networking.k8s.io" => {
                let before = swap(&mut self.ingresses, name, json);
                self.index_ingress(before.as_ref(), name);
                let after = self.ingresses.get(name);
                let before = before.as_ref();
                told(self, &Change::Ingress(Pair { name, before, after }));
            }
            "endpointslices.discovery.k8s.io" => {
                let before = self.swap_slice(name, json);
                let after = self.slice(name);
                let before = before.as_ref();
                told(self, &Change::EndpointSlice(Pair { name, before, after }));
            }
            other => {
                let before = swap(self.others.entry(other.to_owned()).or_default(), name, json);
                let after = self.others.get(other).and_then(|objects| objects.get(name));
                let before = before.as_ref();
                told(self, &Change::Other(other, Pair { name, before, after }));
            }
        }
    }

    /// Notes where a node and its pods are now, and no longer where they were.
    fn place(&mut self, before: Option<&Node>, name: &Name) {
        for range in before.map(Node::places).unwrap_or_default() {
            let Some(starts) = self.places.get_mut(&range.prefix) else {
                continue;
            };
            match starts.get_mut(&range.address) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(starts.remove(&range.address)),
            }
            if starts.is_empty() {
                self.places.remove(&range.prefix);
            }
        }
        for range in self.nodes.get(name).map(Node::places).unwrap_or_default() {
            let starts = self.places.entry(range.prefix).or_default();
            *starts.entry(range.address).or_default() += 1;
        }
    }

    /// Notes what an Ingress is about now, and no longer what it was about.
    fn index_ingress(&mut self, before: Option<&Ingress>, name: &Name) {
        let after = self.ingresses.get(name);
        let hosts = |ingress: &Ingress| ingress.hosts().into_iter().map(str::to_owned).collect();
        reindex(&mut self.ingresses_by_host, name, before.map(hosts), after.map(hosts));
        let services = |ingress: &Ingress| {
            let services = ingress.services().into_iter();
            services.map(|service| Name::new(&name.namespace, service)).collect()
        };
        reindex(
            &mut self.ingresses_by_service,
            name,
            before.map(services),
            after.map(services),
        );
    }

    fn slice(&self, name: &Name) -> Option<&EndpointSlice> {
        let service = self.services_of_slices.get(name)?;
        self.slices.get(&Name::new(&name.namespace, service))?.get(&name.name)
    }

    /// Puts a slice to its Service; one without is nobody's.
    fn swap_slice(&mut self, name: &Name, json: Option<&str>) -> Option<EndpointSlice> {
        let before = self.services_of_slices.remove(name).and_then(|service| {
            let service = Name::new(&name.namespace, &service);
            let slices = self.slices.get_mut(&service)?;
            let before = slices.remove(&name.name);
            if slices.is_empty() {
                self.slices.remove(&service);
            }
            before
        });
        if let Some(slice) = json.and_then(read::<EndpointSlice>)
            && let Some(service) = slice.service().map(str::to_owned)
        {
            let owner = Name::new(&name.namespace, &service);
            self.services_of_slices.insert(name.clone(), service);
            self.slices.entry(owner).or_default().insert(name.name.clone(), slice);
        }
        before
    }
}

/// Puts what was read in the place of what was there, and gives that.
fn swap<T: for<'de> Deserialize<'de>>(map: &mut BTreeMap<Name, T>, name: &Name, json: Option<&str>) -> Option<T> {
    match json.and_then(read) {
        Some(object) => map.insert(name.clone(), object),
        None => map.remove(name),
    }
}

/// Notes that an object said some things, and now says others.
fn reindex<K: Ord>(index: &mut Index<K>, name: &Name, before: Option<Vec<K>>, after: Option<Vec<K>>) {
    for key in before.into_iter().flatten() {
        if let Some(names) = index.get_mut(&key) {
            names.remove(name);
            if names.is_empty() {
                index.remove(&key);
            }
        }
    }
    for key in after.into_iter().flatten() {
        index.entry(key).or_default().insert(name.clone());
    }
}
