//! PriorityClasses and PodDisruptionBudgets.
use super::page::Page;
use crate::{
    doc::{Doc, number, plain},
    print::columns::{
        or_none,
        scheduling::{is_default, preemption},
        selector,
    },
};

pub fn priority_class(doc: &Doc, page: &mut Page) {
    page.field(0, "Name", doc.name());
    page.field(0, "Value", number(&doc.value, "/value"));
    page.field(0, "GlobalDefault", is_default(&doc.value));
    page.field(0, "PreemptionPolicy", preemption(&doc.value));
    page.field(0, "Description", doc.text("/description"));
    page.annotations(0, "Annotations", doc.at("/metadata/annotations"));
}

pub fn disruption_budget(doc: &Doc, page: &mut Page) {
    page.field(0, "Name", doc.name());
    page.field(0, "Namespace", doc.namespace());
    for (name, field) in [
        ("Min available", "/spec/minAvailable"),
        ("Max unavailable", "/spec/maxUnavailable"),
    ] {
        page.field_if(0, name, &plain(doc.at(field)));
    }
    // An empty selector is about all pods, and none about nobody.
    let chosen = match doc.at("/spec/selector") {
        serde_json::Value::Null => "<unset>".to_owned(),
        chosen => or_none(&selector(chosen)),
    };
    page.field(0, "Selector", chosen);
    page.head(0, "Status");
    for (name, field) in [
        ("Allowed disruptions", "disruptionsAllowed"),
        ("Current", "currentHealthy"),
        ("Desired", "desiredHealthy"),
        ("Total", "expectedPods"),
    ] {
        page.field(2, name, number(&doc.value, &format!("/status/{field}")));
    }
}
