//! Placing 10,000 pods on 5,000 nodes, 100 at a call: the plugin `spread` in the sandbox beside the same code native.
use crate::figure::{Figure, beside};
use anyhow::{Context, Result};
use sampan_api::plugin::World;
use sampan_sandbox::{Limits, Loaded, PluginEngine, scheduler as wire};
use sampan_sdk::scheduler_01 as native;
use std::time::Instant;

const NODES: u32 = 5000;
const CALLS: u32 = 100;
const PODS: u32 = 100;
const CLASSES: [u32; 3] = [1, 4, 16];
/// Of the plugin's time against the native code's.
const TARGET_RATIO: f64 = 2.0;

/// A node of 4 CPUs, 32 GiB and 110 pods, and a pod of 100m and 500 MiB: the shapes of scheduler_perf.
macro_rules! shapes {
    ($of:ident, $classes:expr) => {{
        let none = $of::Resources {
            milli_cpu: 0,
            memory: 0,
            ephemeral_storage: 0,
            pods: 0,
        };
        let node = move |id: u32| $of::Node {
            id,
            name: 0,
            allocatable: $of::Resources {
                milli_cpu: 4000,
                memory: 32 << 30,
                pods: 110,
                ..none.clone()
            },
            requested: none.clone(),
            labels: Vec::new(),
            taints: Vec::new(),
            unschedulable: false,
            ready: true,
        };
        let pod = move |id: u32| $of::Pod {
            id,
            requests: $of::Resources {
                milli_cpu: 100 + u64::from(id % $classes) * 10,
                memory: 500 << 20,
                ephemeral_storage: 0,
                pods: 1,
            },
            node_selector: Vec::new(),
            tolerations: Vec::new(),
            priority: 0,
            class: 1 + id % $classes,
        };
        let nodes: Vec<_> = (1..=NODES).map(|id| $of::Delta::Node(node(id))).collect();
        let pods: Vec<_> = (0..PODS).map(pod).collect();
        (nodes, pods)
    }};
}

/// Least allocated first, as the plugin `spread` is.
#[derive(Default)]
struct Spread;

impl native::Scheduler for Spread {
    fn describe() -> native::Description {
        native::description("spread", "0", "native")
    }

    fn score(&self, pod: &native::Pod, node: &native::Node) -> i64 {
        native::filters::WHOLE - native::filters::used_share(pod, node)
    }
}

pub fn run() -> Result<Vec<Figure>> {
    let engine = PluginEngine::new(None).map_err(|error| anyhow::anyhow!("{error:#}"))?;
    let bytes = sampan_builtin::component(sampan_builtin::PLUGINS, "spread").context("no plugin spread")?;
    let loaded = engine.load(World::Scheduler, bytes, &serde_json::Value::Null, Limits::default())?;
    CLASSES.iter().map(|classes| with_classes(&loaded, *classes)).collect()
}

/// Pods of so many classes, one after the other: the index serves a run of equal pods best, and this is its worst.
fn with_classes(loaded: &Loaded, classes: u32) -> Result<Figure> {
    let per_pod = |started: Instant| started.elapsed().as_secs_f64() * 1e6 / f64::from(CALLS * PODS);
    let mut plugin = loaded.scheduler()?;
    let (nodes, pods) = shapes!(wire, classes);
    plugin.sync(0, 1, &nodes)?;
    plugin.place(&pods)?;
    let started = Instant::now();
    for _ in 0..CALLS {
        plugin.place(&pods)?;
    }
    let in_plugin = per_pod(started);

    let (nodes, pods) = shapes!(native, classes);
    let mut native: native::Engine<Spread> = native::Engine::default();
    native.sync(0, 1, nodes).map_err(anyhow::Error::msg)?;
    native.place(&pods);
    let started = Instant::now();
    for _ in 0..CALLS {
        std::hint::black_box(native.place(&pods));
    }
    let natively = per_pod(started);
    let case = format!(
        "{NODES} nodes, {} pods of {classes} classes, {PODS} a call",
        CALLS * PODS
    );
    let mut figure = Figure::new("placement", &case, in_plugin, "µs/pod");
    figure.peer = beside("native", natively);
    figure.target = Some(natively * TARGET_RATIO);
    Ok(figure)
}
