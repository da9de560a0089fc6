//! Names of addresses: those of Services, and of the endpoints of headless ones.
use super::{Answer, Found, Owner, TTL, Zone};
use hickory_proto::rr::{Name, RData, Record, RecordType, rdata::PTR};
use ipnet::IpNet;
use std::net::IpAddr;

/// Labels of the address in the name of a whole one.
const V4: usize = 4;
const V6: usize = 32;

impl Zone {
    /// None if it is no address's name that is known here, or is in the cluster's ranges.
    pub(super) fn backwards(&self, name: &Name, kind: RecordType) -> Option<Answer> {
        let labels = match name.iter().rev().nth(1) {
            Some(label) if label.eq_ignore_ascii_case(b"in-addr") => V4,
            Some(label) if label.eq_ignore_ascii_case(b"ip6") => V6,
            _ => return None,
        };
        // More labels than an address has make no name below it.
        let given = name.iter().len() - 2;
        let beyond = given > labels;
        let of_address = tail(name, given.min(labels) + 2)?;
        let network = of_address.parse_arpa_name().ok()?;
        let whole = network.prefix_len() == network.max_prefix_len();
        let owners = self.owners.get(&network.addr()).filter(|_| whole);
        let range = self.settings.ranges.iter().find(|range| range.contains(&network));
        let zone = match range {
            Some(range) => tail(&of_address, range_labels(range) + 2)?,
            None if owners.is_some() => of_address,
            None => return None,
        };
        let found = match owners {
            _ if beyond => Found::NoName,
            Some(owners) if matches!(kind, RecordType::PTR | RecordType::ANY) => {
                let names = owners.iter().filter_map(|owner| self.name_of(owner));
                let records = names.map(|target| Record::from_rdata(name.clone(), TTL, RData::PTR(PTR(target))));
                Found::some(records.collect())
            }
            Some(_) => Found::NoData,
            None if whole => Found::NoName,
            None => self.part(&network),
        };
        Some(self.concluded(name, zone, found))
    }

    /// Part of an address is a name while there is one below it.
    fn part(&self, network: &IpNet) -> Found {
        match self.owners.keys().any(|address: &IpAddr| network.contains(address)) {
            true => Found::NoData,
            false => Found::NoName,
        }
    }

    fn name_of(&self, owner: &Owner) -> Option<Name> {
        let own = [owner.service.as_str(), owner.namespace.as_str(), "svc"];
        let labels: Vec<&str> = owner.label.as_deref().into_iter().chain(own).collect();
        self.below(&labels)
    }
}

/// Labels of the widest zone that is all within a range.
fn range_labels(range: &IpNet) -> usize {
    usize::from(match range {
        IpNet::V4(range) => range.prefix_len().div_ceil(8),
        IpNet::V6(range) => range.prefix_len().div_ceil(4),
    })
}

/// The last labels of a name.
fn tail(name: &Name, labels: usize) -> Option<Name> {
    Name::from_labels(name.iter().skip(name.iter().len().saturating_sub(labels))).ok()
}
