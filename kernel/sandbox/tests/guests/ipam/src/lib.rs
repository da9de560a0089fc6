//! A plugin that gives pods addresses, as its configuration says.
wit_bindgen::generate!({
    path: ["../../../../../wit/lifecycle", "../../../../../wit/ipam"],
    world: "sampan:ipam/ipam",
    generate_all,
});

use exports::sampan::{ipam::policy, lifecycle::lifecycle};
use sampan::ipam::types::{Holder, Identity, Pod};
use std::{cell::RefCell, collections::BTreeMap};

#[derive(Default)]
struct State {
    behaviour: String,
    base: u32,
    held: BTreeMap<String, u32>,
}

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
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
        STATE.with_borrow_mut(|state| state.behaviour = config.trim_matches('"').to_owned());
        Ok(())
    }
}

fn endless() -> ! {
    loop {
        std::hint::black_box(0);
    }
}

impl policy::Guest for Guest {
    fn start(me: Identity) -> Result<(), String> {
        STATE.with_borrow_mut(|state| state.base = me.base);
        match me.node.as_str() {
            "unwelcome" => Err("not on this node".to_owned()),
            _ => Ok(()),
        }
    }

    fn keep(holders: Vec<Holder>) {
        STATE.with_borrow_mut(|state| match state.behaviour.as_str() {
            "trap-keep" => panic!("as intended"),
            "loop-keep" => endless(),
            _ => {
                let held = holders.into_iter().map(|holder| (holder.pod.uid, holder.address));
                state.held.extend(held);
            }
        });
    }

    /// The lowest that nobody has, from the second on.
    fn claim(pod: Pod) -> Result<u32, String> {
        STATE.with_borrow_mut(|state| {
            match state.behaviour.as_str() {
                "trap" => panic!("as intended"),
                "loop" => endless(),
                "memory" => drop(std::hint::black_box(vec![1_u8; 1 << 30])),
                "refuse" => return Err(format!("{}/{} is to wait", pod.namespace, pod.name)),
                "outside" => return Ok(0xa9fe_a9fe),
                "words" => return Err("w".repeat(1 << 20)),
                "label" => {
                    let label = pod.labels.iter().find(|(name, _)| name == "offset");
                    let (_, offset) = label.ok_or("no label")?;
                    return Ok(state.base + offset.parse::<u32>().map_err(|error| error.to_string())?);
                }
                _ => {}
            }
            let taken = |address: &u32| state.held.values().any(|held| held == address);
            let address = (state.base + 2..)
                .find(|address| !taken(address))
                .ok_or("none is left")?;
            state.held.insert(pod.uid, address);
            Ok(address)
        })
    }

    fn release(uid: String) {
        STATE.with_borrow_mut(|state| state.held.remove(&uid));
    }
}

export!(Guest);
