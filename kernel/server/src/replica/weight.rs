//! What plans weigh, so that few large ones and many small ones make entries of like size.
use sampan_api::{Operation, Plan};
use serde_json::Value;

/// About how many bytes a plan takes in the log.
pub fn weight(plan: &Plan) -> usize {
    let of = |operation: &Operation| match operation {
        Operation::Create(object) | Operation::Replace(object) | Operation::ReplaceStatus(object) => object.weight(),
        Operation::Merge(patch) | Operation::MergeStatus(patch) => json_weight(patch),
        Operation::Delete(_) | Operation::Bind(_) => 128,
    };
    plan.writes.iter().map(|write| 128 + of(&write.operation)).sum()
}

fn json_weight(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(json_weight).sum(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| name.len() + 4 + json_weight(value))
            .sum(),
        Value::String(text) => text.len() + 2,
        _ => 8,
    }
}
