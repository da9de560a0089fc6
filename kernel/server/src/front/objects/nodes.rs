//! What a Node may be beside the others: the ranges of nodes' pods are apart, or a packet would have two places to go to.
use sampan_api::{ApiError, Cause, Object, Selection, ranges};
use sampan_state::Snapshot;

/// Checks the range of a node's pods, where it is new.
///
/// # Errors
/// `Invalid`, naming the node that has some of it already.
pub fn check(node: &Object, stored: Option<&Object>, state: &Snapshot) -> Result<(), ApiError> {
    let range = pods(node);
    if range.is_empty() || stored.is_some_and(|stored| pods(stored) == range) {
        return Ok(());
    }
    let all = Selection::of("nodes");
    let mut others = state
        .list(&all)
        .filter(|(_, other)| other.metadata.name != node.metadata.name);
    match others.find(|(_, other)| overlap(&range, &pods(other))) {
        None => Ok(()),
        Some((_, other)) => {
            let (name, its) = (&other.metadata.name, pods(&other));
            let message = format!(
                "the pod CIDR \"{range}\" overlaps with {its}, which node \"{name}\" has: choose another --pod-cidr, or take that \
                 node away first (`sampan delete node {name}`)"
            );
            let cause = Cause {
                field: "spec.podCIDR".to_owned(),
                message,
            };
            Err(ApiError::invalid(
                format!("Node \"{}\" is invalid", node.metadata.name),
                vec![cause],
            ))
        }
    }
}

/// Whether two ranges, as objects say them, have an address in common.
pub fn overlap(one: &str, other: &str) -> bool {
    match (ranges::pods_of_node(one), ranges::pods_of_node(other)) {
        (Ok(one), Ok(other)) => ranges::overlap(one, other),
        _ => one == other && !one.is_empty(),
    }
}

fn pods(node: &Object) -> String {
    node.field_value("spec")["podCIDR"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}
