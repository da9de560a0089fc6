//! Which packets pass, on the node `here`: what the rules that came out say, against what the policies say by Kubernetes'
//! documentation, read anew from the objects.
mod documented;
mod random;

use network_policy::NetworkPolicy;
use sampan_sdk::{
    Value,
    network::{Address, Entry, Op, Protocol, Rule, address},
    serde_json::json,
    testing::{Datapath, Draw},
};

fn pod(namespace: &str, name: &str, labels: &Value, node: &str, ip: &str, port: u16) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"nodeName": node, "containers": [{"ports": [{"name": "web", "containerPort": port},
            {"name": "dns", "containerPort": 53, "protocol": "UDP"}]}]},
        "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]}})
}

fn namespace(name: &str, labels: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
}

fn policy(namespace: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace}, "spec": spec})
}

/// One packet that opens a connection, as the pod `pod` of this node sees it.
struct Packet<'a> {
    ingress: bool,
    other: &'a str,
    protocol: &'a str,
    port: u16,
}

/// Whether the rules that came out let a packet pass.
fn passes(entries: &[Entry], namespace: &str, name: &str, packet: &Packet<'_>) -> bool {
    let rules = entries.iter().find_map(|entry| match entry {
        Entry::Rules(rules) if rules.pod.namespace == namespace && rules.pod.name == name => Some(rules),
        _ => None,
    });
    let rules = rules.and_then(|rules| {
        if packet.ingress {
            rules.ingress.as_ref()
        } else {
            rules.egress.as_ref()
        }
    });
    rules.is_none_or(|rules| rules.iter().any(|rule| allows(entries, rule, packet)))
}

fn allows(entries: &[Entry], rule: &Rule, packet: &Packet<'_>) -> bool {
    let other: Address = address(packet.other).unwrap();
    let protocol = match packet.protocol {
        "TCP" => Protocol::Tcp,
        "UDP" => Protocol::Udp,
        _ => Protocol::Sctp,
    };
    let members = |wanted: &String| {
        let set = entries.iter().find_map(|entry| match entry {
            Entry::Peers(set) if set.name == *wanted => Some(&set.members),
            _ => None,
        });
        set.unwrap_or_else(|| panic!("no set {wanted}"))
    };
    let peers = rule
        .peers
        .as_ref()
        .is_none_or(|set| members(set).iter().any(|range| range.contains(other)));
    let ports = rule.ports.as_ref().is_none_or(|ports| {
        ports
            .iter()
            .any(|one| one.protocol == protocol && (one.first..=one.last).contains(&packet.port))
    });
    peers && ports
}

/// Compares all packets between a node's pods and everybody.
fn compare(datapath: &Datapath<NetworkPolicy>, objects: &[Value]) {
    let entries = datapath.entries();
    let pods = || objects.iter().filter(|object| object["kind"] == "Pod");
    let mut others: Vec<&str> = pods().filter_map(|pod| pod["status"]["podIP"].as_str()).collect();
    others.extend(["198.51.100.1", "10.0.0.200", "10.0.5.5"]);
    let is_here = |pod: &&Value| {
        pod["spec"]["nodeName"] == "here" && pod["spec"]["hostNetwork"] != true && pod["status"]["phase"] == "Running"
    };
    for pod in pods().filter(is_here) {
        let text = |field: &str| pod["metadata"][field].as_str().unwrap();
        for &other in others.iter().filter(|other| pod["status"]["podIP"] != **other) {
            for (ingress, protocol, port) in [true, false]
                .iter()
                .flat_map(|&ingress| PROBES.iter().map(move |&(protocol, port)| (ingress, protocol, port)))
            {
                let packet = Packet {
                    ingress,
                    other,
                    protocol,
                    port,
                };
                let expected = documented::passes(objects, pod, &packet);
                let found = passes(&entries, text("namespace"), text("name"), &packet);
                let policies: Vec<_> = objects
                    .iter()
                    .filter(|object| object["kind"] == "NetworkPolicy")
                    .collect();
                assert_eq!(
                    found,
                    expected,
                    "{} and {other}, {protocol} {port}, ingress {ingress}, by {policies:#?}",
                    text("name")
                );
            }
        }
    }
}

const PROBES: &[(&str, u16)] = &[("TCP", 80), ("TCP", 8080), ("TCP", 8085), ("UDP", 53), ("SCTP", 80)];

fn key(object: &Value) -> (String, String, String) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (
        text(&object["kind"]),
        text(&object["metadata"]["namespace"]),
        text(&object["metadata"]["name"]),
    )
}

