//! The network plugin `routes`: a full mesh. Packets to a node's pods go to that node.
use sampan_sdk::network::{Change, Description, Entry, Name, Network, Route, Table, View, description};
use std::collections::BTreeSet;

#[derive(Default)]
pub struct Routes;

impl Network for Routes {
    type Key = Name;

    fn describe() -> Description {
        description(
            "routes",
            env!("CARGO_PKG_VERSION"),
            "Every node reaches every other itself.",
        )
    }

    fn watches() -> &'static [&'static str] {
        &["nodes"]
    }

    fn tables() -> &'static [Table] {
        &[Table::Routes]
    }

    fn touched(&self, change: &Change<'_>, _: &View, keys: &mut BTreeSet<Name>) {
        if let Change::Node(pair) = change {
            keys.insert(pair.name.clone());
        }
    }

    fn desired(&self, key: &Name, view: &View) -> Vec<Entry> {
        let Some(node) = view.nodes.get(key).filter(|_| key.name != view.node) else {
            return Vec::new();
        };
        let Some(underlay) = node.internal_addresses().first().copied() else {
            return Vec::new();
        };
        let route = |range| {
            Entry::Route(Route {
                range,
                peer: key.name.clone(),
                via: key.name.clone(),
                underlay,
            })
        };
        node.pod_ranges().into_iter().map(route).collect()
    }
}

sampan_sdk::export_network!(Routes);

#[cfg(test)]
mod tests {
    use super::*;
    use sampan_sdk::{
        Value,
        network::Op,
        testing::{Datapath, network_node as node},
    };

    fn said(entries: &[Entry]) -> Vec<String> {
        let text = |entry: &Entry| match entry {
            Entry::Route(route) => format!(
                "{} to {} via {} at {}",
                route.range, route.peer, route.via, route.underlay
            ),
            other => panic!("{other:?}"),
        };
        entries.iter().map(text).collect()
    }

    #[test]
    fn every_other_node_has_a_route() {
        let mut datapath = Datapath::<Routes>::new("a", &Value::Null);
        let nodes = [
            node("a", "10.244.1.0/24", "192.0.2.1"),
            node("b", "10.244.2.0/24", "192.0.2.2"),
            node("c", "10.244.3.0/24", "192.0.2.3"),
        ];
        assert_eq!(datapath.apply(&nodes).len(), 2);
        assert_eq!(
            said(&datapath.entries()),
            [
                "10.244.2.0/24 to b via b at 192.0.2.2",
                "10.244.3.0/24 to c via c at 192.0.2.3"
            ]
        );
        // Told again what is known, it says nothing; a node that moved is one operation.
        assert_eq!(datapath.apply(&nodes), []);
        assert_eq!(datapath.apply(&[node("c", "10.244.3.0/24", "192.0.2.9")]).len(), 1);
        assert_eq!(datapath.delete("Node", "", "b").len(), 1);
        assert_eq!(said(&datapath.entries()), ["10.244.3.0/24 to c via c at 192.0.2.9"]);
        datapath.agrees_with_a_fresh_one();
    }

    #[test]
    fn nodes_that_lack_something_wait_for_it() {
        let mut datapath = Datapath::<Routes>::new("a", &Value::Null);
        let mut young = node("b", "10.244.2.0/24", "192.0.2.2");
        young["spec"] = Value::Null;
        assert_eq!(datapath.apply(&[young]), []);
        let mut mute = node("b", "10.244.2.0/24", "192.0.2.2");
        mute["status"]["addresses"] = Value::Null;
        assert_eq!(datapath.apply(&[mute]), []);
        assert_eq!(datapath.apply(&[node("b", "10.244.2.0/24", "192.0.2.2")]).len(), 1);
    }

    /// Two nodes that claim one range: the first by name has it, whoever came first.
    #[test]
    fn a_range_has_one_peer() {
        let mut datapath = Datapath::<Routes>::new("a", &Value::Null);
        datapath.apply(&[node("c", "10.244.2.0/24", "192.0.2.3")]);
        datapath.apply(&[node("b", "10.244.2.0/24", "192.0.2.2")]);
        assert_eq!(said(&datapath.entries()), ["10.244.2.0/24 to b via b at 192.0.2.2"]);
        datapath.agrees_with_a_fresh_one();
        assert!(matches!(datapath.delete("Node", "", "b")[..], [Op::Set(_)]));
        assert_eq!(said(&datapath.entries()), ["10.244.2.0/24 to c via c at 192.0.2.3"]);
    }
}
