//! A node as the plugin keeps it.
use super::Room;
use crate::scheduler::types::{self as wire, Image, Label, Taint};

/// A node, and who is there.
#[derive(Clone, Debug)]
pub struct Node {
    pub id: u32,
    pub name: u32,
    /// By key.
    pub labels: Vec<Label>,
    pub taints: Vec<Taint>,
    /// By name.
    pub images: Vec<Image>,
    pub unschedulable: bool,
    pub ready: bool,
    pub room: Room,
    /// Pods that count here.
    pub pods: Vec<u32>,
    /// Pods that wait for room here.
    pub nominated: Vec<u32>,
}

impl Node {
    /// A node with nobody there.
    pub fn new(node: wire::Node) -> Self {
        let (mut labels, mut images) = (node.labels, node.images);
        labels.sort_unstable();
        labels.dedup_by_key(|label| label.key);
        images.sort_unstable();
        images.dedup_by_key(|image| image.name);
        Node {
            id: node.id,
            name: node.name,
            labels,
            taints: node.taints,
            images,
            unschedulable: node.unschedulable,
            ready: node.ready,
            room: Room::empty(node.allocatable, node.pods, &node.extended),
            pods: Vec::new(),
            nominated: Vec::new(),
        }
    }

    /// The size of an image that is here.
    pub fn image(&self, name: u32) -> Option<u32> {
        let place = self.images.binary_search_by_key(&name, |image| image.name).ok()?;
        Some(self.images[place].kib)
    }
}
