//! What is special about PriorityClasses, and about the priority of pods that are there.
use sampan_api::{ApiError, Key, Object, Reason, Selection, validate::scheduling::SYSTEM_CLASSES};
use sampan_state::{
    Snapshot,
    priority::{self, Class},
};
use serde_json::Value;

/// A class says what it is taken to say.
pub fn complete_class(class: &mut Object) {
    if class.field_value("preemptionPolicy").is_null() {
        class.set_field("preemptionPolicy", priority::PREEMPTS);
    }
}

/// One class is the default. The check is for people: of two that come at once both stand, and the least of them counts.
///
/// # Errors
/// `Forbidden`, naming the other.
pub fn one_default(class: &Object, state: &Snapshot) -> Result<(), ApiError> {
    let name = &class.metadata.name;
    if class.field_value("globalDefault") != true {
        return Ok(());
    }
    let classes = Selection::of(priority::CLASSES);
    let mut others = state.list(&classes).filter(|(key, _)| *key.name != **name);
    match others.find(|(_, other)| Class::of(other).1) {
        None => Ok(()),
        Some((other, _)) => {
            let message = format!(
                "{} is forbidden: PriorityClass {} is already marked as default. Only one default can exist",
                priority::key(name),
                other.name
            );
            Err(ApiError::new(Reason::Forbidden, message))
        }
    }
}

/// # Errors
/// `Forbidden` for the classes of the system.
pub fn class_deletion(key: &Key) -> Result<(), ApiError> {
    if &*key.resource == priority::CLASSES && SYSTEM_CLASSES.iter().any(|(name, ..)| **name == *key.name) {
        let message = format!("{key} is forbidden: this is a system priority class and cannot be deleted");
        return Err(ApiError::new(Reason::Forbidden, message));
    }
    Ok(())
}

/// A pod keeps the priority that it was given, also where a manifest without it takes the place of the old one.
pub fn keep_priority(stored: &Object, next: &mut Object) {
    if stored.kind != "Pod" {
        return;
    }
    let (was, mut spec) = (stored.field_value("spec"), next.field_value("spec"));
    let mut given = false;
    for field in ["priority", "priorityClassName", "preemptionPolicy"] {
        if let (Value::Object(spec), false) = (&mut spec, was[field].is_null())
            && spec.get(field).is_none_or(Value::is_null)
        {
            spec.insert(field.to_owned(), was[field].clone());
            given = true;
        }
    }
    if given {
        next.set_field("spec", &spec);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_manifest_without_priority_changes_none() {
        let pod = |spec: Value| {
            let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec});
            Object::from_value(&pod).unwrap()
        };
        let stored = pod(json!({"priority": 7, "priorityClassName": "a", "containers": [1]}));
        for (next, expected) in [
            (
                json!({"containers": [2]}),
                json!({"containers": [2], "priority": 7, "priorityClassName": "a"}),
            ),
            (json!({"priority": 8}), json!({"priority": 8, "priorityClassName": "a"})),
        ] {
            let mut next = pod(next);
            keep_priority(&stored, &mut next);
            assert_eq!(next.field_value("spec"), expected);
        }
    }
}
