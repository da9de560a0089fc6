//! Whether an answer fits its question. What it names (nodes, victims) is for who knows them to check.
use super::{Explanation, Placement, Pod, PodGroup, Unplaced};
use std::collections::HashSet;

/// Holds a placement against the pods that it is for; in words what is wrong with it.
pub fn placement(pods: &[Pod], groups: &[PodGroup], placed: &Placement) -> Result<(), String> {
    let (asked, answered) = (pods.len(), placed.nodes.len());
    if answered > asked {
        return Err(format!("{answered} nodes for {asked} pods"));
    }
    if answered == 0 && asked > 0 {
        return Err(format!("it answers for none of {asked} pods"));
    }
    reasons(placed)?;
    groups.iter().try_for_each(|group| whole(group, placed))?;
    victims(&placed.unplaced)
}

/// Each pod without a node has its reason, in order.
fn reasons(placed: &Placement) -> Result<(), String> {
    let mut without = placed.nodes.iter().enumerate().filter(|(_, node)| **node == 0);
    for unplaced in &placed.unplaced {
        match without.next() {
            Some((pod, _)) if pod == unplaced.pod as usize => {}
            Some((pod, _)) => return Err(format!("a reason for pod {} where pod {pod} has no node", unplaced.pod)),
            None => return Err(format!("a reason for pod {}, which has a node", unplaced.pod)),
        }
        if placed.refusals.get(unplaced.refusal as usize).is_none() {
            let (number, all) = (unplaced.refusal, placed.refusals.len());
            return Err(format!("refusal {number} of {all} for pod {}", unplaced.pod));
        }
    }
    match without.next() {
        Some((pod, _)) => Err(format!("pod {pod} has neither a node nor a reason")),
        None if placed.refusals.len() > placed.unplaced.len() => {
            let (refusals, pods) = (placed.refusals.len(), placed.unplaced.len());
            Err(format!("{refusals} refusals for {pods} pods without a node"))
        }
        None => Ok(()),
    }
}

/// A group is answered for as one, and gets enough places or none.
fn whole(group: &PodGroup, placed: &Placement) -> Result<(), String> {
    let (first, end) = (
        group.first as usize,
        (group.first as usize).saturating_add(group.count as usize),
    );
    let answered = placed.nodes.len();
    if answered <= first {
        return Ok(());
    }
    let members = placed.nodes.get(first..end);
    let members = members.ok_or_else(|| format!("it answers for {answered} pods, in the middle of a group"))?;
    let places = members.iter().filter(|node| **node != 0).count();
    if places > 0 && places < group.least as usize {
        let least = group.least;
        return Err(format!("{places} places for a group that needs {least}"));
    }
    Ok(())
}

/// A pod goes once, and for somebody who is to come where it was.
fn victims(unplaced: &[Unplaced]) -> Result<(), String> {
    let mut named = HashSet::new();
    for one in unplaced {
        if one.nominated == 0 && !one.victims.is_empty() {
            return Err(format!("victims for pod {}, and no node where they make room", one.pod));
        }
        if let Some(twice) = one.victims.iter().find(|victim| !named.insert(**victim)) {
            return Err(format!("pod number {twice} is to go twice"));
        }
    }
    Ok(())
}

/// Holds an explanation against what was asked for.
pub fn explanation(explained: &Explanation, most: u32) -> Result<(), String> {
    let verdicts = explained.verdicts.len();
    if verdicts > most as usize {
        return Err(format!("{verdicts} verdicts where {most} were asked for"));
    }
    Ok(())
}
