//! The rules of pods, their own and those of templates: containers, their ports and what they take.
use super::{
    add, hosts, list,
    names::{bad_port_name, is_dns_label, is_port_name, port_number},
    not_negative, one_of,
};
use crate::{Cause, quantity};
use serde_json::Value;
use std::collections::BTreeSet;

/// `path` is where the spec is.
pub(super) fn pod(path: &str, spec: &Value, restart_policies: &[&str], causes: &mut Vec<Cause>) {
    one_of(
        &format!("{path}.restartPolicy"),
        &spec["restartPolicy"],
        restart_policies,
        causes,
    );
    not_negative(
        &format!("{path}.terminationGracePeriodSeconds"),
        &spec["terminationGracePeriodSeconds"],
        causes,
    );
    if list(&spec["containers"]).next().is_none() {
        add(format!("{path}.containers"), "required: at least one", causes);
    }
    let mut names = BTreeSet::new();
    for kind in ["containers", "initContainers"] {
        for (at, one) in list(&spec[kind]) {
            container(&format!("{path}.{kind}[{at}]"), one, &mut names, causes);
        }
    }
    host_ports(path, spec, causes);
    hosts::hosts(path, spec, causes);
}

/// `names` are those of the containers before it.
fn container<'a>(at: &str, container: &'a Value, names: &mut BTreeSet<&'a str>, causes: &mut Vec<Cause>) {
    let name = container["name"].as_str().unwrap_or_default();
    if !is_dns_label(name) {
        let message = format!("\"{name}\" is no container name: 1 to 63 lower-case letters, digits and '-'");
        add(format!("{at}.name"), message, causes);
    } else if !names.insert(name) {
        add(format!("{at}.name"), format!("\"{name}\" is there twice"), causes);
    }
    if container["image"].as_str().is_none_or(str::is_empty) {
        add(format!("{at}.image"), "required", causes);
    }
    one_of(
        &format!("{at}.imagePullPolicy"),
        &container["imagePullPolicy"],
        &["Always", "IfNotPresent", "Never"],
        causes,
    );
    quantities(&format!("{at}.resources"), &container["resources"], causes);
    let mut ports = BTreeSet::new();
    for (number, one) in list(&container["ports"]) {
        port(&format!("{at}.ports[{number}]"), one, &mut ports, causes);
    }
}

/// `names` are those of the container's ports before it.
fn port<'a>(at: &str, port: &'a Value, names: &mut BTreeSet<&'a str>, causes: &mut Vec<Cause>) {
    if let Err(message) = port_number(port["containerPort"].as_i64().unwrap_or_default()) {
        add(format!("{at}.containerPort"), message, causes);
    }
    if let Some(Err(message)) = host_port(port).map(port_number) {
        add(format!("{at}.hostPort"), message, causes);
    }
    one_of(
        &format!("{at}.protocol"),
        &port["protocol"],
        &["TCP", "UDP", "SCTP"],
        causes,
    );
    let Some(name) = port["name"].as_str().filter(|name| !name.is_empty()) else {
        return;
    };
    if !is_port_name(name) {
        add(format!("{at}.name"), bad_port_name(name), causes);
    } else if !names.insert(name) {
        add(format!("{at}.name"), format!("\"{name}\" is there twice"), causes);
    }
}

/// The port of the node that one of a container asks for; 0 is none.
fn host_port(port: &Value) -> Option<i64> {
    port["hostPort"].as_i64().filter(|number| *number != 0)
}

/// What ports of the node a pod asks for, in all its containers that run at a time.
fn host_ports(path: &str, spec: &Value, causes: &mut Vec<Cause>) {
    let mut taken = BTreeSet::new();
    for kind in ["containers", "initContainers"] {
        for (at, container) in list(&spec[kind]) {
            for (number, port) in list(&container["ports"]) {
                let Some(on_host) = host_port(port) else { continue };
                let field = format!("{path}.{kind}[{at}].ports[{number}].hostPort");
                let protocol = port["protocol"].as_str().unwrap_or("TCP");
                let address = port["hostIP"].as_str().unwrap_or_default();
                if spec["hostNetwork"] == true && port["containerPort"] != on_host {
                    let message = format!(
                        "{on_host} is not the containerPort, which is {}: with hostNetwork they are one",
                        port["containerPort"]
                    );
                    add(field, message, causes);
                } else if kind == "containers" && !taken.insert((on_host, protocol, address)) {
                    add(field, format!("{on_host}/{protocol} is there twice"), causes);
                }
            }
        }
    }
}

