//! The best node for pods of a kind without asking all nodes: a heap of what nodes are worth, mended by what changed.
//!
//! An entry of the heap counts only while it is what its node is worth; a change leaves the old entry as chaff and pushes a
//! new one. Placing a pod is then to judge the one node that the pod before it went to, and to look at the top. Why nodes
//! will not do is counted in the same go, so that a pod that fits nowhere is refused without asking them again.
use crate::scheduler::hashing::Map;
use std::{cmp::Reverse, collections::BinaryHeap, hash::Hash};

/// What a node is worth: its score, and of equals the fewest pods first.
pub type Worth = (i64, Reverse<u32>);

/// What an index asks about nodes, for one kind of pods.
pub trait Judge {
    /// Why a node will not do.
    type Reason: Clone + Eq + Hash;

    /// The numbers of all nodes.
    fn nodes(&self) -> impl Iterator<Item = u32>;

    /// How many there are.
    fn count(&self) -> usize;

    /// The position after the newest change.
    fn end(&self) -> usize;

    /// The nodes that changed from a position on; none if that is forgotten.
    fn since(&self, position: usize) -> Option<impl ExactSizeIterator<Item = u32>>;

    /// What is said of a node; nothing where there is none.
    fn judge(&self, node: u32) -> Option<Result<Worth, Self::Reason>>;
}

/// What was said of a node last.
#[derive(Clone, Copy, PartialEq)]
enum Seat {
    Nobody,
    Fits(Worth),
    /// The number of the reason.
    Against(u32),
}

/// The nodes for one kind of pods.
pub struct Index<R> {
    /// By the number of the node.
    seats: Vec<Seat>,
    /// Of equals the lowest number first.
    heap: BinaryHeap<(Worth, Reverse<u32>)>,
    /// Reasons, and how many nodes each turns down.
    reasons: Vec<(R, u32)>,
    numbers: Map<R, u32>,
    /// Changes up to here are in it.
    seen: usize,
    /// When it was asked last.
    pub used: u64,
}

impl<R> Default for Index<R> {
    fn default() -> Self {
        Index {
            seats: Vec::new(),
            heap: BinaryHeap::new(),
            reasons: Vec::new(),
            numbers: Map::default(),
            seen: 0,
            used: 0,
        }
    }
}

impl<R: Clone + Eq + Hash> Index<R> {
    /// Asks every node.
    pub fn build(judge: &impl Judge<Reason = R>) -> Self {
        let mut index = Index {
            seen: judge.end(),
            ..Index::default()
        };
        for node in judge.nodes() {
            let seat = index.ask(judge, node);
            index.sit(node, seat);
        }
        let fits = (0..).zip(&index.seats).filter_map(|(node, seat)| match seat {
            Seat::Fits(worth) => Some((*worth, Reverse(node))),
            _ => None,
        });
        index.heap = fits.collect();
        index
    }

    /// What it takes, in entries.
    pub fn size(&self) -> usize {
        self.seats.len().max(self.heap.len())
    }

    /// The best node as the nodes are now. Counts to `work` how many were looked at.
    pub fn best(&mut self, judge: &impl Judge<Reason = R>, work: &mut usize) -> Option<u32> {
        self.catch_up(judge, work);
        while let Some((worth, Reverse(node))) = self.heap.peek() {
            if self.seats[*node as usize] == Seat::Fits(*worth) {
                return Some(*node);
            }
            self.heap.pop();
        }
        None
    }

    /// How many nodes each reason turns down, as they are now.
    pub fn turned_down(&mut self, judge: &impl Judge<Reason = R>, work: &mut usize) -> impl Iterator<Item = (&R, u32)> {
        self.catch_up(judge, work);
        let some = self.reasons.iter().filter(|(_, nodes)| *nodes > 0);
        some.map(|(reason, nodes)| (reason, *nodes))
    }

    fn catch_up(&mut self, judge: &impl Judge<Reason = R>, work: &mut usize) {
        let chaff = self.heap.len() > 4 * judge.count() + 64;
        let behind = judge
            .since(self.seen)
            .filter(|changed| !chaff && changed.len() <= judge.count());
        let Some(changed) = behind else {
            let used = self.used;
            *self = Index {
                used,
                ..Index::build(judge)
            };
            *work += judge.count();
            return;
        };
        *work += 1 + changed.len();
        for node in changed {
            let seat = self.ask(judge, node);
            if self.sit(node, seat)
                && let Seat::Fits(worth) = seat
            {
                self.heap.push((worth, Reverse(node)));
            }
        }
        self.seen = judge.end();
    }

    fn ask(&mut self, judge: &impl Judge<Reason = R>, node: u32) -> Seat {
        match judge.judge(node) {
            None => Seat::Nobody,
            Some(Ok(worth)) => Seat::Fits(worth),
            Some(Err(reason)) => {
                let next = self.reasons.len() as u32;
                let number = *self.numbers.entry(reason.clone()).or_insert(next);
                if number == next {
                    self.reasons.push((reason, 0));
                }
                Seat::Against(number)
            }
        }
    }

    /// Notes what was said of a node; whether that is news.
    fn sit(&mut self, node: u32, seat: Seat) -> bool {
        let place = node as usize;
        if self.seats.len() <= place {
            self.seats.resize(place + 1, Seat::Nobody);
        }
        let old = std::mem::replace(&mut self.seats[place], seat);
        if old == seat {
            return false;
        }
        for (seat, change) in [(old, -1), (seat, 1)] {
            if let Seat::Against(reason) = seat {
                let nodes = &mut self.reasons[reason as usize].1;
                *nodes = nodes.wrapping_add_signed(change);
            }
        }
        true
    }
}
