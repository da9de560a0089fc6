//! Mirror and what is counted beside it, kept in step: what changes one changes the other.
use super::{
    mirror::{Class, Mirror, Node},
    names::Names,
    select,
    types::{self as wire, Budget, Changes, Nomination, PodClass},
};

/// Bounds of the contract: the plugin keeps tables by these numbers.
const NODES: u32 = 1 << 20;
pub const PODS: u32 = 1 << 23;
const CLASSES: u32 = 1 << 18;

/// Something that is derived from the mirror and follows it. It is told after the mirror knows, and of a pod or a node
/// that goes before the mirror forgets.
pub trait Follows {
    /// A class is known from now on; it has no pods yet.
    fn class_added(&mut self, mirror: &Mirror, class: &Class);
    fn class_removed(&mut self, id: u32);
    /// A node came, with nobody there.
    fn node_added(&mut self, node: &Node, mirror: &Mirror);
    fn node_removed(&mut self, node: &Node);
    /// Pods of a class come to a node (`times` 1), or go (-1).
    fn pod(&mut self, class: u32, node: u32, ending: bool, times: i32);
    /// A pod is ending, or is not after all.
    fn pod_ending(&mut self, class: u32, node: u32, ending: bool);
    /// Whether so much was derived that it is better to start anew.
    fn crowded(&self) -> bool;
    /// Forgets what was derived; it is made anew as it is needed.
    fn start_anew(&mut self, mirror: &Mirror);
}

/// All that is known of the cluster, and what follows from it.
#[derive(Debug, Default)]
pub struct Cluster<C> {
    pub mirror: Mirror,
    pub counts: C,
}

impl<C: Follows> Cluster<C> {
    /// Of nothing yet, with these texts to look out for.
    pub fn new(names: Names, counts: C) -> Self {
        Cluster {
            mirror: Mirror::new(names),
            counts,
        }
    }

    /// Takes in what changed.
    ///
    /// # Errors
    /// If something names what is not there: then the mirror is not what the kernel takes it for.
    pub fn take_in(&mut self, changes: Changes) -> Result<(), String> {
        let mut relabelled = false;
        for named in changes.symbols {
            relabelled |= self.mirror.names.define(named.symbol, &named.text);
        }
        for namespace in changes.namespaces {
            let changed = self.mirror.set_namespace(namespace.name, namespace.labels);
            relabelled |= changed && self.mirror.has_class_in(namespace.name);
        }
        for name in changes.namespaces_gone {
            let changed = self.mirror.remove_namespace(name);
            relabelled |= changed && self.mirror.has_class_in(name);
        }
        if relabelled || self.counts.crowded() {
            self.start_anew();
        }
        for budget in changes.budgets {
            self.put_budget(budget);
        }
        for id in changes.budgets_gone {
            if let Some(budget) = self.mirror.take_budget(id) {
                self.touch_disrupted(&budget);
            }
        }
        for class in changes.classes {
            self.put_class(class)?;
        }
        for id in changes.nodes_gone {
            self.remove_node(id);
        }
        for node in changes.nodes {
            self.put_node(node)?;
        }
        for pod in changes.released {
            self.release(pod);
        }
        for bound in changes.bound {
            self.bound(bound)?;
        }
        for pod in changes.ending {
            self.set_ending(pod, true);
        }
        for nomination in changes.nominated {
            self.check_nomination(&nomination)?;
            self.mirror.nominate(nomination);
        }
        for pod in changes.nominated_no_more {
            self.mirror.drop_nomination(pod);
        }
        changes
            .classes_gone
            .into_iter()
            .try_for_each(|id| self.remove_class(id))
    }

    /// Forgets what was derived; it is made anew as it is needed.
    pub fn start_anew(&mut self) {
        self.counts.start_anew(&self.mirror);
    }

    fn put_class(&mut self, said: PodClass) -> Result<(), String> {
        let id = said.id;
        if id == 0 || id >= CLASSES {
            return Err(format!("class {id}: numbers go from 1 to {}", CLASSES - 1));
        }
        // Pods of it leave and come back as what they are now.
        let pods = self
            .mirror
            .class(id)
            .map(|class| class.pods.clone())
            .unwrap_or_default();
        let known = |pod: &u32| self.mirror.pod(*pod).map(|slot| (*pod, *slot));
        let pods: Vec<_> = pods.iter().filter_map(known).collect();
        pods.iter().for_each(|(pod, _)| self.release(*pod));
        self.counts.class_removed(id);
        self.mirror.put_class(Class::new(said));
        if let Some(class) = self.mirror.class(id) {
            self.counts.class_added(&self.mirror, class);
        }
        for (pod, slot) in pods {
            self.bind(pod, slot.node, id, slot.start);
            if slot.ending {
                self.set_ending(pod, true);
            }
        }
        let awaited = self
            .mirror
            .nominations
            .values()
            .filter(|nomination| nomination.class == id);
        let nodes: Vec<u32> = awaited.map(|nomination| nomination.node).collect();
        nodes.into_iter().for_each(|node| self.mirror.touch(node, false));
        Ok(())
    }

    fn remove_class(&mut self, id: u32) -> Result<(), String> {
        if self.mirror.class(id).is_some_and(|class| !class.pods.is_empty()) {
            return Err(format!("class {id} is to go and has pods"));
        }
        self.mirror.remove_class(id);
        self.counts.class_removed(id);
        Ok(())
    }

