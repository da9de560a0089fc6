//! The network plugin `hub-and-spoke`: one node, the hub, reaches all others, and they reach each other through it. For
//! networks in which only one machine can be reached from everywhere. Its config names the hub: `{"hub": "gateway"}`.
use sampan_sdk::{
    Value,
    network::{Change, Description, Entry, Name, Network, Route, Table, View, description},
};
use std::collections::BTreeSet;

#[derive(Default)]
pub struct HubAndSpoke {
    hub: Name,
}

impl Network for HubAndSpoke {
    type Key = Name;

    fn describe() -> Description {
        let summary = "Nodes reach each other through one of them.";
        description("hub-and-spoke", env!("CARGO_PKG_VERSION"), summary)
    }

    fn configure(&mut self, config: &Value) -> Result<(), String> {
        match config["hub"].as_str() {
            Some(hub) if !hub.is_empty() => {
                self.hub = Name::new("", hub);
                Ok(())
            }
            _ => Err("the config must name the node in the middle, as in {\"hub\": \"gateway\"}".to_owned()),
        }
    }

    fn watches() -> &'static [&'static str] {
        &["nodes"]
    }

    fn tables() -> &'static [Table] {
        &[Table::Routes]
    }

    fn touched(&self, change: &Change<'_>, view: &View, keys: &mut BTreeSet<Name>) {
        if let Change::Node(pair) = change {
            keys.insert(pair.name.clone());
            if *pair.name == self.hub {
                // All ways lead through it.
                keys.extend(view.nodes.keys().cloned());
            }
        }
    }

    fn desired(&self, key: &Name, view: &View) -> Vec<Entry> {
        let Some(node) = view.nodes.get(key).filter(|_| key.name != view.node) else {
            return Vec::new();
        };
        let via = if view.node == self.hub.name { key } else { &self.hub };
        let reached = view
            .nodes
            .get(via)
            .and_then(|via| via.internal_addresses().first().copied());
        let Some(underlay) = reached else { return Vec::new() };
        let route = |range| {
            Entry::Route(Route {
                range,
                peer: key.name.clone(),
                via: via.name.clone(),
                underlay,
            })
        };
        node.pod_ranges().into_iter().map(route).collect()
    }
}

sampan_sdk::export_network!(HubAndSpoke);

#[cfg(test)]
mod tests {
    use super::*;
    use sampan_sdk::{
        serde_json::json,
        testing::{Datapath, network_node as node},
    };

    fn seen_from(name: &str) -> Datapath<HubAndSpoke> {
        let mut datapath = Datapath::new(name, &json!({"hub": "hub"}));
        datapath.apply(&[
            node("east", "10.244.1.0/24", "192.0.2.1"),
            node("hub", "10.244.2.0/24", "192.0.2.2"),
            node("west", "10.244.3.0/24", "192.0.2.3"),
        ]);
        datapath.agrees_with_a_fresh_one();
        datapath
    }

    fn said(datapath: &Datapath<HubAndSpoke>) -> Vec<String> {
        let text = |entry: Entry| match entry {
            Entry::Route(route) => format!("{} via {} at {}", route.peer, route.via, route.underlay),
            other => panic!("{other:?}"),
        };
        datapath.entries().into_iter().map(text).collect()
    }

    #[test]
    fn spokes_go_through_the_hub_and_the_hub_goes_straight() {
        assert_eq!(
            said(&seen_from("east")),
            ["hub via hub at 192.0.2.2", "west via hub at 192.0.2.2"]
        );
        assert_eq!(
            said(&seen_from("hub")),
            ["east via east at 192.0.2.1", "west via west at 192.0.2.3"]
        );
    }

    #[test]
    fn a_hub_that_moves_takes_all_routes_along() {
        let mut datapath = seen_from("east");
        assert_eq!(datapath.apply(&[node("hub", "10.244.2.0/24", "192.0.2.9")]).len(), 2);
        assert_eq!(
            said(&datapath),
            ["hub via hub at 192.0.2.9", "west via hub at 192.0.2.9"]
        );
        datapath.agrees_with_a_fresh_one();
        datapath.delete("Node", "", "hub");
        assert!(said(&datapath).is_empty(), "nothing is reached without the hub");
        datapath.agrees_with_a_fresh_one();
    }

    #[test]
    fn a_hub_must_be_named() {
        let refused = HubAndSpoke::default().configure(&json!({})).unwrap_err();
        assert!(refused.contains("{\"hub\": \"gateway\"}"), "{refused}");
    }
}
