//! Kubernetes' objects as far as a datapath depends on them. Fields that are absent or null are at their defaults.
use super::{Address, Protocol, Range, address, range};
use crate::Value;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

pub type Labels = BTreeMap<String, String>;

/// Null is as good as absent.
pub(super) fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Structs that are read leniently: every field may be absent or null.
macro_rules! objects {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Deserialize)]
        #[serde(default, rename_all = "camelCase")]
        pub struct $name {
            $($(#[$field_doc])* #[serde(deserialize_with = "nullable")] pub $field: $type,)*
        }
    )*};
}
pub(super) use objects;

objects! {
    Metadata {
        name: String,
        namespace: String,
        uid: String,
        labels: Labels,
        annotations: Labels,
        /// In UTC, so that texts compare as times do.
        creation_timestamp: String,
    }

    Node { metadata: Metadata, spec: NodeSpec, status: NodeStatus, }
    NodeSpec {
        #[serde(rename = "podCIDR")]
        pod_cidr: String,
        #[serde(rename = "podCIDRs")]
        pod_cidrs: Vec<String>,
    }
    NodeStatus { addresses: Vec<NodeAddress>, }
    NodeAddress {
        /// `InternalIP`, `ExternalIP`, `Hostname`, …
        #[serde(rename = "type")]
        kind: String,
        address: String,
    }

    Namespace { metadata: Metadata, }

    Service { metadata: Metadata, spec: ServiceSpec, status: ServiceStatus, }
    ServiceSpec {
        #[serde(rename = "type")]
        kind: String,
        #[serde(rename = "clusterIP")]
        cluster_ip: String,
        #[serde(rename = "clusterIPs")]
        cluster_ips: Vec<String>,
        #[serde(rename = "externalIPs")]
        external_ips: Vec<String>,
        ports: Vec<ServicePort>,
        session_affinity: String,
        session_affinity_config: AffinityConfig,
        external_traffic_policy: String,
        internal_traffic_policy: String,
        load_balancer_source_ranges: Vec<String>,
    }
    ServicePort { name: String, protocol: Transport, port: u16, node_port: u16, app_protocol: String, }
    AffinityConfig {
        #[serde(rename = "clientIP")]
        client_ip: ClientAffinity,
    }
    ClientAffinity { timeout_seconds: Option<u32>, }
    ServiceStatus { load_balancer: LoadBalancer, }
    LoadBalancer { ingress: Vec<LoadBalancerAddress>, }
    LoadBalancerAddress { ip: String, ip_mode: String, }

    EndpointSlice { metadata: Metadata, endpoints: Vec<Endpoint>, ports: Vec<EndpointPort>, }
    Endpoint { addresses: Vec<String>, conditions: EndpointConditions, node_name: String, }
    EndpointConditions { ready: Option<bool>, serving: Option<bool>, terminating: Option<bool>, }
    EndpointPort { name: String, protocol: Transport, port: Option<u16>, }

    Pod { metadata: Metadata, spec: PodSpec, status: PodStatus, }
    PodSpec { node_name: String, host_network: bool, containers: Vec<Container>, init_containers: Vec<Container>, }
    Container { ports: Vec<ContainerPort>, restart_policy: String, }
    ContainerPort { name: String, container_port: u16, protocol: Transport, }
    PodStatus {
        phase: String,
        #[serde(rename = "podIP")]
        pod_ip: String,
        #[serde(rename = "podIPs")]
        pod_ips: Vec<PodAddress>,
    }
    PodAddress { ip: String, }

    NetworkPolicy { metadata: Metadata, spec: NetworkPolicySpec, }
    NetworkPolicySpec {
        pod_selector: Selector,
        policy_types: Vec<String>,
        ingress: Vec<PolicyRule>,
        egress: Vec<PolicyRule>,
    }
    /// `from` and `to` are one: a rule has the one of its direction.
    PolicyRule {
        #[serde(alias = "from", alias = "to")]
        peers: Vec<PolicyPeer>,
        ports: Vec<PolicyPort>,
    }
    PolicyPeer { pod_selector: Option<Selector>, namespace_selector: Option<Selector>, ip_block: Option<IpBlock>, }
    IpBlock { cidr: String, except: Vec<String>, }
    PolicyPort {
        protocol: Transport,
        /// A number, a port's name, or nothing.
        port: Value,
        end_port: Option<u16>,
    }

    /// A label selector; the empty one takes everything.
    Selector { match_labels: Labels, match_expressions: Vec<Expression>, }
    Expression { key: String, operator: String, values: Vec<String>, }
}

/// A protocol; TCP where none is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transport(pub Protocol);

impl Default for Transport {
    fn default() -> Self {
        Transport(Protocol::Tcp)
    }
}

impl<'de> Deserialize<'de> for Transport {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        match &*text {
            "TCP" | "" => Ok(Transport(Protocol::Tcp)),
            "UDP" => Ok(Transport(Protocol::Udp)),
            "SCTP" => Ok(Transport(Protocol::Sctp)),
            other => Err(serde::de::Error::custom(format!("{other} is no protocol"))),
        }
    }
}