    fn put_node(&mut self, said: wire::Node) -> Result<(), String> {
        let id = said.id;
        if id == 0 || id >= NODES {
            return Err(format!("node {id}: numbers go from 1 to {}", NODES - 1));
        }
        let mut node = Node::new(said);
        let Some(old) = self.mirror.node(id) else {
            self.mirror.put_node(node);
            self.arrived(id);
            return Ok(());
        };
        let (pods, nominated) = (old.pods.clone(), old.nominated.clone());
        if old.labels == node.labels
            && old.taints == node.taints
            && old.ready == node.ready
            && old.unschedulable == node.unschedulable
        {
            // Who is there stays counted: only amounts, images or the name changed.
            for pod in &pods {
                if let Some(class) = self.mirror.class_of(*pod) {
                    node.room.take(&class.demand);
                }
            }
            (node.pods, node.nominated) = (pods, nominated);
            self.mirror.remove_node(id);
            self.mirror.put_node(node);
            return Ok(());
        }
        let known = |pod: &u32| self.mirror.pod(*pod).map(|slot| (*pod, *slot));
        let slots: Vec<_> = pods.iter().filter_map(known).collect();
        slots.iter().for_each(|(pod, _)| self.release(*pod));
        self.departed(id);
        node.nominated = nominated;
        self.mirror.put_node(node);
        self.arrived(id);
        for (pod, slot) in slots {
            self.bind(pod, id, slot.class, slot.start);
            if slot.ending {
                self.set_ending(pod, true);
            }
        }
        Ok(())
    }

    fn remove_node(&mut self, id: u32) {
        let Some(node) = self.mirror.node(id) else { return };
        let (pods, nominated) = (node.pods.clone(), node.nominated.clone());
        pods.into_iter().for_each(|pod| self.release(pod));
        for pod in nominated {
            self.mirror.drop_nomination(pod);
        }
        self.departed(id);
    }

    fn arrived(&mut self, id: u32) {
        if let Some(node) = self.mirror.node(id) {
            self.counts.node_added(node, &self.mirror);
        }
    }

    fn departed(&mut self, id: u32) {
        if let Some(node) = self.mirror.remove_node(id) {
            self.counts.node_removed(&node);
        }
    }

    fn bound(&mut self, bound: wire::Bound) -> Result<(), String> {
        let wire::Bound {
            pod,
            node,
            class,
            start,
        } = bound;
        if pod == 0 || pod >= PODS {
            return Err(format!("pod {pod}: numbers go from 1 to {}", PODS - 1));
        }
        if self.mirror.node(node).is_none() || self.mirror.class(class).is_none() {
            return Err(format!(
                "pod {pod} is bound to node {node} with class {class}: one of them is not known"
            ));
        }
        if self
            .mirror
            .pod(pod)
            .is_some_and(|slot| slot.node == node && slot.class == class && slot.start == start)
        {
            self.set_ending(pod, false);
            return Ok(());
        }
        self.release(pod);
        self.mirror.drop_nomination(pod);
        self.bind(pod, node, class, start);
        Ok(())
    }

    fn check_nomination(&self, nomination: &Nomination) -> Result<(), String> {
        let Nomination { pod, node, class } = *nomination;
        if self.mirror.node(node).is_none() || self.mirror.class(class).is_none() {
            return Err(format!(
                "pod {pod} is nominated to node {node} with class {class}: one of them is not known"
            ));
        }
        Ok(())
    }

    /// A pod counts on a node. It counted nowhere; node and class are known.
    pub fn bind(&mut self, pod: u32, node: u32, class: u32, start: u32) {
        self.mirror.add_pod(pod, node, class, start);
        self.counts.pod(class, node, false, 1);
    }

    /// A pod counts nowhere any more.
    pub fn release(&mut self, pod: u32) {
        if let Some(slot) = self.mirror.pod(pod).copied() {
            self.counts.pod(slot.class, slot.node, slot.ending, -1);
            self.mirror.remove_pod(pod);
        }
    }

    /// A pod is ending, or after all is not.
    pub fn set_ending(&mut self, pod: u32, ending: bool) {
        if let Some(slot) = self.mirror.pod(pod).copied()
            && slot.ending != ending
        {
            self.counts.pod_ending(slot.class, slot.node, ending);
            self.mirror.set_ending(pod, ending);
        }
    }

    pub fn put_budget(&mut self, mut budget: Budget) {
        budget.disrupted.sort_unstable();
        let old = self.mirror.put_budget(budget.clone());
        if old.as_ref() == Some(&budget) {
            return;
        }
        if let Some(old) = old {
            self.touch_disrupted(&old);
        }
        self.touch_disrupted(&budget);
    }

    /// What a budget says matters on the nodes of its pods.
    fn touch_disrupted(&mut self, budget: &Budget) {
        let covered = self
            .mirror
            .classes()
            .filter(|class| covers(budget, class, &self.mirror.names));
        let pods = covered.flat_map(|class| &class.pods);
        let mut nodes: Vec<u32> = pods.filter_map(|pod| Some(self.mirror.pod(*pod)?.node)).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes.into_iter().for_each(|node| self.mirror.touch(node, false));
    }
}

/// Whether a budget is about pods of a class.
pub fn covers(budget: &Budget, class: &Class, names: &Names) -> bool {
    let selected = |selector: &Vec<wire::Requirement>| select::selects(selector, &class.labels, names);
    budget.namespace == class.said.namespace && budget.selector.as_ref().is_some_and(selected)
}
