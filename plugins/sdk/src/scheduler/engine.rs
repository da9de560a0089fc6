//! The simple face's engine: a mirror, and an index for each kind of pods.
mod judging;

use super::{
    Description, Pod, PodClass, Policy, Rule, Scheduler,
    batch::{self, Places, Said, refusal},
    cluster::{Cluster, Follows},
    hashing::Map,
    mirror::{self, Class, Mirror},
    names::Names,
    shelf::to_drop,
    types::{self, Changes, Explanation, Placement, PodGroup, Refusal, Verdict},
};
use crate::index::{Index, Judge};
use judging::Judging;
use std::cmp::Reverse;

/// How many nodes are looked at in one call before the rest of its pods is left for the next, at some tenths of a
/// microsecond each. The kernel ends calls after 200 ms.
const ENOUGH: usize = 150_000;
/// Kinds of pods at the most; beyond, all are made anew as they are needed.
const MOST_KINDS: usize = 1 << 16;

/// Nothing is counted beside the mirror.
impl Follows for () {
    fn class_added(&mut self, _: &Mirror, _: &Class) {}
    fn class_removed(&mut self, _: u32) {}
    fn node_added(&mut self, _: &mirror::Node, _: &Mirror) {}
    fn node_removed(&mut self, _: &mirror::Node) {}
    fn pod(&mut self, _: u32, _: u32, _: bool, _: i32) {}
    fn pod_ending(&mut self, _: u32, _: u32, _: bool) {}
    fn crowded(&self) -> bool {
        false
    }
    fn start_anew(&mut self, _: &Mirror) {}
}

/// Makes a [`Scheduler`] a [`Policy`].
pub struct Engine<S> {
    policy: S,
    cluster: Cluster<()>,
    /// By class: the kind its pods are of, where that is known.
    kinds: Vec<Option<u32>>,
    numbers: Map<PodClass, u32>,
    /// By kind.
    indexes: Vec<Option<Box<Index<Vec<Rule>>>>>,
    clock: u64,
    work: usize,
    synced: u64,
}

impl<S: Scheduler> Default for Engine<S> {
    fn default() -> Self {
        Engine {
            policy: S::default(),
            cluster: Cluster::new(Names::all(), ()),
            kinds: Vec::new(),
            numbers: Map::default(),
            indexes: Vec::new(),
            clock: 0,
            work: 0,
            synced: 0,
        }
    }
}

impl<S: Scheduler> Policy for Engine<S> {
    fn describe() -> Description {
        S::describe()
    }

    fn configure(&mut self, config: &str) -> Result<(), String> {
        let config = serde_json::from_str(config).map_err(|error| format!("the config is not JSON: {error}"))?;
        self.policy.configure(&config)
    }

    fn sync(&mut self, base: u64, next: u64, changes: Changes) -> Result<(), String> {
        if base == 0 {
            let policy = std::mem::take(&mut self.policy);
            *self = Engine {
                policy,
                ..Engine::default()
            };
        } else if base != self.synced {
            return Err(format!("the mirror is at {}, not at {base}", self.synced));
        }
        let said = changes.classes.iter().map(|class| class.id);
        for class in said.chain(changes.classes_gone.iter().copied()) {
            if let Some(kind) = self.kinds.get_mut(class as usize) {
                *kind = None;
            }
        }
        let taken_in = self.cluster.take_in(changes);
        self.synced = if taken_in.is_ok() { next } else { 0 };
        taken_in
    }

    fn place(&mut self, pods: &[types::Pod], groups: &[PodGroup]) -> Placement {
        self.work = 0;
        batch::place(self, pods, groups)
    }

    fn explain(&mut self, pod: &types::Pod, most: u32) -> Explanation {
        // A pod does not stand in its own way.
        let nomination = self.cluster.mirror.drop_nomination(pod.id);
        let nominated = nomination.as_ref().map_or(0, |nomination| nomination.node);
        let explanation = self.explained(pod, nominated, most);
        if let Some(nomination) = nomination {
            self.cluster.mirror.nominate(nomination);
        }
        explanation
    }
}

impl<S: Scheduler> Places for Engine<S> {
    type Counts = ();

    fn cluster(&mut self) -> &mut Cluster<()> {
        &mut self.cluster
    }

    fn choose(&mut self, pod: &types::Pod, nominated: u32, _: bool) -> Said {
        let Some(kind) = self.kind_of(pod.class) else {
            return Err(self.nothing_known().into());
        };
        if pod.pinned != 0 {
            return self.pinned(pod).map_err(Into::into);
        }
        let mut index = self.indexes[kind].take().unwrap_or_else(|| self.build(pod.class));
        let said = self.best(&mut index, pod, nominated);
        self.indexes[kind] = Some(index);
        Ok(said?)
    }

    fn has_enough(&self) -> bool {
        self.work >= ENOUGH
    }
}

