//! What a Node may be beside the others: the ranges of nodes' pods are apart, or a packet would have two places to go to.
use crate::ranges;
use sampan_api::{
    ApiError, Cause, Object, Selection,
    dual::{self, Dual},
};
use sampan_state::Snapshot;

/// Checks the ranges of a node's pods, where they are new.
///
/// # Errors
/// `Invalid`, naming the node that has some of them already, or why no node of this cluster may have them.
pub fn check(node: &Object, stored: Option<&Object>, state: &Snapshot) -> Result<(), ApiError> {
    let text = pods(node);
    if text.is_empty() || stored.is_some_and(|stored| pods(stored) == text) {
        return Ok(());
    }
    let invalid = |message: String| {
        let cause = Cause {
            field: "spec.podCIDR".to_owned(),
            message,
        };
        ApiError::invalid(format!("Node \"{}\" is invalid", node.metadata.name), vec![cause])
    };
    let range = dual::of_node(&text).map_err(invalid)?;
    ranges::of(state).admits(range).map_err(invalid)?;
    let all = Selection::of("nodes");
    let mut others = state
        .list(&all)
        .filter(|(_, other)| other.metadata.name != node.metadata.name);
    match others.find_map(|(_, other)| Some((clash(range, &other)?, other))) {
        None => Ok(()),
        Some(((own, its), other)) => {
            let name = &other.metadata.name;
            Err(invalid(format!(
                "the pod CIDR \"{own}\" overlaps with {its}, which node \"{name}\" has: choose another --pod-cidr, or take that \
                 node away first (`sampan delete node {name}`)"
            )))
        }
    }
}

/// A range of the one and one that a machine has of the same addresses.
pub fn clash(range: Dual, machine: &Object) -> Option<(String, String)> {
    let its = dual::of_node(&pods(machine)).ok()?;
    let (one, other) = range.clash(its)?;
    Some((sampan_api::ranges::text(one), sampan_api::ranges::text(other)))
}

/// The ranges that a Node or a Member says, as people write them.
fn pods(machine: &Object) -> String {
    let spec = machine.field_value("spec");
    let all = spec["podCIDRs"].as_array().into_iter().flatten();
    let all: Vec<&str> = all.filter_map(|range| range.as_str()).collect();
    match all.is_empty() {
        true => spec["podCIDR"].as_str().unwrap_or_default().to_owned(),
        false => all.join(","),
    }
}
