//! Pods of several nodes: they reach each other by address, by Service and by name, and only where policies let them.
use crate::{
    group::{Group, METRICS, NODES, play},
    network::ip,
    nodes::{Wipe, ended, join_nodes, pods, until},
    tools::have,
    traces,
};
use serde_json::Value;
use std::{process::Command, time::Duration};

/// A web server on each node that says which pod it is, with a Service.
const MANIFEST: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: main
        image: busybox:1
        command: [sh, -c, "echo $HOSTNAME > /tmp/index.html; dd if=/dev/zero of=/tmp/large bs=1024 count=1024; exec httpd -f -p 8080 -h /tmp"]
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

/// The same servers by the nodes' own addresses, by a host's name, and by a port of the one node that has the pod.
const OUTSIDE: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: outside}
spec:
  type: LoadBalancer
  selector: {app: web}
  ports: [{port: 8088, targetPort: 8080}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec:
  rules:
  - host: web.example
    http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: web, port: {name: http}}}}
---
apiVersion: v1
kind: Pod
metadata: {name: host-port}
spec:
  terminationGracePeriodSeconds: 1
  nodeName: n3
  containers:
  - name: main
    image: busybox:1
    command: [sh, -c, "echo by a host port > /tmp/index.html; exec httpd -f -p 8080 -h /tmp"]
    ports: [{containerPort: 8080, hostPort: 8090}]
"#;

/// Nothing gets to the servers but from clients on the first node.
const POLICY: &str = r#"
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress:
  - from:
    - podSelector: {matchLabels: {allowed: "yes"}}
    ports: [{port: 8080}]
"#;

/// Seconds that one request to the Service may take, and how often one is sent to see everybody behind it.
const PATIENCE: &str = "3";
pub const OFTEN: usize = 30;

struct Pods {
    web: Vec<Value>,
    clients: Vec<Value>,
}

pub fn of_app(group: &Group, app: &str) -> Vec<Value> {
    // One of each node, in their order.
    let of_node = |host: &usize| {
        let pods = pods(group, 0, Some(*host));
        let found = pods.into_iter().find(|pod| pod["metadata"]["labels"]["app"] == app);
        found.unwrap_or_else(|| panic!("n{host} has no {app}"))
    };
    NODES.iter().map(of_node).collect()
}

async fn set_up(group: &mut Group) -> (Wipe, Pods) {
    let wipe = join_nodes(group).await;
    apply_with_clients(group, MANIFEST, "busybox:1");
    group.ok(0, "rollout status deployment/web --timeout=60s");
    group.ok(0, "rollout status deployment/client --timeout=60s");
    let pods = Pods {
        web: of_app(group, "web"),
        clients: of_app(group, "client"),
    };
    (wipe, pods)
}

/// A pod on each of two nodes that does nothing, for tests to act from within.
const CLIENT: &str = r#"
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: client}
spec:
  replicas: 2
  selector: {matchLabels: {app: client}}
  template:
    metadata: {labels: {app: client}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: main
        image: IMAGE
        command: [sh, -c, "trap 'exit 0' TERM; sleep 600 & wait"]
        resources: {requests: {cpu: 10m}}
"#;

/// Applies what a test is about, and clients of an image.
pub fn apply_with_clients(group: &Group, manifest: &str, image: &str) {
    apply(group, &[manifest, &CLIENT.replace("IMAGE", image)].concat());
}

pub fn apply(group: &Group, manifest: &str) {
    let file = group.dir.path().join("manifest.yaml");
    std::fs::write(&file, manifest).unwrap();
    group.ok(0, &format!("apply -f {}", file.display()));
}

pub fn text<'a>(pod: &'a Value, pointer: &str) -> &'a str {
    pod.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// What a command prints in a pod's container; none if it fails.
pub fn inside(group: &Group, pod: &Value, args: &[&str]) -> Option<String> {
    let node = text(pod, "/spec/nodeName");
    let host: usize = node.strip_prefix('n')?.parse().ok()?;
    let found = traces::of_pods(&group.data(host), std::slice::from_ref(pod));
    let (_, containers) = found.first()?;
    let target = containers.first()?.to_string();
    let mut command = Command::new("timeout");
    command
        .args([PATIENCE, "nsenter", "--target", &target, "--mount", "--net", "--root"])
        .args(args);
    printed(&mut command)
}

fn printed(command: &mut Command) -> Option<String> {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then_some(text)
}

pub fn fetch(group: &Group, pod: &Value, url: &str) -> Option<String> {
    inside(group, pod, &["/bin/wget", "-q", "-O", "-", url])
}

/// The pods that answer at an address, by name, when it is asked often.
pub fn answering(often: usize, ask: impl Fn() -> Option<String>) -> Vec<String> {
    let mut names: Vec<String> = (0..often)
        .map(|_| ask().unwrap_or_else(|| "nobody".to_owned()))
        .collect();
    names.iter_mut().for_each(|name| *name = name.trim().to_owned());
    names.sort();
    names.dedup();
    names
}

