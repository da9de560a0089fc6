//! Engine and oracle side by side: whatever one says of a pod, the other must say too.
use crate::{
    evict::{cheapest, fits_without},
    filters::{Settings, against_with_awaited},
    model::{World, said_of},
    scores::{choice, scored},
};
use scheduler::{
    Engine,
    types::{Explanation, Placement, Pod, PodGroup, Refusal, Rule, TurnedDown},
};
use std::collections::BTreeMap;

/// What came up, so that a property that holds because nothing happened does not pass.
#[derive(Debug, Default)]
pub struct Tally {
    pub placed: u32,
    pub turned_down: BTreeMap<String, u32>,
    pub victims: u32,
    pub waiting: u32,
}

impl Tally {
    pub fn add(&mut self, placement: &Placement) {
        self.placed += placement.nodes.iter().filter(|node| **node != 0).count() as u32;
        for unplaced in &placement.unplaced {
            self.victims += unplaced.victims.len() as u32;
            self.waiting += u32::from(unplaced.nominated != 0 && unplaced.victims.is_empty());
            for counted in &placement.refusals[unplaced.refusal as usize].turned_down {
                let name = format!("{:?}", counted.rule);
                let name = name.split([' ', '(', '{']).next().unwrap_or_default();
                *self.turned_down.entry(name.replace("Rule::", "")).or_default() += 1;
            }
        }
    }
}

/// Lets the engine place pods and holds each answer against the oracle, which then takes it in.
pub fn place(engine: &mut Engine, world: &mut World, settings: &Settings, pods: &[Pod]) -> Placement {
    let placement = engine.place(pods, &[]);
    assert_eq!(placement.nodes.len(), pods.len(), "each pod gets an answer");
    for (place, pod) in pods.iter().enumerate() {
        let (node, nominated, victims) = said_of(&placement, place);
        let expected = choice(world, settings, pod);
        assert_eq!(
            Some(node).filter(|node| *node != 0),
            expected,
            "{pod:?}: {}",
            describe(world, settings, pod)
        );
        if node == 0 {
            check_refusal(world, settings, pod, refusal_of(&placement, place));
            check_victims(world, settings, pod, nominated, &victims);
        }
        world.take_in(pod, node, nominated, &victims);
    }
    placement
}

pub fn refusal_of(placement: &Placement, place: usize) -> &Refusal {
    let unplaced = placement
        .unplaced
        .iter()
        .find(|unplaced| unplaced.pod as usize == place);
    &placement.refusals[unplaced.expect("a pod without a node has a refusal").refusal as usize]
}

fn describe(world: &World, settings: &Settings, pod: &Pod) -> String {
    let mut text = format!("class {:#?}\n", world.classes[&pod.class]);
    for scored in scored(world, settings, pod) {
        text += &format!("{scored:?}\n");
    }
    for node in world.nodes.values() {
        text += &format!(
            "node {}: {:?}\n",
            node.id,
            against_with_awaited(world, settings, pod, node)
        );
    }
    text
}

/// How many nodes each rule is against.
pub fn turned_down(world: &World, settings: &Settings, pod: &Pod) -> Vec<TurnedDown> {
    let mut counts: BTreeMap<Rule, u32> = BTreeMap::new();
    for node in world.nodes.values() {
        for rule in against_with_awaited(world, settings, pod, node) {
            *counts.entry(rule).or_default() += 1;
        }
    }
    counts
        .into_iter()
        .map(|(rule, nodes)| TurnedDown { rule, nodes })
        .collect()
}

fn check_refusal(world: &World, settings: &Settings, pod: &Pod, refusal: &Refusal) {
    // The pod's own nomination is at an end once it was refused.
    let mut world = world.clone();
    world.nominations.remove(&pod.id);
    assert_eq!(refusal.nodes as usize, world.nodes.len());
    assert_eq!(refusal.turned_down, turned_down(&world, settings, pod), "{pod:?}");
}

