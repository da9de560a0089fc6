//! The rules of Ingresses and IngressClasses, as Kubernetes has them: which hosts and paths may be asked for, and what a
//! backend must say.
use super::is_name;
use crate::{Cause, Object};
use ::core::net::IpAddr;
use serde_json::Value;

/// What an Ingress names its class with where its spec does not.
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

/// What no path of Exact or Prefix may have in it, and at its end: it would not be what requests are for.
const NOT_WITHIN: [&str; 5] = ["//", "/./", "/../", "%2f", "%2F"];
const NOT_AT_THE_END: [&str; 2] = ["/..", "/."];

/// Bytes of the controller's name in an IngressClass.
const LONGEST_CONTROLLER: usize = 250;

/// Gathers what is wrong, and where.
struct Causes<'a>(&'a mut Vec<Cause>);

impl Causes<'_> {
    fn add(&mut self, field: String, message: impl Into<String>) {
        let message = message.into();
        self.0.push(Cause { field, message });
    }
}

pub fn ingress(object: &Object, spec: &Value, causes: &mut Vec<Cause>) {
    let mut causes = Causes(causes);
    let rules = items(&spec["rules"]);
    if rules.is_empty() && spec["defaultBackend"].is_null() {
        causes.add("spec".to_owned(), "required: defaultBackend or rules");
    }
    if let Some(class) = spec["ingressClassName"].as_str() {
        if !is_name(class) {
            causes.add("spec.ingressClassName".to_owned(), super::bad_name(class));
        }
        if object.metadata.annotations.contains_key(CLASS_ANNOTATION) {
            let field = format!("metadata.annotations.{CLASS_ANNOTATION}");
            causes.add(field, "must not be there beside spec.ingressClassName");
        }
    }
    if !spec["defaultBackend"].is_null() {
        backend("spec.defaultBackend", &spec["defaultBackend"], &mut causes);
    }
    for (at, rule) in rules.iter().enumerate() {
        let at = format!("spec.rules[{at}]");
        if let Some(name) = rule["host"].as_str().filter(|name| !name.is_empty()) {
            host(format!("{at}.host"), name, &mut causes);
        }
        let paths = items(&rule["http"]["paths"]);
        if !rule["http"].is_null() && paths.is_empty() {
            causes.add(format!("{at}.http.paths"), "required: at least one");
        }
        for (number, one) in paths.iter().enumerate() {
            path(&format!("{at}.http.paths[{number}]"), one, &mut causes);
        }
    }
    for (at, tls) in items(&spec["tls"]).iter().enumerate() {
        for (number, name) in items(&tls["hosts"]).iter().enumerate() {
            let name = name.as_str().unwrap_or_default();
            host(format!("spec.tls[{at}].hosts[{number}]"), name, &mut causes);
        }
        if let Some(name) = tls["secretName"]
            .as_str()
            .filter(|name| !name.is_empty() && !is_name(name))
        {
            causes.add(format!("spec.tls[{at}].secretName"), super::bad_name(name));
        }
    }
}

