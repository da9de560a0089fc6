//! The variables that tell a container of Services: `WEB_SERVICE_HOST`, `WEB_SERVICE_PORT`, and those of Docker's links.
use k8s_openapi::api::core::v1::{Pod, Service, ServicePort};
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

/// Where the cluster's own Service is, which every container is told of.
const OWN_NAMESPACE: &str = "default";
const OWN: &str = "kubernetes";

/// Of the Services in the pod's namespace, unless it wants none (`enableServiceLinks`), and of the cluster's own, as
/// Kubernetes does. Services without an address have no variables.
pub fn variables(pod: &Pod, services: &[Service]) -> BTreeMap<String, String> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or(OWN_NAMESPACE);
    let wants = pod.spec.as_ref().and_then(|spec| spec.enable_service_links) != Some(false);
    let is_in = |service: &Service, namespace: &str| service.metadata.namespace.as_deref() == Some(namespace);
    let is_own = |service: &Service| is_in(service, OWN_NAMESPACE) && service.metadata.name.as_deref() == Some(OWN);
    let mut all = BTreeMap::new();
    // One of the pod's namespace goes before that of the cluster.
    for service in services.iter().filter(|service| is_own(service)) {
        add(&mut all, service);
    }
    for service in services.iter().filter(|service| wants && is_in(service, namespace)) {
        add(&mut all, service);
    }
    all
}

fn add(all: &mut BTreeMap<String, String>, service: &Service) {
    let (Some(name), Some(spec)) = (&service.metadata.name, &service.spec) else {
        return;
    };
    // "None" and nothing are no addresses.
    let address: Option<IpAddr> = spec.cluster_ip.as_ref().and_then(|text| text.parse().ok());
    let Some(address) = address.filter(|_| spec.type_.as_deref() != Some("ExternalName")) else {
        return;
    };
    let ports = spec.ports.as_deref().unwrap_or_default();
    let Some(first) = ports.first() else { return };
    let prefix = variable(name);
    let mut set = |name: String, value: String| drop(all.insert(name, value));
    set(format!("{prefix}_SERVICE_HOST"), address.to_string());
    set(format!("{prefix}_SERVICE_PORT"), first.port.to_string());
    for port in ports {
        if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            set(
                format!("{prefix}_SERVICE_PORT_{}", variable(name)),
                port.port.to_string(),
            );
        }
    }
    set(format!("{prefix}_PORT"), url(address, first));
    for port in ports {
        let protocol = protocol(port);
        let link = format!("{prefix}_PORT_{}_{protocol}", port.port);
        set(format!("{link}_PROTO"), protocol.to_ascii_lowercase());
        set(format!("{link}_PORT"), port.port.to_string());
        set(format!("{link}_ADDR"), address.to_string());
        set(link, url(address, port));
    }
}

fn variable(name: &str) -> String {
    name.to_ascii_uppercase().replace('-', "_")
}

fn protocol(port: &ServicePort) -> &str {
    port.protocol.as_deref().unwrap_or("TCP")
}

fn url(address: IpAddr, port: &ServicePort) -> String {
    let at = SocketAddr::new(address, u16::try_from(port.port).unwrap_or_default());
    format!("{}://{at}", protocol(port).to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn service(namespace: &str, name: &str, spec: Value) -> Service {
        let service = json!({"metadata": {"namespace": namespace, "name": name}, "spec": spec});
        serde_json::from_value(service).unwrap()
    }

    fn pod(namespace: &str, links: Option<bool>) -> Pod {
        let spec = json!({"containers": [], "enableServiceLinks": links});
        serde_json::from_value(json!({"metadata": {"name": "p", "namespace": namespace}, "spec": spec})).unwrap()
    }

    #[test]
    fn as_kubernetes_names_them() {
        let ports = json!([
            {"name": "http", "port": 80}, {"name": "dns-udp", "port": 53, "protocol": "UDP"}]);
        let redis = service("prod", "redis-main", json!({"clusterIP": "10.0.0.11", "ports": ports}));
        let got = variables(&pod("prod", None), &[redis]);
        let wanted = [
            ("REDIS_MAIN_PORT", "tcp://10.0.0.11:80"),
            ("REDIS_MAIN_PORT_53_UDP", "udp://10.0.0.11:53"),
            ("REDIS_MAIN_PORT_53_UDP_ADDR", "10.0.0.11"),
            ("REDIS_MAIN_PORT_53_UDP_PORT", "53"),
            ("REDIS_MAIN_PORT_53_UDP_PROTO", "udp"),
            ("REDIS_MAIN_PORT_80_TCP", "tcp://10.0.0.11:80"),
            ("REDIS_MAIN_PORT_80_TCP_ADDR", "10.0.0.11"),
            ("REDIS_MAIN_PORT_80_TCP_PORT", "80"),
            ("REDIS_MAIN_PORT_80_TCP_PROTO", "tcp"),
            ("REDIS_MAIN_SERVICE_HOST", "10.0.0.11"),
            ("REDIS_MAIN_SERVICE_PORT", "80"),
            ("REDIS_MAIN_SERVICE_PORT_DNS_UDP", "53"),
            ("REDIS_MAIN_SERVICE_PORT_HTTP", "80"),
        ];
        let got: Vec<(&str, &str)> = got
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(got, wanted);
    }

    #[test]
    fn whose_a_pod_is_told_of() {
        let at = |address: &str| json!({"clusterIP": address, "ports": [{"port": 443}]});
        let all = [
            service("prod", "kubernetes", at("10.0.0.2")),
            service("default", "kubernetes", at("10.0.0.1")),
            service("default", "web", at("10.0.0.3")),
            service("prod", "six", at("fd00::1")),
            service("prod", "headless", at("None")),
            service("prod", "unset", json!({"ports": [{"port": 1}]})),
        ];
        let hosts = |namespace: &str, links: Option<bool>| -> Vec<String> {
            let all = variables(&pod(namespace, links), &all).into_iter();
            let hosts = all.filter(|(name, _)| name.ends_with("_SERVICE_HOST"));
            hosts.map(|(name, value)| format!("{name}={value}")).collect()
        };
        let (own, of_prod) = ("KUBERNETES_SERVICE_HOST=10.0.0.1", "KUBERNETES_SERVICE_HOST=10.0.0.2");
        assert_eq!(hosts("prod", None), [of_prod, "SIX_SERVICE_HOST=fd00::1"]);
        assert_eq!(hosts("prod", Some(false)), [own]);
        assert_eq!(hosts("default", Some(true)), [own, "WEB_SERVICE_HOST=10.0.0.3"]);
        assert_eq!(hosts("other", None), [own]);
        let six = variables(&pod("prod", None), &all);
        assert_eq!(six["SIX_PORT"], "tcp://[fd00::1]:443");
    }
}
