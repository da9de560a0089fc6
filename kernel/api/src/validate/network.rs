//! The rules of NetworkPolicies, and of the ranges of nodes' pods: those of Kubernetes' validation. What a policy says and
//! nobody can carry out would otherwise be left out in silence, and let in whom it was to keep out.
use super::{list, one_of};
use crate::{Cause, LabelSelector, dual, ranges};
use serde_json::Value;

pub(super) fn policy(spec: &Value, causes: &mut Vec<Cause>) {
    selector("spec.podSelector".to_owned(), &spec["podSelector"], causes);
    for (at, kind) in list(&spec["policyTypes"]) {
        one_of(&format!("spec.policyTypes[{at}]"), kind, &["Ingress", "Egress"], causes);
    }
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        for (at, rule) in list(&spec[direction]) {
            for (number, one) in list(&rule["ports"]) {
                port(&format!("spec.{direction}[{at}].ports[{number}]"), one, causes);
            }
            for (number, one) in list(&rule[peers]) {
                peer(&format!("spec.{direction}[{at}].{peers}[{number}]"), one, causes);
            }
        }
    }
}

pub(super) fn selector(field: String, value: &Value, causes: &mut Vec<Cause>) {
    for (at, expression) in list(&value["matchExpressions"]) {
        let values = list(&expression["values"]).count();
        let message = match expression["operator"].as_str() {
            Some(operator @ ("In" | "NotIn")) if values == 0 => format!("{operator} needs values"),
            Some(operator @ ("Exists" | "DoesNotExist")) if values > 0 => format!("{operator} has no values"),
            _ => continue,
        };
        causes.push(Cause {
            field: format!("{field}.matchExpressions[{at}].values"),
            message,
        });
    }
    let selector = serde_json::from_value(value.clone()).unwrap_or_default();
    if let Err(error) = LabelSelector::from_json(&selector) {
        causes.push(Cause {
            field,
            message: error.message,
        });
    }
}

fn port(path: &str, port: &Value, causes: &mut Vec<Cause>) {
    one_of(
        &format!("{path}.protocol"),
        &port["protocol"],
        &["TCP", "UDP", "SCTP"],
        causes,
    );
    let mut cause = |field: &str, message: String| {
        causes.push(Cause {
            field: format!("{path}.{field}"),
            message,
        })
    };
    let number = port["port"].as_i64();
    if let Some(number) = number.filter(|number| !(1..=65_535).contains(number)) {
        cause("port", format!("{number} is no port: 1 to 65535"));
    }
    match (port["endPort"].as_i64(), number) {
        (None, _) => {}
        (Some(_), None) => cause(
            "endPort",
            "needs a port that is a number, for the range to begin with".to_owned(),
        ),
        (Some(end), Some(first)) if end < first || end > 65_535 => {
            cause("endPort", format!("{first} to {end} is no range of ports"));
        }
        _ => {}
    }
}

fn peer(path: &str, peer: &Value, causes: &mut Vec<Cause>) {
    let mut selects = false;
    for name in ["podSelector", "namespaceSelector"] {
        if !peer[name].is_null() {
            selects = true;
            selector(format!("{path}.{name}"), &peer[name], causes);
        }
    }
    let block = &peer["ipBlock"];
    if block.is_null() != selects {
        let message = match selects {
            true => "is either an ipBlock or selectors, not both",
            false => "names nobody: expected an ipBlock, a podSelector or a namespaceSelector",
        };
        causes.push(Cause {
            field: path.to_owned(),
            message: message.to_owned(),
        });
    }
    if block.is_null() {
        return;
    }
    let cidr = block["cidr"].as_str().unwrap_or_default();
    if ranges::any(cidr).is_none() {
        causes.push(Cause {
            field: format!("{path}.ipBlock.cidr"),
            message: format!("\"{cidr}\" is no range of addresses: expected one as in 192.0.2.0/24"),
        });
        return;
    }
    for (at, except) in list(&block["except"]) {
        let except = except.as_str().unwrap_or_default();
        let message = match ranges::covers(cidr, except) {
            None => format!("\"{except}\" is no range of addresses: expected one as in 192.0.2.0/24"),
            Some(false) => format!("{except} is not within {cidr}"),
            Some(true) if ranges::covers(except, cidr) == Some(true) => format!("{except} leaves nothing of {cidr}"),
            Some(true) => continue,
        };
        causes.push(Cause {
            field: format!("{path}.ipBlock.except[{at}]"),
            message,
        });
    }
}

