//! The built-in placing, for when no plugin can: the same hard rules, the least loaded node, nothing clever.
//!
//! The rules are those of the SDK's filters, written a second time on purpose: the kernel and the policies share no code
//! but the contract, so that neither can break the other, and this must work when every plugin is broken. A test holds
//! the two against each other.
use super::mirror::{Mirror, kernel_resources};
use sampan_sandbox::scheduler::{Assignment, Effect, Node, Outcome, Pod, Refusal, Taint, Toleration};
use std::collections::HashMap;

/// Why a node will not do; the order in which the rules are asked.
#[derive(Clone, Copy)]
enum Reason {
    Cordoned,
    NotReady,
    Tainted,
    Selector,
    Cpu,
    Memory,
    EphemeralStorage,
    Pods,
}

/// Places pods in their order, each on the node with the greatest free share of CPU and memory.
pub fn place(mirror: &Mirror, pods: &[Pod]) -> Vec<Assignment> {
    let mut requested: HashMap<u32, _> = mirror.nodes().map(|n| (n.id, kernel_resources(n.requested))).collect();
    let mut assign = |pod: &Pod| {
        let asked = kernel_resources(pod.requests);
        let mut refusal = no_refusal();
        let mut best: Option<(u64, u32)> = None;
        for node in mirror.nodes() {
            let used = requested.get(&node.id).copied().unwrap_or_default();
            match refuses(pod, node, used) {
                Some(reason) => *count(&mut refusal, reason) += 1,
                None => {
                    let all = kernel_resources(node.allocatable);
                    let free = |used: u64, all: u64| {
                        all.saturating_sub(used)
                            .saturating_mul(1000)
                            .checked_div(all)
                            .unwrap_or(0)
                    };
                    let after = used.plus(asked);
                    let score = free(after.milli_cpu, all.milli_cpu) + free(after.memory, all.memory);
                    // The first of equals: nodes come in a fixed order, so the choice repeats.
                    if best.is_none_or(|(found, _)| score > found) {
                        best = Some((score, node.id));
                    }
                }
            }
        }
        let outcome = match best {
            Some((_, node)) => {
                let used = requested.entry(node).or_default();
                *used = used.plus(asked);
                Outcome::Bind(node)
            }
            None => Outcome::Unschedulable(refusal),
        };
        Assignment { pod: pod.id, outcome }
    };
    pods.iter().map(&mut assign).collect()
}

fn refuses(pod: &Pod, node: &Node, used: sampan_api::quantity::Resources) -> Option<Reason> {
    let free = kernel_resources(node.allocatable).minus(used);
    let asked = kernel_resources(pod.requests);
    let short = |asked: u64, free: u64| asked > 0 && asked > free;
    let bars = |taint: &&Taint| taint.effect != Effect::PreferNoSchedule;
    if node.unschedulable {
        Some(Reason::Cordoned)
    } else if !node.ready {
        Some(Reason::NotReady)
    } else if node
        .taints
        .iter()
        .filter(bars)
        .any(|taint| !pod.tolerations.iter().any(|t| tolerates(t, taint)))
    {
        Some(Reason::Tainted)
    } else if pod
        .node_selector
        .iter()
        .any(|w| !node.labels.iter().any(|l| l.key == w.key && l.value == w.value))
    {
        Some(Reason::Selector)
    } else if short(asked.milli_cpu, free.milli_cpu) {
        Some(Reason::Cpu)
    } else if short(asked.memory, free.memory) {
        Some(Reason::Memory)
    } else if short(asked.ephemeral_storage, free.ephemeral_storage) {
        Some(Reason::EphemeralStorage)
    } else if short(asked.pods.into(), free.pods.into()) {
        Some(Reason::Pods)
    } else {
        None
    }
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    toleration.key.is_none_or(|key| key == taint.key)
        && toleration.value.is_none_or(|value| value == taint.value)
        && toleration.effect.is_none_or(|effect| effect == taint.effect)
}

fn no_refusal() -> Refusal {
    Refusal {
        cordoned: 0,
        not_ready: 0,
        tainted: 0,
        selector: 0,
        cpu: 0,
        memory: 0,
        ephemeral_storage: 0,
        pods: 0,
    }
}

fn count(refusal: &mut Refusal, reason: Reason) -> &mut u32 {
    match reason {
        Reason::Cordoned => &mut refusal.cordoned,
        Reason::NotReady => &mut refusal.not_ready,
        Reason::Tainted => &mut refusal.tainted,
        Reason::Selector => &mut refusal.selector,
        Reason::Cpu => &mut refusal.cpu,
        Reason::Memory => &mut refusal.memory,
        Reason::EphemeralStorage => &mut refusal.ephemeral_storage,
        Reason::Pods => &mut refusal.pods,
    }
}

