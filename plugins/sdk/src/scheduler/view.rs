//! What `filter` and `score` see: a pod's class and a node, with texts where the mirror has symbols.
use super::{
    mirror::{self, Class, Mirror, Room},
    names::Names,
    select::value,
    types::{PodClass, Resources},
};

/// A pod, by what it has in common with all of its class.
#[derive(Clone, Copy, Debug)]
pub struct Pod<'a> {
    pub(super) class: &'a Class,
    pub(super) names: &'a Names,
}

impl<'a> Pod<'a> {
    /// All that is said of its class, by symbols.
    pub fn said(&self) -> &'a PodClass {
        &self.class.said
    }

    pub fn requests(&self) -> Resources {
        self.class.said.requests
    }

    pub fn priority(&self) -> i32 {
        self.class.said.priority
    }

    pub fn namespace(&self) -> &'a str {
        self.names.text(self.class.said.namespace)
    }

    pub fn label(&self, key: &str) -> Option<&'a str> {
        let value = value(&self.class.labels, self.names.symbol(key))?;
        Some(self.names.text(value))
    }

    /// The uid of the ReplicaSet, ReplicationController or StatefulSet that it belongs to.
    pub fn owner(&self) -> Option<&'a str> {
        let owner = self.class.said.owner;
        (owner != 0).then(|| self.names.text(owner))
    }

    /// Whether both belong to one owner; nobody's pods have none in common.
    pub fn shares_owner_with(&self, other: &Pod<'_>) -> bool {
        let (one, other) = (self.said(), other.said());
        one.owner != 0 && one.owner == other.owner && one.namespace == other.namespace
    }
}

/// A node as it is now, or as it would be with the pods that wait for room there.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a> {
    pub(super) node: &'a mirror::Node,
    pub(super) mirror: &'a Mirror,
    /// What is taken of it.
    pub(super) room: &'a Room,
    /// The classes of pods that are counted beside those that are there.
    pub(super) awaited: &'a [u32],
}

impl<'a> Node<'a> {
    pub fn id(&self) -> u32 {
        self.node.id
    }

    pub fn name(&self) -> &'a str {
        self.mirror.names.text(self.node.name)
    }

    pub fn label(&self, key: &str) -> Option<&'a str> {
        let names = &self.mirror.names;
        let value = value(&self.node.labels, names.symbol(key))?;
        Some(names.text(value))
    }

    pub fn allocatable(&self) -> Resources {
        self.room.allocatable
    }

    /// What its pods ask for, together.
    pub fn requested(&self) -> Resources {
        self.room.requested
    }

    /// What is left of it.
    pub fn free(&self) -> Resources {
        let (all, used) = (&self.room.allocatable, &self.room.requested);
        Resources {
            milli_cpu: all.milli_cpu.saturating_sub(used.milli_cpu),
            memory: all.memory.saturating_sub(used.memory),
            ephemeral_storage: all.ephemeral_storage.saturating_sub(used.ephemeral_storage),
        }
    }

    /// Of an extended resource (`example.com/gpu`): how much there is, and how much of it is taken.
    pub fn extended(&self, name: &str) -> (u64, u64) {
        self.room.of_extended(self.mirror.names.symbol(name))
    }

    /// How many pods it takes, and how many there are.
    pub fn pod_places(&self) -> (u32, u32) {
        (self.room.most_pods, self.room.pods)
    }

    /// The pods that count there, also those that are ending.
    pub fn pods(&self) -> impl Iterator<Item = Pod<'a>> {
        let mirror = self.mirror;
        let there = self.node.pods.iter().filter_map(|pod| mirror.class_of(*pod));
        let awaited = self.awaited.iter().filter_map(|class| mirror.class(*class));
        let names = &mirror.names;
        there.chain(awaited).map(|class| Pod { class, names })
    }

    /// What the mirror has of it, by symbols.
    pub fn said(&self) -> &'a mirror::Node {
        self.node
    }
}
