//! A dual-stack cluster: pods of two nodes have an address of each family and are reached by both, by address, by Service and
//! by name, where policies let them.
mod outside;

use crate::{
    group::{Group, HUB, NODES, PATIENCE, SERVERS, play_with},
    network::{ip, ip_v6},
    nodes::{Wipe, ended, is_ready, join_nodes, until},
    reaching::{OFTEN, answering, apply, apply_with_clients, fetch, from_outside, inside, names, of_app, text},
    tools::have,
};
use serde_json::Value;
use std::time::Instant;

/// The ranges of Services, of IPv6.
pub const SERVICES: &str = "fd96::/112";

/// What the cluster is made with.
const RANGES: &str = "--cluster-cidr 10.42.0.0/16,fd42::/56 --service-cidr 10.96.0.0/12,fd96::/112";

/// A web server on each node that says which pod it is, and by a Service of both families, one without an address, and one
/// that says nothing of families.
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
        command: [sh, -c, "echo $HOSTNAME > /tmp/index.html; echo $IPS > /tmp/ips; exec httpd -f -p 8080 -h /tmp"]
        env: [{name: IPS, valueFrom: {fieldRef: {fieldPath: status.podIPs}}}]
        readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
        resources: {requests: {cpu: 10m}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  ipFamilyPolicy: RequireDualStack
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: 8080, nodePort: 30080}]
---
apiVersion: v1
kind: Service
metadata: {name: each}
spec:
  clusterIP: None
  ipFamilyPolicy: PreferDualStack
  selector: {app: web}
  ports: [{port: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: usual}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
"#;

/// A component on the first node.
const WASM: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: hello}
spec:
  nodeName: n3
  containers: [{name: main, image: "hello:1"}]
"#;

/// By IPv4 everybody is let in, by IPv6 everybody but one.
const POLICY: &str = r#"
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress:
  - from:
    - ipBlock: {cidr: 0.0.0.0/0}
    - ipBlock: {cidr: "fd42::/56", except: ["BUT/128"]}
"#;

fn dual(test: impl AsyncFnOnce(&mut Group) + Send) {
    if !have(&["busybox", "nsenter"]) {
        return;
    }
    let disabled = std::fs::read_to_string("/proc/sys/net/ipv6/conf/default/disable_ipv6");
    if disabled.map_or(true, |disabled| disabled.trim() != "0") {
        return eprintln!("SKIPPED: this machine's kernel has no IPv6");
    }
    play_with(None, RANGES, test);
}

