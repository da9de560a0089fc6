//! Who takes an object by its labels: a controller's own objects, by namespace, with their selectors read once.
use sampan_api::{Key, LabelSelector, Object};
use std::collections::{BTreeMap, HashMap};

/// Those that choose others by `spec.selector`.
#[derive(Debug, Default)]
pub struct Choosers {
    by_namespace: HashMap<String, BTreeMap<Key, LabelSelector>>,
}

impl Choosers {
    /// One as it is now; none: it is gone.
    pub fn learn(&mut self, key: &Key, object: Option<&Object>) {
        let mut known = self.by_namespace.remove(&*key.namespace).unwrap_or_default();
        match object.and_then(LabelSelector::of) {
            Some(selector) => known.insert(key.clone(), selector),
            None => known.remove(key),
        };
        if !known.is_empty() {
            self.by_namespace.insert(key.namespace.to_string(), known);
        }
    }

    /// Those that take an object of their namespace.
    pub fn of<'a>(&'a self, object: &'a Object) -> impl Iterator<Item = Key> + 'a {
        let known = self.by_namespace.get(&object.metadata.namespace).into_iter().flatten();
        known
            .filter(|(_, selector)| selector.matches(&object.metadata.labels))
            .map(|(key, _)| key.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(kind: &str, namespace: &str, name: &str, more: &serde_json::Value) -> Object {
        let mut manifest =
            json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": namespace}});
        manifest["metadata"]["labels"] = more["labels"].clone();
        manifest["spec"] = more["spec"].clone();
        Object::from_value(&manifest).unwrap()
    }

    #[test]
    fn those_of_the_namespace_whose_selectors_are_met() {
        let mut choosers = Choosers::default();
        let service = |namespace: &str, name: &str, selector: serde_json::Value| {
            let object = object(
                "Service",
                namespace,
                name,
                &json!({"labels": {}, "spec": {"selector": selector}}),
            );
            (Key::new("services", namespace, name), object)
        };
        for (key, object) in [
            service("a", "web", json!({"app": "web"})),
            service("a", "front", json!({"app": "web", "tier": "front"})),
            service("a", "none", json!({})),
            service("b", "web", json!({"app": "web"})),
        ] {
            choosers.learn(&key, Some(&object));
        }
        let pod = object("Pod", "a", "p", &json!({"labels": {"app": "web"}, "spec": {}}));
        let takers = |choosers: &Choosers| choosers.of(&pod).map(|key| key.name.to_string()).collect::<Vec<_>>();
        assert_eq!(takers(&choosers), ["web"]);
        // One wants others now, another is gone.
        let (key, object) = service("a", "front", json!({"app": "web"}));
        choosers.learn(&key, Some(&object));
        choosers.learn(&Key::new("services", "a", "web"), None);
        assert_eq!(takers(&choosers), ["front"]);
        choosers.learn(&key, None);
        assert_eq!(takers(&choosers), [""; 0]);
        assert_eq!(choosers.by_namespace.len(), 1);
    }
}
