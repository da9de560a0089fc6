//! Where a traced packet is bound for, as users name it: a Service, a pod or an address, with a port.
use crate::{
    doc::{Doc, list},
    owned,
    session::Session,
    targets::{self, Scope},
};
use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;
use std::net::IpAddr;

/// Endpoints that are named as an example.
const EXAMPLES: usize = 3;

const EXPECTED: &str = "svc/NAME[:PORT], pod/NAME:PORT or ADDRESS:PORT";

#[derive(Debug)]
pub struct To {
    pub address: IpAddr,
    pub port: u16,
    pub protocol: String,
}

/// # Errors
/// If it cannot be read, is not there, or has no address that a packet could be sent to; says what to name instead.
pub async fn find(text: &str, session: &Session) -> Result<To> {
    let (name, port) = split(text);
    if let Ok(address) = name.trim_matches(['[', ']']).parse() {
        return Ok(To {
            address,
            port: number(port, || format!("\"{text}\" says no port: expected ADDRESS:PORT"))?,
            protocol: "tcp".to_owned(),
        });
    }
    let Some(targets::Target { kind, name: Some(name) }) = targets::parse(&[name.to_owned()])?.pop() else {
        bail!("cannot read \"{text}\": expected {EXPECTED}");
    };
    let found = session.get(&targets::key(kind, &session.namespace, &name)).await?;
    match kind.kind {
        "Service" if found.text("/spec/clusterIP") == "None" => {
            let scope = Scope {
                labels: format!("kubernetes.io/service-name={name}"),
                ..Scope::default()
            };
            let slices = scope.selection(targets::kind("endpointslices")?, session);
            bail!(headless(&found, &session.list(&slices).await?.objects));
        }
        "Service" => of_service(&found, port),
        "Pod" => of_pod(&found, port),
        _ => bail!("{} has no address: expected {EXPECTED}", found.full_name()),
    }
}

/// An address of IPv6 has colons of its own, and is whole where brackets end it.
fn split(text: &str) -> (&str, &str) {
    match text.rsplit_once(':') {
        Some((name, port)) if !text.ends_with(']') => (name, port),
        _ => (text, ""),
    }
}

fn number(port: &str, none: impl FnOnce() -> String) -> Result<u16> {
    match port.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ if port.is_empty() => bail!(none()),
        _ => bail!("\"{port}\" is no port: 1 to 65535"),
    }
}

fn of_service(service: &Doc, port: &str) -> Result<To> {
    let name = service.full_name();
    if service.text("/spec/type") == "ExternalName" {
        let other = service.text("/spec/externalName");
        bail!("{name} stands for the name {other} and has no address of its own: trace to an address of {other}");
    }
    let port = owned::service_port(service, port)?;
    let number = port["port"].as_u64().and_then(|number| u16::try_from(number).ok());
    Ok(To {
        address: address(service, "/spec/clusterIP")?,
        port: number.context("the port has no number")?,
        protocol: port["protocol"].as_str().unwrap_or("TCP").to_ascii_lowercase(),
    })
}

/// Why a Service without an address cannot be traced to, and what can.
fn headless(service: &Doc, slices: &[Doc]) -> String {
    let mut endpoints: Vec<String> = slices.iter().flat_map(endpoints).collect();
    let name = service.full_name();
    let why = format!("{name} is headless: its name stands for the addresses of its pods, and it has none itself");
    if endpoints.is_empty() {
        return format!("{why}; it has no endpoint now");
    }
    endpoints.truncate(EXAMPLES);
    format!("{why}: trace to one of them, as {}", endpoints.join(" or "))
}

fn endpoints(slice: &Doc) -> Vec<String> {
    let port = slice.at("/ports/0/port").as_u64();
    let of = |endpoint: &Value| {
        let address: IpAddr = endpoint["addresses"][0].as_str()?.parse().ok()?;
        let at = match (address, port) {
            (address, None) => format!("{address}, with a port"),
            (IpAddr::V4(address), Some(port)) => format!("{address}:{port}"),
            (IpAddr::V6(address), Some(port)) => format!("[{address}]:{port}"),
        };
        Some(match endpoint["targetRef"]["name"].as_str() {
            Some(pod) => format!("{at} (pod/{pod})"),
            None => at,
        })
    };
    list(&slice.value, "/endpoints").iter().filter_map(of).collect()
}

fn of_pod(pod: &Doc, wanted: &str) -> Result<To> {
    let name = pod.full_name();
    let containers = list(&pod.value, "/spec/containers").iter();
    let ports: Vec<Value> = containers
        .flat_map(|container| list(container, "/ports"))
        .cloned()
        .collect();
    let named = ports.iter().find(|port| !wanted.is_empty() && port["name"] == wanted);
    let number = match named.and_then(|port| port["containerPort"].as_u64()) {
        Some(number) => u16::try_from(number).context("the port has no number")?,
        None => number(wanted, || {
            let has = owned::said(&ports, "containerPort");
            format!("say which port of {name}, as pod/NAME:PORT: it has {has}")
        })?,
    };
    let protocol = named.and_then(|port| port["protocol"].as_str());
    Ok(To {
        address: address(pod, "/status/podIP")?,
        port: number,
        protocol: protocol.unwrap_or("TCP").to_ascii_lowercase(),
    })
}

