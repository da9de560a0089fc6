//! What one object alone may have in the whole cluster: the addresses and node ports of Services. Whoever picks one looks at
//! a state that may have moved on, so the committer refuses what is taken, as it does with bindings.
use imbl::HashMap;
use sampan_api::{ApiError, Cause, Key, Object};
use serde::Deserialize;
use std::{fmt, net::IpAddr};

/// The level of features from which on the committer refuses: builds below it would take what others refuse.
pub const LEVEL: u32 = 3;

/// The one object whose status says which level is in force.
pub const CLUSTER: (&str, &str) = ("clusters.sampan.dev", "cluster");

/// The resource that claims.
pub const RESOURCE: &str = "services";

/// Something that only one has.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Claim {
    /// An address of the cluster.
    Address(IpAddr),
    /// A port of every node, for a protocol (`TCP`).
    NodePort(u16, String),
}

impl Claim {
    /// The field that says so.
    fn field(&self) -> &'static str {
        match self {
            Claim::Address(_) => "spec.clusterIP",
            Claim::NodePort(..) => "spec.ports.nodePort",
        }
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Claim::Address(address) => write!(f, "the address {address}"),
            Claim::NodePort(port, protocol) => write!(f, "the node port {port}/{protocol}"),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    #[serde(rename = "clusterIP")]
    cluster_ip: Option<String>,
    #[serde(rename = "clusterIPs")]
    cluster_ips: Option<Vec<String>>,
    ports: Option<Vec<Port>>,
    health_check_node_port: Option<u16>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Port {
    protocol: Option<String>,
    node_port: Option<u16>,
}

/// What a Service claims, each once, in order. What cannot be read claims nothing.
pub fn of(service: &Object) -> Vec<Claim> {
    let spec: Spec = service.field("spec").unwrap_or_default();
    let texts = spec.cluster_ip.into_iter().chain(spec.cluster_ips.unwrap_or_default());
    let addresses = texts.filter_map(|text| text.parse().ok()).map(Claim::Address);
    let ports = spec.ports.unwrap_or_default().into_iter().filter_map(|port| {
        let number = port.node_port.filter(|number| *number > 0)?;
        Some(Claim::NodePort(
            number,
            port.protocol.unwrap_or_else(|| "TCP".to_owned()),
        ))
    });
    let health = spec.health_check_node_port.filter(|number| *number > 0);
    let health = health.map(|number| Claim::NodePort(number, "TCP".to_owned()));
    let mut claims: Vec<Claim> = addresses.chain(ports).chain(health).collect();
    claims.sort();
    claims.dedup();
    claims
}

/// Who has what; copying it costs nothing.
#[derive(Clone, Default)]
pub struct Claims(HashMap<Claim, Key>);

impl Claims {
    /// Takes in that the Service under a key is another now, or none.
    pub fn change(&mut self, key: &Key, before: Option<&Object>, after: Option<&Object>) {
        for claim in before.map(of).unwrap_or_default() {
            if self.0.get(&claim) == Some(key) {
                self.0.remove(&claim);
            }
        }
        for claim in after.map(of).unwrap_or_default() {
            self.0.insert(claim, key.clone());
        }
    }

    /// Who has it.
    pub fn holder(&self, claim: &Claim) -> Option<&Key> {
        self.0.get(claim)
    }
}

/// That somebody else has it.
pub fn taken(key: &Key, claim: &Claim, holder: &Key) -> ApiError {
    let cause = Cause {
        field: claim.field().to_owned(),
        message: format!("{claim} is that of {holder}: leave it out to be given a free one"),
    };
    ApiError::invalid(format!("{key} cannot have {claim}"), vec![cause])
}
