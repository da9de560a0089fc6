//! Kubernetes' rules between a pod and a node, each as a question, and all of them in its order.
//!
//! That a pod is pinned to a node is a matter of the pod, not of its class: the engine asks it before any filter.
use super::{Node, Pod, Rule, select};

/// All of them: cordon, readiness, taints, node selector and affinity, host ports, resources.
///
/// # Errors
/// The first rule against the node.
pub fn kubernetes(pod: &Pod<'_>, node: &Node<'_>) -> Result<(), Rule> {
    apart_from_room(pod, node)?;
    room(pod, node)
}

/// Those that hold whoever is on the node: cordon, readiness, taints, node selector and affinity.
///
/// # Errors
/// The first rule against the node.
pub fn apart_from_room(pod: &Pod<'_>, node: &Node<'_>) -> Result<(), Rule> {
    let said = pod.said();
    let required = said.required_nodes.as_deref();
    let (tolerations, selector) = (&said.tolerations, &said.node_selector);
    or(select::against(tolerations, selector, required, node.node, pod.names))
}

/// Whether it may go to the node if that is cordoned.
///
/// # Errors
/// `Unschedulable`.
pub fn cordon(pod: &Pod<'_>, node: &Node<'_>) -> Result<(), Rule> {
    let tolerated = select::cordon_tolerated(&pod.said().tolerations, node.node, pod.names);
    or((!tolerated).then_some(Rule::Unschedulable))
}

/// Whether all taints that keep pods away are tolerated; not to be ready counts as one.
///
/// # Errors
/// The first taint that is not.
pub fn taints(pod: &Pod<'_>, node: &Node<'_>) -> Result<(), Rule> {
    let taint = select::untolerated(&pod.said().tolerations, node.node, pod.names);
    or(taint.map(Rule::Taint))
}

/// Whether the node is one that the node selector and the required node affinity want.
///
/// # Errors
/// `NodeAffinity`.
pub fn node_affinity(pod: &Pod<'_>, node: &Node<'_>) -> Result<(), Rule> {
    let said = pod.said();
    let required = said.required_nodes.as_deref();
    let wanted = select::node_affinity(&said.node_selector, required, node.node, pod.names);
    or((!wanted).then_some(Rule::NodeAffinity))
}

/// Whether its host ports and all that it asks for are free. Nothing asked of a resource always fits.
///
/// # Errors
/// `Ports`, or the first resource that is short; the engine counts a node for all that are.
pub fn room(pod: &Pod<'_>, node: &Node<'_>) -> Result<(), Rule> {
    match node.room.fits(&pod.class.demand) {
        true => Ok(()),
        false => or(node.room.against(&pod.class.demand).into_iter().next()),
    }
}

/// Whether its host ports are free.
///
/// # Errors
/// `Ports`.
pub fn ports(pod: &Pod<'_>, node: &Node<'_>) -> Result<(), Rule> {
    or((!node.room.ports_free(&pod.class.demand)).then_some(Rule::Ports))
}

/// Whether no pod that is there, by what it says, is against the pod.
///
/// # Errors
/// `rule`, if one is.
pub fn none_there(node: &Node<'_>, rule: Rule, against: impl Fn(&Pod<'_>) -> bool) -> Result<(), Rule> {
    or(node.pods().any(|there| against(&there)).then_some(rule))
}

fn or(against: Option<Rule>) -> Result<(), Rule> {
    against.map_or(Ok(()), Err)
}
