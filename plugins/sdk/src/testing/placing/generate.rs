//! Traces from a seed.
use super::{NodeShape, PodShape, Step, TaintShape, TolerationShape, Trace, node, pod};
use crate::testing::Draw;

const ZONE: &str = "topology.kubernetes.io/zone";
const ZONES: [&str; 3] = ["a", "b", "c"];

impl Trace {
    /// A cluster of about so many nodes that so many pods come to, some of which end again. Nodes differ, some are tainted or
    /// get cordoned, some go; pods are of some dozens of owners, and differ in what they ask for.
    pub fn generate(seed: u64, nodes: u32, pods: u32) -> Self {
        let mut draw = Draw::new(seed);
        let mut steps: Vec<Step> = (1..=nodes).map(|id| Step::Node(random_node(&mut draw, id))).collect();
        let (mut came, mut last_node) = (0, nodes);
        let mut alive: Vec<u32> = Vec::new();
        while came < pods {
            let count = (1 + draw.below(40) as u32).min(pods - came);
            steps.push(Step::Pods {
                count,
                together: count < 16 && draw.chance(30),
                pod: random_pod(&mut draw, last_node),
            });
            alive.extend(came + 1..=came + count);
            came += count;
            if draw.chance(40) && !alive.is_empty() {
                let most = draw.below(30).min(alive.len());
                let mut some: Vec<u32> = (0..most).map(|_| alive.swap_remove(draw.below(alive.len()))).collect();
                some.sort_unstable();
                steps.push(Step::Ended(some));
            }
            if draw.chance(8) {
                steps.push(change_of_nodes(&mut draw, &mut last_node));
            }
        }
        Trace { steps }
    }
}

fn change_of_nodes(draw: &mut Draw, last_node: &mut u32) -> Step {
    let known = 1 + draw.below(*last_node as usize) as u32;
    match draw.below(4) {
        0 => Step::NodeGone(name(known)),
        1 => {
            *last_node += 1;
            Step::Node(random_node(draw, *last_node))
        }
        _ => Step::Node(NodeShape {
            unschedulable: draw.chance(50),
            ready: draw.chance(80),
            ..random_node(draw, known)
        }),
    }
}

fn name(id: u32) -> String {
    format!("node-{id}")
}

/// A node of the benchmarks' shape, or a little different.
pub fn random_node(draw: &mut Draw, id: u32) -> NodeShape {
    let mut shape = node(&name(id))
        .label("kubernetes.io/hostname", &name(id))
        .label(ZONE, draw.one(&ZONES));
    if draw.chance(20) {
        shape = shape
            .milli_cpu(draw.one(&[2000, 8000]))
            .memory(draw.one(&[8 << 30, 64 << 30]));
    }
    if draw.chance(5) {
        shape.extended.insert("example.com/gpu".to_owned(), draw.one(&[1, 4]));
    }
    if draw.chance(10) {
        shape.taints.push(TaintShape {
            key: draw.one(&["dedicated", "spot"]).to_owned(),
            value: String::new(),
            effect: draw.one(&["NoSchedule", "PreferNoSchedule", "NoExecute"]).to_owned(),
        });
    }
    shape
}

/// A pod of one of some dozens of owners.
pub fn random_pod(draw: &mut Draw, nodes: u32) -> PodShape {
    let app = draw.below(40);
    let mut shape = pod()
        .owner(&format!("uid-{app}"))
        .label("app", &format!("app-{app}"))
        .milli_cpu(draw.one(&[0, 50, 100, 250, 1000]))
        .memory(draw.one(&[0, 128 << 20, 500 << 20, 2 << 30]));
    if draw.chance(10) {
        shape.owner.clear();
    }
    if draw.chance(10) {
        shape = shape.on(ZONE, draw.one(&ZONES));
    }
    if draw.chance(5) {
        let zones = ZONES.iter().filter(|_| draw.chance(60)).map(|zone| (*zone).to_owned());
        shape.node_affinity.insert(ZONE.to_owned(), zones.collect());
    }
    if draw.chance(10) {
        shape.tolerations.push(TolerationShape {
            key: draw.chance(80).then(|| "dedicated".to_owned()),
            ..TolerationShape::default()
        });
    }
    if draw.chance(3) {
        shape = shape.host_port(draw.one(&[80, 443]));
    }
    if draw.chance(3) {
        shape.extended.insert("example.com/gpu".to_owned(), 1);
    }
    if draw.chance(2) {
        shape = shape.pinned(&name(1 + draw.below(nodes as usize) as u32));
    }
    shape.priority = draw.one(&[0, 0, 0, 0, 10]);
    shape
}
