//! What a plugin of the first edition answers, in the words of the second.
use super::{Kept, former, wire};
use std::collections::{HashMap, HashSet};
use wire::{Label, Placement, Pod, PodGroup, Rule, TurnedDown, Unplaced};

impl Kept {
    /// The answer in the words of the second edition; what it places is counted at once, as the plugin does.
    pub fn answer(&mut self, pods: &[Pod], groups: &[PodGroup], placed: former::Placement) -> Placement {
        let mut nodes = placed.nodes;
        for (pod, node) in pods.iter().zip(&nodes) {
            // A pod that waits counts nowhere, whatever was placed before.
            self.release(pod.id);
            if *node != 0 {
                self.bind(pod.id, (*node, pod.class), false);
            }
        }
        let mut apart: HashSet<usize> = HashSet::new();
        let mut reasons = placed.refusals.into_iter();
        let mut reason: Vec<Option<former::Refusal>> = nodes
            .iter()
            .map(|node| (*node == 0).then(|| reasons.next()).flatten())
            .collect();
        for group in groups {
            let members = group.first as usize..(group.first as usize + group.count as usize).min(nodes.len());
            let places = members.clone().filter(|at| nodes[*at] != 0).count();
            if places < group.least as usize {
                for at in members.filter(|at| nodes[*at] != 0).collect::<Vec<_>>() {
                    self.release(pods[at].id);
                    nodes[at] = 0;
                    apart.insert(at);
                }
            }
        }
        let all = self.nodes.len() as u32;
        let mut answer = Placement {
            unplaced: Vec::new(),
            refusals: Vec::new(),
            nodes,
        };
        let mut numbers: HashMap<wire::Refusal, u32> = HashMap::new();
        for at in (0..answer.nodes.len())
            .filter(|at| answer.nodes[*at] == 0)
            .collect::<Vec<_>>()
        {
            let refusal = self.refusal(all, reason[at].take(), apart.contains(&at));
            let next = answer.refusals.len() as u32;
            let number = *numbers.entry(refusal.clone()).or_insert(next);
            if number == next {
                answer.refusals.push(refusal);
            }
            answer.unplaced.push(Unplaced {
                pod: at as u32,
                refusal: number,
                nominated: 0,
                victims: Vec::new(),
            });
        }
        answer
    }

    fn refusal(&self, nodes: u32, said: Option<former::Refusal>, for_its_group: bool) -> wire::Refusal {
        let mut turned_down = Vec::new();
        if let Some(said) = said {
            let taint = |key| Rule::Taint(Label { key, value: 0 });
            let counts = [
                (Rule::Unschedulable, said.cordoned),
                (taint(self.not_ready), said.not_ready),
                (taint(0), said.tainted),
                (Rule::NodeAffinity, said.selector),
                (Rule::Pods, said.pods),
                (Rule::Cpu, said.cpu),
                (Rule::Memory, said.memory),
                (Rule::EphemeralStorage, said.ephemeral_storage),
            ];
            let some = counts.into_iter().filter(|(_, nodes)| *nodes > 0);
            turned_down.extend(some.map(|(rule, nodes)| TurnedDown { rule, nodes }));
        }
        wire::Refusal {
            nodes,
            turned_down,
            for_its_group,
        }
    }
}