pub fn names(pods: &[Value]) -> Vec<String> {
    let mut names: Vec<String> = pods.iter().map(|pod| text(pod, "/metadata/name").to_owned()).collect();
    names.sort();
    names
}

/// A request from a machine that belongs to no cluster.
pub fn from_outside(url: &str) -> Option<String> {
    printed(Command::new("timeout").args([PATIENCE, "busybox", "wget", "-q", "-O", "-", url]))
}

#[test]
fn pods_of_all_nodes_are_reached_by_address_by_service_and_by_name() {
    if !have(&["busybox", "nsenter"]) {
        return;
    }
    play(None, async |group| {
        let (_wipe, pods) = set_up(group).await;
        let all = names(&pods.web);
        for client in &pods.clients {
            for web in &pods.web {
                let address = text(web, "/status/podIP");
                let answer = fetch(group, client, &format!("http://{address}:8080/"));
                assert_eq!(answer.unwrap_or_default().trim(), text(web, "/metadata/name"));
                let large = fetch(group, client, &format!("http://{address}:8080/large"));
                assert_eq!(large.map(|large| large.len()), Some(1 << 20));
            }
        }
        let service: Value = serde_json::from_str(&group.ok(0, "get service web -o json")).unwrap();
        let address = text(&service, "/spec/clusterIP").to_owned();
        for client in &pods.clients {
            for url in [
                format!("http://{address}/"),
                "http://web/".to_owned(),
                "http://web.default.svc.cluster.local/".to_owned(),
            ] {
                let seen = answering(OFTEN, || fetch(group, client, &url));
                assert_eq!(seen, all, "{url} from {}", text(client, "/metadata/name"));
            }
        }
        // A server reaches itself through its Service, too.
        let seen = answering(OFTEN, || fetch(group, &pods.web[0], "http://web/"));
        assert_eq!(seen, all);
        for host in NODES {
            let by_node = || {
                let mut wget = group.network.command(host, "timeout".as_ref());
                printed(wget.args([
                    PATIENCE,
                    "busybox",
                    "wget",
                    "-q",
                    "-O",
                    "-",
                    &format!("http://{address}/"),
                ]))
            };
            assert_eq!(answering(OFTEN, by_node), all, "from the node n{host} itself");
            let url = format!("http://{}:30080/", ip(host));
            assert_eq!(answering(OFTEN, || from_outside(&url)), all, "{url} from outside");
        }
        group.ok(0, "delete service web");
        until(group, "the Service is gone", || {
            fetch(group, &pods.clients[0], &format!("http://{address}/")).is_none()
        })
        .await;
        group.ok(0, "delete deployment web client");
        ended(group).await;
    });
}

/// A request for a host by that name, to a node's address as it is written in an URL.
pub fn by_name(at: &str, name: &str) -> Option<String> {
    let (header, url) = (format!("Host: {name}"), format!("http://{at}/"));
    printed(Command::new("timeout").args([PATIENCE, "busybox", "wget", "-q", "-O", "-", "--header", &header, &url]))
}

#[test]
fn pods_are_reached_from_outside_and_their_ways_are_told() {
    if !have(&["busybox", "nsenter"]) {
        return;
    }
    play(None, async |group| {
        let (_wipe, pods) = set_up(group).await;
        let all = names(&pods.web);
        apply(group, OUTSIDE);
        let addresses = NODES.map(ip);
        until(group, "the load balancer has the nodes' addresses", || {
            let service = group.ok(0, "get service outside -o json");
            addresses.iter().all(|address| service.contains(address))
        })
        .await;
        for host in NODES {
            let url = format!("http://{}:8088/", ip(host));
            until(group, "the load balancer answers", || from_outside(&url).is_some()).await;
            assert_eq!(answering(OFTEN, || from_outside(&url)), all, "{url}");
            until(group, "the ingress answers", || {
                by_name(&ip(host), "web.example").is_some()
            })
            .await;
            assert_eq!(answering(OFTEN, || by_name(&ip(host), "web.example")), all);
            assert_eq!(by_name(&ip(host), "other.example"), None, "no rule is for it");
        }
        until(group, "the Ingress says where it is reached", || {
            let listed = group.ok(0, "get ingress web");
            addresses.iter().all(|address| listed.contains(address))
        })
        .await;
        let url = format!("http://{}:8090/", ip(NODES[0]));
        until(group, "the host port answers", || from_outside(&url).is_some()).await;
        assert_eq!(from_outside(&format!("http://{}:8090/", ip(NODES[1]))), None);

        let peers: Value = serde_json::from_str(&group.ok(0, "get peers -o json")).unwrap();
        let connected = |peer: &Value| peer["connected"] == true;
        let items = peers["items"].as_array().unwrap();
        assert!(items.len() == 2 && items.iter().all(connected), "{peers}");
        let client = text(&pods.clients[0], "/metadata/name");
        let trace = group.ok(0, &format!("net trace {client} svc/web:http -o json"));
        let trace: Value = serde_json::from_str(&trace).unwrap();
        let steps = trace["steps"].as_array().unwrap();
        let arrives: Vec<&Value> = steps.iter().filter(|step| step["verdict"] == "arrives").collect();
        assert_eq!(arrives.len(), 2, "{trace}");
        for pod in &pods.web {
            let at = |step: &&&Value| {
                step["node"] == text(pod, "/spec/nodeName")
                    && step["text"].as_str().unwrap().contains(text(pod, "/metadata/name"))
            };
            assert_eq!(arrives.iter().filter(at).count(), 1, "{trace}");
        }
        let nowhere = group.run(0, &format!("net trace {client} 10.42.99.1:80"));
        assert!(
            nowhere.code != Some(0) && nowhere.out.contains("no node has 10.42.99.1"),
            "{nowhere:?}"
        );
        figures_of(group);
        group.ok(0, "delete pod host-port");
        group.ok(0, "delete ingress web");
        group.ok(0, "delete service web outside");
        group.ok(0, "delete deployment web client");
        ended(group).await;
    });
}

