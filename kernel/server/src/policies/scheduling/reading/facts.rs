//! What of a pod changes while it lives: its node, its phase, its end.
use sampan_api::{Object, time::Timestamp};
use serde::Deserialize;
use std::borrow::Cow;

/// A pod as it is now, without what its class says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// Empty until it is bound.
    pub node: String,
    /// Succeeded or failed: takes no room any more.
    pub finished: bool,
    pub deleting: bool,
    /// In seconds since 1970; when it was made, while it has not started.
    pub start: u32,
    pub nominated: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status<'a> {
    #[serde(borrow)]
    phase: Option<Cow<'a, str>>,
    #[serde(borrow)]
    nominated_node_name: Option<Cow<'a, str>>,
    start_time: Option<Timestamp>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    node_name: Option<String>,
}

impl Facts {
    pub fn of(object: &Object) -> Self {
        let status = object.fields.get("status").map_or("{}", |raw| raw.get());
        let status: Status<'_> = serde_json::from_str(status).unwrap_or_default();
        let spec = object.fields.get("spec").map_or("{}", |raw| raw.get());
        let meta = &object.metadata;
        let start = status.start_time.or(meta.creation_timestamp);
        Facts {
            node: node(spec),
            finished: matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")),
            deleting: meta.deletion_timestamp.is_some(),
            start: start.map_or(0, |time| seconds(time.as_millis())),
            nominated: status
                .nominated_node_name
                .map(Cow::into_owned)
                .filter(|name| !name.is_empty()),
        }
    }
}

pub fn seconds(millis: u64) -> u32 {
    u32::try_from(millis / 1000).unwrap_or(u32::MAX)
}

/// The node of a spec. The committer writes it first, so that the rest need not be read.
fn node(spec: &str) -> String {
    if !spec.contains("\"nodeName\"") {
        return String::new();
    }
    match first_field(spec) {
        Some((name, _)) => name.to_owned(),
        None => serde_json::from_str::<Spec>(spec)
            .ok()
            .and_then(|spec| spec.node_name)
            .unwrap_or_default(),
    }
}

/// A node's name where it is the first field of a spec, and what follows it.
fn first_field(spec: &str) -> Option<(&str, &str)> {
    let (name, rest) = spec.strip_prefix("{\"nodeName\":\"")?.split_once('"')?;
    (!name.contains('\\')).then_some((name, rest))
}

/// A spec's text as it was before the committer wrote a node into it, in two parts.
pub fn without_node(spec: &str) -> (&str, &str) {
    match first_field(spec) {
        Some((_, rest)) => ("{", rest.strip_prefix(',').unwrap_or(rest)),
        None => spec.split_at(usize::from(spec.starts_with('{'))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_is_the_same_text_before_and_after_it_was_bound() {
        let bound = r#"{"nodeName":"n","containers":[]}"#;
        assert_eq!(without_node(bound), without_node(r#"{"containers":[]}"#));
        assert_eq!(node(bound), "n");
        assert_eq!(node(r#"{"containers":[],"nodeName":"m"}"#), "m");
        assert_eq!(node(r#"{"containers":[]}"#), "");
    }
}
