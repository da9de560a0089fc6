//! Kubernetes' strategic merge patch: as a merge patch, but lists of named things merge by name, and directives say
//! what to delete, replace or keep.
use super::lists::{Lists, Merge, keyed};
use sampan_api::ApiError;
use serde_json::{Map, Value};

/// The object with the patch on it.
///
/// # Errors
/// `BadRequest` for a directive that is none.
pub fn patch(lists: Lists, object: &Value, patch: &Value) -> Result<Value, ApiError> {
    let empty = Map::new();
    match patch {
        Value::Object(patch) => objects(lists, "", object.as_object().unwrap_or(&empty), patch).map(Value::Object),
        _ => Err(ApiError::bad_request("a strategic merge patch must be a JSON object")),
    }
}

fn objects(
    lists: Lists,
    parent: &str,
    object: &Map<String, Value>,
    patch: &Map<String, Value>,
) -> Result<Map<String, Value>, ApiError> {
    let plain = || patch.iter().filter(|(name, _)| !name.starts_with('$'));
    match patch.get("$patch").map(Value::as_str) {
        None | Some(Some("merge")) => {}
        Some(Some("replace")) => return Ok(plain().map(|(name, value)| (name.clone(), value.clone())).collect()),
        Some(Some("delete")) => return Ok(Map::new()),
        Some(_) => {
            return Err(ApiError::bad_request(
                "$patch must be \"merge\", \"replace\" or \"delete\"",
            ));
        }
    }
    let mut merged = object.clone();
    if let Some(keep) = patch.get("$retainKeys").and_then(Value::as_array) {
        merged.retain(|name, _| keep.iter().any(|kept| kept == name));
    }
    for (name, value) in plain() {
        match (value, merged.get(name)) {
            (Value::Null, _) => {
                merged.remove(name);
            }
            (Value::Object(patch), there) => {
                let empty = Map::new();
                let there = there.and_then(Value::as_object).unwrap_or(&empty);
                let value = objects(lists, name, there, patch)?;
                merged.insert(name.clone(), Value::Object(value));
            }
            (Value::Array(patch), there) => {
                let there = there.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
                let value = list(lists, parent, name, there, patch)?;
                merged.insert(name.clone(), Value::Array(value));
            }
            (value, _) => {
                merged.insert(name.clone(), value.clone());
            }
        }
    }
    for (name, value) in patch {
        if let Some(field) = name.strip_prefix("$deleteFromPrimitiveList/") {
            if let (Some(Value::Array(there)), Some(gone)) = (merged.get_mut(field), value.as_array()) {
                there.retain(|item| !gone.contains(item));
            }
        } else if let Some(field) = name.strip_prefix("$setElementOrder/")
            && let (Some(Value::Array(there)), Some(order)) = (merged.get_mut(field), value.as_array())
        {
            sort(there, order, lists.merge(parent, field));
        }
    }
    Ok(merged)
}

fn list(lists: Lists, parent: &str, name: &str, there: &[Value], patch: &[Value]) -> Result<Vec<Value>, ApiError> {
    let directive = |item: &Value| item.get("$patch").and_then(Value::as_str).map(str::to_owned);
    let items = || {
        patch
            .iter()
            .filter(|item| directive(item).as_deref() != Some("replace"))
    };
    if items().count() < patch.len() {
        return Ok(items().cloned().collect());
    }
    let by = match lists.merge(parent, name) {
        Merge::By(by) if keyed(there, by).is_some() && keyed(patch, by).is_some() => by,
        Merge::Set => {
            let new = patch.iter().filter(|item| !there.contains(item));
            return Ok(there.iter().chain(new).cloned().collect());
        }
        _ => return Ok(patch.to_vec()),
    };
    let mut merged = there.to_vec();
    for item in patch {
        let at = merged.iter().position(|known| known.get(by) == item.get(by));
        match (at, directive(item).as_deref(), item.as_object()) {
            (Some(at), Some("delete"), _) => drop(merged.remove(at)),
            (None, Some("delete"), _) | (_, _, None) => {}
            (Some(at), _, Some(patch)) => {
                let empty = Map::new();
                let known = merged[at].as_object().unwrap_or(&empty);
                merged[at] = Value::Object(objects(lists, name, known, patch)?);
            }
            (None, _, Some(patch)) => merged.push(Value::Object(objects(lists, name, &Map::new(), patch)?)),
        }
    }
    Ok(merged)
}

/// Puts what the order names into that order, and before what it does not name.
fn sort(list: &mut [Value], order: &[Value], merge: Merge) {
    let place = |item: &Value| {
        let same = |named: &Value| match merge {
            Merge::By(by) => named.get(by).is_some_and(|key| item.get(by) == Some(key)),
            Merge::Set | Merge::Atomic => named == item,
        };
        order.iter().position(same).unwrap_or(order.len())
    };
    list.sort_by_cached_key(place);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn patched(object: &Value, change: &Value) -> Value {
        patch(Lists::Keyed, object, change).unwrap()
    }

    #[test]
    fn merges_deletes_and_replaces() {
        let object =
            json!({"spec": {"a": 1, "b": {"c": 2}, "containers": [{"name": "x", "image": "1"}, {"name": "y"}]}});
        let change = json!({"spec": {"a": null, "b": {"d": 3}, "containers": [
            {"name": "x", "image": "2"}, {"name": "y", "$patch": "delete"}, {"name": "z"}]}});
        let expected =
            json!({"spec": {"b": {"c": 2, "d": 3}, "containers": [{"name": "x", "image": "2"}, {"name": "z"}]}});
        assert_eq!(patched(&object, &change), expected);
        let change = json!({"spec": {"containers": [{"$patch": "replace"}, {"name": "only"}], "b": {"$patch": "replace", "e": 1}}});
        assert_eq!(
            patched(&object, &change),
            json!({"spec": {"a": 1, "b": {"e": 1}, "containers": [{"name": "only"}]}})
        );
    }

    #[test]
    fn obeys_directives() {
        let object = json!({"metadata": {"finalizers": ["a", "b"]}, "s": {"x": 1, "y": 2}});
        let change = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"]},
            "s": {"$retainKeys": ["y", "z"], "z": 3}});
        assert_eq!(
            patched(&object, &change),
            json!({"metadata": {"finalizers": ["b", "c"]}, "s": {"y": 2, "z": 3}})
        );
        let object = json!({"containers": [{"name": "a"}, {"name": "b"}]});
        let change = json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]});
        assert_eq!(
            patched(&object, &change),
            json!({"containers": [{"name": "b"}, {"name": "a"}]})
        );
        assert!(patch(Lists::Keyed, &object, &json!({"$patch": "eat"})).is_err());
        assert!(patch(Lists::Keyed, &object, &json!([])).is_err());
    }
}