/// What each node says of its network to Prometheus.
fn figures_of(group: &Group) {
    for host in NODES {
        let mut wget = group.network.command(host, "timeout".as_ref());
        let url = format!("http://{METRICS}/metrics");
        let text = printed(wget.args([PATIENCE, "busybox", "wget", "-q", "-O", "-", &url])).expect("figures");
        let other = NODES[0] + NODES[1] - host;
        let value = |series: &str| -> f64 {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
            line.and_then(|value| value.parse().ok())
                .unwrap_or_else(|| panic!("no {series} in {text}"))
        };
        let peer = |name: &str| value(&format!("sampan_peer_{name}{{peer=\"n{other}\"}}"));
        assert_eq!(peer("connected"), 1.0);
        assert!(peer("rtt_seconds") > 0.0 && peer("path_mtu_bytes") > 1200.0);
        assert!(peer("received_bytes_total") > 0.0 && peer("sent_bytes_total") > 0.0);
        assert_eq!(value("sampan_service_endpoints{service=\"default/web:http\"}"), 2.0);
        assert!(value("sampan_service_frontends{service=\"default/web:http\"}") >= 2.0);
        let frontend = format!("service=\"default/outside:\",frontend=\"{}:8088/tcp\"", ip(host));
        assert!(value(&format!("sampan_service_connections_total{{{frontend}}}")) >= OFTEN as f64);
        assert!(value("sampan_ingress_requests_total{class=\"2xx\"}") >= OFTEN as f64);
        assert_eq!(value("sampan_ingress_requests_in_flight"), 0.0);
        assert!(text.contains("# TYPE sampan_dns_answers_total counter"), "{text}");
    }
    let outside = from_outside(&format!("http://{}:9444/metrics", ip(NODES[0])));
    assert_eq!(outside, None, "figures are for the machine itself");
}

#[test]
fn policies_hold_on_all_nodes() {
    if !have(&["busybox", "nsenter"]) {
        return;
    }
    play(None, async |group| {
        let (_wipe, pods) = set_up(group).await;
        let [web, other] =
            [&pods.web[0], &pods.web[1]].map(|pod| format!("http://{}:8080/", text(pod, "/status/podIP")));
        let [near, far] = [&pods.clients[0], &pods.clients[1]];
        let reached = |group: &Group, from: &Value, url: &str| fetch(group, from, url).is_some();
        for (from, url) in [(near, &web), (near, &other), (far, &web), (far, &other)] {
            assert!(reached(group, from, url), "{url}");
        }
        apply(group, POLICY);
        for (from, url) in [(near, &web), (near, &other), (far, &web), (far, &other)] {
            until(group, "nobody is let in", || !reached(group, from, url)).await;
        }
        let name = text(near, "/metadata/name");
        group.ok(0, &format!("label pod {name} allowed=yes"));
        for url in [&web, &other] {
            until(group, "who has the label is let in", || reached(group, near, url)).await;
            assert!(!reached(group, far, url), "and nobody else: {url}");
        }
        assert!(reached(group, near, "http://web/"), "through the Service too");
        group.ok(0, "delete networkpolicy web");
        until(group, "all are let in again", || {
            reached(group, far, &web) && reached(group, far, &other)
        })
        .await;
        tokio::time::sleep(Duration::from_millis(10)).await;
        group.ok(0, "delete deployment web client");
        ended(group).await;
    });
}
