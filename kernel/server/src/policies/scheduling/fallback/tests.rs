//! The built-in placing against the policies: what it allows they allow, and nothing else.
use super::*;
use crate::policies::scheduling::{mirror::touched, reading::Facts};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use sampan_api::{Key, Object, plugin::World};
use sampan_sandbox::{Limits, PluginEngine, scheduler::SchedulerPlugin};
use serde_json::{Value, json};
use std::sync::Arc;

const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

fn one<'a>(random: &mut StdRng, of: &[&'a str]) -> &'a str {
    of.choose(random).unwrap()
}

fn labels(random: &mut StdRng) -> Value {
    json!({"zone": one(random, &["a", "b"]), "disk": one(random, &["ssd", "hdd"]), "n": one(random, &["1", "7", "x"])})
}

/// Always ready and never cordoned where `plain`: of tolerating that the first edition knows nothing.
fn node(random: &mut StdRng, name: &str, plain: bool) -> Object {
    let taint = |random: &mut StdRng| json!({"key": one(random, &["k", "l"]), "value": one(random, &["", "v"]), "effect": one(random, &EFFECTS)});
    let taints: Vec<Value> = (0..random.random_range(0..3_u32).saturating_sub(1))
        .map(|_| taint(random))
        .collect();
    let ready = one(
        random,
        &["True", "True", "True", "True", if plain { "True" } else { "False" }],
    );
    Object::from_value(&json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels(random)},
        "spec": {"taints": taints, "unschedulable": random.random_ratio(1, 12) && !plain},
        "status": {
            "allocatable": {"cpu": one(random, &["0", "500m", "2"]), "memory": one(random, &["1Gi", "4Gi"]),
                "ephemeral-storage": one(random, &["0", "10Gi"]), "pods": one(random, &["1", "2", "110"]),
                "example.com/gpu": one(random, &["0", "1"])},
            "conditions": [{"type": "Ready", "status": ready}],
        },
    }))
    .unwrap()
}

/// With rules of 0.1 alone where `plain`.
fn pod(random: &mut StdRng, name: &str, plain: bool) -> Object {
    let toleration = |random: &mut StdRng| match one(random, &["all", "key", "value", "effect"]) {
        "all" => json!({"operator": "Exists"}),
        "key" => json!({"key": one(random, &["k", "l"]), "operator": "Exists"}),
        "value" => json!({"key": one(random, &["k", "l"]), "value": one(random, &["", "v"])}),
        _ => json!({"key": "k", "operator": "Exists", "effect": one(random, &EFFECTS)}),
    };
    let tolerations: Vec<Value> = (0..random.random_range(0..3)).map(|_| toleration(random)).collect();
    let selector = if random.random_ratio(1, 3) {
        json!({"zone": "a", "disk": one(random, &["ssd", "hdd"])})
    } else {
        json!({})
    };
    let mut requests = json!({"cpu": one(random, &["0", "100m", "1"]), "memory": one(random, &["0", "1Gi", "2Gi"]),
        "ephemeral-storage": one(random, &["0", "0", "1Gi"])});
    let mut affinity = json!({});
    if !plain {
        requests["example.com/gpu"] = one(random, &["0", "0", "1"]).into();
        let operator = one(random, &["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]);
        let values = match operator {
            "Exists" | "DoesNotExist" => json!([]),
            "Gt" | "Lt" => json!(["3"]),
            _ => json!(["1", "7"]),
        };
        if random.random_ratio(1, 2) {
            let term = json!({"matchExpressions": [{"key": "n", "operator": operator, "values": values}]});
            affinity = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}});
        }
    }
    let container = json!({"name": "c", "image": "i", "resources": {"requests": requests}});
    let spec =
        json!({"nodeSelector": selector, "tolerations": tolerations, "affinity": affinity, "containers": [container]});
    let metadata = json!({"name": name, "namespace": "default", "uid": name});
    Object::from_value(&json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})).unwrap()
}

fn add(mirror: &mut Mirror, pod: &Object, node: &str) -> u32 {
    let shape: Arc<_> = mirror.read(pod);
    let facts = Facts {
        node: node.to_owned(),
        ..Facts::default()
    };
    let key = Key::new("pods", "default", &pod.metadata.name);
    mirror.pod(&key, pod, &shape, &facts, 1).unwrap()
}

/// Nodes with pods on them, and one that waits.
fn random_mirror(random: &mut StdRng, nodes: usize, plain: bool) -> (Mirror, Pod) {
    let mut mirror = Mirror::default();
    for n in 0..nodes {
        let name = format!("n{n}");
        mirror.node(&node(random, &name, plain), false);
        if random.random_ratio(1, 2) {
            let there = pod(random, &format!("on-{name}"), plain);
            add(&mut mirror, &there, &name);
        }
    }
    let new = pod(random, "new", plain);
    let id = add(&mut mirror, &new, "");
    let pod = mirror.waiting(id).unwrap();
    (mirror, pod)
}

