//! JSON Patch (RFC 6902): a list of operations, all of which must succeed.
use sampan_api::{ApiError, MAX_OBJECT_BYTES, Reason};
use serde::Deserialize;
use serde_json::Value;

/// Operations in one patch.
const MAX_OPERATIONS: usize = 1_000;

/// How deep the object may be nested: JSON is read no deeper.
const MAX_DEPTH: usize = 100;

#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
enum Operation {
    Add { path: String, value: Value },
    Remove { path: String },
    Replace { path: String, value: Value },
    Move { from: String, path: String },
    Copy { from: String, path: String },
    Test { path: String, value: Value },
}

/// The object with the patch on it.
///
/// # Errors
/// `BadRequest` if the patch is none, `Invalid` naming the operation that does not fit the object, `TooLarge` if its
/// copies grow beyond what an object may have.
pub fn patch(object: &Value, patch: &[u8]) -> Result<Value, ApiError> {
    let operations: Vec<Operation> = serde_json::from_slice(patch)
        .map_err(|error| ApiError::bad_request(format!("the patch is no JSON patch (RFC 6902): {error}")))?;
    if operations.len() > MAX_OPERATIONS {
        let message = format!(
            "the patch has {} operations, and {MAX_OPERATIONS} are the limit",
            operations.len()
        );
        return Err(ApiError::new(Reason::TooLarge, message));
    }
    let mut object = object.clone();
    let mut copied = 0;
    for (index, operation) in operations.into_iter().enumerate() {
        apply(&mut object, operation, &mut copied).map_err(|problem| match problem {
            Problem::TooLarge => ApiError::new(
                Reason::TooLarge,
                "the copies of the patch grow beyond what an object may have",
            ),
            Problem::Unfit(why) => ApiError::invalid(
                format!("operation {index} of the patch does not fit the object: {why}"),
                vec![],
            ),
        })?;
    }
    Ok(object)
}

enum Problem {
    Unfit(String),
    TooLarge,
}

fn apply(object: &mut Value, operation: Operation, copied: &mut usize) -> Result<(), Problem> {
    match operation {
        Operation::Add { path, value } => add(object, &path, value),
        Operation::Remove { path } => remove(object, &path).map(drop),
        Operation::Replace { path, value } => {
            check_depth(&path, &value)?;
            *find(object, &path)? = value;
            Ok(())
        }
        Operation::Move { from, path } => {
            if path.starts_with(&format!("{from}/")) {
                return Err(Problem::Unfit(format!("\"{from}\" cannot be moved into itself")));
            }
            let value = remove(object, &from)?;
            add(object, &path, value)
        }
        Operation::Copy { from, path } => {
            let value = find(object, &from)?.clone();
            *copied += value.to_string().len();
            if *copied > MAX_OBJECT_BYTES {
                return Err(Problem::TooLarge);
            }
            add(object, &path, value)
        }
        Operation::Test { path, value } => match *find(object, &path)? == value {
            true => Ok(()),
            false => Err(Problem::Unfit(format!("\"{path}\" is not what the test expects"))),
        },
    }
}

fn nothing_at(path: &str) -> Problem {
    Problem::Unfit(format!("there is nothing at \"{path}\""))
}

fn find<'a>(object: &'a mut Value, path: &str) -> Result<&'a mut Value, Problem> {
    object.pointer_mut(path).ok_or_else(|| nothing_at(path))
}

/// The parent of what a path names, and the last step.
fn parent<'a>(object: &'a mut Value, path: &str) -> Result<(&'a mut Value, String), Problem> {
    let (above, last) = path.rsplit_once('/').ok_or_else(|| nothing_at(path))?;
    Ok((find(object, above)?, last.replace("~1", "/").replace("~0", "~")))
}

