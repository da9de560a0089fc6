//! What the control plane says, as the network's plugins are told it: every object that one of them wants to know of.
use crate::control::Change;
use sampan_api::{Key, Object};
use sampan_sandbox::network::{self as contract, Delta};
use std::collections::{BTreeMap, HashMap};

/// What became of an object: it is so, or gone.
#[derive(Debug)]
pub struct News {
    pub key: Key,
    pub object: Option<Box<Object>>,
}

/// All objects of the resources that are followed.
#[derive(Default)]
pub struct Objects {
    by_resource: HashMap<String, Resource>,
}

#[derive(Default)]
struct Resource {
    objects: BTreeMap<Key, Object>,
    synced: bool,
}

impl Objects {
    /// Takes in a change of a resource; what is news of it.
    pub fn take(&mut self, resource: &str, change: Change) -> Vec<News> {
        let known = self.by_resource.entry(resource.to_owned()).or_default();
        match change {
            Change::Seen(object) => {
                let Ok(key) = object.key() else { return Vec::new() };
                let before = known.objects.insert(key.clone(), (*object).clone());
                let same =
                    before.is_some_and(|before| before.metadata.resource_version == object.metadata.resource_version);
                match same {
                    true => Vec::new(),
                    false => vec![News {
                        key,
                        object: Some(object),
                    }],
                }
            }
            Change::Gone(object) => match object.key() {
                Ok(key) if known.objects.remove(&key).is_some() => vec![News { key, object: None }],
                _ => Vec::new(),
            },
            Change::Synced(uids) => {
                known.synced = true;
                let gone = known
                    .objects
                    .iter()
                    .filter(|(_, object)| !uids.contains(&object.metadata.uid));
                let gone: Vec<Key> = gone.map(|(key, _)| key.clone()).collect();
                gone.into_iter()
                    .map(|key| {
                        known.objects.remove(&key);
                        News { key, object: None }
                    })
                    .collect()
            }
        }
    }

    /// Whether all that there is of a resource was told once.
    pub fn is_synced(&self, resource: &str) -> bool {
        self.by_resource.get(resource).is_some_and(|known| known.synced)
    }

    /// All that is known of a resource.
    pub fn of<'a>(&'a self, resource: &str) -> impl Iterator<Item = (&'a Key, &'a Object)> + use<'a> {
        self.by_resource
            .get(resource)
            .into_iter()
            .flat_map(|known| &known.objects)
    }

    pub fn get(&self, key: &Key) -> Option<&Object> {
        self.by_resource.get(&*key.resource)?.objects.get(key)
    }

    /// Everything that is known of some resources, as a fresh plugin is told it.
    pub fn deltas<'a>(&self, resources: impl IntoIterator<Item = &'a String>) -> Vec<Delta> {
        let all = resources.into_iter().flat_map(|resource| self.of(resource));
        all.map(|(key, object)| changed(key, object)).collect()
    }
}

impl News {
    /// As plugins are told it.
    pub fn delta(&self) -> Delta {
        match &self.object {
            Some(object) => changed(&self.key, object),
            None => Delta::Gone(key(&self.key)),
        }
    }
}

fn changed(of: &Key, object: &Object) -> Delta {
    Delta::Changed(contract::Object {
        key: key(of),
        json: String::from_utf8(object.to_json()).unwrap_or_default(),
    })
}

fn key(key: &Key) -> contract::Key {
    contract::Key {
        resource: key.resource.to_string(),
        namespace: key.namespace.to_string(),
        name: key.name.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sampan_api::kinds;
    use std::collections::HashSet;

    fn node(name: &str, uid: &str, version: u64) -> Box<Object> {
        let mut node = Object::new(kinds::of_resource("nodes").unwrap(), "", name);
        node.metadata.uid = uid.to_owned();
        node.metadata.resource_version = version;
        Box::new(node)
    }

    fn said(news: &[News]) -> Vec<String> {
        let text = |news: &News| format!("{}{}", if news.object.is_some() { "+" } else { "-" }, news.key.name);
        news.iter().map(text).collect()
    }

    #[test]
    fn news_is_what_differs() {
        let mut objects = Objects::default();
        assert_eq!(said(&objects.take("nodes", Change::Seen(node("a", "1", 1)))), ["+a"]);
        assert_eq!(said(&objects.take("nodes", Change::Seen(node("b", "2", 2)))), ["+b"]);
        assert!(!objects.is_synced("nodes"));
        let all = HashSet::from(["1".to_owned(), "2".to_owned()]);
        assert_eq!(said(&objects.take("nodes", Change::Synced(all))), [""; 0]);
        assert!(objects.is_synced("nodes") && !objects.is_synced("pods"));
        // After an absence all is told again: what was known is no news, and what is not told is gone.
        assert_eq!(said(&objects.take("nodes", Change::Seen(node("a", "1", 1)))), [""; 0]);
        assert_eq!(said(&objects.take("nodes", Change::Seen(node("b", "3", 9)))), ["+b"]);
        let all = HashSet::from(["3".to_owned()]);
        assert_eq!(said(&objects.take("nodes", Change::Synced(all))), ["-a"]);
        assert_eq!(said(&objects.take("nodes", Change::Gone(node("b", "3", 9)))), ["-b"]);
        assert_eq!(said(&objects.take("nodes", Change::Gone(node("b", "3", 9)))), [""; 0]);
        assert!(objects.deltas(&["nodes".to_owned()]).is_empty());
    }
}
