//! Which part of the cluster each node is in, by topology key, and which nodes rules look at.
use super::Spec;
use crate::{
    hashing::Map,
    mirror::{Mirror, Node},
    names::Names,
    select::{cordon_tolerated, node_affinity, untolerated, value},
};
use sampan_sdk::scheduler::types::{Label, NodeTerm, Toleration};

/// The key that makes every node a part of its own, label or no label.
pub const NODE_KEY: u32 = 0;
/// The filter that every node passes.
const ALL: u32 = 0;
/// In no part.
pub const NOWHERE: u32 = u32::MAX;

/// Which nodes a spread constraint looks at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Reachable {
    /// Node selector and required affinity, where they are honoured.
    pub selector: Vec<Label>,
    pub required: Option<Vec<NodeTerm>>,
    /// Where taints are honoured.
    pub tolerations: Option<Vec<Toleration>>,
    /// Labels that a node must have.
    pub keys: Vec<u32>,
}

impl Reachable {
    fn passes(&self, node: &Node, names: &Names) -> bool {
        let tolerated = |tolerations: &Vec<Toleration>| {
            cordon_tolerated(tolerations, node, names) && untolerated(tolerations, node, names).is_none()
        };
        self.keys.iter().all(|key| value(&node.labels, *key).is_some())
            && node_affinity(&self.selector, self.required.as_deref(), node, names)
            && self.tolerations.as_ref().is_none_or(tolerated)
    }
}

/// A topology key, and where each node is.
#[derive(Debug)]
struct Key {
    symbol: u32,
    of_node: Vec<u32>,
    /// How many nodes are in each part, and all their numbers by exclusive or: that of the one where there is one.
    parts: Map<u32, (u32, u32)>,
    /// How many parts have more than one node.
    shared: usize,
}

#[derive(Debug)]
struct Filter {
    who: Reachable,
    passes: Vec<bool>,
}

/// The parts that nodes of a filter are in, and with how many.
type Reach = Map<u32, u32>;

/// All topology keys and filters in use.
#[derive(Debug, Default)]
pub struct Topology {
    /// From number 1 on.
    keys: Vec<Key>,
    key_ids: Map<u32, u32>,
    /// From number 1 on.
    filters: Vec<Filter>,
    filter_ids: Map<Reachable, u32>,
    reaches: Map<(u32, u32), Reach>,
    /// Rises when a key comes to have parts with several nodes, or no such parts any more.
    pub locality: u64,
}

impl Topology {
    /// The number of a topology key.
    pub fn key(&mut self, mirror: &Mirror, symbol: u32) -> u32 {
        if let Some(id) = self.key_ids.get(&symbol) {
            return *id;
        }
        let mut key = Key {
            symbol,
            of_node: Vec::new(),
            parts: Map::default(),
            shared: 0,
        };
        for node in mirror.nodes() {
            key.enter(node);
        }
        self.keys.push(key);
        let id = self.keys.len() as u32;
        self.key_ids.insert(symbol, id);
        id
    }

    /// The number of a filter.
    pub fn filter(&mut self, mirror: &Mirror, who: Reachable) -> u32 {
        if who == Reachable::default() {
            return ALL;
        }
        if let Some(id) = self.filter_ids.get(&who) {
            return *id;
        }
        let mut passes = vec![false; mirror.node_numbers()];
        for node in mirror.nodes() {
            passes[node.id as usize] = who.passes(node, &mirror.names);
        }
        self.filter_ids.insert(who.clone(), self.filters.len() as u32 + 1);
        self.filters.push(Filter { who, passes });
        self.filters.len() as u32
    }

    /// Sees to it that [`Topology::domains`] can be asked.
    pub fn reach(&mut self, mirror: &Mirror, key: u32, filter: u32) {
        if self.reaches.contains_key(&(key, filter)) {
            return;
        }
        let mut reach = Reach::default();
        for node in mirror.nodes() {
            if let Some(part) = self.counted(key, filter, node.id) {
                *reach.entry(part).or_default() += 1;
            }
        }
        self.reaches.insert((key, filter), reach);
    }

