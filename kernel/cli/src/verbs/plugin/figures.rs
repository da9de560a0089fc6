//! How pods lie, beside each other: now, and as policies would place them.
use crate::{print::Table, progress::size};
use sampan_api::rpc::{PlacedAnew, PlacementFigures};
use serde_json::{Value, json};

/// What the figures mean, for the help of whoever prints them.
pub const MEANING: &str = "What the figures mean. All pods of the slot that are there are placed anew, on the nodes that are there, in the order
in which they were made; each side decides about all of them, so its decisions add up. Pods of other schedulers, and
those that are ending, stay where they are. Who is preempted comes again at the end.
  waiting           pods that find no place
  preempted         pods that others went for, and those that went; `now` has none
  refused           places that the kernel would have refused: too little room, a taint
  nodes in use      of the nodes that take pods (ready, neither cordoned nor tainted), those with a pod
  cpu, memory       of a node's, what its pods ask for: mean over these nodes, and standard deviation
  fragmented        of what is free, the share that lies on nodes where a large pod finds no room. A large pod asks for
                    so much that nine in ten pods ask for no more, of CPU and of memory
  per node, zone    standard deviation of the number of pods; zones by topology.kubernetes.io/zone";

/// The heading over a table.
pub fn heading(all: &PlacedAnew) -> String {
    let stay = match all.staying {
        0 => String::new(),
        count => format!("; {count} others stay where they are"),
    };
    let of = match all.revision {
        0 => "at the end of the recording".to_owned(),
        revision => format!("revision {revision}"),
    };
    format!(
        "All {} pods placed anew ({of}{stay}). A large pod asks for {}m CPU and {}:",
        all.pods,
        all.large_milli_cpu,
        size(all.large_memory)
    )
}

/// The table, and what is to be said of those that have no figures.
pub fn table(all: &PlacedAnew) -> String {
    let good: Vec<&PlacementFigures> = all.figures.iter().filter(|one| one.problem.is_empty()).collect();
    let headers = good.iter().map(|one| match one.of.as_str() {
        "now" => "NOW".to_owned(),
        name => name.to_owned(),
    });
    let mut table = Table::new(std::iter::once("FIGURE".to_owned()).chain(headers));
    for (name, figure) in ROWS {
        let cells = good.iter().map(|one| figure(one));
        table.row(std::iter::once((*name).to_owned()).chain(cells));
    }
    let mut text = table.to_text(true);
    for one in all.figures.iter().filter(|one| !one.problem.is_empty()) {
        text.push_str(&format!("{} has no figures: {}\n", one.of, one.problem));
    }
    text
}

type Row = (&'static str, fn(&PlacementFigures) -> String);

const ROWS: &[Row] = &[
    ("placed", |one| one.placed.to_string()),
    ("waiting", |one| one.waiting.to_string()),
    ("preempted", |one| match one.of.as_str() {
        "now" => "<none>".to_owned(),
        _ => format!("{} for {}", one.victims, one.preemptors),
    }),
    ("refused", |one| one.refused.to_string()),
    ("nodes in use", |one| format!("{} of {}", one.used_nodes, one.nodes)),
    ("cpu", |one| mean(one.cpu_mean, one.cpu_deviation)),
    ("memory", |one| mean(one.memory_mean, one.memory_deviation)),
    ("cpu fragmented", |one| format!("{:.1} %", one.cpu_fragmented)),
    ("memory fragmented", |one| format!("{:.1} %", one.memory_fragmented)),
    ("pods per node ±", |one| format!("{:.1}", one.pods_on_node_deviation)),
    ("pods per zone ±", |one| match one.zones {
        0 => "<none>".to_owned(),
        _ => format!("{:.1}", one.pods_in_zone_deviation),
    }),
    ("time each", |one| match one.of.as_str() {
        "now" => "<none>".to_owned(),
        _ => micros(one.micros_each),
    }),
];

fn mean(mean: f64, deviation: f64) -> String {
    format!("{mean:.1} % ± {deviation:.1}")
}

/// How long a decision takes.
pub fn micros(micros: f64) -> String {
    format!("{micros:.1} µs")
}

/// All of it.
pub fn value(all: &PlacedAnew) -> Value {
    let of = |one: &PlacementFigures| match one.problem.is_empty() {
        false => json!({"of": one.of, "problem": one.problem}),
        true => json!({
            "of": one.of, "placed": one.placed, "waiting": one.waiting, "preemptors": one.preemptors,
            "victims": one.victims, "refused": one.refused, "nodes": one.nodes, "usedNodes": one.used_nodes,
            "cpu": {"mean": one.cpu_mean, "deviation": one.cpu_deviation, "fragmented": one.cpu_fragmented},
            "memory": {"mean": one.memory_mean, "deviation": one.memory_deviation, "fragmented": one.memory_fragmented},
            "podsPerNodeDeviation": one.pods_on_node_deviation, "podsPerZoneDeviation": one.pods_in_zone_deviation,
            "zones": one.zones, "microsEach": one.micros_each,
        }),
    };
    json!({
        "revision": all.revision, "pods": all.pods, "staying": all.staying, "elsewhere": all.elsewhere,
        "largePod": {"milliCpu": all.large_milli_cpu, "memory": all.large_memory},
        "figures": all.figures.iter().map(of).collect::<Vec<_>>(),
    })
}
