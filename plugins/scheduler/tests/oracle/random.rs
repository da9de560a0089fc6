//! Random clusters: small, so that everything is near everything, and with few values, so that rules meet.
use crate::{
    draw::Draw,
    model::{World, amounts, class, node},
};
use scheduler::types::{
    Amount, Budget, Effect, HostPort, Image, Inclusion, Label, Node, NodeTerm, Operator, PodClass, PodTerm,
    PreferredNode, PreferredPod, Protocol, Requirement, SpreadConstraint, Taint, Toleration, Unsatisfiable,
};

pub const HOST: &str = "kubernetes.io/hostname";
pub const ZONE: &str = "topology.kubernetes.io/zone";
const RACK: &str = "rack";
const GPU: &str = "example.com/gpu";

/// What a random cluster is to be about; each in percent.
#[derive(Clone, Copy, Debug)]
pub struct Taste {
    pub spread: u64,
    pub affinity: u64,
    pub preferred: u64,
    pub priorities: bool,
    /// How often nodes lack a label, have taints, are cordoned.
    pub rough: u64,
}

pub fn symbols(world: &mut World) {
    for text in [
        HOST,
        ZONE,
        RACK,
        GPU,
        "node.kubernetes.io/unschedulable",
        "node.kubernetes.io/not-ready",
    ] {
        world.symbol(text);
    }
}

pub fn namespaces(draw: &mut Draw, world: &mut World) {
    for name in ["red", "green", "blue"] {
        let name = world.symbol(name);
        let team = draw.one(&["a", "b"]);
        let labels = vec![world.label("team", team)];
        world.namespaces.insert(name, labels);
    }
}

pub fn random_node(draw: &mut Draw, world: &mut World, id: u32, taste: &Taste) -> Node {
    let mut node = node(id);
    let name = format!("node-{id}");
    node.name = world.symbol(&name);
    node.allocatable = amounts(
        draw.one(&[1000, 2000, 4000]),
        draw.one(&[2 << 30, 4 << 30, 8 << 30]),
        10 << 30,
    );
    node.pods = draw.one(&[4, 6, 110]) as u32;
    if !draw.chance(taste.rough / 2) {
        let host = if draw.chance(4) { "shared".to_owned() } else { name };
        node.labels.push(world.label(HOST, &host));
    }
    if !draw.chance(taste.rough) {
        let zone = draw.one(&["z1", "z2", "z3"]);
        node.labels.push(world.label(ZONE, zone));
    }
    if draw.chance(70) {
        let rack = draw.one(&["r1", "r2", "r3", "r4", "r5"]);
        node.labels.push(world.label(RACK, rack));
    }
    if draw.chance(60) {
        let disk = draw.one(&["ssd", "hdd"]);
        node.labels.push(world.label("disk", disk));
    }
    if draw.chance(60) {
        let generation = draw.one(&["1", "2", "3", "x"]);
        node.labels.push(world.label("generation", generation));
    }
    if draw.chance(30) {
        let name = world.symbol(GPU);
        node.extended.push(Amount {
            name,
            amount: draw.below(3),
        });
    }
    for image in ["web:1", "db:2"] {
        if draw.chance(40) {
            let kib = draw.one(&[1 << 10, 200 << 10, 900 << 10]);
            let name = world.symbol(image);
            node.images.push(Image { name, kib });
        }
    }
    if draw.chance(taste.rough) {
        let taint = taint(draw, world);
        node.taints.push(taint);
    }
    node.unschedulable = draw.chance(taste.rough / 3);
    node.ready = !draw.chance(taste.rough / 3);
    node
}

fn taint(draw: &mut Draw, world: &mut World) -> Taint {
    Taint {
        key: world.symbol(draw.one(&["dedicated", "spot"])),
        value: world.symbol(draw.one(&["", "x"])),
        effect: draw.one(&[
            Effect::NoSchedule,
            Effect::PreferNoSchedule,
            Effect::PreferNoSchedule,
            Effect::NoExecute,
        ]),
    }
}

