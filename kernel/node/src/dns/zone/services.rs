//! Names below `svc`: Services, their ports, and the endpoints of headless ones.
use super::{
    Entry, Face, Found, Owner, TTL, Zone, address_records,
    facts::{Endpoint, Port, ServiceFacts, SliceFacts},
};
use hickory_proto::rr::{Name, RData, Record, RecordType, rdata::SRV};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

impl Entry {
    /// The endpoints that names are given to.
    fn endpoints<'a>(&'a self, service: &'a ServiceFacts) -> impl Iterator<Item = (&'a SliceFacts, &'a Endpoint)> {
        let all = self
            .slices
            .values()
            .flat_map(|slice| slice.endpoints.iter().map(move |endpoint| (slice, endpoint)));
        all.filter(|(_, endpoint)| endpoint.ready || service.all_ready)
    }

    /// The addresses that have names, and which.
    pub(super) fn owned(&self, namespace: &str, name: &str) -> BTreeSet<(IpAddr, Owner)> {
        let owner = |label: Option<&str>| Owner {
            namespace: namespace.to_owned(),
            service: name.to_owned(),
            label: label.map(str::to_owned),
        };
        match &self.service {
            None => BTreeSet::new(),
            Some(service) => match &service.face {
                Face::Alias(_) => BTreeSet::new(),
                Face::Addresses(addresses) => addresses.iter().map(|address| (*address, owner(None))).collect(),
                Face::Headless => {
                    let each = self.endpoints(service).flat_map(|(_, endpoint)| {
                        let addresses = endpoint.addresses.iter();
                        addresses.map(|address| (*address, owner(Some(&endpoint.label))))
                    });
                    each.collect()
                }
            },
        }
    }
}

/// Each once, in the order of addresses.
fn addresses<'a>(endpoints: impl Iterator<Item = &'a Endpoint>) -> Vec<IpAddr> {
    let all: BTreeSet<IpAddr> = endpoints
        .flat_map(|endpoint| endpoint.addresses.iter().copied())
        .collect();
    all.into_iter().collect()
}

impl Zone {
    /// `within` are the labels before `svc`.
    pub(super) fn find_service(&self, name: &Name, within: &[&str], kind: RecordType) -> Found {
        let (path, service, namespace) = match within {
            [] => return Found::NoData,
            [namespace] => {
                let known = self.entries.get(*namespace);
                let known = known.is_some_and(|entries| entries.values().any(|entry| entry.service.is_some()));
                return if known { Found::NoData } else { Found::NoName };
            }
            [path @ .., service, namespace] => (path, *service, *namespace),
        };
        let entry = self.entries.get(namespace).and_then(|entries| entries.get(service));
        let Some((entry, facts)) = entry.and_then(|entry| Some((entry, entry.service.as_ref()?))) else {
            return Found::NoName;
        };
        match path {
            [] => self.service_itself(name, entry, facts, (service, namespace), kind),
            [protocol] if protocol.starts_with('_') => {
                let ports = self.ports(entry, facts);
                let named = |port: &Port| !port.name.is_empty() && format!("_{}", port.protocol) == *protocol;
                if ports.iter().any(named) {
                    Found::NoData
                } else {
                    Found::NoName
                }
            }
            [port, protocol] => {
                let named = |own: &Port| {
                    port.strip_prefix('_') == Some(&own.name)
                        && !own.name.is_empty()
                        && protocol.strip_prefix('_') == Some(&own.protocol)
                };
                if !self.ports(entry, facts).iter().any(named) {
                    return Found::NoName;
                }
                match kind {
                    RecordType::SRV | RecordType::ANY => {
                        self.port_records(name, entry, facts, (service, namespace), named)
                    }
                    _ => Found::NoData,
                }
            }
            [label] if facts.face == Face::Headless => {
                let named = entry
                    .endpoints(facts)
                    .map(|(_, endpoint)| endpoint)
                    .filter(|endpoint| endpoint.label == **label);
                match addresses(named) {
                    none if none.is_empty() => Found::NoName,
                    addresses => Found::some(address_records(name, kind, &addresses)),
                }
            }
            _ => Found::NoName,
        }
    }

