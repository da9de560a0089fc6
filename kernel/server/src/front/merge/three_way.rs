//! The merge of `apply`: what was applied last, what is applied now, and what there is.
//!
//! What is applied now wins; what was applied last and no more goes; what others set stays.
use super::lists::{Lists, Merge, keyed};
use serde_json::{Map, Value};

/// The object as it should be.
pub fn merge(lists: Lists, last: &Value, now: &Value, current: &Value) -> Value {
    let empty = Map::new();
    match (now, current) {
        (Value::Object(now), Value::Object(current)) => {
            Value::Object(objects(lists, "", last.as_object().unwrap_or(&empty), now, current))
        }
        _ => now.clone(),
    }
}

fn objects(
    lists: Lists,
    parent: &str,
    last: &Map<String, Value>,
    now: &Map<String, Value>,
    current: &Map<String, Value>,
) -> Map<String, Value> {
    // A null in a manifest means that the field should not be there.
    let wanted = |name: &str| now.get(name).filter(|value| !value.is_null());
    let mut merged = Map::new();
    for (name, there) in current {
        match wanted(name) {
            Some(wanted) => {
                let value = values(
                    lists,
                    parent,
                    name,
                    last.get(name).unwrap_or(&Value::Null),
                    wanted,
                    there,
                );
                merged.insert(name.clone(), value);
            }
            None if last.contains_key(name) || now.contains_key(name) => {}
            None => {
                merged.insert(name.clone(), there.clone());
            }
        }
    }
    for name in now.keys().filter(|name| !current.contains_key(*name)) {
        if let Some(wanted) = wanted(name) {
            merged.insert(name.clone(), without_nulls(wanted));
        }
    }
    merged
}

fn values(lists: Lists, parent: &str, name: &str, last: &Value, now: &Value, current: &Value) -> Value {
    let empty = Map::new();
    match (now, current) {
        (Value::Object(now), Value::Object(current)) => {
            Value::Object(objects(lists, name, last.as_object().unwrap_or(&empty), now, current))
        }
        (Value::Array(now), Value::Array(current)) => {
            let last = last.as_array().map(Vec::as_slice).unwrap_or_default();
            match lists.merge(parent, name) {
                Merge::By(by) => {
                    named(lists, name, by, last, now, current).unwrap_or_else(|| without_nulls(&now.clone().into()))
                }
                Merge::Set => set(last, now, current),
                Merge::Atomic => without_nulls(&now.clone().into()),
            }
        }
        _ => without_nulls(now),
    }
}

/// Lists of named things; none if some have no name or two have the same.
fn named(lists: Lists, list: &str, by: &str, last: &[Value], now: &[Value], current: &[Value]) -> Option<Value> {
    let (now, current) = (keyed(now, by)?, keyed(current, by)?);
    let last = keyed(last, by).unwrap_or_default();
    let of = |items: &[(&Value, &Map<String, Value>)], key: &Value| {
        items
            .iter()
            .find(|(known, _)| *known == key)
            .map(|(_, item)| (*item).clone())
    };
    let mut merged = Vec::with_capacity(current.len().max(now.len()));
    for (key, wanted) in &now {
        let item = match of(&current, key) {
            Some(there) => objects(lists, list, &of(&last, key).unwrap_or_default(), wanted, &there),
            None => objects(lists, list, &Map::new(), wanted, &Map::new()),
        };
        merged.push(Value::Object(item));
    }
    let others = current
        .iter()
        .filter(|(key, _)| of(&now, key).is_none() && of(&last, key).is_none());
    merged.extend(others.map(|(_, item)| Value::Object((*item).clone())));
    Some(Value::Array(merged))
}

fn set(last: &[Value], now: &[Value], current: &[Value]) -> Value {
    let mut merged = now.to_vec();
    for value in current.iter().filter(|value| !last.contains(value)) {
        if !merged.contains(value) {
            merged.push(value.clone());
        }
    }
    Value::Array(merged)
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(name, value)| (name.clone(), without_nulls(value))).collect())
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(last: Value, now: Value, current: Value, expected: Value) {
        let merged = merge(Lists::Keyed, &last, &now, &current);
        assert_eq!(merged, expected);
        assert_eq!(
            merge(Lists::Keyed, &now, &now, &merged),
            merged,
            "applying again changes nothing"
        );
    }

    #[test]
    fn what_others_set_stays_and_what_was_withdrawn_goes() {
        check(
            json!({"spec": {"replicas": 2, "paused": true}, "metadata": {"labels": {"a": "1", "b": "2"}}}),
            json!({"spec": {"paused": false}, "metadata": {"labels": {"a": "9"}}}),
            json!({"spec": {"replicas": 5, "paused": true, "x": 1}, "metadata": {"labels": {"a": "1", "b": "2", "c": "3"}}}),
            json!({"spec": {"paused": false, "x": 1}, "metadata": {"labels": {"a": "9", "c": "3"}}}),
        );
        // Never applied: only what it says.
        check(
            Value::Null,
            json!({"a": 1}),
            json!({"a": 0, "b": 2}),
            json!({"a": 1, "b": 2}),
        );
        check(
            json!({}),
            json!({"a": null, "c": {"d": null}}),
            json!({"a": 1, "b": 2}),
            json!({"b": 2, "c": {}}),
        );
    }

    #[test]
    fn named_lists_merge_by_name() {
        let spec = |containers: Value| json!({"spec": {"containers": containers}});
        check(
            spec(json!([{"name": "web", "image": "a", "tty": true}, {"name": "old", "image": "o"}])),
            spec(json!([{"name": "web", "image": "b"}, {"name": "new", "image": "n"}])),
            spec(
                json!([{"name": "web", "image": "a", "tty": true, "stdin": true}, {"name": "old", "image": "o"}, {"name": "sidecar"}]),
            ),
            spec(
                json!([{"name": "web", "image": "b", "stdin": true}, {"name": "new", "image": "n"}, {"name": "sidecar"}]),
            ),
        );
    }

    #[test]
    fn ports_merge_by_number_unless_two_have_the_same() {
        let ports = |ports: Value| json!({"spec": {"containers": [{"name": "a", "ports": ports}]}});
        check(
            ports(json!([{"containerPort": 80}])),
            ports(json!([{"containerPort": 80, "name": "http"}])),
            ports(json!([{"containerPort": 80, "protocol": "TCP"}, {"containerPort": 90}])),
            ports(json!([{"containerPort": 80, "protocol": "TCP", "name": "http"}, {"containerPort": 90}])),
        );
        let both = json!([{"containerPort": 53, "protocol": "TCP"}, {"containerPort": 53, "protocol": "UDP"}]);
        check(
            ports(json!([])),
            ports(both.clone()),
            ports(json!([{"containerPort": 53}])),
            ports(both),
        );
    }

    #[test]
    fn other_lists_are_one_value_and_finalizers_a_set() {
        check(
            json!({}),
            json!({"args": [1]}),
            json!({"args": [2, 3]}),
            json!({"args": [1]}),
        );
        let finalizers = |list: Value| json!({"metadata": {"finalizers": list}});
        check(
            finalizers(json!(["a"])),
            finalizers(json!(["b"])),
            finalizers(json!(["a", "c"])),
            finalizers(json!(["b", "c"])),
        );
    }

    #[test]
    fn a_plugins_configuration_is_the_users_own() {
        let config = |list: Value| json!({"spec": {"config": {"env": list}}});
        let (one, two) = (config(json!([{"name": "a"}])), config(json!([{"name": "b"}])));
        assert_eq!(merge(Lists::Atomic, &json!({}), &one, &two), one);
    }
}
