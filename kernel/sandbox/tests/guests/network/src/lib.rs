//! A network plugin that does what its configuration, and the names of the objects it is told of, say.
wit_bindgen::generate!({
    path: ["../../../../../wit/lifecycle", "../../../../../wit/network"],
    world: "sampan:network/network",
    generate_all,
});

use exports::sampan::{lifecycle::lifecycle, network::policy};
use sampan::network::types::{
    Address, Backend, Delta, Destination, Entry, EntryKey, Fallback, Frontend, FrontendKey, Identity, Op, PodKey,
    PodRules, Pool, Protocol, Range, Route, Scope, Table,
};
use std::cell::{Cell, RefCell};

thread_local! {
    static BEHAVIOUR: RefCell<String> = const { RefCell::new(String::new()) };
    static TOLD: Cell<u32> = const { Cell::new(0) };
}

struct Guest;

impl lifecycle::Guest for Guest {
    fn describe() -> lifecycle::Description {
        lifecycle::Description {
            name: "guest".to_owned(),
            version: "0.1.0".to_owned(),
            summary: String::new(),
        }
    }

    fn configure(config: String) -> Result<(), String> {
        BEHAVIOUR.with_borrow_mut(|behaviour| *behaviour = config.trim_matches('"').to_owned());
        Ok(())
    }
}

fn behaviour() -> String {
    BEHAVIOUR.with_borrow(Clone::clone)
}

/// 10.244.2.0/24, the pods of `there`, by the way that it says.
fn route(third: u32, via: &str) -> Op {
    Op::Set(Entry::Route(Route {
        range: Range {
            address: Address::V4(0x0af4_0000 | third << 8),
            prefix: 24,
        },
        peer: "there".to_owned(),
        via: via.to_owned(),
        underlay: Address::V4(0xc000_0202),
    }))
}

fn frontend(address: u32, backends: usize) -> Op {
    let backend = Backend {
        address: Address::V4(0x0af4_0207),
        port: 8080,
        weight: 1,
        local: false,
        terminating: false,
    };
    Op::Set(Entry::Frontend(Frontend {
        key: FrontendKey {
            destination: Destination::Address(Address::V4(address)),
            port: 80,
            protocol: Protocol::Tcp,
        },
        scope: Scope::Cluster,
        service: "default/web".to_owned(),
        affinity_seconds: 0,
        sources: Vec::new(),
        inside: Pool {
            backends: vec![backend; backends],
            otherwise: Fallback::Drop,
        },
        outside: None,
    }))
}

impl policy::Guest for Guest {
    fn watches() -> Vec<String> {
        match behaviour().as_str() {
            "curious" => vec!["secrets".to_owned(); 100],
            _ => vec!["nodes".to_owned()],
        }
    }

    fn tables() -> Vec<Table> {
        match behaviour().as_str() {
            "beyond" => vec![Table::Routes],
            _ => vec![Table::Frontends, Table::Routes, Table::Policies, Table::Routes],
        }
    }

    fn start(me: Identity) -> Result<(), String> {
        match me.node.as_str() {
            "unwelcome" => Err("not on this node".to_owned()),
            _ => Ok(()),
        }
    }

    fn plan(deltas: Vec<Delta>) -> Result<Vec<Op>, String> {
        TOLD.set(TOLD.get() + deltas.len() as u32);
        let good = route(2, "there");
        Ok(match behaviour().as_str() {
            "trap" => panic!("as intended"),
            "loop" => loop {
                std::hint::black_box(0);
            },
            "memory" => {
                let mut eaten: Vec<Vec<u8>> = Vec::new();
                loop {
                    eaten.push(std::hint::black_box(Vec::with_capacity(16 << 20)));
                }
            }
            "refuse" => return Err("the view is broken".to_owned()),
            "flood" => vec![good; 1_000_000],
            "many" => vec![good; 200_001],
            "fat" => vec![good, frontend(0x0a60_0001, 20_000)],
            "outside" => vec![good, route(1, "there")],
            "detour" => vec![good, route(2, "nowhere")],
            "hijack" | "beyond" => vec![good, frontend(0x0808_0808, 1)],
            "stranger" => {
                let pod = PodKey {
                    namespace: "default".to_owned(),
                    name: "elsewhere".to_owned(),
                };
                vec![
                    good,
                    Op::Set(Entry::Rules(PodRules {
                        pod,
                        ingress: None,
                        egress: None,
                    })),
                ]
            }
            "unknown" => vec![good, Op::Remove(EntryKey::Peers("nobody".to_owned()))],
            // One more frontend with each change that it was told of.
            _ => vec![good, frontend(0x0a60_0000 + TOLD.get(), 1)],
        })
    }
}

export!(Guest);
