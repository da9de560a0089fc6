//! The policy `policy-name`.
use sampan_sdk::network::{Change, Description, Entry, Name, Network, Route, Table, View, description};
use std::collections::BTreeSet;

/// Every node reaches every other itself.
#[derive(Default)]
pub struct PolicyName;

impl Network for PolicyName {
    /// What it decides about as one: a node.
    type Key = Name;

    fn describe() -> Description {
        let summary = "Every node reaches every other itself.";
        description("policy-name", env!("CARGO_PKG_VERSION"), summary)
    }

    fn watches() -> &'static [&'static str] {
        &["nodes"]
    }

    /// Each table has one plugin.
    fn tables() -> &'static [Table] {
        &[Table::Routes]
    }

    /// Every key for which the change may have changed what is desired.
    fn touched(&self, change: &Change<'_>, _: &View, keys: &mut BTreeSet<Name>) {
        if let Change::Node(node) = change {
            keys.insert(node.name.clone());
        }
    }

    /// What there is to be for a key, as far as the view goes; what has changed is found out by the SDK.
    fn desired(&self, key: &Name, view: &View) -> Vec<Entry> {
        let Some(node) = view.nodes.get(key).filter(|_| key.name != view.node) else {
            return Vec::new();
        };
        let Some(&underlay) = node.internal_addresses().first() else {
            return Vec::new();
        };
        let route = |range| {
            Entry::Route(Route {
                range,
                peer: key.name.clone(),
                // Another node that passes packets on could stand here, with its own address below.
                via: key.name.clone(),
                underlay,
            })
        };
        node.pod_ranges().into_iter().map(route).collect()
    }
}

sampan_sdk::export_network!(PolicyName);

#[cfg(test)]
mod tests {
    use super::*;
    use sampan_sdk::{
        Value,
        testing::{Datapath, network_node as node},
    };

    #[test]
    fn the_others_have_routes_and_a_change_is_one_operation() {
        let mut datapath = Datapath::<PolicyName>::new("a", &Value::Null);
        let nodes = [
            node("a", "10.244.1.0/24", "192.0.2.1"),
            node("b", "10.244.2.0/24", "192.0.2.2"),
            node("c", "10.244.3.0/24", "192.0.2.3"),
        ];
        datapath.apply(&nodes);
        assert_eq!(datapath.entries().len(), 2);
        assert_eq!(datapath.apply(&nodes), [], "nothing new");
        assert_eq!(datapath.apply(&[node("c", "10.244.3.0/24", "192.0.2.9")]).len(), 1);
        assert_eq!(datapath.delete("Node", "", "b").len(), 1);
        // Finds what `touched` forgot.
        datapath.agrees_with_a_fresh_one();
    }
}