struct Pods {
    web: Vec<Value>,
    clients: Vec<Value>,
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

fn object(group: &Group, name: &str) -> Value {
    serde_json::from_str(&group.ok(0, &format!("get {name} -o json"))).unwrap()
}

fn v6(pod: &Value) -> String {
    text(pod, "/status/podIPs/1/ip").to_owned()
}

/// As it is written in an URL.
fn host_of(address: &str) -> String {
    match address.contains(':') {
        true => format!("[{address}]"),
        false => address.to_owned(),
    }
}

/// What the cluster's DNS says of a name, or of an address.
fn lookup(group: &Group, pod: &Value, kind: &str, name: &str) -> Vec<String> {
    // Of an address it asks for the name by itself.
    let kind_of = format!("-type={kind}");
    let mut words = vec!["/bin/busybox", "nslookup"];
    words.extend((kind != "ptr").then_some(kind_of.as_str()));
    let said = inside(group, pod, &[&words[..], &[name]].concat()).unwrap_or_default();
    let answer = |line: &str| {
        let word = match kind {
            "ptr" => line.split_once("name = ")?.1,
            _ => line.strip_prefix("Address: ")?,
        };
        Some(word.trim().to_owned())
    };
    let mut found: Vec<String> = said.lines().skip(3).filter_map(answer).collect();
    found.sort();
    found
}

/// Every node and every pod has what the ranges give, in both families.
fn have_both(group: &Group, pods: &Pods) {
    for host in NODES {
        let node = object(group, &format!("node n{host}"));
        let ranges: Vec<&str> = ["0", "1"].map(|at| text_of(&node, at)).into();
        assert!(
            ranges[0].starts_with("10.42.") && ranges[1].starts_with("fd42:"),
            "{node}"
        );
        assert_eq!(text(&node, "/spec/podCIDR"), ranges[0]);
        let addresses = node["status"]["addresses"].as_array().unwrap();
        let of: Vec<&str> = addresses.iter().map(|address| text(address, "/address")).collect();
        assert_eq!(of[..2], [ip(host), ip_v6(host)], "{node}");
    }
    for pod in pods.web.iter().chain(&pods.clients) {
        let (first, second) = (text(pod, "/status/podIP"), v6(pod));
        assert_eq!(text(pod, "/status/podIPs/0/ip"), first);
        assert!(first.starts_with("10.42.") && second.starts_with("fd42:"), "{pod}");
        let host: usize = text(pod, "/spec/nodeName")[1..].parse().unwrap();
        assert_eq!(text(pod, "/status/hostIPs/0/ip"), ip(host));
        assert_eq!(text(pod, "/status/hostIPs/1/ip"), ip_v6(host));
        let hosts = inside(group, pod, &["/bin/cat", "/etc/hosts"]).unwrap();
        let name = text(pod, "/metadata/name");
        for address in [first, &second] {
            assert!(hosts.contains(&format!("{address}\t{name}\n")), "{hosts}");
        }
    }
    for web in &pods.web {
        let said = inside(group, web, &["/bin/cat", "/tmp/ips"]).unwrap();
        assert_eq!(said.trim(), format!("{},{}", text(web, "/status/podIP"), v6(web)));
    }
}

fn text_of<'a>(node: &'a Value, at: &str) -> &'a str {
    text(node, &format!("/spec/podCIDRs/{at}"))
}

/// Each pod reaches each by both addresses.
fn reach_each_other(group: &Group, pods: &Pods) {
    for client in pods.clients.iter().chain(&pods.web) {
        for web in &pods.web {
            for address in [text(web, "/status/podIP").to_owned(), v6(web)] {
                let url = format!("http://{}:8080/", host_of(&address));
                let answer = fetch(group, client, &url).unwrap_or_default();
                let (from, to) = (text(client, "/metadata/name"), text(web, "/metadata/name"));
                assert_eq!(answer.trim(), to, "{url} from {from}");
            }
        }
    }
}

