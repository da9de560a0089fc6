//! The pods of a call, one after the other, and what is said of them put together.
use super::{
    cluster::{Cluster, Follows, PODS},
    hashing::Map,
    types::{Nomination, Placement, Pod, PodGroup, Refusal, Rule, TurnedDown, Unplaced},
};

/// Why a pod gets no place, and who makes room for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub refusal: Refusal,
    /// The node where the victims make room; 0 for none.
    pub nominated: u32,
    pub victims: Vec<u32>,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Refused {
            refusal,
            nominated: 0,
            victims: Vec::new(),
        }
    }
}

/// What is said of a pod: its node, or why it has none.
pub type Said = Result<u32, Refused>;

/// Who chooses a node for one pod. The rest of a call is done here.
pub trait Places {
    /// What follows the mirror.
    type Counts: Follows;

    fn cluster(&mut self) -> &mut Cluster<Self::Counts>;

    /// Where a pod goes, which counts nowhere now. `nominated` is the node that was kept for it, 0 for none.
    fn choose(&mut self, pod: &Pod, nominated: u32, may_preempt: bool) -> Said;

    /// Whether so much was looked at in this call that the rest of its pods is better left for the next.
    fn has_enough(&self) -> bool;
}

/// Answers as they are put together.
struct Answers {
    placement: Placement,
    known: Map<Refusal, u32>,
}

impl Answers {
    fn say(&mut self, said: Said) {
        let placement = &mut self.placement;
        match said {
            Ok(node) => placement.nodes.push(node),
            Err(refused) => {
                let next = placement.refusals.len() as u32;
                let number = *self.known.entry(refused.refusal.clone()).or_insert(next);
                if number == next {
                    placement.refusals.push(refused.refusal);
                }
                placement.unplaced.push(Unplaced {
                    pod: placement.nodes.len() as u32,
                    refusal: number,
                    nominated: refused.nominated,
                    victims: refused.victims,
                });
                placement.nodes.push(0);
            }
        }
    }
}

/// Places pods in their order, each counted at once; those of a group together or not at all.
pub fn place(policy: &mut impl Places, pods: &[Pod], groups: &[PodGroup]) -> Placement {
    let mut answers = Answers {
        placement: Placement {
            nodes: Vec::with_capacity(pods.len()),
            unplaced: Vec::new(),
            refusals: Vec::new(),
        },
        known: Map::default(),
    };
    let mut groups: Vec<&PodGroup> = groups.iter().collect();
    groups.sort_unstable_by_key(|group| group.first);
    let mut groups = groups.into_iter().peekable();
    let mut place = 0;
    while place < pods.len() && (place == 0 || !policy.has_enough()) {
        let group = groups.next_if(|group| group.first as usize <= place);
        let size = group.map_or(0, |group| group.count as usize);
        match group {
            Some(group) if group.first as usize == place && size > 0 => {
                let members = &pods[place..pods.len().min(place.saturating_add(size))];
                let said = place_group(policy, members, group.least);
                said.into_iter().for_each(|said| answers.say(said));
                place += members.len();
            }
            Some(_) => {}
            None => {
                answers.say(place_one(policy, &pods[place], true));
                place += 1;
            }
        }
    }
    answers.placement
}

/// Places pods together: at least so many, or none.
fn place_group(policy: &mut impl Places, pods: &[Pod], least: u32) -> Vec<Said> {
    let mirror = &policy.cluster().mirror;
    let nomination = |pod: &Pod| mirror.nominations.get(&pod.id).cloned();
    let nominations: Vec<Nomination> = pods.iter().filter_map(nomination).collect();
    let mut said: Vec<Said> = pods.iter().map(|pod| place_one(policy, pod, false)).collect();
    if said.iter().filter(|said| said.is_ok()).count() >= least as usize {
        return said;
    }
    let cluster = policy.cluster();
    for (pod, said) in pods.iter().zip(&mut said) {
        if said.is_ok() {
            cluster.release(pod.id);
            let alone = Refusal {
                for_its_group: true,
                ..refusal(cluster.mirror.node_count(), Vec::new())
            };
            *said = Err(alone.into());
        }
    }
    nominations
        .into_iter()
        .for_each(|nomination| cluster.mirror.nominate(nomination));
    said
}

fn place_one(policy: &mut impl Places, pod: &Pod, may_preempt: bool) -> Said {
    let cluster = policy.cluster();
    if cluster.mirror.pod(pod.id).is_some() {
        cluster.release(pod.id);
    }
    let nominated = match cluster.mirror.nominations.is_empty() {
        true => None,
        false => cluster.mirror.drop_nomination(pod.id),
    };
    if pod.id == 0 || pod.id >= PODS || cluster.mirror.class(pod.class).is_none() {
        return Err(refusal(cluster.mirror.node_count(), Vec::new()).into());
    }
    let nominated = nominated.map_or(0, |nomination| nomination.node);
    let node = policy.choose(pod, nominated, may_preempt)?;
    policy.cluster().bind(pod.id, node, pod.class, 0);
    Ok(node)
}

/// A refusal of rules and how many nodes they turned down, in any order.
pub fn refusal(nodes: usize, mut all: Vec<(Rule, u32)>) -> Refusal {
    all.sort_unstable();
    let mut turned_down: Vec<TurnedDown> = Vec::new();
    for (rule, nodes) in all {
        match turned_down.last_mut() {
            Some(last) if last.rule == rule => last.nodes += nodes,
            _ => turned_down.push(TurnedDown { rule, nodes }),
        }
    }
    Refusal {
        nodes: nodes as u32,
        turned_down,
        for_its_group: false,
    }
}
