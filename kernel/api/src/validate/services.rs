//! The rules of Services that need nothing beside the Service itself, as Kubernetes has them. Which addresses and node ports it
//! may have, and which ports there are at all, is said where it is given them, by the server.
use super::{
    add, list,
    names::{
        bad_dns_label, bad_name, bad_port_name, is_dns_label, is_letter_label, is_name, is_port_name, port_number,
    },
    one_of,
};
use crate::{Cause, Object, ranges};
use ::core::net::IpAddr;
use serde_json::Value;

/// The longest that a client may be kept with its endpoint: a day, in seconds.
const LONGEST_AFFINITY: i64 = 86_400;

pub(super) fn service(object: &Object, spec: &Value, causes: &mut Vec<Cause>) {
    name(object, causes);
    for (field, known) in [
        ("type", &["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"][..]),
        ("sessionAffinity", &["None", "ClientIP"]),
        ("externalTrafficPolicy", &["Cluster", "Local"]),
        ("internalTrafficPolicy", &["Cluster", "Local"]),
    ] {
        one_of(&format!("spec.{field}"), &spec[field], known, causes);
    }
    for (at, one) in list(&spec["ports"]) {
        port(&format!("spec.ports[{at}]"), one, causes);
    }
    let host = spec["externalName"].as_str().unwrap_or_default();
    if spec["type"] == "ExternalName" && !host.is_empty() && !is_name(host) {
        add("spec.externalName".to_owned(), bad_name(host), causes);
    }
    let timeout = &spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"];
    if timeout
        .as_i64()
        .is_some_and(|seconds| !(1..=LONGEST_AFFINITY).contains(&seconds))
    {
        let field = "spec.sessionAffinityConfig.clientIP.timeoutSeconds".to_owned();
        let message = format!("{timeout} is no time that a client is kept: 1 to {LONGEST_AFFINITY} seconds");
        add(field, message, causes);
    }
    for (at, address) in list(&spec["externalIPs"]) {
        if let Err(message) = external(address.as_str().unwrap_or_default()) {
            add(format!("spec.externalIPs[{at}]"), message, causes);
        }
    }
    sources(spec, causes);
}

/// A Service's name is the first label of a domain's name, and of old those began with letters.
fn name(object: &Object, causes: &mut Vec<Cause>) {
    let meta = &object.metadata;
    let (field, text) = match meta.name.as_str() {
        "" => ("generateName", meta.generate_name.trim_end_matches('-')),
        name => ("name", name),
    };
    // What is no name at all is said already.
    if is_name(text) && !is_letter_label(text) {
        let message = format!(
            "\"{text}\" is no name of a Service: lower-case letters, digits and '-', starting with a letter and ending with a \
             letter or digit, 63 at most"
        );
        add(format!("metadata.{field}"), message, causes);
    }
}

fn port(at: &str, port: &Value, causes: &mut Vec<Cause>) {
    one_of(
        &format!("{at}.protocol"),
        &port["protocol"],
        &["TCP", "UDP", "SCTP"],
        causes,
    );
    let name = port["name"].as_str().unwrap_or_default();
    if !name.is_empty() && !is_dns_label(name) {
        add(format!("{at}.name"), bad_dns_label(name, "name of a port"), causes);
    }
    // 0 and "" are as nothing: the port itself.
    let wrong = match &port["targetPort"] {
        Value::Number(number) => number.as_i64().filter(|number| *number != 0).map(port_number),
        Value::String(name) if !name.is_empty() && !is_port_name(name) => Some(Err(bad_port_name(name))),
        _ => None,
    };
    if let Some(Err(message)) = wrong {
        add(format!("{at}.targetPort"), message, causes);
    }
}

