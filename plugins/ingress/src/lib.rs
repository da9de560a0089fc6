//! The ingress plugin: which requests from outside go to which Services, as Kubernetes' Ingresses say.
//!
//! What is documented for Ingress holds: <https://kubernetes.io/docs/concepts/services-networking/ingress/>. Of what is left
//! to the implementation: of two Ingresses that say something of one host and path, the older has it; where no path matches,
//! the default backend of the oldest Ingress that has rules for the host answers, and then that of the oldest for all hosts.
mod classes;
mod hosts;
mod pools;

use sampan_sdk::ingress::{Change, Description, Entry, Ingress as Policy, Name, Table, View, description};
use std::collections::BTreeSet;

#[derive(Default)]
pub struct Ingress;

/// What is decided about as one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// As an Ingress has it: a name, a wildcard, or nothing for every host.
    Host(String),
    Service(Name),
}

impl Policy for Ingress {
    type Key = Key;

    fn describe() -> Description {
        let summary = "Requests from outside go to Services, as Ingresses say.";
        description("ingress", env!("CARGO_PKG_VERSION"), summary)
    }

    fn watches() -> &'static [&'static str] {
        &[
            "ingresses.networking.k8s.io",
            "ingressclasses.networking.k8s.io",
            "services",
            "endpointslices.discovery.k8s.io",
            "nodes",
        ]
    }

    fn tables() -> &'static [Table] {
        &[Table::Pools, Table::Hosts, Table::Certificates]
    }

    fn touched(&self, change: &Change<'_>, view: &View, keys: &mut BTreeSet<Key>) {
        match change {
            Change::Ingress(pair) => {
                for ingress in pair.both() {
                    keys.extend(ingress.hosts().into_iter().map(|host| Key::Host(host.to_owned())));
                    let services = ingress.services().into_iter();
                    keys.extend(services.map(|service| Key::Service(Name::new(&pair.name.namespace, service))));
                    keys.insert(Key::Service(Name::new(&pair.name.namespace, pools::NOBODY)));
                }
            }
            Change::IngressClass(_) => {
                keys.extend(view.hosts().cloned().map(Key::Host));
                keys.extend(view.services_of_ingresses().cloned().map(Key::Service));
                let namespaces = view.ingresses.keys().map(|name| &name.namespace);
                keys.extend(namespaces.map(|namespace| Key::Service(Name::new(namespace, pools::NOBODY))));
            }
            Change::Service(pair) => drop(keys.insert(Key::Service(pair.name.clone()))),
            Change::EndpointSlice(pair) => {
                let services = pair.both().filter_map(|slice| slice.service());
                let services = services.map(|service| Name::new(&pair.name.namespace, service));
                keys.extend(services.map(Key::Service));
            }
            Change::Node(pair) => {
                let places = |node: Option<&sampan_sdk::network::Node>| node.map(|node| node.places());
                if places(pair.before) != places(pair.after) {
                    keys.extend(view.services_of_ingresses().cloned().map(Key::Service));
                }
            }
            _ => {}
        }
    }

    fn desired(&self, key: &Key, view: &View) -> Vec<Entry> {
        match key {
            Key::Host(host) => hosts::of(host, view),
            Key::Service(service) => pools::of(service, view),
        }
    }
}

sampan_sdk::export_ingress!(Ingress);
