//! What those who ask for logs see of the pods: which there are, and which run of a container is the newest.
use parking_lot::RwLock;
use std::collections::HashMap;

/// A pod, for a reader of its logs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    pub uid: String,
    pub containers: Vec<ContainerView>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerView {
    pub name: String,
    pub attempt: u32,
    /// That run took place or takes place; if not, the one before is the newest.
    pub ran: bool,
    pub alive: bool,
    /// Why it does not run yet, for people.
    pub waits: String,
}

/// All pods, by namespace and name.
#[derive(Debug, Default)]
pub struct Views(RwLock<HashMap<(String, String), View>>);

impl Views {
    pub fn get(&self, namespace: &str, name: &str) -> Option<View> {
        self.0.read().get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    pub fn set(&self, namespace: &str, name: &str, view: View) {
        self.0.write().insert((namespace.to_owned(), name.to_owned()), view);
    }

    /// Takes a pod away, unless another has its name by now.
    pub fn remove(&self, namespace: &str, name: &str, uid: &str) {
        let mut views = self.0.write();
        let key = (namespace.to_owned(), name.to_owned());
        if views.get(&key).is_some_and(|view| view.uid == uid) {
            views.remove(&key);
        }
    }
}