fn check_victims(world: &World, settings: &Settings, pod: &Pod, nominated: u32, victims: &[u32]) {
    let mut world = world.clone();
    world.nominations.remove(&pod.id);
    let expected = cheapest(&world, settings, pod);
    assert_eq!(
        Some((nominated, victims.to_vec())).filter(|(node, _)| *node != 0),
        expected,
        "{pod:?}"
    );
    if nominated == 0 {
        return;
    }
    let node = &world.nodes[&nominated];
    let class = &world.classes[&pod.class];
    let ending = |id: &u32| {
        let placed = &world.pods[id];
        placed.ending && placed.node == nominated && world.class_of(*id).priority < class.priority
    };
    let ending: Vec<u32> = world.pods.keys().filter(|id| ending(id)).copied().collect();
    let gone: Vec<u32> = victims.iter().chain(&ending).copied().collect();
    assert!(
        fits_without(&world, settings, pod, node, &gone),
        "the victims make room"
    );
    // With constraints that look at the lowest count, a pod more elsewhere can help: nothing to be said of those.
    if class.spread.is_empty() && (settings.system || class.owner == 0 && class.siblings.is_none()) {
        for spared in victims {
            let gone: Vec<u32> = gone.iter().copied().filter(|id| id != spared).collect();
            assert!(
                !fits_without(&world, settings, pod, node, &gone),
                "victim {spared} is needed"
            );
        }
    }
}

/// A group, which is placed together or not at all.
pub fn place_group(engine: &mut Engine, world: &mut World, settings: &Settings, pods: &[Pod], least: u32) {
    let group = PodGroup {
        first: 0,
        count: pods.len() as u32,
        least,
    };
    let placement = engine.place(pods, &[group]);
    let before = world.clone();
    let mut expected = Vec::new();
    for pod in pods {
        let node = choice(world, settings, pod).unwrap_or(0);
        world.take_in(pod, node, 0, &[]);
        expected.push(node);
    }
    let placed = expected.iter().filter(|node| **node != 0).count();
    if placed < least as usize {
        *world = before;
        for (place, node) in expected.iter().enumerate() {
            assert_eq!(
                refusal_of(&placement, place).for_its_group,
                *node != 0,
                "who had a place lost it to the group"
            );
        }
        expected.iter_mut().for_each(|node| *node = 0);
    }
    assert_eq!(placement.nodes, expected, "{pods:?} of which {least}");
    assert!(
        placement.unplaced.iter().all(|unplaced| unplaced.nominated == 0),
        "groups do not preempt"
    );
}

/// What `explain` says is what the oracle says, node by node; and what the index would choose.
pub fn explain(engine: &mut Engine, world: &World, settings: &Settings, pod: &Pod) -> Explanation {
    let explanation = engine.explain(pod, u32::MAX);
    assert_eq!(explanation.node, choice(world, settings, pod).unwrap_or(0), "{pod:?}");
    let mut expected = scored(world, settings, pod);
    expected.sort_by_key(|scored| (-scored.total, scored.pods, scored.node));
    let (will_do, will_not): (Vec<_>, Vec<_>) = explanation
        .verdicts
        .iter()
        .partition(|verdict| verdict.against.is_empty());
    assert_eq!(will_do.len(), expected.len());
    for (verdict, scored) in will_do.iter().zip(&expected) {
        let normalized: Vec<i64> = verdict.scores.iter().map(|score| score.normalized).collect();
        assert_eq!(
            (verdict.node, &normalized[..], verdict.total),
            (scored.node, &scored.normalized[..], scored.total),
            "{pod:?}"
        );
    }
    for verdict in will_not {
        let against = against_with_awaited(world, settings, pod, &world.nodes[&verdict.node]);
        assert_eq!(verdict.against, against, "node {} for {pod:?}", verdict.node);
    }
    assert_eq!(explanation.refusal.turned_down, turned_down(world, settings, pod));
    explanation
}
