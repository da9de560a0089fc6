//! What becomes of Services, on the node `here`.
mod random;

use sampan_sdk::{
    Value,
    network::{Destination, Entry, Fallback, Frontend, Op, Pool},
    serde_json::json,
    testing::Datapath,
};
use service::Service;

fn merged(mut base: Value, over: &Value) -> Value {
    for (name, value) in over.as_object().into_iter().flatten() {
        base[name] = value.clone();
    }
    base
}

fn service(name: &str, spec: &Value) -> Value {
    let base = json!({"clusterIP": "10.96.0.10", "clusterIPs": ["10.96.0.10"],
        "ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": 8080}]});
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
        "spec": merged(base, spec)})
}

/// An endpoint by its last number, its node, and what it is: `ready`, `not`, `draining` (on its way out, serving), `gone`.
fn endpoint(last: usize, node: &str, state: &str) -> Value {
    let (ready, serving, terminating) = match state {
        "ready" => (true, true, false),
        "not" => (false, false, false),
        "draining" => (false, true, true),
        "gone" => (false, false, true),
        other => panic!("{other}"),
    };
    json!({"addresses": [format!("10.244.9.{last}")], "nodeName": node,
        "conditions": {"ready": ready, "serving": serving, "terminating": terminating}})
}

fn slice(name: &str, service: &str, endpoints: &[Value]) -> Value {
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": name, "namespace": "default", "labels": {"kubernetes.io/service-name": service}},
        "endpoints": endpoints, "ports": [{"name": "http", "protocol": "TCP", "port": 8080}]})
}

fn datapath(objects: &[Value]) -> Datapath<Service> {
    let mut datapath = Datapath::new("here", &Value::Null);
    datapath.apply(objects);
    datapath.agrees_with_a_fresh_one();
    datapath
}

fn frontends(datapath: &Datapath<Service>) -> Vec<Frontend> {
    let frontend = |entry| match entry {
        Entry::Frontend(frontend) => frontend,
        other => panic!("{other:?}"),
    };
    datapath.entries().into_iter().map(frontend).collect()
}

/// The last numbers of the backends, and what happens where there are none.
fn pool(pool: &Pool) -> String {
    if pool.backends.is_empty() {
        return match pool.otherwise {
            Fallback::Reject => "reject".to_owned(),
            Fallback::Drop => "drop".to_owned(),
        };
    }
    let last = pool.backends.iter().map(|backend| {
        let address = backend.address.to_string();
        address.rsplit(['.', ':']).next().unwrap_or_default().to_owned()
    });
    last.collect::<Vec<_>>().join(" ")
}

/// `address:port inside / outside` of each frontend.
fn told(datapath: &Datapath<Service>) -> Vec<String> {
    // The generated names come with their types: `Protocol::Tcp`.
    let bare = |name: String| name.rsplit(':').next().unwrap_or_default().to_owned();
    let line = |frontend: Frontend| {
        let place = match frontend.key.destination {
            Destination::Address(address) => address.to_string(),
            Destination::Node(family) => format!("node-{}", bare(format!("{family:?}"))),
        };
        let outside = frontend.outside.as_ref().map_or("same".to_owned(), pool);
        format!(
            "{place} {} {} {}: {} / {outside}",
            bare(format!("{:?}", frontend.key.protocol)),
            bare(format!("{:?}", frontend.scope)),
            frontend.key.port,
            pool(&frontend.inside)
        )
    };
    frontends(datapath).into_iter().map(line).collect()
}

/// What a Service and the states of its endpoints, here and elsewhere, come to.
fn of(spec: Value, endpoints: &[(&str, &str)]) -> Vec<String> {
    let endpoints = endpoints.iter().enumerate();
    let endpoints: Vec<Value> = endpoints
        .map(|(last, (node, state))| endpoint(last + 1, node, state))
        .collect();
    told(&datapath(&[service("web", &spec), slice("web-1", "web", &endpoints)]))
}

#[test]
fn a_cluster_address_goes_to_what_is_ready() {
    let endpoints = [
        ("here", "ready"),
        ("there", "ready"),
        ("there", "not"),
        ("there", "draining"),
    ];
    assert_eq!(of(json!({}), &endpoints), ["10.96.0.10 Tcp Cluster 80: 1 2 / same"]);
    assert_eq!(
        of(json!({}), &[("here", "not"), ("here", "gone")]),
        ["10.96.0.10 Tcp Cluster 80: reject / same"]
    );
    assert_eq!(of(json!({}), &[]), ["10.96.0.10 Tcp Cluster 80: reject / same"]);
    assert_eq!(
        told(&datapath(&[service("web", &json!({}))])),
        ["10.96.0.10 Tcp Cluster 80: reject / same"]
    );
}