/// What a policy says that is let in, and may not be what was meant.
pub(super) fn doubts(spec: &Value, warnings: &mut Vec<String>) {
    let mut doubt = |field: String, text: &Value| {
        let text = text.as_str().unwrap_or_default();
        let Some(range) = ranges::any(text) else { return };
        let base = ranges::base(range);
        if base != range.0 {
            let (all, one) = (ranges::text((base, range.1)), range.0);
            let alone = if one.is_ipv4() { 32 } else { 128 };
            warnings.push(format!(
                "{field}: {text} has bits after its prefix and is taken for {all}: say that, or {one}/{alone} for the one address"
            ));
        }
    };
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        for (at, rule) in list(&spec[direction]) {
            for (number, peer) in list(&rule[peers]) {
                let path = format!("spec.{direction}[{at}].{peers}[{number}].ipBlock");
                doubt(format!("{path}.cidr"), &peer["ipBlock"]["cidr"]);
                for (which, except) in list(&peer["ipBlock"]["except"]) {
                    doubt(format!("{path}.except[{which}]"), except);
                }
            }
        }
    }
}

/// The range of a node's pods.
pub(super) fn node(spec: &Value, causes: &mut Vec<Cause>) {
    let mut cause = |field: &str, message: String| {
        causes.push(Cause {
            field: format!("spec.{field}"),
            message,
        })
    };
    let range = spec["podCIDR"].as_str().unwrap_or_default();
    let mut all: Vec<&str> = list(&spec["podCIDRs"]).filter_map(|(_, one)| one.as_str()).collect();
    match all.first() {
        Some(first) if *first != range => {
            return cause("podCIDRs[0]", format!("must be podCIDR, which is \"{range}\""));
        }
        None if !range.is_empty() => all.push(range),
        _ => {}
    }
    if !all.is_empty()
        && let Err(message) = dual::of_node(&all.join(","))
    {
        cause(if all.len() > 1 { "podCIDRs" } else { "podCIDR" }, message);
    }
}

#[cfg(test)]
mod tests {
    use crate::{Cause, validate::manifest};
    use serde_json::{Value, json};

    fn causes(object: &Value) -> Vec<Cause> {
        manifest(object.to_string().as_bytes()).map_or_else(|error| error.causes, |_| Vec::new())
    }

