//! Columns and cells of PriorityClasses, PodDisruptionBudgets and PodGroups.
use super::{AGE, Column, NAME, or_else, plainly};
use crate::doc::{at, number, plain, text};
use serde_json::Value;

pub static PRIORITY_CLASSES: &[Column] = &[
    NAME,
    plainly("VALUE", |o, _| number(o, "/value").to_string()),
    plainly("GLOBAL-DEFAULT", |o, _| is_default(o).to_string()),
    AGE,
    plainly("PREEMPTIONPOLICY", |o, _| preemption(o)),
];

pub static DISRUPTION_BUDGETS: &[Column] = &[
    NAME,
    plainly("MIN AVAILABLE", |o, _| amount(at(o, "/spec/minAvailable"))),
    plainly("MAX UNAVAILABLE", |o, _| amount(at(o, "/spec/maxUnavailable"))),
    plainly("ALLOWED DISRUPTIONS", |o, _| {
        number(o, "/status/disruptionsAllowed").to_string()
    }),
    AGE,
];

pub static POD_GROUPS: &[Column] = &[
    NAME,
    plainly("PHASE", |o, _| or_else(text(o, "/status/phase"), "Pending")),
    plainly("MINMEMBER", |o, _| number(o, "/spec/minMember").max(1).to_string()),
    AGE,
];

/// Whether it is the class of pods that name none.
pub fn is_default(class: &Value) -> bool {
    at(class, "/globalDefault") == &Value::Bool(true)
}

pub fn preemption(class: &Value) -> String {
    or_else(text(class, "/preemptionPolicy"), "PreemptLowerPriority")
}

fn amount(value: &Value) -> String {
    match value {
        Value::Null => "N/A".to_owned(),
        amount => plain(amount),
    }
}
