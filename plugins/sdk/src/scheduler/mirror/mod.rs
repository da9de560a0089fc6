//! The cluster as the plugin was told: nodes, classes, pods, namespaces, budgets.
mod class;
mod journal;
mod node;
mod room;

pub use class::{Class, Term, Who};
pub use journal::{Journal, Touched};
pub use node::Node;
pub use room::{Demand, Room};

use crate::scheduler::types::{Budget, Label, Nomination};
use crate::scheduler::{hashing::Map, names::Names};
use std::collections::BTreeMap;

/// A pod that counts on a node; `node` 0 where the number is nobody's.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pod {
    pub node: u32,
    pub class: u32,
    pub start: u32,
    pub ending: bool,
    /// Its place in the lists of its node and its class.
    on_node: u32,
    in_class: u32,
}

/// All that was told.
#[derive(Debug, Default)]
pub struct Mirror {
    pub names: Names,
    namespaces: Map<u32, Vec<Label>>,
    nodes: Vec<Option<Box<Node>>>,
    count: usize,
    classes: Vec<Option<Box<Class>>>,
    pods: Vec<Pod>,
    pub nominations: BTreeMap<u32, Nomination>,
    budgets: BTreeMap<u32, Budget>,
    /// By namespace, in the order of their numbers.
    budgets_in: Map<u32, Vec<u32>>,
    pub journal: Journal,
    /// On how many nodes an image is.
    images: Map<u32, u32>,
    /// Rises when images, or the number of nodes, change.
    pub image_version: u64,
    /// How many pods that count have a priority.
    priorities: BTreeMap<i32, u32>,
}

impl Mirror {
    pub fn new(names: Names) -> Self {
        Mirror {
            names,
            ..Mirror::default()
        }
    }