/// The addresses among some texts, each once.
fn addresses<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<Address> {
    let mut found: Vec<Address> = Vec::new();
    for one in texts.filter_map(address) {
        if !found.contains(&one) {
            found.push(one);
        }
    }
    found
}

impl Node {
    pub fn pod_ranges(&self) -> Vec<Range> {
        let all = std::iter::once(&self.spec.pod_cidr).chain(&self.spec.pod_cidrs);
        let mut found: Vec<Range> = all.filter_map(|text| range(text)).collect();
        found.sort();
        found.dedup();
        found
    }

    /// Its addresses for the other nodes, in its order.
    pub fn internal_addresses(&self) -> Vec<Address> {
        let internal = self
            .status
            .addresses
            .iter()
            .filter(|address| address.kind == "InternalIP");
        addresses(internal.map(|address| address.address.as_str()))
    }

    /// Where its pods are: their ranges, and its own addresses for those on its network.
    pub fn places(&self) -> Vec<Range> {
        let own = self.internal_addresses().into_iter().map(Range::from);
        self.pod_ranges().into_iter().chain(own).collect()
    }
}

impl Service {
    /// The addresses within the cluster: none of a headless one, or of a name elsewhere.
    pub fn cluster_addresses(&self) -> Vec<Address> {
        if self.spec.kind == "ExternalName" {
            return Vec::new();
        }
        let all = std::iter::once(&self.spec.cluster_ip).chain(&self.spec.cluster_ips);
        addresses(all.map(String::as_str))
    }

    pub fn external_addresses(&self) -> Vec<Address> {
        addresses(self.spec.external_ips.iter().map(String::as_str))
    }

    /// The addresses that its load balancer brings to the nodes unchanged.
    pub fn load_balancer_addresses(&self) -> Vec<Address> {
        let virtual_ones = self
            .status
            .load_balancer
            .ingress
            .iter()
            .filter(|one| one.ip_mode != "Proxy");
        addresses(virtual_ones.map(|one| one.ip.as_str()))
    }

    /// How long a client stays with its backend; 0 without affinity.
    pub fn affinity_seconds(&self) -> u32 {
        const THREE_HOURS: u32 = 10_800;
        match self.spec.session_affinity.as_str() {
            "ClientIP" => self
                .spec
                .session_affinity_config
                .client_ip
                .timeout_seconds
                .unwrap_or(THREE_HOURS),
            _ => 0,
        }
    }
}

impl EndpointSlice {
    /// The name of its Service.
    pub fn service(&self) -> Option<&str> {
        self.metadata
            .labels
            .get("kubernetes.io/service-name")
            .map(String::as_str)
    }
}

impl EndpointConditions {
    /// Unknown is ready.
    pub fn is_ready(&self) -> bool {
        self.ready.unwrap_or(true)
    }

    /// Where it is not said, what is ready serves.
    pub fn is_serving(&self) -> bool {
        self.serving.unwrap_or_else(|| self.is_ready())
    }

    pub fn is_terminating(&self) -> bool {
        self.terminating.unwrap_or(false)
    }
}

impl Pod {
    /// Whether it has its place in the pod network: it has addresses of its own, and has not ended.
    pub fn is_networked(&self) -> bool {
        !self.spec.host_network && !matches!(self.status.phase.as_str(), "Succeeded" | "Failed")
    }

    pub fn addresses(&self) -> Vec<Address> {
        let all = std::iter::once(&self.status.pod_ip).chain(self.status.pod_ips.iter().map(|one| &one.ip));
        addresses(all.map(String::as_str))
    }

    /// The numbers of its ports of a name and protocol.
    pub fn ports_named<'a>(&'a self, name: &'a str, protocol: Protocol) -> impl Iterator<Item = u16> + 'a {
        let sidecars = self
            .spec
            .init_containers
            .iter()
            .filter(|container| container.restart_policy == "Always");
        let ports = self
            .spec
            .containers
            .iter()
            .chain(sidecars)
            .flat_map(|container| &container.ports);
        ports
            .filter(move |port| port.name == name && port.protocol.0 == protocol)
            .map(|port| port.container_port)
    }
}

impl Selector {
    pub fn matches(&self, labels: &Labels) -> bool {
        self.match_labels
            .iter()
            .all(|(name, value)| labels.get(name) == Some(value))
            && self
                .match_expressions
                .iter()
                .all(|expression| expression.matches(labels))
    }
}

impl Expression {
    fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        match self.operator.as_str() {
            "In" => value.is_some_and(|value| self.values.contains(value)),
            "NotIn" => value.is_none_or(|value| !self.values.contains(value)),
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => false,
        }
    }
}

/// Reads an object. What cannot be read is not there.
pub(super) fn read<T: for<'de> Deserialize<'de>>(json: &str) -> Option<T> {
    serde_json::from_str(json).ok()
}
