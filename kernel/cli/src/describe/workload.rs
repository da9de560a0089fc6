//! Deployments, replica sets and jobs.
use super::{Related, page::Page, pod::controlled_by, template};
use crate::{
    doc::{Doc, at, list, number, plain, text},
    print::{
        age,
        columns::{or_none, selector},
    },
};
use serde_json::Value;

fn heading(doc: &Doc, page: &mut Page) {
    page.field(0, "Name", doc.name());
    page.field(0, "Namespace", doc.namespace());
}

fn metadata(doc: &Doc, page: &mut Page) {
    page.map(0, "Labels", doc.at("/metadata/labels"));
    page.annotations(0, "Annotations", doc.at("/metadata/annotations"));
}

pub fn deployment(doc: &Doc, related: &Related, page: &mut Page) {
    heading(doc, page);
    page.field(
        0,
        "CreationTimestamp",
        age::long(doc.text("/metadata/creationTimestamp")),
    );
    metadata(doc, page);
    page.field(0, "Selector", selector(doc.at("/spec/selector")));
    let of = |field: &str| number(&doc.value, &format!("/status/{field}"));
    page.field(
        0,
        "Replicas",
        format_args!(
            "{} desired | {} updated | {} total | {} available | {} unavailable",
            doc.at("/spec/replicas").as_i64().unwrap_or(1),
            of("updatedReplicas"),
            of("replicas"),
            of("availableReplicas"),
            of("unavailableReplicas")
        ),
    );
    let or = |pointer: &str, default: &str| match plain(doc.at(pointer)) {
        none if none.is_empty() => default.to_owned(),
        value => value,
    };
    let strategy = or("/spec/strategy/type", "RollingUpdate");
    page.field(0, "StrategyType", &strategy);
    page.field(0, "MinReadySeconds", number(&doc.value, "/spec/minReadySeconds"));
    if strategy == "RollingUpdate" {
        let unavailable = or("/spec/strategy/rollingUpdate/maxUnavailable", "25%");
        let surge = or("/spec/strategy/rollingUpdate/maxSurge", "25%");
        page.field(
            0,
            "RollingUpdateStrategy",
            format_args!("{unavailable} max unavailable, {surge} max surge"),
        );
    }
    template::describe(doc.at("/spec/template"), page);
    conditions(&doc.value, page);
    replica_sets(doc, &related.sets, page);
}

fn conditions(object: &Value, page: &mut Page) {
    let conditions = list(object, "/status/conditions");
    if conditions.is_empty() {
        return;
    }
    page.head(0, "Conditions");
    let row = |c: &Value| {
        vec![
            text(c, "/type").to_owned(),
            text(c, "/status").to_owned(),
            text(c, "/reason").to_owned(),
        ]
    };
    page.table(1, &["Type", "Status", "Reason"], conditions.iter().map(row));
}

fn revision(object: &Value) -> i64 {
    plain(&object["metadata"]["annotations"]["deployment.kubernetes.io/revision"])
        .parse()
        .unwrap_or(0)
}

fn replica_sets(doc: &Doc, sets: &[Doc], page: &mut Page) {
    let newest = revision(&doc.value);
    let show = |set: &&Doc| {
        let count = number(&set.value, "/status/replicas");
        format!(
            "{} ({count}/{} replicas created)",
            set.name(),
            set.at("/spec/replicas").as_i64().unwrap_or(1)
        )
    };
    let is_new = |set: &&Doc| revision(&set.value) == newest;
    let old: Vec<_> = sets.iter().filter(|set| !is_new(set)).map(|set| show(&set)).collect();
    let new: Vec<_> = sets.iter().filter(is_new).map(|set| show(&set)).collect();
    page.field(0, "OldReplicaSets", or_none(&old.join(", ")));
    page.field(0, "NewReplicaSet", or_none(&new.join(", ")));
}

/// `2 Running / 1 Waiting / 0 Succeeded / 0 Failed`
fn pods_status(pods: &[Doc]) -> String {
    let count = |phase: &str| pods.iter().filter(|pod| pod.text("/status/phase") == phase).count();
    let waiting = pods.len() - count("Running") - count("Succeeded") - count("Failed");
    format!(
        "{} Running / {waiting} Waiting / {} Succeeded / {} Failed",
        count("Running"),
        count("Succeeded"),
        count("Failed")
    )
}

pub fn replica_set(doc: &Doc, related: &Related, page: &mut Page) {
    heading(doc, page);
    page.field(0, "Selector", selector(doc.at("/spec/selector")));
    metadata(doc, page);
    controlled_by(doc, page);
    let wanted = doc.at("/spec/replicas").as_i64().unwrap_or(1);
    page.field(
        0,
        "Replicas",
        format_args!("{} current / {wanted} desired", number(&doc.value, "/status/replicas")),
    );
    page.field(0, "Pods Status", pods_status(&related.pods));
    template::describe(doc.at("/spec/template"), page);
    conditions(&doc.value, page);
}

pub fn job(doc: &Doc, related: &Related, page: &mut Page) {
    heading(doc, page);
    page.field(0, "Selector", selector(doc.at("/spec/selector")));
    metadata(doc, page);
    controlled_by(doc, page);
    let or_unset = |pointer: &str| match plain(doc.at(pointer)) {
        none if none.is_empty() => "<unset>".to_owned(),
        value => value,
    };
    page.field(0, "Parallelism", or_unset("/spec/parallelism"));
    page.field(0, "Completions", or_unset("/spec/completions"));
    let mode = doc.text("/spec/completionMode");
    page.field(0, "Completion Mode", if mode.is_empty() { "NonIndexed" } else { mode });
    page.field(0, "Suspend", doc.at("/spec/suspend") == &Value::Bool(true));
    page.field(0, "Backoff Limit", doc.at("/spec/backoffLimit").as_i64().unwrap_or(6));
    if let Some(seconds) = doc.at("/spec/ttlSecondsAfterFinished").as_i64() {
        page.field(0, "TTL Seconds After Finished", seconds);
    }
    let (start, end) = (doc.text("/status/startTime"), doc.text("/status/completionTime"));
    if !start.is_empty() {
        page.field(0, "Start Time", age::long(start));
    }
    if !end.is_empty() {
        page.field(0, "Completed At", age::long(end));
    }
    if let Some(duration) = age::between(start, end) {
        page.field(0, "Duration", duration);
    }
    if let Some(seconds) = doc.at("/spec/activeDeadlineSeconds").as_i64() {
        page.field(0, "Active Deadline Seconds", format_args!("{seconds}s"));
    }
    let of = |field: &str| number(&doc.value, &format!("/status/{field}"));
    let ready = match at(&doc.value, "/status/ready").as_i64() {
        Some(ready) => format!(" ({ready} Ready)"),
        None => String::new(),
    };
    let (active, succeeded, failed) = (of("active"), of("succeeded"), of("failed"));
    page.field(
        0,
        "Pods Statuses",
        format_args!("{active} Active{ready} / {succeeded} Succeeded / {failed} Failed"),
    );
    if !related.pods.is_empty() {
        page.list(0, "Pods", related.pods.iter().map(|pod| pod.name().to_owned()));
    }
    template::describe(doc.at("/spec/template"), page);
    conditions(&doc.value, page);
}
