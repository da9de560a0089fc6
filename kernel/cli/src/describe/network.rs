//! Services, Ingresses and network policies, with the endpoints behind them.
use super::{Related, configuration::heading, page::Page};
use crate::{
    doc::{Doc, at, list, number, plain, text, texts},
    print::{
        age,
        columns::{first, or_else, or_none, selector},
    },
};
use serde_json::Value;

pub fn service(doc: &Doc, related: &Related, page: &mut Page) {
    heading(doc, page);
    page.field(0, "Selector", crate::print::columns::joined(doc.at("/spec/selector")));
    page.field(0, "Type", or_else(doc.text("/spec/type"), "ClusterIP"));
    page.field_if(0, "IP Family Policy", doc.text("/spec/ipFamilyPolicy"));
    page.field_if(0, "IP Families", &texts(&doc.value, "/spec/ipFamilies"));
    page.field(0, "IP", or_none(doc.text("/spec/clusterIP")));
    page.field_if(0, "IPs", &texts(&doc.value, "/spec/clusterIPs"));
    page.field_if(0, "External IPs", &texts(&doc.value, "/spec/externalIPs"));
    page.field_if(0, "IP", doc.text("/spec/loadBalancerIP"));
    page.field_if(0, "External Name", doc.text("/spec/externalName"));
    page.field_if(0, "LoadBalancer Ingress", &balanced(doc));
    for port in list(&doc.value, "/spec/ports") {
        service_port(port, doc, &related.slices, page);
    }
    page.field(
        0,
        "Session Affinity",
        or_else(doc.text("/spec/sessionAffinity"), "None"),
    );
    page.field_if(0, "External Traffic Policy", doc.text("/spec/externalTrafficPolicy"));
    page.field_if(0, "Internal Traffic Policy", doc.text("/spec/internalTrafficPolicy"));
    page.field_if(
        0,
        "LoadBalancer Source Ranges",
        &texts(&doc.value, "/spec/loadBalancerSourceRanges"),
    );
}

fn service_port(port: &Value, service: &Doc, slices: &[Doc], page: &mut Page) {
    let protocol = or_else(text(port, "/protocol"), "TCP");
    let name = or_else(text(port, "/name"), "<unset>");
    page.field(0, "Port", format_args!("{name}\t{}/{protocol}", number(port, "/port")));
    let target = or_else(&plain(at(port, "/targetPort")), &number(port, "/port").to_string());
    page.field(0, "TargetPort", format_args!("{target}/{protocol}"));
    if number(port, "/nodePort") != 0 {
        page.field(
            0,
            "NodePort",
            format_args!("{name}\t{}/{protocol}", number(port, "/nodePort")),
        );
    }
    page.field(0, "Endpoints", endpoints(service, slices, text(port, "/name")));
}

/// The first of the ready endpoints of a port of a Service, those of its first family before the others.
fn endpoints(service: &Doc, slices: &[Doc], port: &str) -> String {
    let of = |slice: &&Doc| slice.text("/metadata/labels/kubernetes.io~1service-name") == service.name();
    let mut slices: Vec<&Doc> = slices.iter().filter(of).collect();
    let family = or_else(service.text("/spec/ipFamilies/0"), "IPv4");
    slices.sort_by_key(|slice| slice.text("/addressType") != family);
    let found = slices.into_iter().flat_map(|slice| {
        let ports = list(&slice.value, "/ports").iter();
        let numbers = ports.filter(move |one| text(one, "/name") == port);
        let numbers: Vec<i64> = numbers.map(|one| number(one, "/port")).collect();
        let ready = list(&slice.value, "/endpoints").iter();
        let ready = ready.filter(|endpoint| at(endpoint, "/conditions/ready") != &Value::Bool(false));
        let v6 = slice.text("/addressType") == "IPv6";
        ready.flat_map(move |endpoint| {
            let addresses: Vec<String> = list(endpoint, "/addresses").iter().map(plain).collect();
            let all = numbers.iter().flat_map(|number| {
                addresses.iter().map(move |address| match v6 {
                    true => format!("[{address}]:{number}"),
                    false => format!("{address}:{number}"),
                })
            });
            all.collect::<Vec<_>>()
        })
    });
    or_none(&first(found, ""))
}

fn balanced(doc: &Doc) -> String {
    let points = list(&doc.value, "/status/loadBalancer/ingress").iter();
    let points = points.map(|point| or_else(text(point, "/ip"), text(point, "/hostname")));
    points.collect::<Vec<_>>().join(", ")
}

