//! What changed in the mirror since a plugin was told, and what it is told then.
//!
//! Only *which* things changed is kept; what is said of them is what the mirror holds when it is said. So each is said once,
//! as it is in the end, however often it changed.
use super::{Mirror, pods::Place};
use sampan_sandbox::scheduler::{Bound, Changes, MOST_CHANGES, Nomination};
use std::collections::BTreeSet;

/// The things that changed, by their numbers.
#[derive(Clone, Debug, Default)]
pub struct Touched {
    pub namespaces: BTreeSet<u32>,
    pub budgets: BTreeSet<u32>,
    pub classes: BTreeSet<u32>,
    pub nodes: BTreeSet<u32>,
    pub pods: BTreeSet<u32>,
    pub nominations: BTreeSet<u32>,
}

impl Touched {
    pub fn is_empty(&self) -> bool {
        let Touched {
            namespaces,
            budgets,
            classes,
            nodes,
            pods,
            nominations,
        } = self;
        [namespaces, budgets, classes, nodes, pods, nominations]
            .iter()
            .all(|set| set.is_empty())
    }

    /// Takes in what else changed.
    pub fn add(&mut self, other: &Touched) {
        self.namespaces.extend(&other.namespaces);
        self.budgets.extend(&other.budgets);
        self.classes.extend(&other.classes);
        self.nodes.extend(&other.nodes);
        self.pods.extend(&other.pods);
        self.nominations.extend(&other.nominations);
    }
}

/// Changes on their way to a plugin, cut into calls.
#[derive(Debug, Default)]
pub struct Parcels {
    full: Vec<Changes>,
    last: Changes,
    count: usize,
}

impl Parcels {
    /// Where the next change goes.
    pub fn next(&mut self) -> &mut Changes {
        if self.count == MOST_CHANGES {
            self.full.push(std::mem::take(&mut self.last));
            self.count = 0;
        }
        self.count += 1;
        &mut self.last
    }

    /// The calls, in order; one at the least.
    pub fn calls(mut self) -> Vec<Changes> {
        self.full.push(self.last);
        self.full
    }
}

/// The changes that bring a plugin from what it was told last to the mirror as it is. It knows the symbols below `symbols`.
/// The order is the contract's, also over several calls.
pub fn changes(mirror: &Mirror, touched: &Touched, symbols: usize) -> Vec<Changes> {
    let mut parcels = Parcels::default();
    for named in mirror.symbols.named_from(symbols) {
        parcels.next().symbols.push(named);
    }
    for name in &touched.namespaces {
        match mirror.namespaces.get(*name) {
            Some(namespace) => parcels.next().namespaces.push(namespace.clone()),
            None => parcels.next().namespaces_gone.push(*name),
        }
    }
    for id in &touched.budgets {
        match mirror.budgets.get(*id, &mirror.pods) {
            Some(budget) => parcels.next().budgets.push(budget),
            None => parcels.next().budgets_gone.push(*id),
        }
    }
    for id in &touched.classes {
        if let Some(class) = mirror.classes.get(*id) {
            parcels.next().classes.push(class.wire.clone());
        }
    }
    for id in &touched.nodes {
        match mirror.nodes.get(*id) {
            Some(node) => parcels.next().nodes.push(node.wire.clone()),
            None => parcels.next().nodes_gone.push(*id),
        }
    }
    pods(mirror, touched, &mut parcels);
    for id in &touched.classes {
        if mirror.classes.get(*id).is_none() {
            parcels.next().classes_gone.push(*id);
        }
    }
    parcels.calls()
}

fn pods(mirror: &Mirror, touched: &Touched, parcels: &mut Parcels) {
    for id in &touched.pods {
        let counts = mirror
            .pods
            .get(*id)
            .filter(|pod| pod.class != 0)
            .and_then(|pod| match &pod.place {
                Place::Bound { node, start, ending } => {
                    let node = mirror.nodes.number(node)?;
                    Some((bound(*id, node, pod.class, *start), *ending))
                }
                Place::Waiting => None,
            });
        let Some((bound, ending)) = counts else {
            parcels.next().released.push(*id);
            continue;
        };
        parcels.next().bound.push(bound);
        if ending {
            parcels.next().ending.push(*id);
        }
    }
    for id in &touched.nominations {
        match nomination(mirror, *id) {
            Some(nomination) => parcels.next().nominated.push(nomination),
            None => parcels.next().nominated_no_more.push(*id),
        }
    }
}

fn bound(pod: u32, node: u32, class: u32, start: u32) -> Bound {
    Bound {
        pod,
        node,
        class,
        start,
    }
}

fn nomination(mirror: &Mirror, id: u32) -> Option<Nomination> {
    let pod = mirror.pods.get(id).filter(|pod| pod.class != 0)?;
    let name = pod.nominated.as_deref().filter(|_| pod.place == Place::Waiting)?;
    Some(Nomination {
        pod: id,
        node: mirror.nodes.number(name)?,
        class: pod.class,
    })
}
