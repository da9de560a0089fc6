//! The names of the cluster: Services, their endpoints, and pods by their addresses, after Kubernetes' *DNS-Based Service
//! Discovery*, schema 1.1.0 (<https://github.com/kubernetes/dns/blob/master/docs/specification.md>).
//!
//! A zone is data and answers, and does no I/O: it is fed with objects, and asked. It keeps of an object only what names
//! are made of ([`facts`]).
//!
//! Where the specification leaves it open: a namespace has a name while there is a Service in it; an SRV question for a
//! Service itself is answered with all its ports; endpoints have names below headless Services only.
mod facts;
mod reverse;
mod services;
#[cfg(test)]
mod tests;

use facts::{Face, ServiceFacts, SliceFacts, undashed};
use hickory_proto::rr::{
    Name, RData, Record, RecordType,
    rdata::{A, AAAA, NS, SOA, TXT},
};
use ipnet::IpNet;
use sampan_api::{ApiError, Key, Object};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    net::IpAddr,
};

/// How long an answer may be kept, in seconds; also one that there is nothing. Short, since pods come and go.
pub const TTL: u32 = 5;

/// The schema that is kept to.
const SCHEMA: &str = "1.1.0";

/// The resources that a zone is made of.
pub const SERVICES: &str = "services";
pub const SLICES: &str = "endpointslices.discovery.k8s.io";

/// What a zone is told once.
#[derive(Clone, Debug)]
pub struct ZoneSettings {
    /// The cluster's domain: `cluster.local`.
    pub domain: String,
    /// The ranges of pods' and Services' addresses: whose names, backwards, nobody else knows.
    pub ranges: Vec<IpNet>,
    /// Where the zone is served.
    pub servers: Vec<IpAddr>,
}

/// What a zone says to a question.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The name is in no zone of the cluster.
    NotOurs,
    Found {
        answers: Vec<Record>,
        additionals: Vec<Record>,
    },
    /// The name is another's; whoever asks for more than the alias is to be told of that one.
    Alias { record: Record, target: Name },
    /// There is such a name, and nothing of the type asked for.
    NoData { soa: Record },
    /// There is no such name.
    NoName { soa: Record },
}

/// What is found below a name, before it is known which zone is to answer for it.
enum Found {
    Records(Vec<Record>, Vec<Record>),
    Alias(Name),
    NoData,
    NoName,
}

impl Found {
    /// Records, or that there are none of the type.
    fn some(records: Vec<Record>) -> Self {
        match records.is_empty() {
            true => Found::NoData,
            false => Found::Records(records, Vec::new()),
        }
    }
}

/// A Service with its slices. Either may come first.
#[derive(Debug, Default)]
struct Entry {
    service: Option<ServiceFacts>,
    slices: BTreeMap<String, SliceFacts>,
}

/// Whose an address is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Owner {
    namespace: String,
    service: String,
    /// An endpoint's.
    label: Option<String>,
}

/// All that a zone was fed with, to feed another with.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Fed {
    services: Vec<(String, String, ServiceFacts)>,
    slices: Vec<(String, String, SliceFacts)>,
}

/// See the module.
#[derive(Debug)]
pub struct Zone {
    settings: ZoneSettings,
    origin: Name,
    /// By namespace and name. Each has a Service or slices.
    entries: BTreeMap<String, BTreeMap<String, Entry>>,
    /// The Service of each slice, by the slice's namespace and name.
    slices: HashMap<(String, String), String>,
    owners: HashMap<IpAddr, BTreeSet<Owner>>,
    /// Counts changes.
    serial: u32,
}

impl Zone {
    /// A zone without Services.
    ///
    /// # Errors
    /// If the domain is none, saying why.
    pub fn new(settings: ZoneSettings) -> Result<Self, String> {
        let domain = settings.domain.trim_end_matches('.');
        let origin = Name::from_ascii(format!("{domain}."))
            .ok()
            .filter(|name| (1..=16).contains(&name.iter().len()) && name.len() <= 100)
            .ok_or_else(|| format!("the cluster's domain \"{domain}\" is none: expected a name as cluster.local"))?;
        Ok(Zone {
            settings,
            origin: origin.to_lowercase(),
            entries: BTreeMap::new(),
            slices: HashMap::new(),
            owners: HashMap::new(),
            serial: 1,
        })
    }

