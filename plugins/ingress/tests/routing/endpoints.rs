//! Who answers for a Service.
use super::*;
use sampan_sdk::ingress::{Op, Protocol};

/// `address:port …` of the only pool's backends.
fn backends(routing: &Routing<Ingress>) -> Vec<String> {
    let pools = pools(routing);
    assert_eq!(pools.len(), 1, "{pools:?}");
    let backends = pools[0].backends.iter();
    backends
        .map(|backend| format!("{}:{}", backend.address, backend.port))
        .collect()
}

fn web() -> Value {
    ingress("web", 2020, &[rule("", &[("Prefix", "/", "web")])])
}

fn http() -> Value {
    json!([{"name": "http", "port": 80, "protocol": "TCP"}])
}

#[test]
fn endpoints_answer_and_are_followed() {
    let mut routing = routing(&[web()]);
    assert_eq!(backends(&routing), Vec::<String>::new(), "no Service");
    routing.apply(&[service("web", &http())]);
    assert_eq!(backends(&routing), Vec::<String>::new(), "no endpoints");
    let ops = routing.apply(&[slice("s", "web", &["10.244.1.7", "10.244.2.7"])]);
    assert_eq!(backends(&routing), ["10.244.1.7:8080", "10.244.2.7:8080"]);
    assert!(matches!(&ops[..], [Op::Set(Entry::Pool(_))]), "routes stay as they are");
    routing.apply(&[slice("s", "web", &["10.244.2.7"])]);
    assert_eq!(backends(&routing), ["10.244.2.7:8080"]);
    routing.delete("Service", "default", "web");
    assert_eq!(backends(&routing), Vec::<String>::new());
    routing.delete("Ingress", "default", "web");
    assert!(routing.entries().is_empty());
}

/// Whoever writes an EndpointSlice cannot send requests out of the cluster, nor keep others from being served.
#[test]
fn addresses_that_are_none_of_the_cluster_are_left_out() {
    let all = [
        "10.244.1.7",
        "169.254.169.254",
        "127.0.0.1",
        "8.8.8.8",
        "192.0.2.2",
        "10.244.3.1",
    ];
    let mut routing = routing(&[web(), service("web", &http()), slice("s", "web", &all)]);
    assert_eq!(backends(&routing), ["10.244.1.7:8080", "192.0.2.2:8080"]);
    // A node that comes brings its range, and takes it along.
    routing.apply(&[network_node("third", "10.244.3.0/24", "192.0.2.3")]);
    assert_eq!(backends(&routing).len(), 3);
    // What two nodes say is there until both are gone.
    routing.apply(&[network_node("twin", "10.244.3.0/24", "192.0.2.1")]);
    routing.delete("Node", "", "twin");
    assert_eq!(backends(&routing).len(), 3);
    routing.delete("Node", "", "third");
    routing.delete("Node", "", "there");
    assert_eq!(backends(&routing), ["10.244.1.7:8080"]);
    routing.agrees_with_a_fresh_one();
}

/// A Service of both families is asked by IPv4, one of IPv6 alone, or whose endpoints are, by IPv6.
#[test]
fn endpoints_of_ipv6_answer_where_there_are_no_others() {
    let dual = |name: &str, number: u8| {
        let mut node = network_node(name, &format!("10.244.{number}.0/24"), &format!("192.0.2.{number}"));
        node["spec"]["podCIDRs"] = json!([format!("10.244.{number}.0/24"), format!("fd00:244:0:{number}::/64")]);
        let other = json!({"type": "InternalIP", "address": format!("2001:db8::{number}")});
        node["status"]["addresses"].as_array_mut().unwrap().push(other);
        node
    };
    let mut only = service("web", &http());
    only["spec"]["clusterIP"] = json!("fd96::10");
    only["spec"]["clusterIPs"] = json!(["fd96::10"]);
    only["spec"]["ipFamilies"] = json!(["IPv6"]);
    let mut of_v6 = slice(
        "six",
        "web",
        &["fd00:244:0:1::7", "2001:db8::2", "fd00:244:0:9::7", "::1"],
    );
    of_v6["addressType"] = json!("IPv6");
    let mut routing = routing(&[dual("here", 1), dual("there", 2), web(), only, of_v6]);
    assert_eq!(backends(&routing), ["2001:db8::2:8080", "fd00:244:0:1::7:8080"]);
    routing.apply(&[slice("four", "web", &["10.244.1.7"])]);
    assert_eq!(backends(&routing), ["10.244.1.7:8080"]);
    routing.delete("EndpointSlice", "default", "four");
    assert_eq!(backends(&routing).len(), 2);
    routing.agrees_with_a_fresh_one();
}

