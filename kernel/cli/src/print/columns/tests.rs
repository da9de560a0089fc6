//! The tables of `get`, against what kubectl prints for the same objects.
use crate::{
    doc::Doc,
    print::{Moment, table::Dress},
    verbs::get::listing,
};
use serde_json::{Value, json};

fn now() -> Moment {
    Moment::parse("2026-03-01T12:00:00Z").unwrap()
}

fn docs(values: Vec<Value>) -> Vec<Doc> {
    values.into_iter().map(|value| Doc::new(value).unwrap()).collect()
}

fn show(values: Vec<Value>, dress: &Dress) -> String {
    let docs = docs(values);
    listing(docs[0].kind, &docs, dress, now())
}

fn wide() -> Dress {
    Dress {
        wide: true,
        ..Dress::default()
    }
}

/// A pod with so many containers, and a status.
fn pod(name: &str, containers: usize, status: Value) -> Value {
    let containers: Vec<Value> = (0..containers)
        .map(|i| json!({"name": format!("c{i}"), "image": "x"}))
        .collect();
    json!({"apiVersion": "v1", "kind": "Pod", "status": status, "spec": {"nodeName": "n1", "containers": containers,
        "initContainers": [{"name": "i0", "image": "x"}, {"name": "i1", "image": "x"}]},
        "metadata": {"name": name, "namespace": "default", "creationTimestamp": "2026-03-01T11:57:57Z"}})
}

fn running(name: &str, ready: bool, restarts: i64) -> Value {
    json!({"name": name, "ready": ready, "restartCount": restarts, "state": {"running": {"startedAt": "2026-03-01T11:58:00Z"}}})
}

/// A container that waits after three restarts.
fn waiting(reason: &str) -> Value {
    json!({"name": "c0", "restartCount": 3, "state": {"waiting": {"reason": reason}},
        "lastState": {"terminated": {"finishedAt": "2026-03-01T11:59:30Z"}}})
}

fn done(name: &str, code: i64, reason: &str) -> Value {
    json!({"name": name, "restartCount": 0, "state": {"terminated": {"exitCode": code, "reason": reason}}})
}

fn all_sorts_of_pods() -> Vec<Value> {
    let mut going = pod(
        "going",
        1,
        json!({"phase": "Running", "containerStatuses": [running("c0", true, 0)]}),
    );
    going["metadata"]["deletionTimestamp"] = "2026-03-01T12:00:30Z".into();
    let mut ended = pod(
        "ended-and-going",
        1,
        json!({"phase": "Succeeded", "containerStatuses": [done("c0", 0, "Completed")]}),
    );
    ended["metadata"]["deletionTimestamp"] = "2026-03-01T12:00:30Z".into();
    vec![
        pod("new", 1, json!({})),
        pod(
            "fine",
            2,
            json!({"phase": "Running", "containerStatuses": [running("c0", true, 0), running("c1", true, 0)]}),
        ),
        pod(
            "half",
            2,
            json!({"phase": "Running", "containerStatuses": [running("c0", true, 1), running("c1", false, 0)]}),
        ),
        pod(
            "crashing",
            1,
            json!({"phase": "Running", "containerStatuses": [waiting("CrashLoopBackOff")]}),
        ),
        pod(
            "done",
            1,
            json!({"phase": "Succeeded", "containerStatuses": [done("c0", 0, "Completed")]}),
        ),
        pod(
            "failed",
            1,
            json!({"phase": "Failed", "containerStatuses": [done("c0", 3, "")]}),
        ),
        pod(
            "init",
            1,
            json!({"phase": "Pending", "initContainerStatuses": [done("i0", 0, ""), running("i1", false, 0)]}),
        ),
        pod(
            "init-bad",
            1,
            json!({"phase": "Pending", "initContainerStatuses": [done("i0", 7, "")]}),
        ),
        pod("evicted", 1, json!({"phase": "Failed", "reason": "Evicted"})),
        going,
        ended,
    ]
}