    /// Takes in a Service or an EndpointSlice, as it is now; others are nothing to it.
    ///
    /// # Errors
    /// If the object makes no sense. The zone is then as before.
    pub fn changed(&mut self, object: &Object) -> Result<(), ApiError> {
        let (namespace, name) = (&object.metadata.namespace, &object.metadata.name);
        match &*object.key()?.resource {
            SERVICES => self.put_service(namespace, name, Some(ServiceFacts::of(&object.typed()?))),
            SLICES => self.put_slice(namespace, name, SliceFacts::of(&object.typed()?)),
            _ => {}
        }
        Ok(())
    }

    /// An object is no more.
    pub fn gone(&mut self, key: &Key) {
        match &*key.resource {
            SERVICES => self.put_service(&key.namespace, &key.name, None),
            SLICES => self.put_slice(&key.namespace, &key.name, None),
            _ => {}
        }
    }

    /// Of a resource there is nothing but what has these uids.
    pub fn retain(&mut self, resource: &str, uids: &HashSet<String>) {
        let fed = self.fed();
        let services = fed.services.iter().map(|(at, name, facts)| (at, name, &facts.uid));
        let slices = fed.slices.iter().map(|(at, name, facts)| (at, name, &facts.uid));
        let of_resource: Vec<_> = match resource {
            SERVICES => services.collect(),
            SLICES => slices.collect(),
            _ => Vec::new(),
        };
        for (namespace, name, _) in of_resource.into_iter().filter(|(_, _, uid)| !uids.contains(*uid)) {
            self.gone(&Key::new(resource, namespace, name));
        }
    }

    fn put_service(&mut self, namespace: &str, name: &str, facts: Option<ServiceFacts>) {
        self.edit(namespace, name, |entry| entry.service = facts);
    }

    fn put_slice(&mut self, namespace: &str, name: &str, facts: Option<SliceFacts>) {
        let key = (namespace.to_owned(), name.to_owned());
        let before = self.slices.remove(&key);
        if let Some(service) = before.filter(|before| facts.as_ref().is_none_or(|facts| facts.service != *before)) {
            self.edit(namespace, &service, |entry| drop(entry.slices.remove(name)));
        }
        if let Some(facts) = facts {
            let service = facts.service.clone();
            self.slices.insert(key, service.clone());
            self.edit(namespace, &service, |entry| {
                drop(entry.slices.insert(name.to_owned(), facts));
            });
        }
    }

    /// Changes an entry, and keeps true what follows from it.
    fn edit(&mut self, namespace: &str, name: &str, change: impl FnOnce(&mut Entry)) {
        let in_namespace = self.entries.entry(namespace.to_owned()).or_default();
        let entry = in_namespace.entry(name.to_owned()).or_default();
        let before = entry.owned(namespace, name);
        change(entry);
        let after = entry.owned(namespace, name);
        if entry.service.is_none() && entry.slices.is_empty() {
            in_namespace.remove(name);
        }
        if in_namespace.is_empty() {
            self.entries.remove(namespace);
        }
        for (address, owner) in before.difference(&after) {
            if let Some(owners) = self.owners.get_mut(address) {
                owners.remove(owner);
                if owners.is_empty() {
                    self.owners.remove(address);
                }
            }
        }
        for (address, owner) in after.difference(&before) {
            self.owners.entry(*address).or_default().insert(owner.clone());
        }
        self.serial = self.serial.wrapping_add(1);
    }

    /// How often it was changed.
    pub fn serial(&self) -> u32 {
        self.serial
    }

    /// All that it was fed with.
    pub fn fed(&self) -> Fed {
        let mut fed = Fed::default();
        for (namespace, entries) in &self.entries {
            for (name, entry) in entries {
                let service = entry.service.iter().cloned();
                let slices = entry.slices.iter();
                fed.services
                    .extend(service.map(|facts| (namespace.clone(), name.clone(), facts)));
                fed.slices
                    .extend(slices.map(|(slice, facts)| (namespace.clone(), slice.clone(), facts.clone())));
            }
        }
        fed
    }

    /// Takes in what another was fed with.
    pub fn feed(&mut self, fed: Fed) {
        for (namespace, name, facts) in fed.services {
            self.put_service(&namespace, &name, Some(facts));
        }
        for (namespace, name, facts) in fed.slices {
            self.put_slice(&namespace, &name, Some(facts));
        }
    }