/// A place in a list, as RFC 6901 writes it.
fn index(step: &str) -> Option<usize> {
    let plain = step == "0" || (!step.starts_with(['0', '+']) && !step.is_empty());
    plain.then(|| step.parse().ok()).flatten()
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn check_depth(path: &str, value: &Value) -> Result<(), Problem> {
    if path.matches('/').count() + depth(value) > MAX_DEPTH {
        return Err(Problem::Unfit(format!(
            "the object would be nested more than {MAX_DEPTH} deep"
        )));
    }
    Ok(())
}

fn add(object: &mut Value, path: &str, value: Value) -> Result<(), Problem> {
    check_depth(path, &value)?;
    if path.is_empty() {
        *object = value;
        return Ok(());
    }
    match parent(object, path)? {
        (Value::Object(map), name) => {
            map.insert(name, value);
            Ok(())
        }
        (Value::Array(list), step) => {
            let at = if step == "-" { Some(list.len()) } else { index(&step) };
            match at.filter(|at| *at <= list.len()) {
                Some(at) => {
                    list.insert(at, value);
                    Ok(())
                }
                None => Err(Problem::Unfit(format!("\"{path}\" is beyond the end of its list"))),
            }
        }
        _ => Err(Problem::Unfit(format!(
            "what is above \"{path}\" is neither an object nor a list"
        ))),
    }
}

fn remove(object: &mut Value, path: &str) -> Result<Value, Problem> {
    let removed = match parent(object, path)? {
        (Value::Object(map), name) => map.remove(&name),
        (Value::Array(list), step) => index(&step).filter(|at| *at < list.len()).map(|at| list.remove(at)),
        _ => None,
    };
    removed.ok_or_else(|| nothing_at(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn patched(object: &Value, operations: &Value) -> Result<Value, ApiError> {
        patch(object, operations.to_string().as_bytes())
    }

    #[test]
    fn does_what_the_rfc_says() {
        let object = json!({"a": {"b": [1, 2]}, "x/y": "z"});
        let cases = [
            (
                json!([{"op": "add", "path": "/a/b/1", "value": 9}]),
                json!({"a": {"b": [1, 9, 2]}, "x/y": "z"}),
            ),
            (
                json!([{"op": "add", "path": "/a/b/-", "value": 9}]),
                json!({"a": {"b": [1, 2, 9]}, "x/y": "z"}),
            ),
            (json!([{"op": "remove", "path": "/x~1y"}]), json!({"a": {"b": [1, 2]}})),
            (
                json!([{"op": "replace", "path": "/a/b", "value": 0}]),
                json!({"a": {"b": 0}, "x/y": "z"}),
            ),
            (
                json!([{"op": "move", "from": "/x~1y", "path": "/a/b/0"}]),
                json!({"a": {"b": ["z", 1, 2]}}),
            ),
            (
                json!([{"op": "copy", "from": "/a/b/0", "path": "/c"}]),
                json!({"a": {"b": [1, 2]}, "x/y": "z", "c": 1}),
            ),
            (json!([{"op": "test", "path": "/a/b/0", "value": 1}]), object.clone()),
        ];
        for (operations, expected) in cases {
            assert_eq!(patched(&object, &operations).unwrap(), expected, "{operations}");
        }
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let object = json!({"a": {"b": [1, 2]}});
        for operations in [
            json!([{"op": "remove", "path": "/nope"}]),
            json!([{"op": "replace", "path": "/a/c", "value": 1}]),
            json!([{"op": "add", "path": "/a/b/9", "value": 1}]),
            json!([{"op": "add", "path": "/a/b/01", "value": 1}]),
            json!([{"op": "test", "path": "/a/b/0", "value": 2}]),
            json!([{"op": "move", "from": "/a", "path": "/a/b"}]),
            json!([{"op": "add", "path": "nope", "value": 1}]),
            json!([{"op": "remove", "path": ""}]),
        ] {
            let error = patched(&object, &operations).unwrap_err();
            assert!(error.message.contains("operation 0"), "{operations}: {error}");
        }
        assert_eq!(
            patched(&object, &json!([{"op": "eat", "path": "/a"}]))
                .unwrap_err()
                .reason,
            Reason::BadRequest
        );
        assert_eq!(
            patched(&object, &json!({"a": 1})).unwrap_err().reason,
            Reason::BadRequest
        );
    }

    #[test]
    fn nesting_is_bounded() {
        let wrap = json!([{"op": "add", "path": "/n", "value": {}}, {"op": "move", "from": "/a", "path": "/n/a"},
            {"op": "move", "from": "/n", "path": "/a"}]);
        let wraps: Vec<Value> = (0..200).flat_map(|_| wrap.as_array().cloned().unwrap()).collect();
        let error = patched(&json!({"a": 1}), &json!(wraps)).unwrap_err();
        assert!(error.message.contains("nested"), "{error}");
    }

    #[test]
    fn copies_cannot_explode() {
        let object = json!({"a": "x".repeat(1000)});
        let doubling: Vec<Value> = (0..60)
            .map(|i| json!({"op": "copy", "from": "", "path": format!("/c{i}")}))
            .collect();
        assert_eq!(patched(&object, &json!(doubling)).unwrap_err().reason, Reason::TooLarge);
    }
}