/// An address that a Service is reached at beside those that it is given: nodes take what is sent to it, so it is one that
/// packets come to from elsewhere.
fn external(text: &str) -> Result<(), String> {
    let Ok(address) = text.parse::<IpAddr>() else {
        return Err(format!("\"{text}\" is no address: expected one as in 192.0.2.1"));
    };
    let is_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    let what = match address {
        _ if address.is_unspecified() => "the unspecified address",
        _ if address.is_loopback() => "an address of the loopback",
        _ if is_local => "a link-local address",
        _ if address.is_multicast() => "a multicast address",
        _ => return Ok(()),
    };
    Err(format!(
        "{text} is {what}: expected one that others reach, as in 192.0.2.1"
    ))
}

/// Who may ask a load balancer.
fn sources(spec: &Value, causes: &mut Vec<Cause>) {
    let field = "spec.loadBalancerSourceRanges";
    let mut found = list(&spec["loadBalancerSourceRanges"]).peekable();
    if found.peek().is_some() && spec["type"] != "LoadBalancer" {
        let message = "keeps out nobody where there is no load balancer: set type: LoadBalancer, or leave it out";
        return add(field.to_owned(), message, causes);
    }
    for (at, range) in found {
        let range = range.as_str().unwrap_or_default();
        if ranges::any(range.trim()).is_none() {
            let message = format!("\"{range}\" is no range of addresses: expected one as in 192.0.2.0/24");
            add(format!("{field}[{at}]"), message, causes);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Cause, validate::manifest};
    use serde_json::{Value, json};

    fn of(name: &str, spec: &Value) -> Vec<Cause> {
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec});
        manifest(service.to_string().as_bytes()).map_or_else(|error| error.causes, |_| Vec::new())
    }

    /// That each is wrong in one field, and what is said.
    fn all(cases: &[(Value, &str, &str)]) {
        for (spec, field, said) in cases {
            let causes = of("web", spec);
            let [Cause { field: at, message }] = &causes[..] else {
                panic!("{spec}: {causes:?}")
            };
            assert!(at == field && message.contains(said), "{spec}: {at}: {message}");
        }
    }

    #[test]
    fn what_is_right_is_let_in() {
        for spec in [
            json!({"ports": [{"port": 80}]}),
            json!({"ports": [{"port": 53, "name": "dns", "protocol": "UDP", "targetPort": "dns-tcp"}, {"port": 53, "name": "t",
                "targetPort": 65_535}]}),
            json!({"ports": [{"port": 80, "targetPort": 0}]}),
            json!({"ports": [{"port": 80, "targetPort": ""}]}),
            json!({"clusterIP": "None", "selector": {"a": "b"}}),
            json!({"type": "ExternalName", "externalName": "db.example.org"}),
            json!({"type": "ClusterIP", "externalIPs": ["192.0.2.7", "2001:db8::7"], "externalTrafficPolicy": "Local"}),
            json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 86_400}}}),
            json!({"type": "LoadBalancer", "loadBalancerSourceRanges": ["198.51.100.0/24", " 2001:db8::/32 "],
                "internalTrafficPolicy": "Local"}),
            json!({"type": "ClusterIP", "loadBalancerSourceRanges": []}),
        ] {
            assert_eq!(of("web", &spec), [], "{spec}");
        }
    }

    #[test]
    fn names_begin_with_letters() {
        let longest = "a".repeat(63);
        for name in ["web", "web-2", "w", &longest] {
            assert_eq!(of(name, &json!({})), [], "{name}");
        }
        let longer = "a".repeat(64);
        for (name, said) in [
            ("9bad", "\"9bad\" is no name of a Service"),
            ("a.b", "is no name of a Service"),
            (longer.as_str(), "63 at most"),
            ("UPPER", "\"UPPER\" is no name"),
        ] {
            let causes = of(name, &json!({}));
            let [Cause { field, message }] = &causes[..] else {
                panic!("{name}: {causes:?}")
            };
            assert!(field == "metadata.name" && message.contains(said), "{name}: {message}");
        }
        let made = |prefix: &str| {
            let service =
                json!({"apiVersion": "v1", "kind": "Service", "metadata": {"generateName": prefix}, "spec": {}});
            manifest(service.to_string().as_bytes()).map_err(|error| error.causes[0].field.clone())
        };
        assert!(made("web-").is_ok());
        assert_eq!(made("9-").unwrap_err(), "metadata.generateName");
    }

    #[test]
    fn ports_have_protocols_names_and_targets() {
        let port = |mut port: Value| {
            port["port"] = json!(80);
            json!({ "ports": [port] })
        };
        all(&[
            (
                port(json!({"protocol": "ICMP"})),
                "spec.ports[0].protocol",
                "\"ICMP\" is not one of TCP, UDP, SCTP",
            ),
            (
                port(json!({"targetPort": 99_999})),
                "spec.ports[0].targetPort",
                "99999 is no port: 1 to 65535",
            ),
            (
                port(json!({"targetPort": -1})),
                "spec.ports[0].targetPort",
                "-1 is no port",
            ),
            (
                port(json!({"targetPort": "Http"})),
                "spec.ports[0].targetPort",
                "\"Http\" is no name of a port",
            ),
            (
                port(json!({"targetPort": "8080"})),
                "spec.ports[0].targetPort",
                "with a letter",
            ),
            (
                port(json!({"targetPort": "a-name-that-is-long"})),
                "spec.ports[0].targetPort",
                "15 at most",
            ),
            (
                port(json!({"name": "UPPER"})),
                "spec.ports[0].name",
                "\"UPPER\" is no name of a port",
            ),
            (port(json!({"name": "a.b"})), "spec.ports[0].name", "63 at most"),
        ]);
    }

    #[test]
    fn policies_and_affinity_are_known() {
        let kept = |seconds: i64| json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": seconds}}});
        let seconds = "spec.sessionAffinityConfig.clientIP.timeoutSeconds";
        all(&[
            (json!({"type": "Clusterip"}), "spec.type", "did you mean \"ClusterIP\"?"),
            (
                json!({"sessionAffinity": "Cookie"}),
                "spec.sessionAffinity",
                "\"Cookie\" is not one of None, ClientIP",
            ),
            (kept(0), seconds, "0 is no time that a client is kept: 1 to 86400"),
            (kept(86_401), seconds, "86401 is no time"),
            (
                json!({"externalTrafficPolicy": "Far"}),
                "spec.externalTrafficPolicy",
                "is not one of Cluster, Local",
            ),
            (
                json!({"internalTrafficPolicy": "Far"}),
                "spec.internalTrafficPolicy",
                "\"Far\" is not one of Cluster, Local",
            ),
            (
                json!({"type": "ExternalName", "externalName": "not a name!"}),
                "spec.externalName",
                "\"not a name!\" is no name",
            ),
        ]);
    }

    #[test]
    fn addresses_and_ranges_are_of_the_outside() {
        let at = |address: &str| json!({ "externalIPs": ["192.0.2.1", address] });
        let field = "spec.externalIPs[1]";
        let from = |kind: &str, range: &str| json!({"type": kind, "loadBalancerSourceRanges": ["10.0.0.0/8", range]});
        all(&[
            (
                at("300.1.1.1"),
                field,
                "\"300.1.1.1\" is no address: expected one as in",
            ),
            (at(""), field, "no address"),
            (at("0.0.0.0"), field, "the unspecified address"),
            (at("::"), field, "the unspecified address"),
            (at("127.0.0.2"), field, "of the loopback"),
            (at("::1"), field, "of the loopback"),
            (at("169.254.169.254"), field, "link-local"),
            (at("fe80::1"), field, "link-local"),
            (at("224.0.0.1"), field, "multicast"),
            (at("ff02::1"), field, "multicast"),
            (
                from("LoadBalancer", "10.0.0.0/99"),
                "spec.loadBalancerSourceRanges[1]",
                "\"10.0.0.0/99\" is no range of addresses",
            ),
            (
                from("LoadBalancer", "10.0.0.1"),
                "spec.loadBalancerSourceRanges[1]",
                "no range",
            ),
            (
                from("NodePort", "10.0.0.0/8"),
                "spec.loadBalancerSourceRanges",
                "set type: LoadBalancer",
            ),
        ]);
    }
}