#[test]
fn what_serves_on_its_way_out_is_better_than_nothing() {
    let endpoints = [
        ("here", "draining"),
        ("there", "draining"),
        ("there", "gone"),
        ("there", "not"),
    ];
    assert_eq!(of(json!({}), &endpoints), ["10.96.0.10 Tcp Cluster 80: 1 2 / same"]);
    let web = [
        service("web", &json!({})),
        slice("s", "web", &[endpoint(1, "here", "draining")]),
    ];
    let all = frontends(&datapath(&web));
    assert!(all[0].inside.backends[0].terminating && all[0].inside.backends[0].local);
}

#[test]
fn an_internal_policy_keeps_connections_on_the_node() {
    let local = json!({"internalTrafficPolicy": "Local"});
    let line = |pool: &str| vec![format!("10.96.0.10 Tcp Cluster 80: {pool} / same")];
    assert_eq!(of(local.clone(), &[("here", "ready"), ("there", "ready")]), line("1"));
    assert_eq!(
        of(local.clone(), &[("here", "draining"), ("there", "ready")]),
        line("1")
    );
    assert_eq!(of(local.clone(), &[("here", "not"), ("there", "ready")]), line("drop"));
    assert_eq!(of(local, &[("here", "not"), ("there", "not")]), line("reject"));
}

#[test]
fn an_external_policy_keeps_those_from_outside_on_the_node() {
    let spec = |policy: &str| {
        json!({"type": "LoadBalancer", "externalTrafficPolicy": policy, "externalIPs": ["192.0.2.99"],
        "ports": [{"name": "http", "port": 80, "nodePort": 30080}]})
    };
    let both = [("here", "ready"), ("there", "ready")];
    assert_eq!(
        of(spec("Cluster"), &both),
        [
            "10.96.0.10 Tcp Cluster 80: 1 2 / same",
            "192.0.2.99 Tcp External 80: 1 2 / same",
            "node-V4 Tcp NodePort 30080: 1 2 / same"
        ]
    );
    let outside = |endpoints: &[(&str, &str)], pool: &str, inside: &str| {
        assert_eq!(
            of(spec("Local"), endpoints),
            [
                format!("10.96.0.10 Tcp Cluster 80: {inside} / same"),
                format!("192.0.2.99 Tcp External 80: {inside} / {pool}"),
                format!("node-V4 Tcp NodePort 30080: {inside} / {pool}")
            ]
        );
    };
    outside(&both, "1", "1 2");
    outside(&[("here", "draining"), ("there", "ready")], "1", "2");
    outside(&[("here", "not"), ("there", "ready")], "drop", "2");
    outside(&[("here", "not"), ("there", "draining")], "drop", "2");
    outside(&[("there", "gone")], "reject", "reject");
}

#[test]
fn load_balancers_have_addresses_and_let_some_in() {
    let mut web = service(
        "web",
        &json!({"type": "LoadBalancer", "loadBalancerSourceRanges": ["198.51.100.0/24"],
            "ports": [{"name": "http", "port": 80, "nodePort": 0}]}),
    );
    web["status"] = json!({"loadBalancer": {"ingress": [{"ip": "203.0.113.5"}, {"hostname": "lb.example"},
        {"ip": "203.0.113.6", "ipMode": "Proxy"}]}});
    let mut datapath = datapath(&[web.clone(), slice("s", "web", &[endpoint(1, "there", "ready")])]);
    assert_eq!(
        told(&datapath),
        [
            "10.96.0.10 Tcp Cluster 80: 1 / same",
            "203.0.113.5 Tcp LoadBalancer 80: 1 / same"
        ]
    );
    let sources = |datapath: &Datapath<Service>| {
        frontends(datapath)[1]
            .sources
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(sources(&datapath), ["198.51.100.0/24"]);
    web["spec"]["loadBalancerSourceRanges"] = json!(["rubbish"]);
    datapath.apply(&[web]);
    assert_eq!(
        sources(&datapath),
        ["255.255.255.255/32"],
        "what cannot be read lets nobody in"
    );
}

#[test]
fn some_services_have_no_frontends() {
    for spec in [
        json!({"clusterIP": "None", "clusterIPs": ["None"]}),
        json!({"clusterIP": "", "clusterIPs": null}),
        json!({"type": "ExternalName", "externalName": "example.com", "clusterIP": null, "clusterIPs": null}),
        json!({"ports": null}),
    ] {
        assert_eq!(of(spec.clone(), &[("here", "ready")]), Vec::<String>::new(), "{spec}");
    }
    let mut others = service("web", &json!({}));
    others["metadata"]["labels"] = json!({"service.kubernetes.io/service-proxy-name": "another"});
    assert!(told(&datapath(&[others])).is_empty());
}

#[test]
fn clients_stay_where_they_were() {
    let seconds = |spec: Value| frontends(&datapath(&[service("web", &spec)]))[0].affinity_seconds;
    assert_eq!(seconds(json!({"sessionAffinity": "None"})), 0);
    assert_eq!(seconds(json!({"sessionAffinity": "ClientIP"})), 10_800);
    let set = json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}}});
    assert_eq!(seconds(set), 60);
}

