//! Which nodes the overlay speaks to: those that routes go by, at the ports that their objects say.
use super::objects::News;
use sampan_api::{Object, ranges};
use sampan_overlay::{Cidr, Peer};
use sampan_sandbox::network::{Datapath, Entry, EntryKey, Op, Range, Table};
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

/// The peers, kept up with nodes and routes.
#[derive(Clone, Default)]
pub struct Peers {
    /// By node.
    ports: BTreeMap<String, u16>,
    stale: bool,
}

impl Peers {
    /// With the ports that were known before.
    pub fn resuming(ports: BTreeMap<String, u16>) -> Self {
        Peers { ports, stale: true }
    }

    pub fn ports(&self) -> &BTreeMap<String, u16> {
        &self.ports
    }

    /// Takes in what happened to an object of any resource.
    pub fn take(&mut self, news: &News) {
        if &*news.key.resource != "nodes" {
            return;
        }
        let name = news.key.name.to_string();
        let before = match news.object.as_deref().map(port) {
            Some(port) => self.ports.insert(name.clone(), port),
            None => self.ports.remove(&name),
        };
        self.stale |= before.as_ref() != self.ports.get(&name);
    }

    /// All peers, if they may be others than before these operations.
    pub fn changed<'a>(&mut self, datapaths: impl Iterator<Item = &'a Datapath>, ops: &[Op]) -> Option<Vec<Peer>> {
        let is_route = |op: &Op| match op {
            Op::Set(entry) => entry.key().table() == Table::Routes,
            Op::Remove(key) => matches!(key, EntryKey::Route(_)),
        };
        if !self.stale && !ops.iter().any(is_route) {
            return None;
        }
        self.stale = false;
        Some(self.of(datapaths).into_values().collect())
    }

    /// The peers that datapaths ask for, by name.
    pub fn of<'a>(&self, datapaths: impl Iterator<Item = &'a Datapath>) -> BTreeMap<String, Peer> {
        let mut peers: BTreeMap<String, Peer> = BTreeMap::new();
        for entry in datapaths.flat_map(Datapath::entries) {
            let Entry::Route(route) = entry else { continue };
            let Some(range) = cidr(route.range) else { continue };
            let port = self.ports.get(&route.via).copied().unwrap_or(ranges::OVERLAY_PORT);
            let peer = peers.entry(route.via.clone()).or_insert_with(|| Peer {
                name: route.via.clone(),
                address: SocketAddr::new(route.underlay.into(), port),
                ranges: Vec::new(),
            });
            peer.ranges.push(range);
        }
        peers
    }
}

pub fn cidr(range: Range) -> Option<Cidr> {
    Cidr::new(IpAddr::from(range.address), range.prefix).ok()
}

fn port(node: &Object) -> u16 {
    let port = node.field_value("status")["daemonEndpoints"]["overlayEndpoint"]["Port"].as_u64();
    let port = port.and_then(|port| u16::try_from(port).ok());
    port.unwrap_or(ranges::OVERLAY_PORT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sampan_api::Key;
    use sampan_sandbox::network::Route;
    use serde_json::json;

    fn route(range: &str, via: &str, underlay: &str) -> Entry {
        Entry::Route(Route {
            range: Range::parse(range).unwrap(),
            peer: "x".into(),
            via: via.into(),
            underlay: underlay.parse::<IpAddr>().unwrap().into(),
        })
    }

    fn node(name: &str, port: Option<u16>) -> News {
        let object = |port| {
            let status = json!({"daemonEndpoints": {"overlayEndpoint": {"Port": port}}});
            Box::new(Object::default().with_field("status", &status))
        };
        News {
            key: Key::new("nodes", "", name),
            object: port.map(object),
        }
    }

    #[test]
    fn peers_are_those_that_routes_go_by() {
        let mut peers = Peers::default();
        let datapath = Datapath::with([
            route("10.42.1.0/24", "hub", "192.0.2.1"),
            route("10.42.2.0/24", "hub", "192.0.2.1"),
            route("10.42.3.0/24", "b", "192.0.2.3"),
        ]);
        let ops = [Op::Set(route("10.42.1.0/24", "hub", "192.0.2.1"))];
        let said = |peers: &mut Peers, ops: &[Op]| {
            let text = |peer: Peer| format!("{} {} {}", peer.name, peer.address, peer.ranges.len());
            let changed = peers.changed([&datapath].into_iter(), ops);
            changed.map(|peers| peers.into_iter().map(text).collect::<Vec<_>>().join(", "))
        };
        assert_eq!(said(&mut peers, &[]), None);
        assert_eq!(
            said(&mut peers, &ops).unwrap(),
            "b 192.0.2.3:7444 1, hub 192.0.2.1:7444 2"
        );
        peers.take(&node("hub", Some(9000)));
        assert_eq!(
            said(&mut peers, &[]).unwrap(),
            "b 192.0.2.3:7444 1, hub 192.0.2.1:9000 2"
        );
        peers.take(&node("hub", Some(9000)));
        assert_eq!(said(&mut peers, &[]), None);
        peers.take(&node("hub", None));
        assert_eq!(
            said(&mut peers, &[]).unwrap(),
            "b 192.0.2.3:7444 1, hub 192.0.2.1:7444 2"
        );
    }
}
