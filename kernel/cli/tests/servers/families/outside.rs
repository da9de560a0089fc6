//! A dual-stack cluster from outside: load balancers at the nodes' addresses and at those of a pool, and Ingresses.
use super::{Pods, host_of, object};
use crate::{
    group::{Group, NODES},
    network::{ip, ip_v6},
    nodes::until,
    reaching::{OFTEN, answering, apply, by_name, fetch, from_outside, names},
};
use serde_json::Value;
use std::collections::BTreeSet;

/// The servers of both families by one port of an address.
const BALANCED: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: outside}
spec:
  type: LoadBalancer
  ipFamilyPolicy: PreferDualStack
  selector: {app: web}
  ports: [{port: 8088, targetPort: 8080}]
"#;

/// A host of a Service of both families, and one of a Service of IPv6 alone.
const ROUTED: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: six}
spec:
  ipFamilies: [IPv6]
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec:
  rules:
  - host: web.example
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}
  - host: six.example
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: six, port: {number: 80}}}}]}
"#;

/// What the network between hosts leads to the nodes, to one of them each, and what of it load balancers are given.
const LED: [&str; 2] = ["203.0.113.0/28", "2001:db8:7::/64"];
const POOL: &str = r#"["203.0.113.5-203.0.113.9","2001:db8:7::/64"]"#;
const FIRST: [&str; 2] = ["203.0.113.5", "2001:db8:7::1"];

/// The addresses that an object says it is reached at.
fn addresses(group: &Group, name: &str) -> BTreeSet<String> {
    let object = object(group, name);
    let all = object.pointer("/status/loadBalancer/ingress").and_then(Value::as_array);
    let all = all.into_iter().flatten();
    all.filter_map(|one| Some(one["ip"].as_str()?.to_owned())).collect()
}

/// Those of the nodes, of both families.
fn of_nodes() -> BTreeSet<String> {
    NODES.iter().flat_map(|host| [ip(*host), ip_v6(*host)]).collect()
}

/// All servers answer at an address.
async fn answers(group: &Group, pods: &Pods, address: &str) {
    let url = format!("http://{}:8088/", host_of(address));
    until(group, "it answers", || from_outside(&url).is_some()).await;
    assert_eq!(answering(OFTEN, || from_outside(&url)), names(&pods.web), "{url}");
}

/// A load balancer is reached at each node's addresses, and at one of each family where there is a pool of both.
pub async fn balanced(group: &Group, pods: &Pods) {
    apply(group, BALANCED);
    until(group, "it has the addresses of the nodes", || {
        addresses(group, "service outside") == of_nodes()
    })
    .await;
    for address in of_nodes() {
        answers(group, pods, &address).await;
    }
    pooled(group, pods).await;
    group.ok(0, "delete service outside");
}

async fn pooled(group: &Group, pods: &Pods) {
    let patch =
        |pool: &str| format!(r#"patch plugin load-balancer --type merge -p {{"spec":{{"config":{{"pool":{pool}}}}}}}"#);
    let refused = group.run(0, &patch(r#"["fd00::/48"]"#));
    assert!(
        refused.code != Some(0)
            && refused.err.contains("spec.config")
            && refused.err.contains("pool[0]: \"fd00::/48\" is too large"),
        "{refused:?}"
    );
    group.ok(0, &patch(r#"["fd96::ff00/120"]"#));
    until(group, "what is of Services is for no load balancer", || {
        let said = "\"fd96::ff00/120\" overlaps with fd96::/112, which the cluster gives to services";
        group.run(0, "events").out.contains(said)
    })
    .await;
    assert_eq!(addresses(group, "service outside"), of_nodes(), "what it had stays");

    group.network.lead(LED[0], &ip(NODES[0]));
    group.network.lead(LED[1], &ip_v6(NODES[1]));
    group.ok(0, &patch(POOL));
    until(group, "it has an address of each family", || {
        addresses(group, "service outside") == FIRST.map(str::to_owned).into()
    })
    .await;
    for address in FIRST {
        answers(group, pods, address).await;
        let url = format!("http://{}:8088/", host_of(address));
        for client in &pods.clients {
            assert_eq!(
                answering(OFTEN, || fetch(group, client, &url)),
                names(&pods.web),
                "{url}"
            );
        }
    }
    group.ok(0, &patch("null"));
    until(group, "it is at the nodes' addresses again", || {
        addresses(group, "service outside") == of_nodes()
    })
    .await;
}

/// Ingresses are answered at all addresses of nodes, and lead to servers by either family.
pub async fn routed(group: &Group, pods: &Pods) {
    apply(group, ROUTED);
    let service = object(group, "service six");
    assert_eq!(service["spec"]["ipFamilies"], serde_json::json!(["IPv6"]));
    until(group, "the Ingress says where it is reached", || {
        addresses(group, "ingress web") == of_nodes()
    })
    .await;
    for address in of_nodes() {
        let at = host_of(&address);
        for name in ["web.example", "six.example"] {
            until(group, "the ingress answers", || by_name(&at, name).is_some()).await;
            assert_eq!(
                answering(OFTEN, || by_name(&at, name)),
                names(&pods.web),
                "{name} at {at}"
            );
        }
        assert_eq!(by_name(&at, "other.example"), None, "no rule is for it");
    }
    group.ok(0, "delete ingress web");
    group.ok(0, "delete service six");
}
