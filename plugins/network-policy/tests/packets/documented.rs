//! The oracle: what the documentation of NetworkPolicy says, read from the objects as they are.
use crate::Packet;
use sampan_sdk::{
    Value,
    network::{address, range},
    serde_json::json,
};

pub fn passes(objects: &[Value], pod: &Value, packet: &Packet<'_>) -> bool {
    let direction = if packet.ingress { "Ingress" } else { "Egress" };
    let policies = objects.iter().filter(|object| object["kind"] == "NetworkPolicy");
    let mut isolating = policies
        .filter(|policy| policy["metadata"]["namespace"] == pod["metadata"]["namespace"])
        .filter(|policy| selects(&policy["spec"]["podSelector"], &pod["metadata"]["labels"]))
        .filter(|policy| match policy["spec"]["policyTypes"].as_array() {
            Some(types) if !types.is_empty() => types.contains(&json!(direction)),
            _ => {
                packet.ingress
                    || policy["spec"]["egress"]
                        .as_array()
                        .is_some_and(|rules| !rules.is_empty())
            }
        })
        .peekable();
    isolating.peek().is_none() || isolating.any(|policy| rules_allow(objects, policy, pod, packet))
}

fn rules_allow(objects: &[Value], policy: &Value, pod: &Value, packet: &Packet<'_>) -> bool {
    let (rules, peers) = if packet.ingress {
        ("ingress", "from")
    } else {
        ("egress", "to")
    };
    let other = objects
        .iter()
        .find(|object| object["status"]["podIP"] == packet.other && lives(object));
    // The pod whose port is spoken to, and so gives its names.
    let target = if packet.ingress { Some(pod) } else { other };
    let all = policy["spec"][rules].as_array().cloned().unwrap_or_default();
    all.iter().any(|rule| {
        let from = rule[peers].as_array().cloned().unwrap_or_default();
        let ports = rule["ports"].as_array().cloned().unwrap_or_default();
        (from.is_empty()
            || from
                .iter()
                .any(|peer| is_peer(objects, policy, peer, other, packet.other)))
            && (ports.is_empty() || ports.iter().any(|port| is_port(port, target, packet)))
    })
}

fn lives(pod: &Value) -> bool {
    pod["kind"] == "Pod" && pod["status"]["phase"] == "Running" && pod["spec"]["hostNetwork"] != true
}

fn is_peer(objects: &[Value], policy: &Value, peer: &Value, other: Option<&Value>, ip: &str) -> bool {
    if let Some(cidr) = peer["ipBlock"]["cidr"].as_str() {
        let within = |text: &str| range(text).unwrap().contains(address(ip).unwrap());
        let except = peer["ipBlock"]["except"].as_array().cloned().unwrap_or_default();
        return within(cidr) && !except.iter().any(|text| within(text.as_str().unwrap()));
    }
    let Some(other) = other else { return false };
    let own = &other["metadata"]["namespace"];
    let right_namespace = if peer["namespaceSelector"].is_object() {
        let is_own = |object: &&Value| object["kind"] == "Namespace" && object["metadata"]["name"] == *own;
        let mut labels = objects
            .iter()
            .find(is_own)
            .map_or(json!({}), |found| found["metadata"]["labels"].clone());
        labels["kubernetes.io/metadata.name"] = own.clone();
        selects(&peer["namespaceSelector"], &labels)
    } else {
        policy["metadata"]["namespace"] == *own
    };
    right_namespace && (peer["podSelector"].is_null() || selects(&peer["podSelector"], &other["metadata"]["labels"]))
}

fn is_port(port: &Value, target: Option<&Value>, packet: &Packet<'_>) -> bool {
    let protocol = port["protocol"].as_str().unwrap_or("TCP");
    let number = match &port["port"] {
        Value::Null => true,
        Value::Number(first) => {
            let first = first.as_u64().unwrap();
            (first..=port["endPort"].as_u64().unwrap_or(first)).contains(&u64::from(packet.port))
        }
        name => target.is_some_and(|pod| {
            let ports = pod["spec"]["containers"][0]["ports"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            ports.iter().any(|own| {
                own["name"] == *name
                    && own["containerPort"] == packet.port
                    && own["protocol"].as_str().unwrap_or("TCP") == protocol
            })
        }),
    };
    protocol == packet.protocol && number
}

fn selects(selector: &Value, labels: &Value) -> bool {
    let equal = selector["matchLabels"].as_object().cloned().unwrap_or_default();
    let expressions = selector["matchExpressions"].as_array().cloned().unwrap_or_default();
    equal.iter().all(|(name, value)| labels[name] == *value)
        && expressions.iter().all(|expression| {
            let value = &labels[expression["key"].as_str().unwrap()];
            let listed = expression["values"].as_array().is_some_and(|all| all.contains(value));
            match expression["operator"].as_str().unwrap() {
                "In" => listed,
                "NotIn" => !listed,
                "Exists" => !value.is_null(),
                _ => value.is_null(),
            }
        })
}
