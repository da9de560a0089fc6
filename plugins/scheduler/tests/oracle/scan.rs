//! Index against plain scan, on clusters that are too large for the oracle: heaps that are mended many times, cells that come
//! and go, a journal that is cut. `explain` asks every node anew, and a fresh engine has nothing to mend.
use crate::{
    draw::Draw,
    model::{World, nothing, pod, said_of},
    pair::keys,
    random::{Taste, namespaces, random_budget, random_class, random_node, symbols},
};
use scheduler::{
    Engine,
    types::{Changes, Named, PodClass},
};

const NODES: u32 = 120;
const CLASSES: u32 = 24;

fn cluster(draw: &mut Draw, taste: &Taste) -> World {
    let mut world = World::default();
    symbols(&mut world);
    namespaces(draw, &mut world);
    for id in 1..=NODES {
        let node = random_node(draw, &mut world, id, taste);
        world.nodes.insert(id, node);
    }
    for id in 1..=CLASSES {
        let class = random_class(draw, &mut world, id, taste);
        world.classes.insert(id, class);
    }
    world
}

fn told(world: &World, revision: u64) -> Engine {
    let mut engine = Engine::default();
    engine.sync(0, revision, world.everything()).expect("the first sync");
    engine
}

fn run(seeds: std::ops::Range<u64>, taste: &Taste, pods: u32) {
    for seed in seeds {
        let mut draw = Draw::new(seed);
        let mut world = cluster(&mut draw, taste);
        for id in 1..=if taste.priorities { 3 } else { 0 } {
            let budget = random_budget(&mut draw, &mut world, id);
            world.budgets.insert(id, budget);
        }
        let mut engine = told(&world, 1);
        let mut revision = 1;
        for id in 1..=pods {
            let asked = pod(id, 1 + draw.below(u64::from(CLASSES)) as u32);
            let explained = draw.chance(20).then(|| engine.explain(&asked, 1));
            let fresh = draw.chance(4).then(|| told(&world, revision).place(&[asked], &[]));
            let placement = engine.place(&[asked], &[]);
            let (node, nominated, victims) = said_of(&placement, 0);
            if let Some(explained) = explained {
                let best = explained.verdicts.first().filter(|best| best.against.is_empty());
                assert_eq!(node, best.map_or(0, |best| best.node), "seed {seed}, {asked:?}");
                assert_eq!(node, explained.node, "seed {seed}, {asked:?}");
                if node == 0 {
                    assert_eq!(placement.refusals[0], explained.refusal, "seed {seed}, {asked:?}");
                }
            }
            if let Some(fresh) = fresh {
                assert_eq!(placement, fresh, "seed {seed}, {asked:?}");
            }
            world.take_in(&asked, node, nominated, &victims);
            if draw.chance(10) {
                let changes = change(&mut draw, &mut world, taste, revision);
                engine
                    .sync(revision, revision + 1, changes)
                    .expect("the mirror follows");
                revision += 1;
            }
        }
    }
}

/// Pods go, and now and then a node is another.
fn change(draw: &mut Draw, world: &mut World, taste: &Taste, revision: u64) -> Changes {
    let mut changes = nothing();
    let known = world.texts.len() as u32;
    for _ in 0..draw.below(12) {
        let pods = keys(&world.pods);
        if !pods.is_empty() {
            let id = draw.one(&pods);
            world.pods.remove(&id);
            changes.released.push(id);
        }
    }
    let waiting = keys(&world.nominations);
    if !waiting.is_empty() && draw.chance(50) {
        let id = draw.one(&waiting);
        world.nominations.remove(&id);
        changes.nominated_no_more.push(id);
    }
    if revision.is_multiple_of(4) {
        let id = 1 + draw.below(u64::from(NODES)) as u32;
        let node = random_node(draw, world, id, taste);
        world.nodes.insert(id, node.clone());
        changes.nodes.push(node);
    }
    for symbol in known + 1..=world.texts.len() as u32 {
        let text = world.texts[&symbol].clone();
        changes.symbols.push(Named { symbol, text });
    }
    changes
}

const TASTE: Taste = Taste {
    spread: 0,
    affinity: 0,
    preferred: 0,
    priorities: false,
    rough: 8,
};

#[test]
fn nodes_alone() {
    run(0..6, &TASTE, 1_200);
}

#[test]
fn neighbours() {
    let taste = Taste {
        spread: 30,
        affinity: 15,
        preferred: 30,
        ..TASTE
    };
    run(0..6, &taste, 1_000);
}

#[test]
fn preemption() {
    let taste = Taste {
        priorities: true,
        ..TASTE
    };
    run(0..6, &taste, 1_200);
}

#[test]
fn preemption_among_neighbours() {
    let taste = Taste {
        priorities: true,
        spread: 15,
        affinity: 10,
        ..TASTE
    };
    run(0..4, &taste, 800);
}

/// Many classes, each new: what is looked at in one call is bounded, and the answers do not depend on where it was cut.
#[test]
fn a_call_that_would_last_too_long_is_answered_in_parts() {
    let mut draw = Draw::new(1);
    let taste = Taste { rough: 0, ..TASTE };
    let mut world = cluster(&mut draw, &taste);
    let node = world.nodes[&1].clone();
    for id in 1..=3_000 {
        let node = scheduler::types::Node { id, ..node.clone() };
        world.nodes.insert(id, node);
    }
    let plain = |id: u32| PodClass {
        scored_cpu: 100 + u64::from(id),
        ..crate::model::class(id)
    };
    world.classes = (1..=200).map(|id| (id, plain(id))).collect();
    let pods: Vec<_> = (1..=200).map(|id| pod(id, id)).collect();
    let mut engine = told(&world, 1);
    let (mut nodes, mut calls) = (Vec::new(), 0);
    while nodes.len() < pods.len() {
        let answer = engine.place(&pods[nodes.len()..], &[]);
        assert!(!answer.nodes.is_empty(), "at least one is answered");
        nodes.extend(answer.nodes);
        calls += 1;
    }
    assert!((2..100).contains(&calls), "{calls} calls");
    let mut one_by_one = told(&world, 1);
    let expected: Vec<u32> = pods
        .iter()
        .flat_map(|pod| one_by_one.place(&[*pod], &[]).nodes)
        .collect();
    assert_eq!(nodes, expected);
}
