//! A scheduler that behaves as its configuration says.
wit_bindgen::generate!({
    path: ["../../../../../wit/lifecycle", "../../../../../wit/scheduler"],
    world: "sampan:scheduler/scheduler",
    generate_all,
});

use exports::sampan::{lifecycle::lifecycle, scheduler::policy};
use sampan::scheduler::types::{Delta, Placement, Pod, PodClass, Refusal};
use std::cell::{Cell, RefCell};

thread_local! {
    static CONFIG: RefCell<String> = const { RefCell::new(String::new()) };
    static REVISION: Cell<u64> = const { Cell::new(0) };
    /// Of node 1: cpu and pods that are asked of it, and labels without a key.
    static USED: Cell<[u32; 3]> = const { Cell::new([0; 3]) };
}

fn is(word: &str) -> bool {
    CONFIG.with_borrow(|config| config.contains(word))
}

struct Guest;

impl lifecycle::Guest for Guest {
    fn describe() -> lifecycle::Description {
        let summary = if is("long") {
            "x".repeat(100_000)
        } else {
            "does as\nit is told".to_owned()
        };
        lifecycle::Description {
            name: "guest".to_owned(),
            version: "0.1.0".to_owned(),
            summary,
        }
    }

    fn configure(config: String) -> Result<(), String> {
        if config.contains("refuse") {
            return Err("it does not like \"refuse\"".to_owned());
        }
        if config.contains("trap-at-start") {
            panic!("at start");
        }
        CONFIG.set(config);
        Ok(())
    }
}

impl policy::Guest for Guest {
    fn sync(base: u64, next: u64, deltas: Vec<Delta>) -> Result<(), String> {
        if base != 0 && base != REVISION.get() {
            return Err(format!("the mirror is at {}, not {base}", REVISION.get()));
        }
        REVISION.set(next);
        deltas.into_iter().for_each(take_in);
        Ok(())
    }

    fn place(classes: Vec<PodClass>, pods: Vec<Pod>) -> Placement {
        let bind = |nodes: Vec<u32>| Placement {
            nodes,
            refusals: Vec::new(),
        };
        if is("loop") {
            let mut n = 0_u64;
            loop {
                n = std::hint::black_box(n + 1);
            }
        }
        if is("trap") {
            panic!("in place");
        }
        if is("recurse") {
            return bind(vec![deep(1)]);
        }
        if is("memory") {
            let mut hoard = Vec::new();
            loop {
                hoard.push(std::hint::black_box(vec![1_u8; 1 << 20]));
            }
        }
        if is("flood") {
            return bind(vec![1; 10_000_000]);
        }
        if is("short") {
            return bind(vec![1; pods.len() - 1]);
        }
        if is("silent") {
            return bind(vec![0; pods.len()]);
        }
        if is("tell") {
            let [cpu, there, names] = USED.get();
            let selected = classes[pods[0].class as usize].node_selector.iter();
            let pinned = selected.filter(|label| label.key == 0).map(|label| label.value);
            let said = [cpu, there, names, pinned.sum(), classes.len() as u32];
            let nodes = said.map(|number| number + 1);
            // What it sends to node 1 counts there.
            USED.set([cpu, there + nodes.iter().filter(|node| **node == 1).count() as u32, names]);
            return bind(nodes.to_vec());
        }
        if is("bind") {
            return bind((1..).take(pods.len()).collect());
        }
        let refusal = Refusal {
            cordoned: 1,
            not_ready: 0,
            tainted: 0,
            selector: 0,
            cpu: 0,
            memory: 0,
            ephemeral_storage: 0,
            pods: 0,
        };
        Placement {
            nodes: vec![0; pods.len()],
            refusals: vec![refusal; pods.len()],
        }
    }
}

fn take_in(delta: Delta) {
    let [cpu, pods, names] = USED.get();
    match delta {
        Delta::Node(node) if node.id == 1 => {
            let names = node.labels.iter().filter(|label| label.key == 0).count();
            USED.set([node.requested.milli_cpu as u32, node.requested.pods, names as u32]);
        }
        Delta::Bound(usage) if usage.node == 1 => {
            let asked = usage.resources;
            USED.set([cpu + asked.milli_cpu as u32, pods + asked.pods, names]);
        }
        Delta::Released(usage) if usage.node == 1 => {
            let asked = usage.resources;
            USED.set([cpu - asked.milli_cpu as u32, pods - asked.pods, names]);
        }
        _ => {}
    }
}

/// Without an end, and not as a loop.
#[allow(unconditional_recursion)]
fn deep(n: u32) -> u32 {
    let room = std::hint::black_box([n; 64]);
    let below = deep(n.wrapping_add(1));
    std::hint::black_box(&room);
    below + room[3]
}

export!(Guest);
