//! Placing 10,000 pods on 5,000 nodes, 100 at a call: the plugin `scheduler` in the sandbox beside the same code native.
use crate::figure::{Figure, beside, percentile};
use ::scheduler::types as native;
use anyhow::{Context, Result};
use sampan_api::plugin::World;
use sampan_sandbox::{Limits, Loaded, PluginEngine, scheduler as wire};
use std::time::Instant;

const NODES: u32 = 5000;
const CALLS: u32 = 100;
const PODS: u32 = 100;
const CLASSES: [u32; 3] = [1, 4, 16];
/// A round lasts some milliseconds; the median of them all counts.
const ROUNDS: usize = 21;
/// Of the plugin's time against the native code's.
const TARGET_RATIO: f64 = 2.0;

/// Nodes of 4 CPUs, 32 GiB and 110 pods, and classes of 100m and 500 MiB: the shapes of scheduler_perf. In the words of either
/// side, which are alike.
macro_rules! shapes {
    ($of:ident, $classes:expr) => {{
        let resources = |milli_cpu, memory| $of::Resources {
            milli_cpu,
            memory,
            ephemeral_storage: 0,
        };
        let node = |id: u32| $of::Node {
            id,
            name: 0,
            allocatable: resources(4000, 32 << 30),
            pods: 110,
            extended: Vec::new(),
            labels: Vec::new(),
            taints: Vec::new(),
            images: Vec::new(),
            unschedulable: false,
            ready: true,
        };
        let class = |id: u32| $of::PodClass {
            id,
            namespace: 0,
            labels: Vec::new(),
            owner: 0,
            siblings: None,
            priority: 0,
            may_preempt: true,
            requests: resources(100 + u64::from(id) * 10, 500 << 20),
            scored_cpu: 100 + u64::from(id) * 10,
            scored_memory: 500 << 20,
            extended: Vec::new(),
            ports: Vec::new(),
            node_selector: Vec::new(),
            required_nodes: None,
            preferred_nodes: Vec::new(),
            tolerations: Vec::new(),
            affinity: Vec::new(),
            anti_affinity: Vec::new(),
            preferred_affinity: Vec::new(),
            preferred_anti_affinity: Vec::new(),
            spread: Vec::new(),
            images: Vec::new(),
        };
        $of::Changes {
            symbols: Vec::new(),
            namespaces: Vec::new(),
            namespaces_gone: Vec::new(),
            budgets: Vec::new(),
            budgets_gone: Vec::new(),
            classes: (1..=$classes).map(class).collect(),
            nodes_gone: Vec::new(),
            nodes: (1..=NODES).map(node).collect(),
            released: Vec::new(),
            bound: Vec::new(),
            ending: Vec::new(),
            nominated: Vec::new(),
            nominated_no_more: Vec::new(),
            classes_gone: Vec::new(),
        }
    }};
}

/// The pods of a call; their classes take turns.
macro_rules! pods {
    ($of:ident, $classes:expr, $call:expr) => {
        (0..PODS)
            .map(|n| $of::Pod {
                id: 1 + $call * PODS + n,
                class: 1 + n % $classes,
                pinned: 0,
            })
            .collect::<Vec<_>>()
    };
}

pub fn run() -> Result<Vec<Figure>> {
    let engine = PluginEngine::new(None).map_err(|error| anyhow::anyhow!("{error:#}"))?;
    let bytes = sampan_builtin::component(sampan_builtin::PLUGINS, "scheduler").context("no plugin scheduler")?;
    let loaded = engine.load(World::Scheduler, bytes, &serde_json::Value::Null, Limits::default())?;
    CLASSES.iter().map(|classes| with_classes(&loaded, *classes)).collect()
}

/// Pods of so many classes, one after the other: the index serves a run of equal pods best, and this is its worst.
fn with_classes(loaded: &Loaded, classes: u32) -> Result<Figure> {
    let (mut in_plugin, mut natively) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let mut plugin = loaded.scheduler()?;
        plugin.sync(0, 1, &shapes!(wire, classes))?;
        in_plugin.push(per_pod(|call| {
            plugin.place(&pods!(wire, classes, call), &[])?;
            Ok(())
        })?);
        let mut native = ::scheduler::Engine::default();
        native
            .sync(0, 1, shapes!(native, classes))
            .map_err(anyhow::Error::msg)?;
        natively.push(per_pod(|call| {
            std::hint::black_box(native.place(&pods!(native, classes, call), &[]));
            Ok(())
        })?);
    }
    let natively = percentile(&mut natively, 0.5);
    let case = format!(
        "{NODES} nodes, {} pods of {classes} classes, {PODS} a call",
        CALLS * PODS
    );
    let mut figure = Figure::new("placement", &case, percentile(&mut in_plugin, 0.5), "µs/pod");
    figure.peer = beside("native", natively);
    figure.target = Some(natively * TARGET_RATIO);
    Ok(figure)
}

/// What a pod takes once the first call has made the index.
fn per_pod(mut place: impl FnMut(u32) -> Result<()>) -> Result<f64> {
    place(0)?;
    let started = Instant::now();
    (1..=CALLS).try_for_each(place)?;
    Ok(started.elapsed().as_secs_f64() * 1e6 / f64::from(CALLS * PODS))
}