fn toleration(draw: &mut Draw, world: &mut World) -> Toleration {
    let key = draw.one(&[
        "dedicated",
        "spot",
        "node.kubernetes.io/unschedulable",
        "node.kubernetes.io/not-ready",
    ]);
    let value = draw.one(&["", "x"]);
    Toleration {
        key: draw.chance(85).then(|| world.symbol(key)),
        value: draw.chance(50).then(|| world.symbol(value)),
        effect: draw
            .chance(50)
            .then(|| draw.one(&[Effect::NoSchedule, Effect::PreferNoSchedule, Effect::NoExecute])),
    }
}

fn requirement(world: &mut World, key: &str, operator: Operator, values: &[&str]) -> Requirement {
    Requirement {
        key: world.symbol(key),
        operator,
        values: values.iter().map(|value| world.symbol(value)).collect(),
    }
}

fn on_node(draw: &mut Draw, world: &mut World) -> NodeTerm {
    let disk = draw.one(&["ssd", "hdd"]);
    let generation = draw.one(&["1", "2"]);
    let mut term = NodeTerm {
        expressions: Vec::new(),
        fields: Vec::new(),
    };
    match draw.below(8) {
        0 => term
            .expressions
            .push(requirement(world, "disk", Operator::IsIn, &[disk, "nvme"])),
        1 => term
            .expressions
            .push(requirement(world, "disk", Operator::NotIn, &[disk])),
        2 => term.expressions.push(requirement(world, ZONE, Operator::Exists, &[])),
        3 => term
            .expressions
            .push(requirement(world, "disk", Operator::DoesNotExist, &[])),
        4 => term
            .expressions
            .push(requirement(world, "generation", Operator::Greater, &[generation])),
        5 => term
            .expressions
            .push(requirement(world, "generation", Operator::Less, &[generation])),
        6 => {
            let name = format!("node-{}", 1 + draw.below(8));
            let operator = draw.one(&[Operator::IsIn, Operator::NotIn]);
            term.fields
                .push(requirement(world, "metadata.name", operator, &[&name]));
        }
        _ => {}
    }
    if draw.chance(20) {
        term.expressions.push(requirement(world, RACK, Operator::Exists, &[]));
    }
    term
}

pub fn selector(draw: &mut Draw, world: &mut World) -> Option<Vec<Requirement>> {
    let app = draw.one(&["a", "b", "c"]);
    match draw.below(8) {
        0 => Some(Vec::new()),
        1 => Some(vec![requirement(world, "app", Operator::NotIn, &[app])]),
        2 => Some(vec![requirement(world, "tier", Operator::Exists, &[])]),
        3 => Some(vec![requirement(world, "tier", Operator::DoesNotExist, &[])]),
        4 if draw.chance(30) => None,
        _ => Some(vec![requirement(world, "app", Operator::IsIn, &[app])]),
    }
}

fn key(draw: &mut Draw, world: &mut World) -> u32 {
    let key = draw.one(&[HOST, HOST, ZONE, ZONE, RACK, "nowhere"]);
    world.symbol(if key == "nowhere" && draw.chance(70) { ZONE } else { key })
}

fn pod_term(draw: &mut Draw, world: &mut World) -> PodTerm {
    let (namespace, team) = (draw.one(&["red", "green"]), draw.one(&["a", "b"]));
    let chosen = match draw.below(8) {
        0 => Some(Vec::new()),
        1 => Some(vec![requirement(world, "team", Operator::IsIn, &[team])]),
        _ => None,
    };
    PodTerm {
        topology_key: key(draw, world),
        namespaces: if draw.chance(20) {
            vec![world.symbol(namespace)]
        } else {
            Vec::new()
        },
        namespace_selector: chosen,
        selector: selector(draw, world),
        match_label_keys: if draw.chance(15) {
            vec![world.symbol("tier")]
        } else {
            Vec::new()
        },
        mismatch_label_keys: if draw.chance(10) {
            vec![world.symbol("app")]
        } else {
            Vec::new()
        },
    }
}

fn constraint(draw: &mut Draw, world: &mut World) -> SpreadConstraint {
    let policy = |draw: &mut Draw| draw.one(&[Inclusion::Honor, Inclusion::Ignore]);
    SpreadConstraint {
        max_skew: 1 + draw.below(2) as u32,
        topology_key: key(draw, world),
        when_unsatisfiable: draw.one(&[Unsatisfiable::DoNotSchedule, Unsatisfiable::ScheduleAnyway]),
        selector: selector(draw, world),
        match_label_keys: if draw.chance(20) {
            vec![world.symbol("tier")]
        } else {
            Vec::new()
        },
        min_domains: draw.one(&[1, 1, 1, 2, 4]),
        node_affinity_policy: policy(draw),
        node_taints_policy: policy(draw),
    }
}

