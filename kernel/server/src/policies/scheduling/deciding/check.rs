//! Whether what a placement names is there, and whether those who are to go may be made to.
use crate::policies::scheduling::mirror::{Mirror, pods::Place};
use sampan_sandbox::scheduler::{Placement, Pod, Unplaced};

/// A policy that names a node nobody has, or sends away whom it may not, is no policy; in words what is wrong.
pub fn names(mirror: &Mirror, pods: &[Pod], placement: &Placement) -> Result<(), String> {
    for node in placement.nodes.iter().filter(|node| **node != 0) {
        known(mirror, *node)?;
    }
    for unplaced in placement.unplaced.iter().filter(|one| one.nominated != 0) {
        known(mirror, unplaced.nominated)?;
        let pod = pods
            .get(unplaced.pod as usize)
            .ok_or("it names a pod beyond the last")?;
        victims(mirror, pod, unplaced)?;
    }
    Ok(())
}

fn known(mirror: &Mirror, node: u32) -> Result<(), String> {
    match mirror.nodes.get(node) {
        Some(_) => Ok(()),
        None => Err(format!("it chose node number {node}, which does not exist")),
    }
}

/// Victims are bound to the node where they make room, and are less important than the pod that they make it for.
fn victims(mirror: &Mirror, pod: &Pod, unplaced: &Unplaced) -> Result<(), String> {
    let Some(shape) = mirror.pods.get(pod.id).map(|pod| &pod.shape) else {
        return Ok(());
    };
    if !shape.may_preempt && !unplaced.victims.is_empty() {
        return Err(format!(
            "it makes room for pod number {}, which must not preempt",
            pod.id
        ));
    }
    let node = mirror.nodes.get(unplaced.nominated).map(|node| &node.name);
    for id in &unplaced.victims {
        let there = mirror.pods.get(*id).filter(|victim| match &victim.place {
            Place::Bound { node: on, .. } => Some(on) == node,
            Place::Waiting => false,
        });
        let Some(victim) = there else {
            return Err(format!("it sends away pod number {id}, which is not on that node"));
        };
        if victim.shape.priority >= shape.priority {
            return Err(format!("it sends away pod number {id}, which is no less important"));
        }
    }
    Ok(())
}
