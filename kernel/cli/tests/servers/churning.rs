//! Requests of pods through a Service, all the time, while endpoints come and go, and while all servers are away.
use crate::{
    group::{Group, NODES, SERVERS, play},
    network::ip,
    nodes::{Wipe, ended, join_all, pods, until},
    reaching::apply_with_clients,
    steady::{Steady, lookups, of_pod, pages},
    tools::have,
};
use serde_json::Value;
use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

/// A web server that answers for a while after it was told to end, as one does that ends gracefully.
const MANIFEST: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 4
  strategy: {rollingUpdate: {maxUnavailable: 0, maxSurge: 2}}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 10
      containers:
      - name: main
        image: busybox:1
        command: [sh, -c, "trap 'sleep 2; exit 0' TERM; echo $HOSTNAME > /tmp/index.html; httpd -f -p 8080 -h /tmp & wait"]
        readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
        resources: {requests: {cpu: 10m}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  selector: {app: web}
  ports:
  - {name: http, port: 80, targetPort: 8080, nodePort: 30080}
"#;

/// Where a node's pods ask for names.
pub fn dns_of(group: &Group, host: usize) -> SocketAddr {
    let node: Value = serde_json::from_str(&group.ok(0, &format!("get node n{host} -o json"))).unwrap();
    let range = node["spec"]["podCIDR"].as_str().unwrap();
    let base = range.split('/').next().unwrap().rsplit_once('.').unwrap().0;
    format!("{base}.1:53").parse().unwrap()
}

/// The Service's own address.
pub fn service(group: &Group) -> SocketAddr {
    let service: Value = serde_json::from_str(&group.ok(0, "get service web -o json")).unwrap();
    let address: IpAddr = service["spec"]["clusterIP"].as_str().unwrap().parse().unwrap();
    SocketAddr::new(address, 80)
}

/// Nodes with web servers and clients.
pub async fn set_up(group: &mut Group) -> (Wipe, Vec<Value>) {
    set_up_on(group, &NODES).await
}

/// As [`set_up`], of any hosts, with a client on each.
pub async fn set_up_on(group: &mut Group, hosts: &[usize]) -> (Wipe, Vec<Value>) {
    let wipe = join_all(group, hosts).await;
    apply_with_clients(group, MANIFEST, "busybox:1");
    group.ok(0, "rollout status deployment/web --timeout=60s");
    group.ok(0, "rollout status deployment/client --timeout=60s");
    group.ok(0, &format!("scale deployment/client --replicas={}", hosts.len()));
    group.ok(0, "rollout status deployment/client --timeout=60s");
    let of_node = |host: &usize| of_app(group, "client", *host).remove(0);
    let clients = hosts.iter().map(of_node).collect();
    (wipe, clients)
}

/// The pods of an app on a node.
pub fn of_app(group: &Group, app: &str, host: usize) -> Vec<Value> {
    let mut found = pods(group, 0, Some(host));
    found.retain(|pod| pod["metadata"]["labels"]["app"] == app);
    assert!(!found.is_empty(), "n{host} has no {app}");
    found
}

/// Requests and questions from the clients of all nodes, and from outside.
fn streams(group: &Group, clients: &[Value]) -> Vec<Steady> {
    let service = service(group);
    let mut streams = Vec::new();
    for (client, host) in clients.iter().zip(NODES) {
        let network = of_pod(group, client);
        streams.push(Steady::begin(
            &network,
            &format!("Service from n{host}"),
            pages(service),
        ));
        let names = lookups(dns_of(group, host), "web.default.svc.cluster.local");
        streams.push(Steady::begin(&network, &format!("DNS on n{host}"), names));
        let node_port = format!("{}:30080", ip(host)).parse().unwrap();
        streams.push(Steady::begin(
            &group.network.outside(),
            &format!("node port of n{host}"),
            pages(node_port),
        ));
    }
    streams.iter().for_each(Steady::answered);
    streams
}

#[test]
fn no_request_fails_while_endpoints_come_and_go() {
    if !have(&["busybox", "nsenter"]) {
        return;
    }
    play(None, async |group| {
        let (_wipe, clients) = set_up(group).await;
        let streams = streams(group, &clients);
        for _ in 0..2 {
            group.ok(0, "rollout restart deployment/web");
            group.ok(0, "rollout status deployment/web --timeout=120s");
        }
        group.ok(0, "scale deployment/web --replicas=2");
        until(group, "some have ended", || web(group) == 2).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        streams.into_iter().for_each(|stream| stream.end_well(200));
        group.ok(0, "delete deployment web client");
        group.ok(0, "delete service web");
        ended(group).await;
    });
}

fn web(group: &Group) -> usize {
    let all = pods(group, 0, None);
    all.iter()
        .filter(|pod| pod["metadata"]["labels"]["app"] == "web")
        .count()
}

#[test]
fn no_request_fails_while_all_servers_are_away() {
    if !have(&["busybox", "nsenter"]) {
        return;
    }
    play(None, async |group| {
        let (_wipe, clients) = set_up(group).await;
        let streams = streams(group, &clients);
        (0..SERVERS).for_each(|host| group.kill(host));
        tokio::time::sleep(Duration::from_secs(6)).await;
        group.start_all().await;
        group.settled().await;
        // And what changes then is followed.
        group.ok(0, "scale deployment/web --replicas=6");
        group.ok(0, "rollout status deployment/web --timeout=60s");
        streams.into_iter().for_each(|stream| stream.end_well(200));
        group.ok(0, "delete deployment web client");
        group.ok(0, "delete service web");
        ended(group).await;
    });
}
