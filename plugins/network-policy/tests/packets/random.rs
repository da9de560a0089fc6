//! Random objects.
use sampan_sdk::{Value, serde_json::json, testing::Draw};

fn selector(draw: &mut Draw) -> Value {
    let value = draw.one(&["a", "b"]);
    match draw.below(6) {
        0 => json!({}),
        1 => json!({"matchExpressions": [{"key": "app", "operator": "In", "values": [value, "z"]}]}),
        2 => json!({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": [value]}]}),
        3 => json!({"matchExpressions": [{"key": "tier", "operator": draw.one(&["Exists", "DoesNotExist"])}]}),
        4 => json!({"matchLabels": {"app": value}, "matchExpressions": [{"key": "tier", "operator": "Exists"}]}),
        _ => json!({"matchLabels": {"app": value}}),
    }
}

pub fn labels(draw: &mut Draw) -> Value {
    let mut labels = json!({});
    if draw.chance(80) {
        labels["app"] = json!(draw.one(&["a", "b", "c"]));
    }
    if draw.chance(40) {
        labels["tier"] = json!("front");
    }
    labels
}

fn rule(draw: &mut Draw, peers: &str) -> Value {
    let mut rule = json!({});
    if draw.chance(75) {
        let peer = |draw: &mut Draw| match draw.below(5) {
            0 => json!({"podSelector": selector(draw)}),
            1 => json!({"namespaceSelector": selector(draw)}),
            2 => json!({"namespaceSelector": selector(draw), "podSelector": selector(draw)}),
            3 => json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "green"}}}),
            _ => {
                json!({"ipBlock": {"cidr": "10.0.0.0/16", "except": draw.one(&[&["10.0.0.0/24"][..], &["10.0.0.8/29", "10.0.5.0/24"], &[]])}})
            }
        };
        rule[peers] = (0..=draw.below(2)).map(|_| peer(draw)).collect();
    }
    if draw.chance(60) {
        let port = |draw: &mut Draw| match draw.below(6) {
            0 => json!({"port": 80}),
            1 => json!({"protocol": "TCP", "port": 8080, "endPort": 8090}),
            2 => json!({"protocol": "TCP", "port": "web"}),
            3 => json!({"protocol": "UDP", "port": "dns"}),
            4 => json!({"protocol": draw.one(&["UDP", "SCTP"])}),
            _ => json!({"port": "unknown"}),
        };
        rule["ports"] = (0..=draw.below(2)).map(|_| port(draw)).collect();
    }
    rule
}

pub fn policy(draw: &mut Draw, namespace: &str, name: &str) -> Value {
    let mut spec = json!({"podSelector": selector(draw)});
    if draw.chance(60) {
        spec["policyTypes"] = json!(draw.one(&[&["Ingress"][..], &["Egress"], &["Ingress", "Egress"], &[]]));
    }
    if draw.chance(70) {
        spec["ingress"] = (0..draw.below(3)).map(|_| rule(draw, "from")).collect();
    }
    if draw.chance(60) {
        spec["egress"] = (0..draw.below(3)).map(|_| rule(draw, "to")).collect();
    }
    crate::policy(namespace, name, &spec)
}

pub fn pod(draw: &mut Draw, number: usize) -> Value {
    let (own, labels, port) = (draw.one(&["red", "green"]), labels(draw), draw.one(&[80, 8080]));
    let ip = format!("10.0.0.{}", number + 1);
    let mut pod = crate::pod(
        own,
        &format!("p{number}"),
        &labels,
        draw.one(&["here", "there"]),
        &ip,
        port,
    );
    if draw.chance(10) {
        pod["status"]["phase"] = json!("Succeeded");
    }
    if draw.chance(8) {
        pod["spec"]["hostNetwork"] = json!(true);
    }
    pod
}
