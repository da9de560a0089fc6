//! The built-in placing, for when no plugin can: the rules between a pod and a node, the least loaded node, nothing clever.
//!
//! The rules are those of the policies, written once more on purpose: the kernel and the policies share no code but the
//! contract, so that neither can break the other, and this must work when every plugin is broken. A test holds it against
//! them. Pods that ask for more (who else is near, ports, groups) wait for a policy.
#[cfg(test)]
mod tests;

use super::{
    mirror::{Mirror, nodes::NodeEntry, symbols::Symbols},
    reading::amounts::Demand,
};
use sampan_sandbox::scheduler::{
    Effect, Label, NodeTerm, Operator, Placement, Pod, PodClass, PodGroup, Refusal, Requirement, Rule, Taint,
    Toleration, TurnedDown, Unplaced,
};
use std::collections::{BTreeMap, HashMap};

/// What is said of a pod whose rules are not known here.
pub const BEYOND: &str = "no policy decides now, and the built-in placing knows nothing of affinity between pods, spreading, \
    host ports and groups: it waits for a policy. Remedy: see sampan get plugins.";

/// Places pods in their order, each on the node with the greatest free share of CPU and memory.
pub fn place(mirror: &Mirror, pods: &[Pod], groups: &[PodGroup]) -> Placement {
    let mut asked: HashMap<u32, Demand> = HashMap::new();
    let mut placement = Placement {
        nodes: Vec::with_capacity(pods.len()),
        unplaced: Vec::new(),
        refusals: Vec::new(),
    };
    let grouped = |at: u32| {
        groups
            .iter()
            .any(|group| (group.first..group.first + group.count).contains(&at))
    };
    for (at, pod) in pods.iter().enumerate() {
        let class = mirror.classes.get(pod.class).map(|class| &class.wire);
        let all = mirror.nodes.count() as u32;
        let chosen = match class {
            Some(class) if !knows(class) || grouped(at as u32) => Err(turned_down(all, [(Rule::Affinity, all)])),
            Some(class) => choose(mirror, pod, class, &asked),
            None => Err(turned_down(all, [])),
        };
        match (chosen, class) {
            (Ok(node), Some(class)) => {
                let here = asked.entry(node).or_insert_with(|| requested(mirror, node));
                here.count(class, true);
                placement.nodes.push(node);
            }
            (Ok(_), None) => placement.nodes.push(0),
            (Err(refusal), _) => {
                placement.unplaced.push(Unplaced {
                    pod: at as u32,
                    refusal: placement.refusals.len() as u32,
                    nominated: 0,
                    victims: Vec::new(),
                });
                placement.refusals.push(refusal);
                placement.nodes.push(0);
            }
        }
    }
    placement
}

/// Whether a refusal says only that a pod's rules are not known here.
pub fn is_beyond(refusal: &Refusal) -> bool {
    refusal.turned_down.iter().any(|one| one.rule == Rule::Affinity)
}

/// Whether all that a class asks for is known here.
fn knows(class: &PodClass) -> bool {
    let must_spread = |one: &sampan_sandbox::scheduler::SpreadConstraint| {
        one.when_unsatisfiable == sampan_sandbox::scheduler::Unsatisfiable::DoNotSchedule
    };
    class.affinity.is_empty()
        && class.anti_affinity.is_empty()
        && class.ports.is_empty()
        && !class.spread.iter().any(must_spread)
}

fn requested(mirror: &Mirror, node: u32) -> Demand {
    mirror
        .nodes
        .get(node)
        .map(|entry| entry.requested.clone())
        .unwrap_or_default()
}

fn choose(mirror: &Mirror, pod: &Pod, class: &PodClass, asked: &HashMap<u32, Demand>) -> Result<u32, Refusal> {
    let mut counts: BTreeMap<Rule, u32> = BTreeMap::new();
    let mut best: Option<(u64, u32)> = None;
    for entry in mirror.nodes.all() {
        let used = asked.get(&entry.wire.id).unwrap_or(&entry.requested);
        let against = against(pod, class, entry, used, &mirror.symbols);
        if against.is_empty() {
            let score = score(class, entry, used);
            // The first of equals: nodes come in a fixed order, so the choice repeats.
            if best.is_none_or(|(found, _)| score > found) {
                best = Some((score, entry.wire.id));
            }
        }
        for rule in against {
            *counts.entry(rule).or_default() += 1;
        }
    }
    best.map(|(_, node)| node)
        .ok_or_else(|| turned_down(mirror.nodes.count() as u32, counts))
}

fn score(class: &PodClass, entry: &NodeEntry, used: &Demand) -> u64 {
    let free = |used: u64, asked: u64, all: u64| {
        let after = all.saturating_sub(used.saturating_add(asked));
        u64::try_from(u128::from(after) * 1000 / u128::from(all.max(1))).unwrap_or_default()
    };
    let all = entry.wire.allocatable;
    free(used.milli_cpu, class.requests.milli_cpu, all.milli_cpu) + free(used.memory, class.requests.memory, all.memory)
}