pub fn labels(draw: &mut Draw, world: &mut World) -> Vec<Label> {
    let (app, tier) = (draw.one(&["a", "b", "c"]), draw.one(&["front", "back"]));
    let mut labels = Vec::new();
    if draw.chance(85) {
        labels.push(world.label("app", app));
    }
    if draw.chance(40) {
        labels.push(world.label("tier", tier));
    }
    labels
}

pub fn random_class(draw: &mut Draw, world: &mut World, id: u32, taste: &Taste) -> PodClass {
    let mut class = class(id);
    class.namespace = world.symbol(draw.one(&["red", "red", "green", "blue"]));
    class.labels = labels(draw, world);
    asks(draw, world, &mut class);
    if taste.priorities {
        class.priority = draw.one(&[-5, 0, 0, 10, 10, 100]);
        class.may_preempt = draw.chance(90);
    }
    if draw.chance(25) {
        class.owner = world.symbol(draw.one(&["uid-1", "uid-2"]));
        class.siblings = if draw.chance(30) { selector(draw, world) } else { None };
    }
    if draw.chance(15) {
        class.node_selector.push(world.label("disk", "ssd"));
    }
    if draw.chance(20) {
        class.required_nodes = Some((0..draw.below(3)).map(|_| on_node(draw, world)).collect());
    }
    let preferred = if draw.chance(30) { draw.below(3) } else { 0 };
    for _ in 0..preferred {
        let (weight, term) = (1 + draw.below(50) as i32, on_node(draw, world));
        class.preferred_nodes.push(PreferredNode { weight, term });
    }
    for _ in 0..draw.below(3) {
        if draw.chance(taste.rough) {
            class.tolerations.push(toleration(draw, world));
        }
    }
    let several = |draw: &mut Draw, percent: u64| if draw.chance(percent) { 1 + draw.below(2) } else { 0 };
    class.affinity = (0..several(draw, taste.affinity / 2))
        .map(|_| pod_term(draw, world))
        .collect();
    class.anti_affinity = (0..several(draw, taste.affinity))
        .map(|_| pod_term(draw, world))
        .collect();
    let preferred = |draw: &mut Draw, world: &mut World| PreferredPod {
        weight: 1 + draw.below(100) as i32,
        term: pod_term(draw, world),
    };
    class.preferred_affinity = (0..several(draw, taste.preferred))
        .map(|_| preferred(draw, world))
        .collect();
    class.preferred_anti_affinity = (0..several(draw, taste.preferred))
        .map(|_| preferred(draw, world))
        .collect();
    class.spread = (0..several(draw, taste.spread))
        .map(|_| constraint(draw, world))
        .collect();
    class
}

fn asks(draw: &mut Draw, world: &mut World, class: &mut PodClass) {
    let (cpu, memory) = (draw.one(&[0, 100, 250, 700]), draw.one(&[0, 100 << 20, 900 << 20]));
    class.requests = amounts(cpu, memory, draw.one(&[0, 0, 1 << 30]));
    class.scored_cpu = if cpu == 0 { 100 } else { cpu };
    class.scored_memory = if memory == 0 { 200 << 20 } else { memory };
    if draw.chance(10) {
        let name = world.symbol(GPU);
        class.extended.push(Amount {
            name,
            amount: 1 + draw.below(2),
        });
    }
    if draw.chance(12) {
        class.ports.push(HostPort {
            port: draw.one(&[80, 81]),
            protocol: draw.one(&[Protocol::Tcp, Protocol::Udp]),
            address: world.symbol(draw.one(&["", "", "10.0.0.1"])),
        });
    }
    for image in ["web:1", "db:2", "none:3"] {
        if draw.chance(20) {
            class.images.push(world.symbol(image));
        }
    }
}

pub fn random_budget(draw: &mut Draw, world: &mut World, id: u32) -> Budget {
    Budget {
        id,
        namespace: world.symbol(draw.one(&["red", "green"])),
        selector: selector(draw, world),
        allowed: draw.below(3) as i32,
        disrupted: world.pods.keys().filter(|_| draw.chance(5)).copied().collect(),
    }
}
