//! Kubernetes' Ingresses and their classes, as far as it depends on them where requests go.
use super::objects::{Metadata, nullable, objects};
use serde::Deserialize;
use std::collections::BTreeSet;

objects! {
    Ingress { metadata: Metadata, spec: IngressSpec, }
    IngressSpec {
        ingress_class_name: String,
        default_backend: Option<IngressBackend>,
        rules: Vec<IngressRule>,
        tls: Vec<IngressTls>,
    }
    IngressRule { host: String, http: IngressPaths, }
    IngressPaths { paths: Vec<IngressPath>, }
    IngressPath { path: String, path_type: String, backend: IngressBackend, }
    /// Without a Service it is a resource, which nothing here answers for.
    IngressBackend { service: Option<IngressService>, }
    IngressService { name: String, port: IngressPort, }
    /// By its name, or by its number.
    IngressPort { name: String, number: u16, }
    IngressTls { hosts: Vec<String>, secret_name: String, }

    IngressClass { metadata: Metadata, spec: IngressClassSpec, }
    IngressClassSpec { controller: String, }
}

impl Ingress {
    /// The hosts that it is about, in rules and for TLS; the empty one is every host.
    pub fn hosts(&self) -> BTreeSet<&str> {
        let every = self.spec.default_backend.iter().map(|_| "");
        let rules = self.spec.rules.iter().map(|rule| rule.host.as_str());
        every.chain(rules).chain(self.tls().map(|(host, _)| host)).collect()
    }

    /// The hosts that it has a Secret for, each with the Secret's name; the empty one is every host.
    pub fn tls(&self) -> impl Iterator<Item = (&str, &str)> {
        let shown = self.spec.tls.iter().filter(|tls| !tls.secret_name.is_empty());
        shown.flat_map(|tls| {
            let every = tls.hosts.is_empty().then_some("");
            let hosts = tls.hosts.iter().map(String::as_str).chain(every);
            hosts.map(|host| (host, tls.secret_name.as_str()))
        })
    }

    /// All its backends.
    pub fn backends(&self) -> impl Iterator<Item = &IngressBackend> {
        let paths = self.spec.rules.iter().flat_map(|rule| &rule.http.paths);
        self.spec.default_backend.iter().chain(paths.map(|path| &path.backend))
    }

    /// The names of the Services that it names.
    pub fn services(&self) -> BTreeSet<&str> {
        let services = self.backends().filter_map(|backend| backend.service.as_ref());
        services.map(|service| service.name.as_str()).collect()
    }
}
