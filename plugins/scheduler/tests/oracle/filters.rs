//! Kubernetes' hard rules, one after the other, each as its documentation says it.
use crate::{
    model::{Placed, World},
    neighbours::pods_against,
};
use scheduler::types::{
    Effect, HostPort, Label, Node, NodeTerm, Operator, Pod, PodClass, Requirement, Resources, Rule, Taint, Toleration,
};

/// The settings that rules and scores depend on.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What pods without constraints of their own are spread by: key, skew, whether it must hold.
    pub defaults: Vec<(String, u32, bool)>,
    /// Whether those are Kubernetes' own.
    pub system: bool,
    pub hard_weight: i64,
    pub count_preferred: bool,
    pub strategy: Strategy,
    pub resources: Vec<(String, i64)>,
    pub balanced: Vec<String>,
    /// In the order of the contract's scorers.
    pub weights: [i64; 7],
}

#[derive(Clone, Debug, PartialEq)]
pub enum Strategy {
    Least,
    Most,
    /// Utilization in percent, score to 100.
    Ratio(Vec<(i64, i64)>),
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            defaults: vec![
                ("kubernetes.io/hostname".to_owned(), 3, false),
                ("topology.kubernetes.io/zone".to_owned(), 5, false),
            ],
            system: true,
            hard_weight: 1,
            count_preferred: true,
            strategy: Strategy::Least,
            resources: vec![("cpu".to_owned(), 1), ("memory".to_owned(), 1)],
            balanced: vec!["cpu".to_owned(), "memory".to_owned()],
            weights: [1, 1, 1, 2, 3, 2, 2],
        }
    }
}

pub fn label(labels: &[Label], key: u32) -> Option<u32> {
    labels.iter().find(|label| label.key == key).map(|label| label.value)
}

pub fn requirement_holds(world: &World, requirement: &Requirement, value: Option<u32>) -> bool {
    let number = |symbol: u32| world.texts.get(&symbol).and_then(|text| text.parse::<i64>().ok());
    let pair = || Some((number(value?)?, number(*requirement.values.first()?)?));
    match requirement.operator {
        Operator::IsIn => value.is_some_and(|value| requirement.values.contains(&value)),
        Operator::NotIn => value.is_none_or(|value| !requirement.values.contains(&value)),
        Operator::Exists => value.is_some(),
        Operator::DoesNotExist => value.is_none(),
        Operator::Greater => pair().is_some_and(|(value, bound)| value > bound),
        Operator::Less => pair().is_some_and(|(value, bound)| value < bound),
    }
}

pub fn node_term_holds(world: &World, term: &NodeTerm, node: &Node) -> bool {
    if term.expressions.is_empty() && term.fields.is_empty() {
        return false;
    }
    let on_name = |field: &Requirement| requirement_holds(world, field, Some(node.name));
    world.selects(&term.expressions, &node.labels) && term.fields.iter().all(on_name)
}

pub fn wants_node(world: &World, class: &PodClass, node: &Node) -> bool {
    let selected = class
        .node_selector
        .iter()
        .all(|wanted| label(&node.labels, wanted.key) == Some(wanted.value));
    let required = match &class.required_nodes {
        None => true,
        Some(terms) => terms.iter().any(|term| node_term_holds(world, term, node)),
    };
    selected && required
}

pub fn tolerated(tolerations: &[Toleration], taint: &Taint) -> bool {
    tolerations.iter().any(|toleration| {
        let key = toleration.key.is_none() || toleration.key == Some(taint.key);
        let value = toleration.value.is_none() || toleration.value == Some(taint.value);
        let effect = toleration.effect.is_none() || toleration.effect == Some(taint.effect);
        key && value && effect
    })
}

fn standing_for(world: &World, text: &str) -> Taint {
    Taint {
        key: world.known(text).unwrap_or(u32::MAX),
        value: 0,
        effect: Effect::NoSchedule,
    }
}

pub fn cordon_against(world: &World, class: &PodClass, node: &Node) -> bool {
    node.unschedulable
        && !tolerated(
            &class.tolerations,
            &standing_for(world, "node.kubernetes.io/unschedulable"),
        )
}

pub fn taint_against(world: &World, class: &PodClass, node: &Node) -> Option<Label> {
    let mut taints = node.taints.clone();
    if !node.ready {
        taints.push(standing_for(world, "node.kubernetes.io/not-ready"));
    }
    taints.retain(|taint| taint.effect != Effect::PreferNoSchedule && !tolerated(&class.tolerations, taint));
    taints.first().map(|taint| Label {
        key: taint.key,
        value: taint.value,
    })
}