#[test]
fn ports_are_named_or_numbered_and_of_tcp() {
    let ports = json!([{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53},
        {"name": "grpc", "port": 9000, "appProtocol": "kubernetes.io/h2c"}]);
    let mut own = slice("s", "web", &["10.244.1.7"]);
    own["ports"] = json!([{"name": "dns", "protocol": "UDP", "port": 5300}, {"name": "dns-tcp", "port": 5301},
        {"name": "grpc", "port": 9001}]);
    let told = |port: Value| {
        let mut one = web();
        one["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["port"] = port;
        let routing = routing(&[one, service("web", &ports), own.clone()]);
        let protocol = pools(&routing)[0].protocol;
        (backends(&routing), protocol)
    };
    let one = |port: u16| vec![format!("10.244.1.7:{port}")];
    assert_eq!(told(json!({"number": 53})), (one(5301), Protocol::Http1));
    assert_eq!(told(json!({"name": "dns-tcp"})), (one(5301), Protocol::Http1));
    assert_eq!(told(json!({"name": "grpc"})), (one(9001), Protocol::H2c));
    assert_eq!(told(json!({"number": 9000})), (one(9001), Protocol::H2c));
    assert_eq!(told(json!({"name": "dns"})), (Vec::new(), Protocol::Http1));
    assert_eq!(told(json!({"number": 8080})), (Vec::new(), Protocol::Http1));
}

/// One Service under a number and a name, and a resource: a pool each.
#[test]
fn each_way_of_naming_is_a_pool() {
    let mut one = ingress(
        "web",
        2020,
        &[rule(
            "",
            &[("Prefix", "/a", "web"), ("Prefix", "/b", "web"), ("Prefix", "/c", "x")],
        )],
    );
    let paths = "/spec/rules/0/http/paths";
    *one.pointer_mut(&format!("{paths}/1/backend/service/port")).unwrap() = json!({"name": "http"});
    *one.pointer_mut(&format!("{paths}/2/backend")).unwrap() = json!({"resource": {"kind": "Bucket", "name": "b"}});
    let mut routing = routing(&[one, service("web", &http()), slice("s", "web", &["10.244.1.7"])]);
    let told = |routing: &Routing<Ingress>| -> Vec<String> {
        let pools = pools(routing).into_iter();
        pools
            .map(|pool| format!("{} {}", pool.name, pool.backends.len()))
            .collect()
    };
    assert_eq!(told(&routing), ["default/ 0", "default/web:80 1", "default/web:http 1"]);
    assert_eq!(answers(&hosts(&routing), "", "/c"), Some("default/".to_owned()));
    routing.delete("Ingress", "default", "web");
    assert!(routing.entries().is_empty(), "{:?}", routing.entries());
}

/// Many Ingresses told at once, and then one endpoint changes: that is one operation.
#[test]
fn a_change_costs_what_it_changes() {
    let mut objects = Vec::new();
    for n in 0..500 {
        let name = format!("s{n}");
        objects.push(ingress(
            &name,
            2020,
            &[rule(&format!("{name}.example"), &[("Prefix", "/", &name)])],
        ));
        objects.push(service(&name, &http()));
        objects.push(slice(&format!("{name}-1"), &name, &["10.244.1.7", "10.244.2.7"]));
    }
    let mut routing = routing(&objects);
    assert_eq!(routing.entries().len(), 1000);
    assert_eq!(routing.apply(&[slice("s7-1", "s7", &["10.244.1.7"])]).len(), 1);
    assert_eq!(routing.delete("Ingress", "default", "s9").len(), 2);
}