#[test]
fn ports_are_told_apart_by_name_and_protocol() {
    let spec = json!({"ports": [{"name": "dns", "protocol": "UDP", "port": 53}, {"name": "dns-tcp", "port": 53},
        {"name": "web", "port": 80}]});
    let mut own = slice("s", "dns", &[endpoint(1, "there", "ready")]);
    own["ports"] = json!([{"name": "dns", "protocol": "UDP", "port": 5353}, {"name": "dns-tcp", "port": 5354}]);
    let datapath = datapath(&[service("dns", &spec), own]);
    let found: Vec<_> = frontends(&datapath)
        .iter()
        .map(|frontend| {
            (
                frontend.service.clone(),
                frontend.inside.backends.first().map(|backend| backend.port),
            )
        })
        .collect();
    let expected = [
        ("default/dns:dns-tcp".to_owned(), Some(5354)),
        ("default/dns:web".to_owned(), None),
        ("default/dns:dns".to_owned(), Some(5353)),
    ];
    assert_eq!(found.len(), 3);
    assert!(expected.iter().all(|one| found.contains(one)), "{found:?}");
}

#[test]
fn two_families_are_two_sets_of_frontends() {
    let spec = json!({"type": "NodePort", "clusterIPs": ["10.96.0.10", "fd00:96::a"],
        "ports": [{"name": "http", "port": 80, "nodePort": 30080}]});
    let mut six = slice("six", "web", &[endpoint(7, "there", "ready")]);
    six["addressType"] = json!("IPv6");
    six["endpoints"][0]["addresses"] = json!(["fd00:244::7"]);
    let four = slice("four", "web", &[endpoint(4, "there", "ready")]);
    assert_eq!(
        told(&datapath(&[service("web", &spec), six, four])),
        [
            "10.96.0.10 Tcp Cluster 80: 4 / same",
            "fd00:96::a Tcp Cluster 80: 7 / same",
            "node-V4 Tcp NodePort 30080: 4 / same",
            "node-V6 Tcp NodePort 30080: 7 / same"
        ]
    );
}

#[test]
fn an_endpoint_in_two_slices_counts_once() {
    let web = [
        service("web", &json!({})),
        slice(
            "old",
            "web",
            &[endpoint(1, "there", "draining"), endpoint(2, "there", "ready")],
        ),
        slice("new", "web", &[endpoint(1, "there", "ready")]),
    ];
    assert_eq!(told(&datapath(&web)), ["10.96.0.10 Tcp Cluster 80: 1 2 / same"]);
}

#[test]
fn an_object_that_cannot_be_read_is_not_there() {
    let mut datapath = datapath(&[service("web", &json!({}))]);
    assert_eq!(datapath.apply(&[service("web", &json!({"ports": "many"}))]).len(), 1);
    assert!(frontends(&datapath).is_empty());
}

/// Many Services told at once, and then one endpoint changes: that is one operation.
#[test]
fn a_change_costs_what_it_changes() {
    let mut objects = Vec::new();
    for n in 0..500 {
        let address = format!("10.96.{}.{}", n / 250, n % 250);
        let name = format!("s{n}");
        objects.push(service(&name, &json!({"clusterIP": address, "clusterIPs": [address]})));
        objects.push(slice(
            &format!("{name}-1"),
            &name,
            &[endpoint(1, "here", "ready"), endpoint(2, "there", "ready")],
        ));
    }
    let mut datapath = datapath(&objects);
    assert_eq!(frontends(&datapath).len(), 500);
    let changed = slice(
        "s7-1",
        "s7",
        &[endpoint(1, "here", "ready"), endpoint(2, "there", "not")],
    );
    assert!(matches!(&datapath.apply(&[changed])[..], [Op::Set(_)]));
    assert_eq!(datapath.delete("EndpointSlice", "default", "s8-1").len(), 1);
    assert_eq!(datapath.delete("Service", "default", "s9").len(), 1);
}
