//! Selectors, node terms, taints: whether one thing matches another, by symbols.
use crate::scheduler::types::{
    Effect, HostPort, Label, NodeTerm, Operator, PreferredNode, Requirement, Rule, Taint, Toleration,
};
use crate::scheduler::{mirror::Node, names::Names};

/// The value of a label, among labels sorted by key.
pub fn value(labels: &[Label], key: u32) -> Option<u32> {
    let place = labels.binary_search_by_key(&key, |label| label.key).ok()?;
    Some(labels[place].value)
}

/// Whether all requirements hold.
pub fn selects(requirements: &[Requirement], labels: &[Label], names: &Names) -> bool {
    requirements
        .iter()
        .all(|requirement| holds(requirement, value(labels, requirement.key), names))
}

fn holds(requirement: &Requirement, value: Option<u32>, names: &Names) -> bool {
    let among = |value: u32| requirement.values.contains(&value);
    let compare = |wanted: fn(&i64, &i64) -> bool| {
        let number = value.and_then(|value| names.number(value));
        let operand = requirement.values.first().and_then(|operand| names.number(*operand));
        matches!((number, operand), (Some(number), Some(operand)) if wanted(&number, &operand))
    };
    match requirement.operator {
        Operator::IsIn => value.is_some_and(among),
        Operator::NotIn => !value.is_some_and(among),
        Operator::Exists => value.is_some(),
        Operator::DoesNotExist => value.is_none(),
        Operator::Greater => compare(i64::gt),
        Operator::Less => compare(i64::lt),
    }
}

/// Whether a node is what a term asks for; a term without requirements asks for nothing that there is.
pub fn term_holds(term: &NodeTerm, node: &Node, names: &Names) -> bool {
    let given = !term.expressions.is_empty() || !term.fields.is_empty();
    given
        && selects(&term.expressions, &node.labels, names)
        && term.fields.iter().all(|field| holds(field, Some(node.name), names))
}

/// Node selector and required node affinity.
pub fn node_affinity(selector: &[Label], required: Option<&[NodeTerm]>, node: &Node, names: &Names) -> bool {
    let has = |label: &Label| value(&node.labels, label.key) == Some(label.value);
    selector.iter().all(has) && required.is_none_or(|terms| terms.iter().any(|term| term_holds(term, node, names)))
}

/// Whether one toleration covers one taint.
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    toleration.key.is_none_or(|key| key == taint.key)
        && toleration.value.is_none_or(|value| value == taint.value)
        && toleration.effect.is_none_or(|effect| effect == taint.effect)
}

fn tolerated(tolerations: &[Toleration], taint: &Taint) -> bool {
    tolerations.iter().any(|toleration| tolerates(toleration, taint))
}

/// Whether the pod may go to a cordoned node, where this is one.
pub fn cordon_tolerated(tolerations: &[Toleration], node: &Node, names: &Names) -> bool {
    !node.unschedulable || tolerated(tolerations, &forbidding(names.unschedulable()))
}

/// The first taint that keeps the pod away.
pub fn untolerated(tolerations: &[Toleration], node: &Node, names: &Names) -> Option<Label> {
    let forbids = |taint: &&Taint| taint.effect != Effect::PreferNoSchedule && !tolerated(tolerations, taint);
    let of = |taint: &Taint| Label {
        key: taint.key,
        value: taint.value,
    };
    let own = node.taints.iter().find(forbids).map(of);
    own.or_else(|| {
        let taint = forbidding(names.not_ready());
        (!node.ready && !tolerated(tolerations, &taint)).then(|| of(&taint))
    })
}

/// What is against a node for such pods, whoever is there: cordon, taints, node selector and affinity.
pub fn against(
    tolerations: &[Toleration],
    selector: &[Label],
    required: Option<&[NodeTerm]>,
    node: &Node,
    names: &Names,
) -> Option<Rule> {
    if !cordon_tolerated(tolerations, node, names) {
        return Some(Rule::Unschedulable);
    }
    if let Some(taint) = untolerated(tolerations, node, names) {
        return Some(Rule::Taint(taint));
    }
    let wanted = node_affinity(selector, required, node, names);
    (!wanted).then_some(Rule::NodeAffinity)
}

/// The weights of preferred terms that a node fulfils.
pub fn liked(preferred: &[PreferredNode], node: &Node, names: &Names) -> i64 {
    let held = preferred
        .iter()
        .filter(|preferred| term_holds(&preferred.term, node, names));
    held.map(|preferred| i64::from(preferred.weight)).sum()
}

/// How many taints would rather not have the pod.
pub fn disliked(tolerations: &[Toleration], node: &Node) -> i64 {
    let prefers = |taint: &&Taint| taint.effect == Effect::PreferNoSchedule && !tolerated(tolerations, taint);
    node.taints.iter().filter(prefers).count() as i64
}

fn forbidding(key: u32) -> Taint {
    Taint {
        key,
        value: 0,
        effect: Effect::NoSchedule,
    }
}

/// Whether two host ports are one: address 0 is all of them.
pub fn clash(one: &HostPort, other: &HostPort) -> bool {
    one.port == other.port
        && one.protocol == other.protocol
        && (one.address == other.address || one.address == 0 || other.address == 0)
}
