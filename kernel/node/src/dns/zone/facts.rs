//! What the zone keeps of Services and EndpointSlices: what names are made of, and no more.
use k8s_openapi::api::{
    core::v1::{Service, ServiceSpec},
    discovery::v1::EndpointSlice,
};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Names the Service of a slice.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// What stands for a Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Face {
    /// Addresses of its own. None: it has not been given one yet.
    Addresses(Vec<IpAddr>),
    /// Its endpoints.
    Headless,
    /// Another name.
    Alias(String),
}

/// A Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceFacts {
    pub uid: String,
    pub face: Face,
    pub ports: Vec<Port>,
    /// `publishNotReadyAddresses`.
    pub all_ready: bool,
}

/// A port; without a name where it has none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Port {
    pub name: String,
    /// In small letters, as in names.
    pub protocol: String,
    pub number: u16,
}

/// Some endpoints of a Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SliceFacts {
    pub uid: String,
    pub service: String,
    pub ports: Vec<Port>,
    pub endpoints: Vec<Endpoint>,
}

/// An endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its name below the Service's: its host name, else its address with dashes.
    pub label: String,
    pub addresses: Vec<IpAddr>,
    pub ready: bool,
}

impl ServiceFacts {
    pub fn of(service: &Service) -> Self {
        let spec = service.spec.clone().unwrap_or_default();
        let ports = spec.ports.iter().flatten().map(|port| {
            let (name, protocol) = (port.name.as_deref(), port.protocol.as_deref());
            Port::new(name, protocol, port.port)
        });
        ServiceFacts {
            uid: service.metadata.uid.clone().unwrap_or_default(),
            ports: ports.collect(),
            all_ready: spec.publish_not_ready_addresses == Some(true),
            face: face(&spec),
        }
    }
}

fn face(spec: &ServiceSpec) -> Face {
    if spec.type_.as_deref() == Some("ExternalName") {
        return Face::Alias(spec.external_name.clone().unwrap_or_default());
    }
    let texts = || spec.cluster_ip.iter().chain(spec.cluster_ips.iter().flatten());
    if texts().any(|text| text == "None") {
        return Face::Headless;
    }
    let mut addresses: Vec<IpAddr> = texts().filter_map(|text| text.parse().ok()).collect();
    addresses.sort();
    addresses.dedup();
    Face::Addresses(addresses)
}

impl Port {
    fn new(name: Option<&str>, protocol: Option<&str>, number: i32) -> Self {
        Port {
            name: name.unwrap_or_default().to_ascii_lowercase(),
            protocol: protocol.unwrap_or("TCP").to_ascii_lowercase(),
            number: u16::try_from(number).unwrap_or_default(),
        }
    }
}

impl SliceFacts {
    /// None for a slice of no Service, or of endpoints without addresses.
    pub fn of(slice: &EndpointSlice) -> Option<Self> {
        let service = slice.metadata.labels.as_ref()?.get(SERVICE_NAME)?.clone();
        if slice.address_type == "FQDN" {
            return None;
        }
        let ports = slice.ports.iter().flatten().filter_map(|port| {
            let (name, protocol) = (port.name.as_deref(), port.protocol.as_deref());
            Some(Port::new(name, protocol, port.port?))
        });
        let endpoints = slice.endpoints.iter().flatten().filter_map(|endpoint| {
            let addresses: Vec<IpAddr> = endpoint.addresses.iter().filter_map(|text| text.parse().ok()).collect();
            let hostname = endpoint.hostname.as_deref().filter(|name| !name.is_empty());
            let label = hostname.map_or_else(|| addresses.first().map(dashed), |name| Some(name.to_ascii_lowercase()));
            // What is not said is ready.
            let ready = endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) != Some(false);
            Some(Endpoint {
                label: label?,
                addresses,
                ready,
            })
        });
        Some(SliceFacts {
            uid: slice.metadata.uid.clone().unwrap_or_default(),
            service,
            ports: ports.collect(),
            endpoints: endpoints.collect(),
        })
    }
}

/// An address as one label: `10-42-0-7`, `2001-db8--1`.
pub fn dashed(address: &IpAddr) -> String {
    address.to_string().replace(['.', ':'], "-")
}

/// The address that a label stands for.
pub fn undashed(label: &str) -> Option<IpAddr> {
    let v4 = label.replace('-', ".").parse().map(IpAddr::V4);
    v4.or_else(|_| label.replace('-', ":").parse().map(IpAddr::V6)).ok()
}
