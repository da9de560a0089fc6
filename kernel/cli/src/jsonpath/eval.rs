//! What a path leads to, and what a template makes of it.
use super::{Comparison, Filter, Operand, Part, Path, Step, show};
use serde_json::Value;

pub(super) fn render(parts: &[Part], current: &Value, root: &Value, out: &mut String) {
    for part in parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Path(path) => {
                let found: Vec<_> = find(path, current, root).into_iter().map(show).collect();
                out.push_str(&found.join(" "));
            }
            Part::Range(path, inner) => {
                for value in find(path, current, root) {
                    render(inner, value, root, out);
                }
            }
        }
    }
}

pub(super) fn find<'a>(path: &Path, current: &'a Value, root: &'a Value) -> Vec<&'a Value> {
    let mut found = vec![if path.from_root { root } else { current }];
    for step in &path.steps {
        found = found.into_iter().flat_map(|value| follow(step, value, root)).collect();
    }
    found
}

fn follow<'a>(step: &Step, value: &'a Value, root: &'a Value) -> Vec<&'a Value> {
    match step {
        Step::Field(name) => value.get(name).into_iter().collect(),
        Step::Wild => children(value),
        Step::Index(index) => {
            let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
            let at = if *index < 0 { items.len() as i64 + index } else { *index };
            usize::try_from(at)
                .ok()
                .and_then(|at| items.get(at))
                .into_iter()
                .collect()
        }
        Step::Slice(from, to, step) => slice(value, *from, *to, *step),
        Step::Union(paths) => paths.iter().flat_map(|path| find(path, value, root)).collect(),
        Step::Descend => {
            let mut all = Vec::new();
            descend(value, &mut all);
            all
        }
        Step::Filter(filter) => {
            let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
            items.iter().filter(|item| passes(filter, item, root)).collect()
        }
    }
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(map) => map.values().collect(),
        _ => Vec::new(),
    }
}

fn descend<'a>(value: &'a Value, all: &mut Vec<&'a Value>) {
    all.push(value);
    for child in children(value) {
        descend(child, all);
    }
}

fn slice(value: &Value, from: Option<i64>, to: Option<i64>, step: i64) -> Vec<&Value> {
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    let length = items.len() as i64;
    let place = |at: i64| if at < 0 { (at + length).max(0) } else { at.min(length) };
    let (from, to) = (place(from.unwrap_or(0)), place(to.unwrap_or(length)));
    let range = usize::try_from(from).unwrap_or(0)..usize::try_from(to).unwrap_or(0);
    let step = usize::try_from(step).unwrap_or(1).max(1);
    items.get(range).unwrap_or_default().iter().step_by(step).collect()
}

fn passes(filter: &Filter, item: &Value, root: &Value) -> bool {
    let operand = |operand: &Operand| match operand {
        Operand::Literal(value) => Some(value.clone()),
        Operand::Path(path) => find(path, item, root).first().map(|value| (*value).clone()),
    };
    let left = operand(&filter.left);
    let Some((comparison, right)) = &filter.test else {
        return left.is_some();
    };
    match (left, operand(right)) {
        (Some(left), Some(right)) => compare(*comparison, &left, &right),
        // What is missing is unlike everything.
        _ => *comparison == Comparison::NotEqual,
    }
}

fn compare(comparison: Comparison, left: &Value, right: &Value) -> bool {
    use std::cmp::Ordering;
    let ordering = match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.as_f64().partial_cmp(&right.as_f64()),
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        (left, right) if left == right => Some(Ordering::Equal),
        _ => None,
    };
    match comparison {
        Comparison::Equal => ordering == Some(Ordering::Equal),
        Comparison::NotEqual => ordering != Some(Ordering::Equal),
        Comparison::Less => ordering == Some(Ordering::Less),
        Comparison::LessOrEqual => ordering.is_some_and(Ordering::is_le),
        Comparison::Greater => ordering == Some(Ordering::Greater),
        Comparison::GreaterOrEqual => ordering.is_some_and(Ordering::is_ge),
    }
}