/// As Kubernetes says it: `0/5 nodes are available: 2 Insufficient cpu, 3 node(s) were unschedulable.`
pub fn explain(refusal: &Refusal, nodes: usize) -> String {
    let reasons = [
        (refusal.cordoned, "node(s) were unschedulable"),
        (refusal.not_ready, "node(s) were not ready"),
        (refusal.tainted, "node(s) had untolerated taint(s)"),
        (refusal.selector, "node(s) didn't match Pod's node affinity/selector"),
        (refusal.cpu, "Insufficient cpu"),
        (refusal.memory, "Insufficient memory"),
        (refusal.ephemeral_storage, "Insufficient ephemeral-storage"),
        (refusal.pods, "Too many pods"),
    ];
    let told: Vec<String> = reasons
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, reason)| format!("{count} {reason}"))
        .collect();
    match told.is_empty() {
        true => format!("0/{nodes} nodes are available."),
        false => format!("0/{nodes} nodes are available: {}.", told.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policies::scheduling::pods::PodView;
    use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
    use sampan_api::{Key, Object, plugin::World};
    use sampan_sandbox::{Limits, PluginEngine};
    use serde_json::{Value, json};

    const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

    fn one<'a>(random: &mut StdRng, of: &[&'a str]) -> &'a str {
        of.choose(random).unwrap()
    }

    fn labels(random: &mut StdRng) -> Value {
        json!({"zone": one(random, &["a", "b"]), "disk": one(random, &["ssd", "hdd"])})
    }

    fn random_node(random: &mut StdRng, name: &str) -> Object {
        let taint = |random: &mut StdRng| json!({"key": one(random, &["k", "l"]), "value": one(random, &["", "v"]), "effect": one(random, &EFFECTS)});
        let taints: Vec<Value> = (0..random.random_range(0..3_u32).saturating_sub(1))
            .map(|_| taint(random))
            .collect();
        Object::from_value(&json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels(random)},
            "spec": {"taints": taints, "unschedulable": random.random_ratio(1, 12)},
            "status": {
                "allocatable": {"cpu": one(random, &["0", "500m", "2"]), "memory": one(random, &["1Gi", "4Gi"]),
                    "ephemeral-storage": one(random, &["0", "10Gi"]), "pods": one(random, &["1", "2", "110"])},
                "conditions": [{"type": "Ready", "status": one(random, &["True", "True", "True", "True", "False"])}],
            },
        }))
        .unwrap()
    }

    fn random_pod(random: &mut StdRng, name: &str) -> PodView {
        let toleration = |random: &mut StdRng| match one(random, &["all", "key", "value", "effect"]) {
            "all" => json!({"operator": "Exists"}),
            "key" => json!({"key": one(random, &["k", "l"]), "operator": "Exists"}),
            "value" => json!({"key": one(random, &["k", "l"]), "value": one(random, &["", "v"])}),
            _ => json!({"key": "k", "operator": "Exists", "effect": one(random, &EFFECTS)}),
        };
        let tolerations: Vec<Value> = (0..random.random_range(0..3)).map(|_| toleration(random)).collect();
        let selector = if random.random_ratio(1, 3) {
            labels(random)
        } else {
            json!({})
        };
        let requests = json!({"cpu": one(random, &["0", "100m", "1"]), "memory": one(random, &["0", "1Gi", "2Gi"]),
            "ephemeral-storage": one(random, &["0", "0", "1Gi"])});
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
            "spec": {"nodeSelector": selector, "tolerations": tolerations,
                "containers": [{"name": "c", "image": "i", "resources": {"requests": requests}}]}});
        PodView::of(&Key::new("pods", "default", name), &Object::from_value(&pod).unwrap())
    }

    /// Nodes with pods on them.
    fn random_mirror(random: &mut StdRng, nodes: usize) -> Mirror {
        let mut mirror = Mirror::default();
        for n in 0..nodes {
            mirror.node(&random_node(random, &format!("n{n}")));
            if random.random_ratio(1, 2) {
                let pod = random_pod(random, &format!("on-n{n}"));
                mirror.pod(&pod.key, Some((&format!("n{n}"), pod.demands.requests)));
            }
        }
        mirror
    }

    #[test]
    fn what_it_allows_the_plugins_allow_and_nothing_else() {
        let engine = PluginEngine::new(None).unwrap();
        let spread = sampan_builtin::component(sampan_builtin::PLUGINS, "spread").unwrap();
        let limits = Limits::for_world(World::Scheduler);
        let mut plugin = engine
            .load(World::Scheduler, spread, &Value::Null, limits)
            .unwrap()
            .scheduler()
            .unwrap();
        let (mut bound, mut refused) = (0, no_refusal());
        for seed in 0..3000 {
            let random = &mut StdRng::seed_from_u64(seed);
            // One node at a time says of each pair what both think of it; several, that both choose what is allowed.
            let nodes = 1 + (seed as usize % 4) / 2;
            let mut mirror = random_mirror(random, nodes);
            let pod = mirror.wire_pod(0, &random_pod(random, "new"));
            plugin.sync(0, seed + 1, &mirror.all()).unwrap();
            let theirs = plugin.place(std::slice::from_ref(&pod)).unwrap().remove(0).outcome;
            let ours = place(&mirror, std::slice::from_ref(&pod)).remove(0).outcome;
            match (ours, theirs) {
                (Outcome::Unschedulable(ours), Outcome::Unschedulable(theirs)) => {
                    assert_eq!(ours, theirs, "seed {seed}");
                    ALL.iter()
                        .for_each(|reason| *count(&mut refused, *reason) += *count(&mut { ours }, *reason));
                }
                (Outcome::Bind(_), Outcome::Bind(chosen)) => {
                    bound += 1;
                    let node = mirror.nodes().find(|node| node.id == chosen).unwrap();
                    let refusal = refuses(&pod, node, kernel_resources(node.requested));
                    assert!(refusal.is_none(), "seed {seed}: it chose {node:?} for {pod:?}");
                }
                (ours, theirs) => panic!("seed {seed}: {ours:?} here, {theirs:?} there: {pod:?}"),
            }
        }
        let never = ALL.iter().filter(|reason| *count(&mut refused, **reason) < 10).count();
        assert!(
            never == 0 && bound > 100,
            "these pods and nodes show little: {bound} bound, {refused:?}"
        );
    }

    const ALL: [Reason; 8] = [
        Reason::Cordoned,
        Reason::NotReady,
        Reason::Tainted,
        Reason::Selector,
        Reason::Cpu,
        Reason::Memory,
        Reason::EphemeralStorage,
        Reason::Pods,
    ];
}