    /// What is wrong with a policy of one rule: fields without their beginning, and words.
    fn wrong(rule: &Value) -> Vec<(String, String)> {
        let spec = json!({"podSelector": {}, "ingress": [rule]});
        let policy = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "p"},
            "spec": spec});
        let short = |cause: Cause| (cause.field.replace("spec.ingress[0].", ""), cause.message);
        causes(&policy).into_iter().map(short).collect()
    }

    fn block(cidr: &str, except: &[&str]) -> Vec<(String, String)> {
        wrong(&json!({"from": [{"ipBlock": {"cidr": cidr, "except": except}}]}))
    }

    fn is(wrong: &[(String, String)], field: &str, said: &str) {
        let [(at, message)] = wrong else { panic!("{wrong:?}") };
        assert!(at == field && message.contains(said), "{at}: {message}");
    }

    #[test]
    fn blocks_are_ranges_and_exceptions_are_within_them() {
        assert!(block("10.0.0.0/8", &["10.1.0.0/16", "10.2.3.4/32"]).is_empty());
        assert!(block("fd00::/8", &["fd12::/16"]).is_empty());
        is(&block("10.0.0.0", &[]), "from[0].ipBlock.cidr", "no range");
        is(&block("10.0.0.0/40", &[]), "from[0].ipBlock.cidr", "no range");
        is(
            &block("10.0.0.0/8", &["10.1/16"]),
            "from[0].ipBlock.except[0]",
            "no range",
        );
        is(
            &block("10.0.0.0/8", &["10.1.0.0/16", "11.0.0.0/16"]),
            "from[0].ipBlock.except[1]",
            "is not within 10.0.0.0/8",
        );
        is(
            &block("10.0.0.0/8", &["fd00::/8"]),
            "from[0].ipBlock.except[0]",
            "is not within",
        );
        is(
            &block("10.0.0.0/8", &["10.0.0.0/8"]),
            "from[0].ipBlock.except[0]",
            "leaves nothing",
        );
        is(
            &block("10.1.0.0/16", &["10.0.0.0/8"]),
            "from[0].ipBlock.except[0]",
            "is not within",
        );
    }

    #[test]
    fn bits_after_a_prefix_are_let_in_with_a_warning() {
        let block = json!({"ipBlock": {"cidr": "10.0.0.1/8", "except": ["10.1.0.0/16", "10.2.0.9/16"]}});
        let policy = |block: Value| {
            let policy = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "p"},
                "spec": {"podSelector": {}, "egress": [{"to": [block]}]}});
            manifest(policy.to_string().as_bytes()).unwrap().1
        };
        let at = "spec.egress[0].to[0].ipBlock";
        assert_eq!(
            policy(block),
            [
                format!(
                    "{at}.cidr: 10.0.0.1/8 has bits after its prefix and is taken for 10.0.0.0/8: say that, or 10.0.0.1/32 for \
                     the one address"
                ),
                format!(
                    "{at}.except[1]: 10.2.0.9/16 has bits after its prefix and is taken for 10.2.0.0/16: say that, or \
                     10.2.0.9/32 for the one address"
                ),
            ]
        );
        assert!(policy(json!({"ipBlock": {"cidr": "fd42::/64"}})).is_empty());
    }

    #[test]
    fn peers_are_blocks_or_selectors() {
        let any = json!({"matchLabels": {"a": "b"}});
        assert!(wrong(&json!({"from": [{"podSelector": any, "namespaceSelector": {}}]})).is_empty());
        is(&wrong(&json!({"from": [{}]})), "from[0]", "names nobody");
        let both = json!({"podSelector": any, "ipBlock": {"cidr": "10.0.0.0/8"}});
        is(&wrong(&json!({"from": [both]})), "from[0]", "not both");
        let odd = json!({"matchExpressions": [{"key": "a", "operator": "In", "values": []}]});
        let field = "from[0].podSelector.matchExpressions[0].values";
        is(
            &wrong(&json!({"from": [{"podSelector": odd}]})),
            field,
            "In needs values",
        );
    }

    #[test]
    fn ports_are_ports() {
        assert!(
            wrong(&json!({"ports": [{"port": 80, "endPort": 90}, {"port": "http"}, {"protocol": "UDP"}]})).is_empty()
        );
        is(&wrong(&json!({"ports": [{"port": 0}]})), "ports[0].port", "1 to 65535");
        is(
            &wrong(&json!({"ports": [{"port": 90, "endPort": 80}]})),
            "ports[0].endPort",
            "no range of ports",
        );
        is(
            &wrong(&json!({"ports": [{"endPort": 80}]})),
            "ports[0].endPort",
            "needs a port",
        );
        is(
            &wrong(&json!({"ports": [{"port": "http", "endPort": 80}]})),
            "ports[0].endPort",
            "needs a port",
        );
        is(
            &wrong(&json!({"ports": [{"protocol": "tcp"}]})),
            "ports[0].protocol",
            "did you mean \"TCP\"",
        );
    }

    #[test]
    fn a_node_has_a_sound_range_of_pods() {
        let node =
            |spec: Value| causes(&json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}, "spec": spec}));
        assert!(node(json!({})).is_empty());
        assert!(node(json!({"podCIDR": "10.42.0.0/24", "podCIDRs": ["10.42.0.0/24"]})).is_empty());
        let said = |spec: Value| node(spec).remove(0);
        assert!(node(json!({"podCIDR": "10.42.0.0/24", "podCIDRs": ["10.42.0.0/24", "fd42::/64"]})).is_empty());
        assert!(said(json!({"podCIDR": "10.42.1.0/30"})).message.contains("too small"));
        let two = said(json!({"podCIDR": "10.42.0.0/24", "podCIDRs": ["10.42.0.0/24", "10.43.0.0/24"]}));
        assert!(
            two.field == "spec.podCIDRs" && two.message.contains("two ranges of IPv4"),
            "{two:?}"
        );
        assert_eq!(
            said(json!({"podCIDR": "10.42.0.0/24", "podCIDRs": ["10.43.0.0/24"]})).field,
            "spec.podCIDRs[0]"
        );
    }
}