fn turned_down(nodes: u32, counts: impl IntoIterator<Item = (Rule, u32)>) -> Refusal {
    let one = |(rule, nodes)| TurnedDown { rule, nodes };
    Refusal {
        nodes,
        turned_down: counts.into_iter().map(one).collect(),
        for_its_group: false,
    }
}

/// What is against a node: the first rule, or all resources that it is short of.
fn against(pod: &Pod, class: &PodClass, entry: &NodeEntry, used: &Demand, symbols: &Symbols) -> Vec<Rule> {
    let node = &entry.wire;
    if pod.pinned != 0 && pod.pinned != node.id {
        return vec![Rule::NodeName];
    }
    let tolerated = |taint: &Taint| class.tolerations.iter().any(|one| tolerates(one, taint));
    let implied = |key: &str, there: bool| {
        let key = there.then(|| symbols.find(key)).flatten()?;
        let taint = Taint {
            key,
            value: 0,
            effect: Effect::NoSchedule,
        };
        (!tolerated(&taint)).then_some(taint)
    };
    if implied(super::mirror::nodes::CORDON, node.unschedulable).is_some() {
        return vec![Rule::Unschedulable];
    }
    let bars = |taint: &&Taint| taint.effect != Effect::PreferNoSchedule && !tolerated(taint);
    let taint = node.taints.iter().find(bars).copied();
    if let Some(taint) = taint.or_else(|| implied(super::mirror::nodes::NOT_READY, !node.ready)) {
        return vec![Rule::Taint(Label {
            key: taint.key,
            value: taint.value,
        })];
    }
    let selected = class.node_selector.iter().all(|wanted| node.labels.contains(wanted));
    let terms = class.required_nodes.as_ref();
    let wanted = terms.is_none_or(|terms| terms.iter().any(|term| holds(term, entry, symbols)));
    if !selected || !wanted {
        return vec![Rule::NodeAffinity];
    }
    short(class, entry, used)
}

fn short(class: &PodClass, entry: &NodeEntry, used: &Demand) -> Vec<Rule> {
    let (node, asks) = (&entry.wire, class.requests);
    let mut rules = Vec::new();
    let mut check = |rule: Rule, asked: u64, all: u64, used: u64| {
        if asked > 0 && asked > all.saturating_sub(used) {
            rules.push(rule);
        }
    };
    let has = node.allocatable;
    check(Rule::Pods, 1, node.pods.into(), used.pods.into());
    check(Rule::Cpu, asks.milli_cpu, has.milli_cpu, used.milli_cpu);
    check(Rule::Memory, asks.memory, has.memory, used.memory);
    check(
        Rule::EphemeralStorage,
        asks.ephemeral_storage,
        has.ephemeral_storage,
        used.ephemeral_storage,
    );
    for one in &class.extended {
        let all = node
            .extended
            .iter()
            .find(|has| has.name == one.name)
            .map_or(0, |has| has.amount);
        let used = used.extended.get(&one.name).copied().unwrap_or_default();
        check(Rule::Extended(one.name), one.amount, all, used);
    }
    rules
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    toleration.key.is_none_or(|key| key == taint.key)
        && toleration.value.is_none_or(|value| value == taint.value)
        && toleration.effect.is_none_or(|effect| effect == taint.effect)
}

/// All requirements of a term; one without any matches nothing.
fn holds(term: &NodeTerm, entry: &NodeEntry, symbols: &Symbols) -> bool {
    let label = |one: &Requirement| {
        let labels = &entry.wire.labels;
        labels
            .iter()
            .find(|label| label.key == one.key)
            .map(|label| label.value)
    };
    let name = Some(entry.wire.name);
    (!term.expressions.is_empty() || !term.fields.is_empty())
        && term.expressions.iter().all(|one| meets(one, label(one), symbols))
        && term.fields.iter().all(|one| meets(one, name, symbols))
}

fn meets(one: &Requirement, value: Option<u32>, symbols: &Symbols) -> bool {
    let number = |symbol: u32| symbols.text(symbol).parse::<i64>().ok();
    let compare = |holds: fn(&i64, &i64) -> bool| {
        let wanted = one.values.first().and_then(|wanted| number(*wanted));
        let value = value.and_then(number);
        matches!((value, wanted), (Some(value), Some(wanted)) if one.values.len() == 1 && holds(&value, &wanted))
    };
    match one.operator {
        Operator::IsIn => value.is_some_and(|value| one.values.contains(&value)),
        Operator::NotIn => value.is_none_or(|value| !one.values.contains(&value)),
        Operator::Exists => value.is_some(),
        Operator::DoesNotExist => value.is_none(),
        Operator::Greater => compare(i64::gt),
        Operator::Less => compare(i64::lt),
    }
}