    pub fn node(&self, id: u32) -> Option<&Node> {
        self.nodes.get(id as usize)?.as_deref()
    }

    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().flatten().map(|node| &**node)
    }

    /// How many nodes there are.
    pub fn node_count(&self) -> usize {
        self.count
    }

    /// One more than the highest number that a node has had.
    pub fn node_numbers(&self) -> usize {
        self.nodes.len()
    }

    pub fn class(&self, id: u32) -> Option<&Class> {
        self.classes.get(id as usize)?.as_deref()
    }

    pub fn classes(&self) -> impl Iterator<Item = &Class> {
        self.classes.iter().flatten().map(|class| &**class)
    }

    /// A pod that counts on a node.
    pub fn pod(&self, id: u32) -> Option<&Pod> {
        self.pods.get(id as usize).filter(|pod| pod.node != 0)
    }

    /// The class of a pod that counts.
    pub fn class_of(&self, pod: u32) -> Option<&Class> {
        self.class(self.pod(pod)?.class)
    }

    pub fn priority_of(&self, pod: u32) -> i32 {
        self.class_of(pod).map_or(0, |class| class.said.priority)
    }

    pub fn namespace(&self, name: u32) -> &[Label] {
        self.namespaces.get(&name).map_or(&[], Vec::as_slice)
    }

    /// On how many nodes an image is.
    pub fn nodes_with(&self, image: u32) -> u32 {
        self.images.get(&image).copied().unwrap_or(0)
    }

    /// Whether there is a pod of a lower priority at all.
    pub fn any_below(&self, priority: i32) -> bool {
        self.priorities
            .first_key_value()
            .is_some_and(|(lowest, _)| *lowest < priority)
    }

    /// A namespace's labels; whether they changed.
    pub fn set_namespace(&mut self, name: u32, mut labels: Vec<Label>) -> bool {
        labels.sort_unstable();
        let changed = self.namespace(name) != labels;
        self.namespaces.insert(name, labels);
        changed
    }

    pub fn remove_namespace(&mut self, name: u32) -> bool {
        self.namespaces.remove(&name).is_some_and(|labels| !labels.is_empty())
    }

    /// The budgets of a namespace, in the order of their numbers.
    pub fn budgets_in(&self, namespace: u32) -> impl Iterator<Item = &Budget> {
        let ids = self.budgets_in.get(&namespace).into_iter().flatten();
        ids.filter_map(|id| self.budgets.get(id))
    }

    /// A budget is new, or another; what it was.
    pub fn put_budget(&mut self, budget: Budget) -> Option<Budget> {
        let old = self.take_budget(budget.id);
        let ids = self.budgets_in.entry(budget.namespace).or_default();
        let place = ids.partition_point(|id| *id < budget.id);
        ids.insert(place, budget.id);
        self.budgets.insert(budget.id, budget);
        old
    }

    pub fn take_budget(&mut self, id: u32) -> Option<Budget> {
        let budget = self.budgets.remove(&id)?;
        if let Some(ids) = self.budgets_in.get_mut(&budget.namespace) {
            ids.retain(|known| *known != id);
        }
        Some(budget)
    }

    /// Whether a class is of a namespace.
    pub fn has_class_in(&self, namespace: u32) -> bool {
        self.classes().any(|class| class.said.namespace == namespace)
    }

    /// A class that nobody is of.
    pub fn put_class(&mut self, class: Class) {
        let place = class.said.id as usize;
        if self.classes.len() <= place {
            self.classes.resize_with(place + 1, || None);
        }
        self.classes[place] = Some(Box::new(class));
    }

    pub fn remove_class(&mut self, id: u32) {
        if let Some(class) = self.classes.get_mut(id as usize) {
            *class = None;
        }
    }

    /// A node with nobody there.
    pub fn put_node(&mut self, node: Node) {
        let (id, place) = (node.id, node.id as usize);
        if self.nodes.len() <= place {
            self.nodes.resize_with(place + 1, || None);
        }
        for image in &node.images {
            *self.images.entry(image.name).or_default() += 1;
        }
        self.image_version += 1;
        self.count += 1;
        self.nodes[place] = Some(Box::new(node));
        self.touch(id, true);
    }

    /// Takes out a node that nobody is on.
    pub fn remove_node(&mut self, id: u32) -> Option<Box<Node>> {
        let node = self.nodes.get_mut(id as usize)?.take()?;
        for image in &node.images {
            if let Some(count) = self.images.get_mut(&image.name) {
                *count -= 1;
            }
        }
        self.image_version += 1;
        self.count -= 1;
        self.touch(id, true);
        Some(node)
    }

    /// Something about a node changed.
    pub fn touch(&mut self, node: u32, shape: bool) {
        self.journal.touch(node, shape, self.count);
    }

    /// A pod counts on a node from now on; both and its class are known, and it counted nowhere.
    pub fn add_pod(&mut self, id: u32, node_id: u32, class_id: u32, start: u32) {
        let (Some(Some(node)), Some(Some(class))) = (
            self.nodes.get_mut(node_id as usize),
            self.classes.get_mut(class_id as usize),
        ) else {
            return;
        };
        let place = id as usize;
        if self.pods.len() <= place {
            self.pods.resize(place + 1, Pod::default());
        }
        self.pods[place] = Pod {
            node: node_id,
            class: class_id,
            start,
            ending: false,
            on_node: node.pods.len() as u32,
            in_class: class.pods.len() as u32,
        };
        node.pods.push(id);
        class.pods.push(id);
        node.room.take(&class.demand);
        *self.priorities.entry(class.said.priority).or_default() += 1;
        self.touch(node_id, false);
    }

    /// A pod counts nowhere any more.
    pub fn remove_pod(&mut self, id: u32) {
        let Some(slot) = self.pods.get_mut(id as usize) else {
            return;
        };
        let pod = std::mem::take(slot);
        let (Some(Some(node)), Some(Some(class))) = (
            self.nodes.get_mut(pod.node as usize),
            self.classes.get_mut(pod.class as usize),
        ) else {
            return;
        };
        node.pods.swap_remove(pod.on_node as usize);
        if let Some(moved) = node.pods.get(pod.on_node as usize) {
            self.pods[*moved as usize].on_node = pod.on_node;
        }
        class.pods.swap_remove(pod.in_class as usize);
        if let Some(moved) = class.pods.get(pod.in_class as usize) {
            self.pods[*moved as usize].in_class = pod.in_class;
        }
        node.room.give_back(&class.demand);
        let priority = class.said.priority;
        if let Some(count) = self.priorities.get_mut(&priority) {
            *count -= 1;
            if *count == 0 {
                self.priorities.remove(&priority);
            }
        }
        self.touch(pod.node, false);
    }

    pub fn set_ending(&mut self, id: u32, ending: bool) {
        if let Some(pod) = self.pods.get_mut(id as usize) {
            pod.ending = ending;
            let node = pod.node;
            self.touch(node, false);
        }
    }

    /// A pod waits for room on a node.
    pub fn nominate(&mut self, nomination: Nomination) {
        self.drop_nomination(nomination.pod);
        if let Some(Some(node)) = self.nodes.get_mut(nomination.node as usize) {
            node.nominated.push(nomination.pod);
            node.nominated.sort_unstable();
            self.nominations.insert(nomination.pod, nomination);
            self.touch(nomination.node, false);
        }
    }

    pub fn drop_nomination(&mut self, pod: u32) -> Option<Nomination> {
        let nomination = self.nominations.remove(&pod)?;
        if let Some(Some(node)) = self.nodes.get_mut(nomination.node as usize) {
            node.nominated.retain(|nominated| *nominated != pod);
        }
        self.touch(nomination.node, false);
        Some(nomination)
    }

    /// The classes of the pods that wait for room on a node and are of no lower priority.
    pub fn awaited(&self, node: &Node, priority: i32) -> impl Iterator<Item = &Class> {
        let class = |pod: &u32| self.class(self.nominations.get(pod)?.class);
        let awaited = node.nominated.iter().filter_map(class);
        awaited.filter(move |class| class.said.priority >= priority)
    }
}