/// What the pods on a node ask for together.
pub fn requested(world: &World, node: u32) -> Resources {
    let classes = world
        .pods
        .values()
        .filter(|placed| placed.node == node)
        .map(|placed| &world.classes[&placed.class]);
    let mut sum = crate::model::amounts(0, 0, 0);
    for class in classes {
        sum.milli_cpu += class.requests.milli_cpu;
        sum.memory += class.requests.memory;
        sum.ephemeral_storage += class.requests.ephemeral_storage;
    }
    sum
}

pub fn extended_of(amounts: &[scheduler::types::Amount], resource: u32) -> u64 {
    amounts
        .iter()
        .filter(|amount| amount.name == resource)
        .map(|amount| amount.amount)
        .sum()
}

pub fn extended_requested(world: &World, node: u32, resource: u32) -> u64 {
    let here = world.pods.values().filter(|placed| placed.node == node);
    here.map(|placed| extended_of(&world.classes[&placed.class].extended, resource))
        .sum()
}

fn ports_against(world: &World, class: &PodClass, node: u32) -> bool {
    let here = world.pods.values().filter(|placed| placed.node == node);
    let taken: Vec<&HostPort> = here.flat_map(|placed| &world.classes[&placed.class].ports).collect();
    class.ports.iter().any(|wanted| {
        taken.iter().any(|taken| {
            let address = taken.address == 0 || wanted.address == 0 || taken.address == wanted.address;
            taken.port == wanted.port && taken.protocol == wanted.protocol && address
        })
    })
}

fn resources_against(world: &World, class: &PodClass, node: &Node) -> Vec<Rule> {
    let (used, all, asked) = (requested(world, node.id), &node.allocatable, &class.requests);
    let pods = world.pods.values().filter(|placed| placed.node == node.id).count();
    let mut against = Vec::new();
    if pods + 1 > node.pods as usize {
        against.push(Rule::Pods);
    }
    let fixed = [
        (asked.milli_cpu, used.milli_cpu, all.milli_cpu, Rule::Cpu),
        (asked.memory, used.memory, all.memory, Rule::Memory),
        (
            asked.ephemeral_storage,
            used.ephemeral_storage,
            all.ephemeral_storage,
            Rule::EphemeralStorage,
        ),
    ];
    for (asked, used, all, rule) in fixed {
        if asked > 0 && used + asked > all {
            against.push(rule);
        }
    }
    for amount in class.extended.iter().filter(|amount| amount.amount > 0) {
        let used = extended_requested(world, node.id, amount.name);
        if used + amount.amount > extended_of(&node.extended, amount.name) {
            against.push(Rule::Extended(amount.name));
        }
    }
    against
}

/// What is against a node, as the world is.
pub fn against(world: &World, settings: &Settings, pod: &Pod, node: &Node) -> Vec<Rule> {
    let class = &world.classes[&pod.class];
    if pod.pinned != 0 && pod.pinned != node.id {
        return vec![Rule::NodeName];
    }
    if cordon_against(world, class, node) {
        return vec![Rule::Unschedulable];
    }
    if let Some(taint) = taint_against(world, class, node) {
        return vec![Rule::Taint(taint)];
    }
    if !wants_node(world, class, node) {
        return vec![Rule::NodeAffinity];
    }
    if ports_against(world, class, node.id) {
        return vec![Rule::Ports];
    }
    let short = resources_against(world, class, node);
    if !short.is_empty() {
        return short;
    }
    pods_against(world, settings, class, node).into_iter().collect()
}

/// The same with pods that wait for room there, where they are no less important: both with them and without.
pub fn against_with_awaited(world: &World, settings: &Settings, pod: &Pod, node: &Node) -> Vec<Rule> {
    let expected = expecting(world, pod, node.id);
    let first = against(&expected, settings, pod, node);
    if first.is_empty() {
        against(world, settings, pod, node)
    } else {
        first
    }
}

/// The world if pods that wait for room on a node, and are no less important than this one, were there.
pub fn expecting(world: &World, pod: &Pod, node: u32) -> World {
    let mut expected = world.clone();
    let priority = world.classes[&pod.class].priority;
    for nomination in world.nominations.values() {
        let important = world.classes[&nomination.class].priority >= priority;
        if nomination.node == node && nomination.pod != pod.id && important {
            let placed = Placed {
                node,
                class: nomination.class,
                start: 0,
                ending: false,
            };
            expected.pods.insert(nomination.pod, placed);
        }
    }
    expected
}