impl<S: Scheduler> Engine<S> {
    /// The kind that pods of a class are of.
    fn kind_of(&mut self, class: u32) -> Option<usize> {
        let place = class as usize;
        if let Some(Some(kind)) = self.kinds.get(place) {
            return Some(*kind as usize);
        }
        let known = self.cluster.mirror.class(class)?;
        if self.numbers.len() >= MOST_KINDS {
            self.kinds.clear();
            self.numbers.clear();
            self.indexes.clear();
        }
        let names = &self.cluster.mirror.names;
        let key = PodClass {
            // Who waits for room is looked at by the engine itself.
            priority: known.said.priority,
            ..self.policy.key(&Pod { class: known, names })
        };
        let next = self.indexes.len() as u32;
        let kind = *self.numbers.entry(key).or_insert(next);
        if kind == next {
            self.indexes.push(None);
        }
        if self.kinds.len() <= place {
            self.kinds.resize(place + 1, None);
        }
        self.kinds[place] = Some(kind);
        Some(kind as usize)
    }

    fn judging(&self, class: u32) -> Option<Judging<'_, S>> {
        Some(Judging {
            policy: &self.policy,
            mirror: &self.cluster.mirror,
            class: self.cluster.mirror.class(class)?,
        })
    }

    fn nothing_known(&self) -> Refusal {
        refusal(self.cluster.mirror.node_count(), Vec::new())
    }

    /// Asks every node, for the first pod of a kind.
    fn build(&mut self, class: u32) -> Box<Index<Vec<Rule>>> {
        let nodes = self.cluster.mirror.node_count();
        let kept = self
            .indexes
            .iter()
            .map(|index| Some((index.as_ref()?.used, index.as_ref()?.size())));
        for place in to_drop(kept, nodes, nodes) {
            self.indexes[place] = None;
        }
        self.work += nodes;
        match self.judging(class) {
            Some(judging) => Box::new(Index::build(&judging)),
            None => Box::default(),
        }
    }

    fn best(&mut self, index: &mut Index<Vec<Rule>>, pod: &types::Pod, nominated: u32) -> Result<u32, Refusal> {
        self.clock += 1;
        index.used = self.clock;
        let mut work = 0;
        let said = match self.judging(pod.class) {
            None => Err(self.nothing_known()),
            Some(judging) if matches!(judging.judge(nominated), Some(Ok(_))) => Ok(nominated),
            Some(judging) => index.best(&judging, &mut work).ok_or_else(|| {
                let turned_down = index.turned_down(&judging, &mut work);
                let each = |(rules, nodes): (&Vec<Rule>, u32)| rules.iter().map(move |rule| (*rule, nodes)).collect();
                let all: Vec<Vec<(Rule, u32)>> = turned_down.map(each).collect();
                refusal(judging.mirror.node_count(), all.concat())
            }),
        };
        self.work += work;
        said
    }

    /// The one node that will do for a pod, if it will.
    fn pinned(&mut self, pod: &types::Pod) -> Result<u32, Refusal> {
        self.work += 1;
        let nodes = self.cluster.mirror.node_count();
        let judged = self.judging(pod.class).and_then(|judging| judging.judge(pod.pinned));
        let (others, rules) = match judged {
            Some(Ok(_)) => return Ok(pod.pinned),
            Some(Err(rules)) => (nodes.saturating_sub(1), rules),
            None => (nodes, Vec::new()),
        };
        let mut all: Vec<(Rule, u32)> = rules.into_iter().map(|rule| (rule, 1)).collect();
        if others > 0 {
            all.push((Rule::NodeName, others as u32));
        }
        Err(refusal(nodes, all))
    }

    fn explained(&self, pod: &types::Pod, nominated: u32, most: u32) -> Explanation {
        let mirror = &self.cluster.mirror;
        let (mut fit, mut refused) = (Vec::new(), Vec::new());
        if let Some(judging) = self.judging(pod.class) {
            for node in mirror.nodes() {
                match judging.about(node) {
                    _ if pod.pinned != 0 && pod.pinned != node.id => refused.push((node.id, vec![Rule::NodeName])),
                    Ok(worth) => fit.push((Reverse(worth), node.id)),
                    Err(rules) => refused.push((node.id, rules)),
                }
            }
        }
        fit.sort_unstable();
        let kept = fit.iter().any(|(_, node)| *node == nominated);
        let best = if kept {
            Some(nominated)
        } else {
            fit.first().map(|(_, node)| *node)
        };
        let all = refused.iter().flat_map(|(_, rules)| rules).map(|rule| (*rule, 1));
        let refusal = refusal(mirror.node_count(), all.collect());
        let verdict = |node: u32, against: Vec<Rule>, total: i64| Verdict {
            node,
            against,
            // The contract has names for Kubernetes' scores alone; the policy's own is the total.
            scores: Vec::new(),
            total,
        };
        let fit = fit
            .iter()
            .map(|(Reverse((score, _)), node)| verdict(*node, Vec::new(), *score));
        let refused = refused.into_iter().map(|(node, rules)| verdict(node, rules, 0));
        Explanation {
            node: best.unwrap_or(0),
            refusal,
            verdicts: fit.chain(refused).take(most as usize).collect(),
        }
    }
}