    /// Answers a question of class IN, whatever its letters' case.
    pub fn answer(&self, name: &Name, kind: RecordType) -> Answer {
        if let Some(answer) = self.backwards(name, kind) {
            return answer;
        }
        if !self.origin.zone_of(name) {
            return Answer::NotOurs;
        }
        // Not `num_labels`, which does not count an asterisk.
        let depth = name.iter().len().saturating_sub(self.origin.iter().len());
        let labels = name.iter().take(depth);
        let labels: Option<Vec<String>> = labels
            .map(|label| std::str::from_utf8(label).map(str::to_ascii_lowercase).ok())
            .collect();
        // No name of ours has bytes that are no text.
        let found = match labels.as_deref() {
            Some(labels) => self.find(name, labels, kind),
            None => Found::NoName,
        };
        self.concluded(name, self.origin.clone(), found)
    }

    fn concluded(&self, name: &Name, zone: Name, found: Found) -> Answer {
        match found {
            Found::Records(answers, additionals) => Answer::Found { answers, additionals },
            Found::Alias(target) => {
                let data = RData::CNAME(hickory_proto::rr::rdata::CNAME(target.clone()));
                let record = Record::from_rdata(name.clone(), TTL, data);
                Answer::Alias { record, target }
            }
            Found::NoData => Answer::NoData { soa: self.soa(zone) },
            Found::NoName => Answer::NoName { soa: self.soa(zone) },
        }
    }

    /// `labels` are those before the domain.
    fn find(&self, name: &Name, labels: &[String], kind: RecordType) -> Found {
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        match labels.as_slice() {
            [] => self.apex(name, kind),
            [within @ .., "svc"] => self.find_service(name, within, kind),
            // Of pods only addresses are known, so any namespace may be.
            ["pod"] | [_, "pod"] | ["dns"] => Found::NoData,
            [dashed, _, "pod"] => undashed(dashed).map_or(Found::NoName, |address| {
                Found::some(address_records(name, kind, &[address]))
            }),
            ["ns", "dns"] => Found::some(address_records(name, kind, &self.settings.servers)),
            ["dns-version"] => match kind {
                RecordType::TXT | RecordType::ANY => {
                    let data = RData::TXT(TXT::new(vec![SCHEMA.to_owned()]));
                    Found::some(vec![Record::from_rdata(name.clone(), TTL, data)])
                }
                _ => Found::NoData,
            },
            _ => Found::NoName,
        }
    }

    /// The domain itself.
    fn apex(&self, name: &Name, kind: RecordType) -> Found {
        let Some(server) = self.below(&["ns", "dns"]) else {
            return Found::NoData;
        };
        match kind {
            RecordType::SOA | RecordType::ANY => Found::some(vec![self.soa(name.clone())]),
            RecordType::NS => {
                let additionals = address_records(&server, RecordType::ANY, &self.settings.servers);
                let record = Record::from_rdata(name.clone(), TTL, RData::NS(NS(server)));
                Found::Records(vec![record], additionals)
            }
            _ => Found::NoData,
        }
    }

    /// Says for how long it holds that there is nothing.
    fn soa(&self, zone: Name) -> Record {
        let named = |labels: &[&str]| self.below(labels).unwrap_or_else(Name::root);
        let serial = self.serial;
        let soa = SOA::new(
            named(&["ns", "dns"]),
            named(&["hostmaster"]),
            serial,
            7200,
            1800,
            86400,
            TTL,
        );
        Record::from_rdata(zone, TTL, RData::SOA(soa))
    }

    /// A name below the domain. None where it would be too long for one.
    fn below(&self, labels: &[&str]) -> Option<Name> {
        let labels = labels.iter().map(|label| label.as_bytes()).chain(self.origin.iter());
        Name::from_labels(labels).ok()
    }
}

/// The records of the type asked for.
fn address_records(name: &Name, kind: RecordType, addresses: &[IpAddr]) -> Vec<Record> {
    let wants = |own| kind == own || kind == RecordType::ANY;
    let records = addresses.iter().filter_map(|address| match address {
        IpAddr::V4(address) => wants(RecordType::A).then_some(RData::A(A(*address))),
        IpAddr::V6(address) => wants(RecordType::AAAA).then_some(RData::AAAA(AAAA(*address))),
    });
    records
        .map(|data| Record::from_rdata(name.clone(), TTL, data))
        .collect()
}
