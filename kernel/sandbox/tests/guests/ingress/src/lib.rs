//! An ingress plugin that does what its configuration, and the names of the objects it is told of, say.
wit_bindgen::generate!({
    path: ["../../../../../wit/lifecycle", "../../../../../wit/network", "../../../../../wit/ingress"],
    world: "sampan:ingress/ingress",
    generate_all,
});

use exports::sampan::{ingress::policy, lifecycle::lifecycle};
use sampan::{
    ingress::types::{
        Backend, Certificate, Entry, EntryKey, HostName, Op, Path, Pool, Protocol, Route, Secret, Table, VirtualHost,
    },
    network::types::{Address, Delta, Identity},
};
use std::cell::RefCell;

thread_local! {
    static BEHAVIOUR: RefCell<String> = const { RefCell::new(String::new()) };
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

/// A pool with one backend.
fn pool(name: &str, address: u32) -> Op {
    let backend = Backend {
        address: Address::V4(address),
        port: 8080,
        weight: 1,
    };
    Op::Set(Entry::Pool(Pool {
        name: name.to_owned(),
        protocol: Protocol::Http1,
        backends: vec![backend],
    }))
}

/// A host of a name, all of whose requests go to a pool.
fn host(name: &str, pool: &str) -> Op {
    let route = Route {
        path: Path::Prefix("/".to_owned()),
        pool: pool.to_owned(),
        rewrite: None,
        filter: None,
    };
    Op::Set(Entry::Host(VirtualHost {
        host: HostName::Exact(name.to_owned()),
        routes: vec![route],
        otherwise: None,
    }))
}

impl policy::Guest for Guest {
    fn watches() -> Vec<String> {
        match behaviour().as_str() {
            "curious" => vec!["secrets".to_owned(); 100],
            _ => vec!["ingresses.networking.k8s.io".to_owned()],
        }
    }

    fn tables() -> Vec<Table> {
        match behaviour().as_str() {
            "beyond" => vec![Table::Pools],
            _ => vec![Table::Hosts, Table::Pools, Table::Certificates, Table::Pools],
        }
    }

    fn start(me: Identity) -> Result<(), String> {
        match me.node.as_str() {
            "unwelcome" => Err("not on this node".to_owned()),
            _ => Ok(()),
        }
    }

    fn plan(deltas: Vec<Delta>) -> Result<Vec<Op>, String> {
        // 10.244.2.7
        let good = pool("web", 0x0af4_0207);
        Ok(match behaviour().as_str() {
            "trap" => panic!("as intended"),
            "loop" => loop {
                std::hint::black_box(0);
            },
            "refuse" => return Err("the view is broken".to_owned()),
            "many" => vec![good; 200_001],
            // The metadata service of many clouds.
            "outside" => vec![good, pool("other", 0xa9fe_a9fe)],
            "beyond" => vec![good, host("a.example", "web")],
            "dangling" => vec![good, host("a.example", "nobody")],
            "leak" => vec![
                good,
                Op::Set(Entry::Certificate(Certificate {
                    host: HostName::Any,
                    secret: Secret {
                        namespace: "default".to_owned(),
                        name: "password".to_owned(),
                    },
                })),
            ],
            "unknown" => vec![good, Op::Remove(EntryKey::Host(HostName::Any))],
            // A host for each object that it was told of.
            _ => {
                let hosts = deltas.iter().map(|delta| match delta {
                    Delta::Changed(object) => host(&object.key.name, "web"),
                    Delta::Gone(key) => Op::Remove(EntryKey::Host(HostName::Exact(key.name.clone()))),
                });
                [good].into_iter().chain(hosts).collect()
            }
        })
    }
}

export!(Guest);