    fn service_itself(
        &self,
        name: &Name,
        entry: &Entry,
        facts: &ServiceFacts,
        at: (&str, &str),
        kind: RecordType,
    ) -> Found {
        match &facts.face {
            Face::Alias(target) => match Name::from_ascii(format!("{}.", target.trim_end_matches('.'))) {
                Ok(target) if !target.is_root() => Found::Alias(target),
                _ => Found::NoData,
            },
            Face::Headless if entry.endpoints(facts).next().is_none() => Found::NoName,
            _ if kind == RecordType::SRV => self.port_records(name, entry, facts, at, |_| true),
            Face::Addresses(addresses) => Found::some(address_records(name, kind, addresses)),
            Face::Headless => {
                let all = addresses(entry.endpoints(facts).map(|(_, endpoint)| endpoint));
                Found::some(address_records(name, kind, &all))
            }
        }
    }

    /// The ports that there are names for: of a headless Service those of its endpoints.
    fn ports(&self, entry: &Entry, facts: &ServiceFacts) -> BTreeSet<Port> {
        match facts.face {
            Face::Alias(_) => BTreeSet::new(),
            Face::Addresses(_) => facts.ports.iter().cloned().collect(),
            Face::Headless => entry
                .slices
                .values()
                .filter(|slice| slice.endpoints.iter().any(|endpoint| endpoint.ready || facts.all_ready))
                .flat_map(|slice| slice.ports.iter().cloned())
                .collect(),
        }
    }

    /// SRV records of the ports that are `wanted`, with the addresses of what they name.
    fn port_records(
        &self,
        name: &Name,
        entry: &Entry,
        facts: &ServiceFacts,
        (service, namespace): (&str, &str),
        wanted: impl Fn(&Port) -> bool,
    ) -> Found {
        // By the target's label: a Service's own is none.
        let mut targets: BTreeMap<Option<&str>, (BTreeSet<u16>, BTreeSet<IpAddr>)> = BTreeMap::new();
        let numbers = |ports: &[Port]| -> BTreeSet<u16> {
            let wanted = ports.iter().filter(|port| wanted(port));
            wanted.map(|port| port.number).collect()
        };
        match &facts.face {
            Face::Alias(_) => {}
            Face::Addresses(addresses) => {
                let ports = numbers(&facts.ports);
                targets.insert(None, (ports, addresses.iter().copied().collect()));
            }
            Face::Headless => {
                for (slice, endpoint) in entry.endpoints(facts) {
                    let target = targets.entry(Some(&endpoint.label)).or_default();
                    target.0.extend(numbers(&slice.ports));
                    target.1.extend(&endpoint.addresses);
                }
            }
        }
        let (mut answers, mut additionals) = (Vec::new(), Vec::new());
        // All the same; the weights of one priority add up to a hundred, as far as there are enough.
        let weight = u16::try_from(100 / targets.len().max(1)).unwrap_or(1).max(1);
        for (label, (ports, addresses)) in targets.into_iter().filter(|(_, (ports, _))| !ports.is_empty()) {
            let own = [service, namespace, "svc"];
            let labels: Vec<&str> = label.into_iter().chain(own).collect();
            let Some(target) = self.below(&labels) else { continue };
            let addresses: Vec<IpAddr> = addresses.into_iter().collect();
            additionals.extend(address_records(&target, RecordType::ANY, &addresses));
            let records = ports.into_iter().map(|port| {
                let data = RData::SRV(SRV::new(0, weight, port, target.clone()));
                Record::from_rdata(name.clone(), TTL, data)
            });
            answers.extend(records);
        }
        match answers.is_empty() {
            true => Found::NoData,
            false => Found::Records(answers, additionals),
        }
    }
}