fn address(of: &Doc, pointer: &str) -> Result<IpAddr> {
    let none = |_| anyhow!("{} has no address yet", of.full_name());
    of.text(pointer).parse().map_err(none)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn doc(kind: &str, name: &str, spec: Value) -> Doc {
        let version = if kind == "EndpointSlice" {
            "discovery.k8s.io/v1"
        } else {
            "v1"
        };
        let mut value =
            json!({"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": "default"}});
        let fields = spec.as_object().unwrap().clone();
        value.as_object_mut().unwrap().extend(fields);
        Doc::new(value).unwrap()
    }

    fn said(to: Result<To>) -> String {
        match to {
            Ok(to) => format!("{} {}/{}", to.address, to.port, to.protocol),
            Err(error) => format!("{error:#}"),
        }
    }

    #[test]
    fn services_are_named_with_one_of_their_ports() {
        let ports = json!([{"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}]);
        let web = doc(
            "Service",
            "web",
            json!({"spec": {"clusterIP": "10.96.0.1", "ports": ports}}),
        );
        assert_eq!(said(of_service(&web, "")), "10.96.0.1 80/tcp");
        assert_eq!(said(of_service(&web, "dns")), "10.96.0.1 53/udp");
        let wrong = "service/web has no port 99999: it has 80 (http), 53 (dns)";
        assert_eq!(said(of_service(&web, "99999")), wrong);
        let ext = doc(
            "Service",
            "ext",
            json!({"spec": {"type": "ExternalName", "externalName": "www.example.test"}}),
        );
        assert_eq!(
            said(of_service(&ext, "")),
            "service/ext stands for the name www.example.test and has no address of its own: trace to an address of \
             www.example.test"
        );
        let young = doc("Service", "web", json!({"spec": {"ports": ports}}));
        assert_eq!(said(of_service(&young, "")), "service/web has no address yet");
    }

    #[test]
    fn a_headless_service_says_what_its_pods_have() {
        let service = doc("Service", "db", json!({"spec": {"clusterIP": "None"}}));
        let endpoint =
            |last: u8| json!({"addresses": [format!("10.42.0.{last}")], "targetRef": {"name": format!("db-{last}")}});
        let endpoints: Vec<Value> = (2..9).map(endpoint).collect();
        let slice = doc(
            "EndpointSlice",
            "db-x",
            json!({"endpoints": endpoints, "ports": [{"port": 5432}]}),
        );
        let why = "service/db is headless: its name stands for the addresses of its pods, and it has none itself";
        assert_eq!(headless(&service, &[]), format!("{why}; it has no endpoint now"));
        assert_eq!(
            headless(&service, &[slice]),
            format!(
                "{why}: trace to one of them, as 10.42.0.2:5432 (pod/db-2) or 10.42.0.3:5432 (pod/db-3) or 10.42.0.4:5432 \
                 (pod/db-4)"
            )
        );
    }

    #[test]
    fn pods_are_named_with_a_port() {
        let containers = json!([{"ports": [{"containerPort": 8080, "name": "http"}]}, {"ports": [{"containerPort": 53, "protocol": "UDP"}]}]);
        let pod = doc(
            "Pod",
            "w1",
            json!({"spec": {"containers": containers}, "status": {"podIP": "10.42.0.3"}}),
        );
        assert_eq!(said(of_pod(&pod, "8080")), "10.42.0.3 8080/tcp");
        assert_eq!(said(of_pod(&pod, "http")), "10.42.0.3 8080/tcp");
        let which = "say which port of pod/w1, as pod/NAME:PORT: it has 8080 (http), 53";
        assert_eq!(said(of_pod(&pod, "")), which);
        for wrong in ["0", "99999", "-1", "https"] {
            assert_eq!(said(of_pod(&pod, wrong)), format!("\"{wrong}\" is no port: 1 to 65535"));
        }
    }

    #[test]
    fn a_port_comes_after_the_last_colon() {
        assert_eq!(split("svc/web"), ("svc/web", ""));
        assert_eq!(split("svc/web:http"), ("svc/web", "http"));
        assert_eq!(split("[fd00::1]:80"), ("[fd00::1]", "80"));
        assert_eq!(split("[fd00::1]"), ("[fd00::1]", ""));
        assert_eq!(said_number(split("1.2.3.4").1), "none");
    }

    fn said_number(port: &str) -> String {
        number(port, || "none".to_owned()).unwrap_err().to_string()
    }
}
