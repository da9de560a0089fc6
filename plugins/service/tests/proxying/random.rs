//! Random endpoints and changes, against Kubernetes' own choice and against a fresh instance.
use crate::{endpoint, of, service, slice};
use sampan_sdk::{
    Value,
    serde_json::{Map, json},
    testing::{Datapath, Draw},
};
use service::Service;

/// Kubernetes' own choice, written down again as it does it: endpoint by endpoint, policy by policy.
fn as_documented(states: &[(&str, &str)], policy_is_local: bool) -> String {
    let usable = |wanted: &str, local: bool| {
        let numbered = states.iter().enumerate();
        let chosen = numbered.filter(|(_, (node, state))| *state == wanted && (!local || *node == "here"));
        chosen.map(|(last, _)| (last + 1).to_string()).collect::<Vec<_>>()
    };
    for wanted in ["ready", "draining"] {
        let chosen = usable(wanted, policy_is_local);
        if !chosen.is_empty() {
            return chosen.join(" ");
        }
    }
    let anywhere = !usable("ready", false).is_empty() || !usable("draining", false).is_empty();
    if anywhere { "drop" } else { "reject" }.to_owned()
}

#[test]
fn random_endpoints_are_chosen_as_documented() {
    let mut draw = Draw::new(1);
    for _ in 0..500 {
        let states: Vec<(&str, &str)> = (0..draw.below(6))
            .map(|_| {
                (
                    draw.one(&["here", "there"]),
                    draw.one(&["ready", "not", "draining", "gone"]),
                )
            })
            .collect();
        let policies = [draw.one(&["Cluster", "Local"]), draw.one(&["Cluster", "Local"])];
        let spec = json!({"type": "NodePort", "internalTrafficPolicy": policies[0], "externalTrafficPolicy": policies[1],
            "ports": [{"name": "http", "port": 80, "nodePort": 30080}]});
        let anywhere = as_documented(&states, false);
        let internal = as_documented(&states, policies[0] == "Local");
        let external = match policies[1] {
            "Local" => as_documented(&states, true),
            _ => "same".to_owned(),
        };
        assert_eq!(
            of(spec, &states),
            [
                format!("10.96.0.10 Tcp Cluster 80: {internal} / same"),
                format!("node-V4 Tcp NodePort 30080: {anywhere} / {external}")
            ],
            "{states:?} {policies:?}"
        );
    }
}

/// Services and slices come, change and go; what was answered in all is what a fresh instance would answer.
#[test]
fn changes_add_up_to_the_whole() {
    let mut draw = Draw::new(2);
    let mut datapath = Datapath::<Service>::new("here", &Value::Null);
    let mut there = Map::new();
    for step in 0..400 {
        let name = format!("s{}", draw.below(5));
        let (kind, object) = if draw.chance(40) {
            // Some share addresses and node ports, as they must not and may.
            let address = format!("10.96.0.{}", draw.below(4));
            let spec = json!({"type": draw.one(&["ClusterIP", "NodePort"]), "clusterIP": address, "clusterIPs": [address],
                "ports": [{"name": "http", "port": 80, "nodePort": 30000 + draw.below(3)}]});
            ("Service", service(&name, &spec))
        } else {
            let states = ["ready", "not", "draining"];
            let endpoints: Vec<Value> = (0..draw.below(4))
                .map(|n| endpoint(n, draw.one(&["here", "there"]), draw.one(&states)))
                .collect();
            // A slice may change hands.
            (
                "EndpointSlice",
                slice(&format!("slice{}", draw.below(6)), &name, &endpoints),
            )
        };
        let own = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let known = format!("{kind} {own}");
        if there.contains_key(&known) && draw.chance(30) {
            there.remove(&known);
            datapath.delete(kind, "default", &own);
        } else {
            there.insert(known, Value::Null);
            datapath.apply(&[object]);
        }
        if step % 10 == 0 {
            datapath.agrees_with_a_fresh_one();
        }
    }
}