#[test]
fn pods_have_the_status_that_kubectl_gives_them() {
    let expected = "\
NAME              READY   STATUS             RESTARTS      AGE
new               0/1     Pending            0             2m3s
fine              2/2     Running            0             2m3s
half              1/2     Running            1             2m3s
crashing          0/1     CrashLoopBackOff   3 (30s ago)   2m3s
done              0/1     Completed          0             2m3s
failed            0/1     ExitCode:3         0             2m3s
init              0/1     Init:1/2           0             2m3s
init-bad          0/1     Init:ExitCode:7    0             2m3s
evicted           0/1     Evicted            0             2m3s
going             1/1     Terminating        0             2m3s
ended-and-going   0/1     Completed          0             2m3s
";
    assert_eq!(show(all_sorts_of_pods(), &Dress::default()), expected);
}

#[test]
fn wide_pods_say_where_they_are() {
    let status = json!({"phase": "Running", "podIP": "10.42.0.7", "containerStatuses": [running("c0", true, 0)]});
    assert_eq!(
        show(vec![pod("a", 1, status)], &wide()),
        "NAME   READY   STATUS    RESTARTS   AGE    IP          NODE   NOMINATED NODE   READINESS GATES\n\
         a      1/1     Running   0          2m3s   10.42.0.7   n1     <none>           <none>\n"
    );
}

fn workload(kind: &str, version: &str, spec: Value, status: Value) -> Value {
    let mut spec = spec;
    spec["selector"] = json!({"matchLabels": {"app": "web"}});
    spec["template"] =
        json!({"spec": {"containers": [{"name": "web", "image": "nginx:1"}, {"name": "side", "image": "s"}]}});
    json!({"apiVersion": version, "kind": kind, "spec": spec, "status": status,
        "metadata": {"name": "web", "namespace": "team", "creationTimestamp": "2026-02-26T08:00:00Z", "labels": {"app": "web", "tier": "a"}}})
}