pub fn ingress(doc: &Doc, related: &Related, page: &mut Page) {
    heading(doc, page);
    page.field(0, "Address", balanced(doc));
    page.field(0, "Ingress Class", or_none(doc.text("/spec/ingressClassName")));
    let default = doc.at("/spec/defaultBackend");
    page.field(
        0,
        "Default backend",
        match default.is_null() {
            true => "<default>".to_owned(),
            false => backend(default, related),
        },
    );
    let shown = list(&doc.value, "/spec/tls");
    if !shown.is_empty() {
        page.head(0, "TLS");
        for one in shown {
            let hosts = or_else(&texts(one, "/hosts"), "*");
            page.line(
                1,
                format_args!("{} terminates {hosts}", or_else(text(one, "/secretName"), "SNI routes")),
            );
        }
    }
    page.head(0, "Rules");
    let rows = list(&doc.value, "/spec/rules").iter().flat_map(|rule| {
        let host = vec![or_else(text(rule, "/host"), "*"), String::new(), String::new()];
        let paths = list(rule, "/http/paths").iter().map(|path| {
            let to = backend(at(path, "/backend"), related);
            vec![String::new(), or_else(text(path, "/path"), "/"), to]
        });
        std::iter::once(host).chain(paths).collect::<Vec<_>>()
    });
    page.table(1, &["Host", "Path", "Backends"], rows);
}

/// `web:http (10.42.0.5:8080,10.42.1.6:8080)`, or why nobody is there.
fn backend(backend: &Value, related: &Related) -> String {
    let name = text(backend, "/service/name");
    let wanted = at(backend, "/service/port");
    let port = or_else(text(wanted, "/name"), &plain(at(wanted, "/number")));
    let service = related.services.iter().find(|service| service.name() == name);
    let behind = match service {
        None => format!("<error: services \"{name}\" not found>"),
        Some(service) => {
            let is_it = |one: &&Value| match text(wanted, "/name") {
                "" => at(one, "/port") == at(wanted, "/number"),
                name => text(one, "/name") == name,
            };
            match list(&service.value, "/spec/ports").iter().find(is_it) {
                None => format!("<error: services \"{name}\" has no port \"{port}\">"),
                Some(found) => endpoints(service, &related.slices, text(found, "/name")),
            }
        }
    };
    format!("{name}:{port} ({behind})")
}

pub fn policy(doc: &Doc, page: &mut Page) {
    page.field(0, "Name", doc.name());
    page.field(0, "Namespace", doc.namespace());
    page.field(0, "Created on", age::long(doc.text("/metadata/creationTimestamp")));
    page.map(0, "Labels", doc.at("/metadata/labels"));
    page.annotations(0, "Annotations", doc.at("/metadata/annotations"));
    page.head(0, "Spec");
    let pods = match selector(doc.at("/spec/podSelector")) {
        all if all == "<none>" => "<none> (Allowing the specific traffic to all pods in this namespace)".to_owned(),
        some => some,
    };
    page.field(1, "PodSelector", pods);
    let mut types: Vec<String> = list(&doc.value, "/spec/policyTypes").iter().map(plain).collect();
    if types.is_empty() {
        types.push("Ingress".to_owned());
        types.extend((!doc.at("/spec/egress").is_null()).then(|| "Egress".to_owned()));
    }
    let affects = |direction: &str| types.iter().any(|one| one == direction);
    for (direction, rules, peers, side) in [
        ("Ingress", "/spec/ingress", "From", "source"),
        ("Egress", "/spec/egress", "To", "destination"),
    ] {
        let word = direction.to_lowercase();
        if !affects(direction) {
            page.line(1, format_args!("Not affecting {word} traffic"));
            continue;
        }
        page.head(1, &format!("Allowing {word} traffic"));
        let all = list(&doc.value, rules);
        if all.is_empty() {
            page.line(
                2,
                format_args!("<none> (Selected pods are isolated for {word} connectivity)"),
            );
        }
        for (at, one) in all.iter().enumerate() {
            if at > 0 {
                page.line(2, "----------");
            }
            rule(one, peers, side, page);
        }
    }
    page.field(1, "Policy Types", types.join(", "));
}

fn rule(rule: &Value, peers: &str, side: &str, page: &mut Page) {
    let ports = list(rule, "/ports");
    if ports.is_empty() {
        page.field(2, "To Port", "<any> (traffic allowed to all ports)");
    }
    for port in ports {
        let protocol = or_else(text(port, "/protocol"), "TCP");
        let last = match number(port, "/endPort") {
            0 => String::new(),
            last => format!("-{last}"),
        };
        let port = or_else(&plain(at(port, "/port")), "<any>");
        page.field(2, "To Port", format_args!("{port}{last}/{protocol}"));
    }
    let all = list(rule, &format!("/{}", peers.to_lowercase()));
    if all.is_empty() {
        page.field(2, peers, format_args!("<any> (traffic not restricted by {side})"));
    }
    for peer in all {
        page.head(2, peers);
        let block = at(peer, "/ipBlock");
        if !block.is_null() {
            page.head(3, "IPBlock");
            page.field(4, "CIDR", text(block, "/cidr"));
            page.field(4, "Except", texts(block, "/except"));
        }
        for (name, field) in [
            ("NamespaceSelector", "/namespaceSelector"),
            ("PodSelector", "/podSelector"),
        ] {
            if !at(peer, field).is_null() {
                page.field(3, name, selector(at(peer, field)));
            }
        }
    }
}
