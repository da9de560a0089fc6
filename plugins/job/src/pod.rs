//! The pods of a job: labelled as Kubernetes does, and where the job is indexed, each with its index.
use sampan_sdk::{Value, controller::Object, serde_json::json};
use std::collections::BTreeSet;

/// The annotation, and the label, that hold a pod's index.
pub const INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// A new pod of the job, with an index or without.
pub fn of(job: &Object, index: Option<i64>) -> Value {
    let template = &job.spec()["template"];
    let name = job.name();
    let fields = |field: &str| match &template["metadata"][field] {
        Value::Object(fields) => Value::Object(fields.clone()),
        _ => json!({}),
    };
    let (mut labels, mut annotations) = (fields("labels"), fields("annotations"));
    for (label, value) in [
        ("batch.kubernetes.io/job-name", name),
        ("job-name", name),
        ("batch.kubernetes.io/controller-uid", job.uid()),
        ("controller-uid", job.uid()),
    ] {
        labels[label] = json!(value);
    }
    let mut spec = template["spec"].clone();
    let mut prefix = format!("{name}-");
    if let Some(index) = index {
        prefix = format!("{name}-{index}-");
        annotations[INDEX] = json!(index.to_string());
        labels[INDEX] = json!(index.to_string());
        tell_index(&mut spec, name, index);
    }
    let metadata = json!({
        "generateName": prefix,
        "namespace": job.key.namespace,
        "labels": labels,
        "annotations": annotations,
        "ownerReferences": [job.as_controller()],
    });
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
}

/// A pod with an index learns it from its environment, and has a host name by it.
fn tell_index(spec: &mut Value, name: &str, index: i64) {
    if spec["hostname"].is_null() {
        spec["hostname"] = json!(format!("{name}-{index}"));
    }
    for kind in ["initContainers", "containers"] {
        let containers = spec.get_mut(kind).and_then(Value::as_array_mut).into_iter().flatten();
        for container in containers {
            let mut env = container["env"].as_array().cloned().unwrap_or_default();
            env.push(json!({"name": "JOB_COMPLETION_INDEX", "value": index.to_string()}));
            container["env"] = json!(env);
        }
    }
}

/// Numbers as Kubernetes lists them: `0,2-5`.
pub fn ranges(numbers: &BTreeSet<i64>) -> String {
    let mut ranges: Vec<(i64, i64)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => ranges.push((*number, *number)),
        }
    }
    let texts = ranges
        .iter()
        .map(|(a, b)| if a == b { a.to_string() } else { format!("{a}-{b}") });
    texts.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::ranges;

    #[test]
    fn neighbours_are_listed_as_one_range() {
        assert_eq!(ranges(&[0, 2, 3, 4, 7, 8].into()), "0,2-4,7-8");
        assert_eq!(ranges(&[].into()), "");
    }
}