#[test]
fn deployments_replica_sets_and_jobs() {
    let status = json!({"replicas": 3, "readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 2});
    let deployment = workload("Deployment", "apps/v1", json!({"replicas": 3}), status.clone());
    assert_eq!(
        show(vec![deployment.clone()], &wide()),
        "NAME   READY   UP-TO-DATE   AVAILABLE   AGE    CONTAINERS   IMAGES      SELECTOR\n\
         web    2/3     3            2           3d4h   web,side     nginx:1,s   app=web\n"
    );
    let dress = Dress {
        namespace: true,
        show_labels: true,
        label_columns: vec!["tier".into()],
        show_kind: true,
        ..Dress::default()
    };
    assert_eq!(
        show(vec![deployment], &dress),
        "NAMESPACE   NAME                  READY   UP-TO-DATE   AVAILABLE   AGE    TIER   LABELS\n\
         team        deployment.apps/web   2/3     3            2           3d4h   a      app=web,tier=a\n"
    );
    let set = workload("ReplicaSet", "apps/v1", json!({"replicas": 3}), status);
    assert_eq!(
        show(vec![set], &Dress::default()),
        "NAME   DESIRED   CURRENT   READY   AGE\nweb    3         3         2       3d4h\n"
    );
    let job = |spec: Value, status: Value| workload("Job", "batch/v1", spec, status);
    let jobs = vec![
        job(
            json!({"completions": 3}),
            json!({"startTime": "2026-03-01T11:59:00Z", "succeeded": 1}),
        ),
        job(
            json!({"completions": 2}),
            json!({"startTime": "2026-03-01T11:00:00Z", "completionTime": "2026-03-01T11:00:05Z", "succeeded": 2,
                "conditions": [{"type": "Complete", "status": "True"}]}),
        ),
        job(json!({"parallelism": 4}), json!({})),
    ];
    assert_eq!(
        show(jobs, &Dress::default()),
        "NAME   STATUS     COMPLETIONS   DURATION   AGE\nweb    Running    1/3           60s        3d4h\n\
         web    Complete   2/2           5s         3d4h\nweb    Running    0/1 of 4                 3d4h\n"
    );
}

#[test]
fn nodes_services_and_the_rest() {
    let node = json!({"apiVersion": "v1", "kind": "Node", "spec": {"unschedulable": true},
        "metadata": {"name": "n1", "creationTimestamp": "2026-03-01T11:59:00Z", "labels": {"node-role.kubernetes.io/control-plane": ""}},
        "status": {"conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": {"kubeletVersion": "v0.1.0"},
            "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]}});
    assert_eq!(
        show(vec![node], &Dress::default()),
        "NAME   STATUS                     ROLES           AGE   VERSION\nn1     Ready,SchedulingDisabled   control-plane   60s   v0.1.0\n"
    );
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "creationTimestamp": "2026-03-01T11:59:00Z"},
        "spec": {"clusterIP": "10.96.0.1", "selector": {"app": "web"}, "ports": [{"port": 80}, {"port": 53, "protocol": "UDP", "nodePort": 30053}]}});
    assert_eq!(
        show(vec![service], &wide()),
        "NAME   TYPE        CLUSTER-IP   EXTERNAL-IP   PORT(S)               AGE   SELECTOR\n\
         web    ClusterIP   10.96.0.1    <none>        80/TCP,53:30053/UDP   60s   app=web\n"
    );
    let event = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "type": "Warning", "reason": "BackOff",
        "message": "again\n", "lastTimestamp": "2026-03-01T11:59:55Z", "involvedObject": {"kind": "Pod", "name": "web-1"}});
    assert_eq!(
        show(vec![event], &Dress::default()),
        "LAST SEEN   TYPE      REASON    OBJECT      MESSAGE\n5s          Warning   BackOff   pod/web-1   again\n"
    );
    let plugin = json!({"apiVersion": "sampan.dev/v1", "kind": "Plugin", "metadata": {"name": "spread", "creationTimestamp": "2026-03-01T11:59:00Z"},
        "spec": {"world": "scheduler", "slot": "default-scheduler", "mode": "Active", "digest": format!("sha256:{}", "ab".repeat(32))},
        "status": {"phase": "Ready"}});
    assert_eq!(
        show(vec![plugin], &Dress::default()),
        "NAME     WORLD       SLOT                MODE     PHASE   DIGEST         AGE\n\
         spread   scheduler   default-scheduler   Active   Ready   abababababab   60s\n"
    );
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"a": "1"}, "binaryData": {"b": "MQ=="}});
    assert_eq!(
        show(vec![map], &Dress::default()),
        "NAME   DATA   AGE\nm      2      <unknown>\n"
    );
}

#[test]
fn ingresses_and_their_classes() {
    let ingress = |name: &str, class: &str, hosts: &[&str], more: Value| {
        let rules: Vec<Value> = hosts.iter().map(|host| json!({"host": host})).collect();
        let mut ingress = json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "spec": {"rules": rules},
            "metadata": {"name": name, "creationTimestamp": "2026-03-01T11:59:00Z"}, "status": more["status"]});
        if !class.is_empty() {
            ingress["spec"]["ingressClassName"] = class.into();
        }
        ingress["spec"]["tls"] = more["tls"].clone();
        ingress
    };
    let points = json!([{"ip": "192.0.2.2"}, {"hostname": "lb.example"}, {"ip": "192.0.2.1"}]);
    let found = json!({"tls": [{}], "status": {"loadBalancer": {"ingress": points}}});
    let all = vec![
        ingress("all", "", &[""], json!({})),
        ingress("few", "sampan", &["a.example", "b.example", "c.example"], found),
        ingress(
            "many",
            "other",
            &["a.example", "b.example", "c.example", "d.example", ""],
            json!({"tls": []}),
        ),
    ];
    // As kubectl has it, the three that are shown are followed by the number of rules, hosts or not.
    assert_eq!(
        show(all, &Dress::default()),
        "NAME   CLASS    HOSTS                                       ADDRESS                          PORTS     AGE\n\
         all    <none>   *                                                                            80        60s\n\
         few    sampan   a.example,b.example,c.example               192.0.2.1,192.0.2.2,lb.example   80, 443   60s\n\
         many   other    a.example,b.example,c.example + 2 more...                                    80        60s\n"
    );
    let class = |name: &str, parameters: Value| {
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass",
            "metadata": {"name": name, "creationTimestamp": "2026-03-01T11:59:00Z"},
            "spec": {"controller": "sampan.dev/ingress", "parameters": parameters}})
    };
    let config = json!({"apiGroup": "example.com", "kind": "Config", "name": "fast"});
    assert_eq!(
        show(
            vec![class("sampan", Value::Null), class("fast", config)],
            &Dress::default()
        ),
        "NAME     CONTROLLER           PARAMETERS                AGE\n\
         sampan   sampan.dev/ingress   <none>                    60s\n\
         fast     sampan.dev/ingress   Config.example.com/fast   60s\n"
    );
}