fn items(list: &Value) -> &[Value] {
    list.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn host(field: String, name: &str, causes: &mut Causes<'_>) {
    if name.parse::<IpAddr>().is_ok() {
        causes.add(field, format!("\"{name}\" is an address: expected the name of a host"));
    } else if name.contains('*') {
        if !name.strip_prefix("*.").is_some_and(is_name) {
            let message = format!("\"{name}\": a wildcard stands alone for the first label, as in \"*.example.com\"");
            causes.add(field, message);
        }
    } else if !is_name(name) {
        causes.add(field, super::bad_name(name));
    }
}

fn path(at: &str, path: &Value, causes: &mut Causes<'_>) {
    let text = path["path"].as_str().unwrap_or_default();
    let field = || format!("{at}.path");
    let absolute = "must be absolute: it begins with \"/\"";
    match path["pathType"].as_str().unwrap_or_default() {
        "" => causes.add(
            format!("{at}.pathType"),
            "required: Exact, Prefix or ImplementationSpecific",
        ),
        "Exact" | "Prefix" if !text.starts_with('/') => causes.add(field(), format!("\"{text}\" {absolute}")),
        "Exact" | "Prefix" => {
            for sequence in NOT_WITHIN.iter().filter(|sequence| text.contains(**sequence)) {
                causes.add(field(), format!("\"{text}\" must not contain \"{sequence}\""));
            }
            for end in NOT_AT_THE_END.iter().filter(|end| text.ends_with(**end)) {
                causes.add(field(), format!("\"{text}\" must not end with \"{end}\""));
            }
        }
        "ImplementationSpecific" if !text.is_empty() && !text.starts_with('/') => {
            causes.add(field(), format!("\"{text}\" {absolute}"));
        }
        "ImplementationSpecific" => {}
        other => super::one_of(
            &format!("{at}.pathType"),
            &other.into(),
            &["Exact", "Prefix", "ImplementationSpecific"],
            causes.0,
        ),
    }
    backend(&format!("{at}.backend"), &path["backend"], causes);
}

fn backend(at: &str, backend: &Value, causes: &mut Causes<'_>) {
    let (service, resource) = (&backend["service"], &backend["resource"]);
    match (service.is_null(), resource.is_null()) {
        (true, true) => causes.add(at.to_owned(), "required: service or resource"),
        (false, false) => causes.add(at.to_owned(), "must not have both service and resource"),
        (true, false) => {
            for field in ["kind", "name"] {
                if resource[field].as_str().is_none_or(str::is_empty) {
                    causes.add(format!("{at}.resource.{field}"), "required");
                }
            }
        }
        (false, true) => self::service(&format!("{at}.service"), service, causes),
    }
}

fn service(at: &str, service: &Value, causes: &mut Causes<'_>) {
    match service["name"].as_str().unwrap_or_default() {
        "" => causes.add(format!("{at}.name"), "required"),
        name if !is_name(name) || name.contains('.') || name.len() > 63 => {
            let message = format!("\"{name}\" is no name of a Service: 1 to 63 lower-case letters, digits and '-'");
            causes.add(format!("{at}.name"), message);
        }
        _ => {}
    }
    let name = service["port"]["name"].as_str().unwrap_or_default();
    let number = service["port"]["number"].as_i64().unwrap_or_default();
    match (name, number) {
        ("", 0) => causes.add(format!("{at}.port"), "required: name or number"),
        (_, 1..) if !name.is_empty() => causes.add(format!("{at}.port"), "must not have both name and number"),
        ("", 1..=65_535) => {}
        ("", number) => causes.add(format!("{at}.port.number"), format!("{number} is no port: 1 to 65535")),
        (name, _) if !is_port_name(name) => {
            let message = format!(
                "\"{name}\" is no name of a port: 1 to 15 lower-case letters, digits and '-', with a letter among them"
            );
            causes.add(format!("{at}.port.name"), message);
        }
        _ => {}
    }
}

/// An IANA service name (RFC 6335).
fn is_port_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=15).contains(&name.len())
        && name.bytes().all(inner)
        && name.bytes().any(|byte| byte.is_ascii_lowercase())
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--")
}

pub fn class(spec: &Value, causes: &mut Vec<Cause>) {
    let mut causes = Causes(causes);
    let controller = spec["controller"].as_str().unwrap_or_default();
    let field = || "spec.controller".to_owned();
    let is_prefixed = controller.split_once('/').is_some_and(|(domain, path)| {
        let of_path = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&byte);
        is_name(domain) && !path.is_empty() && path.bytes().all(of_path)
    });
    if controller.is_empty() {
        causes.add(field(), "required: as in \"sampan.dev/ingress\"");
    } else if controller.len() > LONGEST_CONTROLLER {
        causes.add(field(), format!("at most {LONGEST_CONTROLLER} bytes"));
    } else if !is_prefixed {
        let message = format!("\"{controller}\" is no path with a domain before it, as in \"sampan.dev/ingress\"");
        causes.add(field(), message);
    }
    let parameters = &spec["parameters"];
    if parameters.is_null() {
        return;
    }
    for field in ["kind", "name"] {
        if parameters[field].as_str().is_none_or(str::is_empty) {
            causes.add(format!("spec.parameters.{field}"), "required");
        }
    }
    let namespace = parameters["namespace"].as_str().unwrap_or_default();
    match parameters["scope"].as_str().unwrap_or("Cluster") {
        "Cluster" if !namespace.is_empty() => causes.add(
            "spec.parameters.namespace".to_owned(),
            "must not be set with scope: Cluster",
        ),
        "Namespace" if namespace.is_empty() => {
            causes.add("spec.parameters.namespace".to_owned(), "required with scope: Namespace")
        }
        "Cluster" | "Namespace" => {}
        other => super::one_of(
            "spec.parameters.scope",
            &other.into(),
            &["Cluster", "Namespace"],
            causes.0,
        ),
    }
}

#[cfg(test)]
mod tests;
