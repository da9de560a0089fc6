//! A network plugin that misbehaves on nodes, in the way that its config says. `{"how": "trap"}`, `"loop"` and `"outside"` do
//! so always. `{"how": "stumble", "after": 3}` is a full mesh that traps when it is asked about more nodes than three in its
//! life, and leaves out nodes that have the label `hidden`: a fresh one, told everything at once, works.
use sampan_sdk::{
    Value,
    network::{Address, Change, Description, Entry, Name, Network, Range, Route, Table, View, description},
};
use std::{cell::Cell, collections::BTreeSet};

#[derive(Default)]
pub struct Hostile {
    how: String,
    after: u64,
    asked: Cell<u64>,
}

impl Network for Hostile {
    type Key = Name;

    fn describe() -> Description {
        description("hostile-network", env!("CARGO_PKG_VERSION"), "Misbehaves on nodes.")
    }

    fn configure(&mut self, config: &Value) -> Result<(), String> {
        self.how = config["how"].as_str().unwrap_or("trap").to_owned();
        self.after = config["after"].as_u64().unwrap_or_default();
        Ok(())
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
        self.asked.set(self.asked.get() + 1);
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
        match &*self.how {
            "loop" => loop {
                std::hint::black_box(0);
            },
            // Everything that there is.
            "outside" => vec![route(Range {
                address: Address::V4(0),
                prefix: 0,
            })],
            "stumble" if self.asked.get() <= self.after => {
                let hidden = node.metadata.labels.contains_key("hidden");
                let ranges = node.pod_ranges().into_iter().filter(|_| !hidden);
                ranges.map(route).collect()
            }
            _ => panic!("as intended"),
        }
    }
}

sampan_sdk::export_network!(Hostile);