#[test]
fn slices_of_endpoints_and_policies() {
    let slice = |name: &str, ports: Value, addresses: &[&str]| {
        let endpoints: Vec<Value> = addresses.iter().map(|at| json!({"addresses": [at]})).collect();
        json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": name, "creationTimestamp": "2026-03-01T11:59:00Z"}, "ports": ports, "endpoints": endpoints})
    };
    let many = ["10.42.0.2", "10.42.0.3", "10.42.1.2", "10.42.1.3", "10.42.2.2"];
    let slices = vec![
        slice(
            "web-x",
            json!([{"name": "http", "port": 8080}, {"port": 53}]),
            &many[..3],
        ),
        slice("many-y", json!([{"name": "http"}, {}]), &many),
        slice("none-z", json!([]), &[]),
    ];
    assert_eq!(
        show(slices, &Dress::default()),
        "NAME     ADDRESSTYPE   PORTS     ENDPOINTS                                   AGE\n\
         web-x    IPv4          8080,53   10.42.0.2,10.42.0.3,10.42.1.2               60s\n\
         many-y   IPv4          http,*    10.42.0.2,10.42.0.3,10.42.1.2 + 2 more...   60s\n\
         none-z   IPv4          <unset>   <unset>                                     60s\n"
    );
    let policy = |name: &str, selector: Value| {
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "spec": {"podSelector": selector},
            "metadata": {"name": name, "creationTimestamp": "2026-03-01T11:59:00Z"}})
    };
    let policies = vec![
        policy("all", json!({})),
        policy("web", json!({"matchLabels": {"app": "web"}})),
    ];
    assert_eq!(
        show(policies, &Dress::default()),
        "NAME   POD-SELECTOR   AGE\nall    <none>         60s\nweb    app=web        60s\n"
    );
}

#[test]
fn classes_of_priority_and_budgets() {
    let class = |name: &str, more: Value| {
        let mut class = json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
            "metadata": {"name": name, "creationTimestamp": "2026-03-01T11:59:00Z"}});
        class
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().cloned().unwrap());
        class
    };
    let classes = vec![
        class(
            "high",
            json!({"value": 1000, "globalDefault": true, "preemptionPolicy": "Never"}),
        ),
        class("system-node-critical", json!({"value": 2_000_001_000})),
    ];
    assert_eq!(
        show(classes, &Dress::default()),
        "NAME                   VALUE        GLOBAL-DEFAULT   AGE   PREEMPTIONPOLICY\n\
         high                   1000         true             60s   Never\n\
         system-node-critical   2000001000   false            60s   PreemptLowerPriority\n"
    );
    let budget = |name: &str, spec: Value, allowed: i64| {
        json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "spec": spec,
            "metadata": {"name": name, "creationTimestamp": "2026-03-01T11:59:00Z"}, "status": {"disruptionsAllowed": allowed}})
    };
    let budgets = vec![
        budget("a", json!({"minAvailable": 2}), 1),
        budget("b", json!({"maxUnavailable": "30%"}), 0),
    ];
    assert_eq!(
        show(budgets, &Dress::default()),
        "NAME   MIN AVAILABLE   MAX UNAVAILABLE   ALLOWED DISRUPTIONS   AGE\n\
         a      2               N/A               1                     60s\n\
         b      N/A             30%               0                     60s\n"
    );
}