    /// In how many parts there are nodes of a filter.
    pub fn domains(&self, key: u32, filter: u32) -> usize {
        self.reaches.get(&(key, filter)).map_or(0, Map::len)
    }

    /// Where a node is; [`NOWHERE`] without the label.
    pub fn part(&self, key: u32, node: u32) -> u32 {
        match key.checked_sub(1) {
            None => node,
            Some(place) => {
                let of_node = &self.keys[place as usize].of_node;
                of_node.get(node as usize).copied().unwrap_or(NOWHERE)
            }
        }
    }

    /// Whether no two nodes are in one part: then what counts there is the node's own matter.
    pub fn is_local(&self, key: u32) -> bool {
        key.checked_sub(1)
            .is_none_or(|place| self.keys[place as usize].shared == 0)
    }

    /// The node that is a part of a local key.
    pub fn node_in(&self, key: u32, part: u32) -> u32 {
        match key.checked_sub(1) {
            None => part,
            Some(place) => self.keys[place as usize]
                .parts
                .get(&part)
                .map_or(0, |(_, number)| *number),
        }
    }

    fn counted(&self, key: u32, filter: u32, node: u32) -> Option<u32> {
        let passes = |place: u32| self.filters[place as usize].passes.get(node as usize).copied();
        let passed = filter
            .checked_sub(1)
            .is_none_or(|place| passes(place).unwrap_or_default());
        Some(self.part(key, node)).filter(|part| passed && *part != NOWHERE)
    }

    /// In which part a pod on a node counts, if it counts.
    pub fn counted_at(&self, spec: &Spec, node: u32, ending: bool) -> Option<u32> {
        if ending && !spec.ending_too {
            return None;
        }
        self.counted(spec.key, spec.filter, node)
    }

    pub fn node_added(&mut self, node: &Node, names: &Names) {
        let place = node.id as usize;
        for key in &mut self.keys {
            let before = key.shared == 0;
            key.enter(node);
            self.locality += u64::from(before != (key.shared == 0));
        }
        for filter in &mut self.filters {
            if filter.passes.len() <= place {
                filter.passes.resize(place + 1, false);
            }
            filter.passes[place] = filter.who.passes(node, names);
        }
        self.move_reaches(node.id, true);
    }

    pub fn node_removed(&mut self, node: &Node) {
        self.move_reaches(node.id, false);
        for key in &mut self.keys {
            let before = key.shared == 0;
            key.leave(node.id);
            self.locality += u64::from(before != (key.shared == 0));
        }
        for filter in &mut self.filters {
            if let Some(passes) = filter.passes.get_mut(node.id as usize) {
                *passes = false;
            }
        }
    }

    fn move_reaches(&mut self, node: u32, comes: bool) {
        let mut reaches = std::mem::take(&mut self.reaches);
        for ((key, filter), reach) in &mut reaches {
            let Some(part) = self.counted(*key, *filter, node) else {
                continue;
            };
            if comes {
                *reach.entry(part).or_default() += 1;
            } else if let Some(nodes) = reach.get_mut(&part) {
                *nodes -= 1;
                if *nodes == 0 {
                    reach.remove(&part);
                }
            }
        }
        self.reaches = reaches;
    }
}

impl Key {
    fn enter(&mut self, node: &Node) {
        let place = node.id as usize;
        if self.of_node.len() <= place {
            self.of_node.resize(place + 1, NOWHERE);
        }
        self.of_node[place] = NOWHERE;
        if let Some(part) = value(&node.labels, self.symbol) {
            self.of_node[place] = part;
            let (nodes, numbers) = self.parts.entry(part).or_default();
            *nodes += 1;
            *numbers ^= node.id;
            self.shared += usize::from(*nodes == 2);
        }
    }

    fn leave(&mut self, node: u32) {
        let Some(part) = self.of_node.get_mut(node as usize) else {
            return;
        };
        let part = std::mem::replace(part, NOWHERE);
        if let Some((nodes, numbers)) = self.parts.get_mut(&part) {
            *nodes -= 1;
            *numbers ^= node;
            self.shared -= usize::from(*nodes == 1);
            if *nodes == 0 {
                self.parts.remove(&part);
            }
        }
    }
}