fn plugin(engine: &Arc<PluginEngine>, name: &str) -> SchedulerPlugin {
    let bytes = sampan_builtin::component(sampan_builtin::PLUGINS, name).unwrap();
    let limits = Limits::for_world(World::Scheduler);
    let loaded = engine.load(World::Scheduler, bytes, &Value::Null, limits).unwrap();
    loaded.scheduler().unwrap()
}

/// The first rule of each kind that a refusal names, with its nodes: an edition that says the first resource that is short
/// says no more than that.
fn comparable(refusal: &Refusal, first_only: bool) -> Vec<(Rule, u32)> {
    let resource = |rule: &Rule| *rule >= Rule::Pods && *rule <= Rule::EphemeralStorage;
    let taint = |rule: &Rule| matches!(rule, Rule::Taint(_));
    let mut all: Vec<_> = refusal.turned_down.iter().map(|one| (one.rule, one.nodes)).collect();
    if first_only {
        all.retain(|(rule, _)| !resource(rule) && !taint(rule));
    }
    all.sort();
    all
}

fn compare(name: &str, plain: bool) {
    let engine = PluginEngine::new(None).unwrap();
    let mut plugin = plugin(&engine, name);
    let (mut bound, mut refused, mut synced) = (0, 0, 0);
    for seed in 0..2000 {
        let random = &mut StdRng::seed_from_u64(seed);
        // One node at a time says of each pair what both think of it; several, that both choose what is allowed.
        let (mirror, pod) = random_mirror(random, 1 + (seed as usize % 4) / 2, plain);
        let mut base = 0;
        for changes in touched::changes(&mirror, &mirror.everything(), 1) {
            synced += 1;
            plugin.sync(base, synced, &changes).unwrap();
            base = synced;
        }
        let theirs = plugin.place(&[pod], &[]).unwrap();
        let ours = place(&mirror, &[pod], &[]);
        match (ours.nodes[0], theirs.nodes[0]) {
            (0, 0) => {
                refused += 1;
                let (ours, theirs) = (&ours.refusals[0], &theirs.refusals[0]);
                assert_eq!(ours.nodes, theirs.nodes, "seed {seed}");
                assert_eq!(comparable(ours, plain), comparable(theirs, plain), "seed {seed}");
            }
            (0, _) | (_, 0) => panic!("{name}, seed {seed}: {ours:?} here, {theirs:?} there"),
            (_, chosen) => {
                bound += 1;
                let entry = mirror.nodes.get(chosen).unwrap();
                let class = &mirror.classes.get(pod.class).unwrap().wire;
                let against = against(&pod, class, entry, &entry.requested, &mirror.symbols);
                assert!(against.is_empty(), "seed {seed}: it chose {entry:?} for {pod:?}");
            }
        }
    }
    assert!(
        refused > 300 && bound > 300,
        "these show little: {bound} bound, {refused} refused"
    );
}

#[test]
fn what_it_allows_the_default_policy_allows_and_nothing_else() {
    compare("scheduler", false);
}

#[test]
fn what_it_allows_a_policy_of_the_first_edition_allows_and_nothing_else() {
    compare("spread", true);
}

#[test]
fn what_it_does_not_know_waits_for_a_policy() {
    let mut mirror = Mirror::default();
    let random = &mut StdRng::seed_from_u64(1);
    let mut ready = node(random, "n", true);
    ready.set_field("spec", &json!({}));
    ready.set_field(
        "status",
        &json!({"allocatable": {"cpu": "4", "memory": "4Gi", "pods": "9"},
        "conditions": [{"type": "Ready", "status": "True"}]}),
    );
    mirror.node(&ready, false);
    let mut plain = pod(random, "plain", true);
    plain.set_field("spec", &json!({"containers": []}));
    let mut shy = plain.clone();
    shy.metadata.name = "shy".to_owned();
    let term = json!({"topologyKey": "zone", "labelSelector": {}});
    shy.set_field(
        "spec",
        &json!({"containers": [], "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}}),
    );
    let pods: Vec<Pod> = [&plain, &shy]
        .map(|pod| add(&mut mirror, pod, ""))
        .iter()
        .filter_map(|id| mirror.waiting(*id))
        .collect();
    let placed = place(&mirror, &pods, &[]);
    assert_eq!((placed.nodes[0], placed.nodes[1]), (1, 0));
    assert!(is_beyond(&placed.refusals[0]));
    let group = PodGroup {
        first: 0,
        count: 1,
        least: 1,
    };
    assert_eq!(place(&mirror, &pods[..1], &[group]).nodes, [0]);
}
