//! The shadow: asked what the active policy was asked, and held against it.
use super::{Answer, Question, check, make, note_victims};
use crate::policies::{
    comparing::{Differing, Side},
    scheduling::{
        Role, Scheduling,
        mirror::Mirror,
        refusal::{self, Preemption},
    },
};
use sampan_sandbox::{
    CallError,
    scheduler::{Placement, Pod},
};
use std::time::{Duration, Instant};

impl Scheduling {
    /// Lets the shadow decide too, and notes where it would have decided otherwise.
    pub(super) fn compare_shadow(&mut self, question: &Question, answer: &mut Answer, term: u64) {
        if self.seats.shadow.is_none() {
            return;
        }
        let (mirror, now) = (&self.mirror, self.replica.now_millis());
        let active = self.seats.active.as_ref().map(|seat| seat.member.clone());
        let (doubted, rooms, decided, took) = (&mut answer.doubted, &mut answer.rooms, &answer.placement, answer.took);
        self.seats.ask(Role::Shadow, make(mirror), |seat| {
            seat.instance.sync(mirror)?;
            let started = Instant::now();
            let placed = seat.instance.place(mirror, &question.pods, &question.groups)?;
            let mine = side(&placed, started.elapsed());
            seat.member.record(seat.instance.figures());
            check::names(mirror, &question.pods, &placed).map_err(CallError::Rubbish)?;
            *rooms |= note_victims(doubted, &placed);
            let mut comparison = seat.member.comparison.lock();
            let comparison = comparison.against(active.as_ref(), term, now);
            comparison.sides(side(decided, took), mine);
            let pairs = decided.nodes.iter().zip(&placed.nodes);
            for (at, (pod, (theirs, mine))) in question.pods.iter().zip(pairs).enumerate() {
                if comparison.count(*theirs, *mine) {
                    let without = if *mine == 0 { &placed } else { decided };
                    let why = why(mirror, pod, at, without);
                    let nodes = [*theirs, *mine];
                    comparison.remember(differing(mirror, pod, nodes, why, now));
                }
            }
            Ok(())
        });
    }
}

fn side(placed: &Placement, took: Duration) -> Side {
    Side {
        decisions: placed.nodes.len() as u64,
        preemptions: placed.unplaced.iter().filter(|one| !one.victims.is_empty()).count() as u64,
        took,
    }
}

fn differing(mirror: &Mirror, pod: &Pod, nodes: [u32; 2], why: String, at_ms: u64) -> Differing {
    let name = |node: u32| {
        mirror
            .nodes
            .get(node)
            .map(|node| node.name.to_string())
            .unwrap_or_default()
    };
    let key = mirror.pods.get(pod.id).map(|pod| pod.key.clone());
    Differing {
        resource: "pods".to_owned(),
        namespace: key.as_ref().map(|key| key.namespace.to_string()).unwrap_or_default(),
        name: key.map(|key| key.name.to_string()).unwrap_or_default(),
        active: name(nodes[0]),
        candidate: name(nodes[1]),
        why,
        at_ms,
    }
}

/// Why a pod of a call has no place; empty where it has one.
fn why(mirror: &Mirror, pod: &Pod, at: usize, placed: &Placement) -> String {
    let Some(said) = placed.unplaced.iter().find(|one| one.pod as usize == at) else {
        return String::new();
    };
    let node = mirror.nodes.get(said.nominated).map(|node| node.name.to_string());
    let preemption = Preemption {
        node,
        victims: said.victims.len(),
        never: mirror.pods.get(pod.id).is_some_and(|pod| !pod.shape.may_preempt),
    };
    let why = placed.refusals.get(said.refusal as usize);
    why.map_or_else(String::new, |why| refusal::text(why, &preemption, &mirror.symbols))
}