fn quantities(path: &str, resources: &Value, causes: &mut Vec<Cause>) {
    for list in ["requests", "limits"] {
        for (name, value) in resources[list].as_object().into_iter().flatten() {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let problem = match quantity::millis(&text) {
                Err(error) => Some(error.to_string()),
                Ok(negative) if negative < 0 => Some(format!("{text} is negative: expected 0 or more")),
                Ok(_) => None,
            };
            if let Some(message) = problem {
                causes.push(Cause {
                    field: format!("{path}.{list}.{name}"),
                    message,
                });
            }
        }
        let of = |which: &str, name: &str| resources[which][name].as_str().and_then(|t| quantity::millis(t).ok());
        for name in ["cpu", "memory"] {
            if list == "limits" && of("requests", name) > of("limits", name) && of("limits", name).is_some() {
                let message = "must not be more than the limit".to_owned();
                causes.push(Cause {
                    field: format!("{path}.requests.{name}"),
                    message,
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::validate::manifest;
    use serde_json::{Value, json};

    /// What is wrong with each that makes pods of this spec: fields without their beginning, and words. All say the same.
    fn wrong(more: &Value) -> Vec<(String, String)> {
        let mut spec = json!({"containers": [{"name": "c", "image": "i"}]});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let labels = json!({"app": "a"});
        let template = json!({"metadata": {"labels": labels}, "spec": spec});
        let many = json!({"selector": {"matchLabels": labels}, "template": template});
        let mut once = many.clone();
        once["template"]["spec"]["restartPolicy"] = json!("Never");
        once.as_object_mut().unwrap().remove("selector");
        let all = [
            ("v1", "Pod", spec, "spec."),
            ("apps/v1", "Deployment", many.clone(), "spec.template.spec."),
            ("apps/v1", "ReplicaSet", many, "spec.template.spec."),
            ("batch/v1", "Job", once, "spec.template.spec."),
        ];
        let found = all.map(|(version, kind, spec, path)| {
            let object = json!({"apiVersion": version, "kind": kind, "metadata": {"name": "x"}, "spec": spec});
            let causes = manifest(object.to_string().as_bytes()).map_or_else(|error| error.causes, |_| Vec::new());
            let short = |field: String| field.strip_prefix(path).unwrap_or(&field).to_owned();
            let causes = causes.into_iter().map(|cause| (short(cause.field), cause.message));
            causes.collect::<Vec<_>>()
        });
        assert!(found.iter().all(|one| *one == found[0]), "{found:?}");
        found[0].clone()
    }

    fn ports(ports: Value) -> Value {
        json!({"containers": [{"name": "c", "image": "i", "ports": ports}]})
    }

    fn on_host(ports: Value) -> Value {
        json!({"hostNetwork": true, "containers": [{"name": "c", "image": "i", "ports": ports}]})
    }

    #[test]
    fn what_is_right_is_let_in() {
        for more in [
            ports(
                json!([{"containerPort": 1}, {"containerPort": 65_535, "name": "http", "protocol": "SCTP", "hostPort": 0}]),
            ),
            ports(json!([{"containerPort": 80, "hostPort": 65_535}])),
            ports(
                json!([{"containerPort": 53, "hostPort": 53}, {"containerPort": 53, "hostPort": 53, "protocol": "UDP"}]),
            ),
            ports(json!([{"containerPort": 80, "hostPort": 80, "hostIP": "192.0.2.1"},
                {"containerPort": 81, "hostPort": 80, "hostIP": "192.0.2.2"}])),
            on_host(json!([{"containerPort": 80}, {"containerPort": 81, "hostPort": 81}])),
            json!({"hostNetwork": false, "containers": [
                {"name": "a", "image": "i", "ports": [{"containerPort": 80, "name": "http"}]},
                {"name": "b", "image": "i", "ports": [{"containerPort": 80, "hostPort": 8080, "name": "http"}]}]}),
        ] {
            assert_eq!(wrong(&more), [], "{more}");
        }
    }

    #[test]
    fn ports_are_ports() {
        let beside = json!({"containers": [
            {"name": "a", "image": "i", "ports": [{"containerPort": 80, "hostPort": 8080}]},
            {"name": "b", "image": "i", "ports": [{"containerPort": 81, "hostPort": 8080, "protocol": "TCP"}]}]});
        let before = json!({"hostNetwork": true, "containers": [{"name": "c", "image": "i"}],
            "initContainers": [{"name": "i", "image": "i", "ports": [{"containerPort": 80, "hostPort": 8080}]}]});
        let one = |port: Value| ports(json!([port]));
        let first = |field: &str| format!("containers[0].ports[0].{field}");
        for (more, field, said) in [
            (
                one(json!({"containerPort": 80, "hostPort": 70_000})),
                first("hostPort"),
                "70000 is no port: 1 to 65535",
            ),
            (
                one(json!({"containerPort": 80, "hostPort": -1})),
                first("hostPort"),
                "-1 is no port",
            ),
            (one(json!({"containerPort": 0})), first("containerPort"), "0 is no port"),
            (
                one(json!({"containerPort": 65_536})),
                first("containerPort"),
                "65536 is no port",
            ),
            (
                one(json!({"containerPort": 80, "protocol": "ICMP"})),
                first("protocol"),
                "\"ICMP\" is not one of TCP, UDP, SCTP",
            ),
            (
                one(json!({"containerPort": 80, "name": "Http"})),
                first("name"),
                "\"Http\" is no name of a port",
            ),
            (
                ports(json!([{"containerPort": 80, "name": "a"}, {"containerPort": 81, "name": "a"}])),
                "containers[0].ports[1].name".to_owned(),
                "\"a\" is there twice",
            ),
            (
                on_host(json!([{"containerPort": 80, "hostPort": 8080}])),
                first("hostPort"),
                "8080 is not the containerPort, which is 80",
            ),
            (
                before,
                "initContainers[0].ports[0].hostPort".to_owned(),
                "with hostNetwork",
            ),
            (
                beside,
                "containers[1].ports[0].hostPort".to_owned(),
                "8080/TCP is there twice",
            ),
        ] {
            let wrong = wrong(&more);
            let [(at, message)] = &wrong[..] else {
                panic!("{more}: {wrong:?}")
            };
            assert!(*at == field && message.contains(said), "{more}: {at}: {message}");
        }
    }

    #[test]
    fn templates_name_their_hosts_as_pods_do() {
        assert_eq!(wrong(&json!({"hostname": "Not_Good"}))[0].0, "hostname");
        assert_eq!(wrong(&json!({"dnsPolicy": "None"}))[0].0, "dnsConfig.nameservers");
    }
}