/// Random policies over random pods, which then change at random: at each step the rules say what the documentation says,
/// and the sum of all changes is what a fresh instance would answer.
#[test]
fn random_policies_mean_what_is_documented() {
    for seed in 0..25 {
        let draw = &mut Draw::new(seed);
        let mut objects: Vec<Value> = vec![
            namespace("red", &random::labels(draw)),
            namespace("green", &random::labels(draw)),
        ];
        objects.extend((0..8).map(|number| random::pod(draw, number)));
        for number in 0..4 {
            let own = draw.one(&["red", "green"]);
            objects.push(random::policy(draw, own, &format!("n{number}")));
        }
        let mut datapath = Datapath::<NetworkPolicy>::new("here", &Value::Null);
        datapath.apply(&objects);
        compare(&datapath, &objects);
        for _ in 0..12 {
            let number = draw.below(8);
            let own = draw.one(&["red", "green"]);
            let policy = format!("n{}", draw.below(4));
            let changed = match draw.below(4) {
                0 => namespace(own, &random::labels(draw)),
                1 => random::policy(draw, own, &policy),
                _ => random::pod(draw, number),
            };
            let known = objects.iter().position(|object| key(object) == key(&changed));
            match known {
                Some(known) if draw.chance(25) && changed["kind"] != "Namespace" => {
                    objects.remove(known);
                    let (kind, namespace, name) = key(&changed);
                    datapath.delete(&kind, &namespace, &name);
                }
                Some(known) => {
                    datapath.apply(std::slice::from_ref(&changed));
                    objects[known] = changed;
                }
                // A pod of the other namespace has the address.
                None if changed["kind"] == "Pod" => {}
                None => {
                    datapath.apply(std::slice::from_ref(&changed));
                    objects.push(changed);
                }
            }
            compare(&datapath, &objects);
            datapath.agrees_with_a_fresh_one();
        }
    }
}

#[test]
fn a_pod_elsewhere_changes_a_set_and_no_rule() {
    let from_b = json!({"podSelector": {"matchLabels": {"app": "a"}}, "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "b"}}}]}]});
    let mut datapath = Datapath::<NetworkPolicy>::new("here", &Value::Null);
    datapath.apply(&[
        pod("red", "p1", &json!({"app": "a"}), "here", "10.0.0.1", 80),
        pod("red", "p2", &json!({"app": "a"}), "here", "10.0.0.2", 80),
        policy("red", "n", &from_b),
    ]);
    assert_eq!(datapath.entries().len(), 3);
    let ops = datapath.apply(&[pod("red", "p3", &json!({"app": "b"}), "there", "10.0.0.3", 80)]);
    assert!(
        matches!(&ops[..], [Op::Set(Entry::Peers(set))] if set.name == "red/n/ingress/0" && set.members.len() == 1),
        "{ops:?}"
    );
    let ops = datapath.apply(&[pod("red", "p4", &json!({"app": "a"}), "there", "10.0.0.4", 80)]);
    assert_eq!(ops, [], "a pod elsewhere that the policy takes is of no interest here");
    datapath.delete("Pod", "red", "p1");
    let ops = datapath.delete("Pod", "red", "p2");
    assert_eq!(ops.len(), 2, "the last pod here takes the policy's set along: {ops:?}");
    assert!(datapath.entries().is_empty());
}

#[test]
fn nobody_is_isolated_without_a_policy_and_an_empty_one_isolates_all() {
    let mut datapath = Datapath::<NetworkPolicy>::new("here", &Value::Null);
    let own = pod("red", "p", &json!({}), "here", "10.0.0.1", 80);
    assert_eq!(datapath.apply(&[own]), []);
    datapath.apply(&[policy(
        "red",
        "deny",
        &json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}),
    )]);
    let entries = datapath.entries();
    let [Entry::Rules(rules)] = &entries[..] else {
        panic!("{entries:?}")
    };
    assert_eq!(
        (rules.ingress.as_deref(), rules.egress.as_deref()),
        (Some(&[][..]), Some(&[][..]))
    );
    datapath.apply(&[policy("red", "allow", &json!({"podSelector": {}, "egress": [{}]}))]);
    let entries = datapath.entries();
    let [Entry::Rules(rules)] = &entries[..] else {
        panic!("{entries:?}")
    };
    assert_eq!(
        rules.egress.as_deref(),
        Some(
            &[Rule {
                peers: None,
                ports: None
            }][..]
        )
    );
}

/// What cannot be read must not open anything.
#[test]
fn blocks_and_ports_that_make_no_sense_allow_nothing() {
    let mut datapath = Datapath::<NetworkPolicy>::new("here", &Value::Null);
    datapath.apply(&[
        pod("red", "p", &json!({}), "here", "10.0.0.1", 80),
        policy(
            "red",
            "odd",
            &json!({"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["all"]}}]},
                {"from": [{"ipBlock": {"cidr": "everywhere"}}, {}]}, {"ports": [{"port": 90, "endPort": 80}, {"port": 70000}]}]}),
        ),
    ]);
    let entries = datapath.entries();
    for (protocol, port) in PROBES {
        let packet = Packet {
            ingress: true,
            other: "10.9.9.9",
            protocol,
            port: *port,
        };
        assert!(!passes(&entries, "red", "p", &packet), "{protocol} {port}: {entries:?}");
    }
}
