//! Host ports: a container's `hostPort` leads to its pod, as a frontend of the node's own that no plugin decides about.
use super::ground::LocalPod;
use k8s_openapi::api::core::v1::Pod;
use sampan_sandbox::network::{
    Address, Backend, Datapath, Destination, Entry, Fallback, Frontend, FrontendKey, Pool, Protocol, Scope,
};
use std::net::IpAddr;

/// A port of the node that is a pod's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// The node's address that it is on; all where there is none.
    pub address: Option<IpAddr>,
    pub number: u16,
    pub protocol: Protocol,
    /// The port of the pod.
    pub target: u16,
}

/// Those that a pod's containers ask for.
pub fn of(pod: &Pod) -> Vec<HostPort> {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let ports = containers.flat_map(|container| container.ports.iter().flatten());
    let one = |port: &k8s_openapi::api::core::v1::ContainerPort| {
        let protocol = match port.protocol.as_deref().unwrap_or("TCP") {
            "UDP" => Protocol::Udp,
            "SCTP" => Protocol::Sctp,
            _ => Protocol::Tcp,
        };
        let address: Option<IpAddr> = port.host_ip.as_deref().and_then(|ip| ip.parse().ok());
        Some(HostPort {
            address: address.filter(|address| !address.is_unspecified()),
            number: port
                .host_port
                .and_then(|port| u16::try_from(port).ok())
                .filter(|port| *port > 0)?,
            protocol,
            target: u16::try_from(port.container_port).ok()?,
        })
    };
    ports.filter_map(one).collect()
}

/// The frontends of all of them; of two pods that ask for one port the first by uid has it.
pub fn datapath<'a>(pods: impl Iterator<Item = &'a LocalPod>) -> Datapath {
    let mut entries: Vec<Entry> = pods
        .flat_map(|pod| pod.host_ports.iter().flat_map(move |port| frontends(pod, port)))
        .collect();
    entries.reverse();
    Datapath::with(entries)
}

/// One in each family in which the pod and the port's address are.
fn frontends(pod: &LocalPod, port: &HostPort) -> Vec<Entry> {
    let of_pod = pod.addresses.iter();
    let same = of_pod.filter(|own| port.address.is_none_or(|at| at.is_ipv4() == own.is_ipv4()));
    same.map(|own| frontend(pod, port, own)).collect()
}

fn frontend(pod: &LocalPod, port: &HostPort, own: IpAddr) -> Entry {
    let destination = match port.address {
        Some(address) => Destination::Address(address.into()),
        None => Destination::Node(Address::from(own).family()),
    };
    let pool = Pool {
        backends: vec![Backend {
            address: own.into(),
            port: port.target,
            weight: 1,
            local: true,
            terminating: false,
        }],
        otherwise: Fallback::Reject,
    };
    Entry::Frontend(Frontend {
        key: FrontendKey {
            destination,
            port: port.number,
            protocol: port.protocol,
        },
        scope: Scope::NodePort,
        service: format!("{}/{} (hostPort)", pod.namespace, pod.name),
        affinity_seconds: 0,
        sources: Vec::new(),
        inside: pool.clone(),
        // The pod is here, so whoever connects keeps its address.
        outside: Some(pool),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Addresses;
    use serde_json::json;
    use std::net::Ipv4Addr;

    #[test]
    fn ports_of_containers_become_frontends() {
        let pod: Pod = serde_json::from_value(json!({"spec": {"containers": [
            {"name": "a", "ports": [{"containerPort": 80, "hostPort": 8080}, {"containerPort": 81}]},
            {"name": "b", "ports": [{"containerPort": 53, "hostPort": 53, "protocol": "UDP", "hostIP": "192.0.2.1"}]}]}}))
        .unwrap();
        let ports = of(&pod);
        assert_eq!(ports.len(), 2);
        let local = |uid: &str, last: u8| LocalPod {
            uid: uid.into(),
            namespace: "default".into(),
            name: uid.into(),
            interface: format!("sp{uid}"),
            addresses: Addresses {
                v4: Ipv4Addr::new(10, 42, 0, last),
                v6: (last == 2).then(|| "fd42::2".parse().unwrap()),
            },
            host_ports: ports.clone(),
        };
        let datapath = datapath([local("a", 2), local("b", 3)].iter());
        let said: Vec<String> = datapath
            .entries()
            .map(|entry| match entry {
                Entry::Frontend(frontend) => {
                    let backend = &frontend.inside.backends[0];
                    format!("{} to {}:{}", frontend.key, backend.address, backend.port)
                }
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(
            said,
            [
                "192.0.2.1:53/udp to 10.42.0.2:53",
                "node:8080/tcp to 10.42.0.2:80",
                "node6:8080/tcp to fd42::2:80"
            ]
        );
    }
}