/// The Services have the addresses that they ask for, and answer at all of them.
fn services_answer(group: &Group, pods: &Pods) {
    let all = names(&pods.web);
    let web = object(group, "service web");
    let addresses = [0, 1].map(|at| text(&web, &format!("/spec/clusterIPs/{at}")).to_owned());
    assert!(addresses[1].starts_with("fd96::"), "{web}");
    assert_eq!(web["spec"]["ipFamilies"], serde_json::json!(["IPv4", "IPv6"]));
    let usual = object(group, "service usual");
    assert_eq!(usual["spec"]["ipFamilyPolicy"], "SingleStack");
    assert_eq!(usual["spec"]["clusterIPs"].as_array().map(Vec::len), Some(1));
    let slices = object(group, "endpointslices -l kubernetes.io/service-name=web");
    let mut kinds: Vec<&str> = slices["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|slice| text(slice, "/addressType"))
        .collect();
    kinds.sort();
    assert_eq!(kinds, ["IPv4", "IPv6"]);
    for client in &pods.clients {
        for address in &addresses {
            let url = format!("http://{}/", host_of(address));
            assert_eq!(answering(OFTEN, || fetch(group, client, &url)), all, "{url}");
        }
        assert_eq!(answering(OFTEN, || fetch(group, client, "http://web/")), all);
    }
    // A server reaches itself by its Service, too, and whoever is outside by a port of each node.
    let url = format!("http://{}/", host_of(&addresses[1]));
    assert_eq!(answering(OFTEN, || fetch(group, &pods.web[0], &url)), all);
    for host in NODES {
        let url = format!("http://[{}]:30080/", ip_v6(host));
        assert_eq!(answering(OFTEN, || from_outside(&url)), all, "{url}");
    }
}

/// Names lead to addresses of both families, and back.
fn names_are_found(group: &Group, pods: &Pods) {
    let web = object(group, "service web");
    let addresses = [0, 1].map(|at| text(&web, &format!("/spec/clusterIPs/{at}")).to_owned());
    let full = "web.default.svc.cluster.local";
    let each = "each.default.svc.cluster.local";
    let mut of_pods: Vec<String> = pods.web.iter().map(v6).collect();
    of_pods.sort();
    for client in &pods.clients {
        assert_eq!(lookup(group, client, "a", full), [addresses[0].clone()]);
        assert_eq!(lookup(group, client, "aaaa", full), [addresses[1].clone()]);
        assert_eq!(lookup(group, client, "aaaa", each), of_pods);
        assert_eq!(lookup(group, client, "a", each).len(), 2);
        assert!(lookup(group, client, "aaaa", "usual.default.svc.cluster.local").is_empty());
        for address in &addresses {
            assert_eq!(lookup(group, client, "ptr", address), [full]);
        }
        let dashed = v6(&pods.web[0]).replace(':', "-");
        let name = lookup(group, client, "ptr", &v6(&pods.web[0]));
        assert_eq!(name, [format!("{dashed}.{each}")]);
    }
}

#[test]
fn pods_of_two_families_are_reached_by_both() {
    dual(async |group| {
        for host in NODES {
            group.network.add_v6(Some(host));
        }
        group.network.add_v6(None);
        let (_wipe, pods) = set_up(group).await;
        have_both(group, &pods);
        reach_each_other(group, &pods);
        services_answer(group, &pods);
        names_are_found(group, &pods);
        outside::balanced(group, &pods).await;
        outside::routed(group, &pods).await;

        let (near, far) = (&pods.clients[0], &pods.clients[1]);
        let url = |pod: &Value| format!("http://{}:8080/", host_of(&v6(pod)));
        apply(group, &POLICY.replace("BUT", &v6(near)));
        for web in &pods.web {
            until(group, "who is excepted is not let in", || {
                fetch(group, near, &url(web)).is_none()
            })
            .await;
            let by_v4 = format!("http://{}:8080/", text(web, "/status/podIP"));
            assert!(fetch(group, near, &by_v4).is_some(), "by IPv4 it is");
            assert!(fetch(group, far, &url(web)).is_some(), "and so is everybody else");
        }
        traced(group, &pods, true);
        group.ok(0, "delete networkpolicy web");
        until(group, "all are let in again", || {
            pods.web.iter().all(|web| fetch(group, near, &url(web)).is_some())
        })
        .await;
        traced(group, &pods, false);

        // What an agent finds again has both addresses still, and so has the cluster when its servers start again.
        group.kill(NODES[0]);
        group.start_node(NODES[0]).await;
        until(group, "the node is ready again", || is_ready(group, NODES[0])).await;
        until(group, "its pods are reached", || {
            fetch(group, far, &url(&pods.web[0])).is_some()
        })
        .await;
        reach_each_other(group, &pods);
        (0..SERVERS).for_each(|host| group.kill(host));
        group.start_all().await;
        group.settled().await;
        have_both(group, &pods);

        by_wasm(group, far).await;

        group.ok(0, "delete service web each usual");
        group.ok(0, "delete deployment web client");
        ended(group).await;
        nothing_stays(group).await;
    });
}

/// A component is reached by both, and knows nothing of it.
async fn by_wasm(group: &Group, client: &Value) {
    let file = group.dir.path().join("hello.wasm");
    std::fs::write(&file, sampan_builtin::HELLO).unwrap();
    group.ok(0, &format!("image build {} -t hello:1", file.display()));
    apply(group, WASM);
    group.ok(0, "wait pod/hello --for condition=Ready --timeout 60s");
    let pod = object(group, "pod hello");
    for address in [text(&pod, "/status/podIP").to_owned(), v6(&pod)] {
        let url = format!("http://{}:8080/", host_of(&address));
        until(group, "the component answers", || fetch(group, client, &url).is_some()).await;
    }
    group.ok(0, "delete pod hello");
}

/// What is said of the way to a pod of the other node, by IPv6.
fn traced(group: &Group, pods: &Pods, blocked: bool) {
    let (near, web) = (text(&pods.clients[0], "/metadata/name"), &pods.web[1]);
    let done = group.run(0, &format!("net trace {near} [{}]:8080", v6(web)));
    let ends = if blocked { "STOPS" } else { "arrives" };
    assert_eq!(done.code == Some(0), !blocked, "{done:?}");
    assert!(
        done.out.contains(ends) && done.out.contains(&format!("is on node n{}", NODES[1])),
        "{done:?}"
    );
}

/// A node that ends with its pods leaves no address, route or rule of either family.
async fn nothing_stays(group: &mut Group) {
    for host in NODES {
        group.stop(host).await;
        for args in ["-6 route show table all", "-6 addr", "-4 route show table all"] {
            let mut command = group.network.command(host, "ip".as_ref());
            let output = command.args(args.split(' ')).output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            let ours = said
                .lines()
                .filter(|line| ["fd42:", "fd96:", "10.42."].iter().any(|range| line.contains(range)));
            assert_eq!(ours.collect::<Vec<_>>(), Vec::<&str>::new(), "n{host}: ip {args}");
        }
    }
}

#[test]
fn what_cannot_be_dual_stack_is_told_why() {
    dual(async |group| {
        let data = group.dir.path().join("other");
        for (ranges, said) in [
            ("--cluster-cidr 10.42.0.0/16,10.43.0.0/16", "two ranges of IPv4"),
            (
                "--cluster-cidr 10.42.0.0/16,fd42::/56",
                "give both or neither one (--service-cidr",
            ),
            (
                "--cluster-cidr 10.42.0.0/16,fd42::/72 --service-cidr 10.96.0.0/12,fd96::/112",
                "too small",
            ),
            (
                "--cluster-cidr 10.42.0.0/16,fd42::/56 --service-cidr 10.96.0.0/12,fd42::/112",
                "overlaps with the service CIDR",
            ),
        ] {
            let line = format!(
                "up --no-agent --listen 127.0.0.1:0 --data-dir {} {ranges}",
                data.display()
            );
            let done = group.run(HUB, &line);
            assert!(done.code != Some(0) && done.err.contains(said), "{ranges}: {done:?}");
        }
        assert!(!data.exists(), "nothing is made of what is refused");
        group.network.without_v6(HUB);
        let began = Instant::now();
        let token = group.ok(0, "token create --role node --single-use --ttl 10m");
        let line = format!(
            "join {} --token {token} --name n{HUB} --data-dir {}",
            group.addresses[0],
            group.data(HUB).display()
        );
        let done = group.run(HUB, &line);
        assert!(began.elapsed() < PATIENCE);
        assert!(
            done.code != Some(0) && done.err.contains("this machine has no IPv6"),
            "{done:?}"
        );
        // Nor is a cluster made other than it is, by whoever starts one of its servers.
        group.stop(1).await;
        let line = format!("up {} --cluster-cidr 10.50.0.0/16", group.server_args(1));
        let done = group.run(1, &line);
        assert!(
            done.code != Some(0) && done.err.contains("cannot be changed"),
            "{done:?}"
        );
    });
}
