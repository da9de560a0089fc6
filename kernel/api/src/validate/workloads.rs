//! The rules of what makes pods: Deployments, ReplicaSets and Jobs, with the pods of their templates.
use super::{not_negative, one_of, pods::pod};
use crate::Cause;
use serde_json::Value;

/// Deployments and ReplicaSets.
pub(super) fn replicated(spec: &Value, causes: &mut Vec<Cause>) {
    let at = |pointer: &str| spec.pointer(pointer).unwrap_or(&Value::Null);
    for field in [
        "replicas",
        "minReadySeconds",
        "revisionHistoryLimit",
        "progressDeadlineSeconds",
    ] {
        not_negative(&format!("spec.{field}"), at(&format!("/{field}")), causes);
    }
    one_of(
        "spec.strategy.type",
        at("/strategy/type"),
        &["RollingUpdate", "Recreate"],
        causes,
    );
    pod("spec.template.spec", at("/template/spec"), &["Always"], causes);
    selector_matches_template(spec, causes);
    rolling_update(spec, causes);
}

pub(super) fn job(spec: &Value, causes: &mut Vec<Cause>) {
    for field in [
        "parallelism",
        "completions",
        "backoffLimit",
        "activeDeadlineSeconds",
        "ttlSecondsAfterFinished",
    ] {
        not_negative(&format!("spec.{field}"), &spec[field], causes);
    }
    one_of(
        "spec.completionMode",
        &spec["completionMode"],
        &["NonIndexed", "Indexed"],
        causes,
    );
    pod(
        "spec.template.spec",
        &spec["template"]["spec"],
        &["OnFailure", "Never"],
        causes,
    );
    if spec["template"]["spec"]["restartPolicy"].is_null() {
        let message = "required: OnFailure or Never".to_owned();
        causes.push(Cause {
            field: "spec.template.spec.restartPolicy".to_owned(),
            message,
        });
    }
}

fn selector_matches_template(spec: &Value, causes: &mut Vec<Cause>) {
    let labels = spec.pointer("/template/metadata/labels").cloned().unwrap_or_default();
    let labels = serde_json::from_value(labels).unwrap_or_default();
    let selector = serde_json::from_value(spec["selector"].clone()).unwrap_or_default();
    let matches = crate::LabelSelector::from_json(&selector).map(|s| s.matches(&labels));
    let (field, message) = match matches {
        Err(error) => ("spec.selector", error.message),
        Ok(_) if selector == Default::default() => {
            ("spec.selector", "required: matchLabels or matchExpressions".to_owned())
        }
        Ok(false) => ("spec.template.metadata.labels", "must match spec.selector".to_owned()),
        Ok(true) => return,
    };
    causes.push(Cause {
        field: field.to_owned(),
        message,
    });
}

fn rolling_update(spec: &Value, causes: &mut Vec<Cause>) {
    let mut zeros = 0;
    for name in ["maxSurge", "maxUnavailable"] {
        let value = spec
            .pointer(&format!("/strategy/rollingUpdate/{name}"))
            .unwrap_or(&Value::Null);
        let number = match value {
            Value::Number(number) => number.as_i64(),
            Value::String(text) => text.strip_suffix('%').and_then(|percent| percent.parse().ok()),
            _ => continue,
        };
        match number {
            Some(0) => zeros += 1,
            Some(number) if number > 0 => {}
            _ => {
                let message = format!("{value} is neither a number of pods nor a percentage as in \"25%\"");
                causes.push(Cause {
                    field: format!("spec.strategy.rollingUpdate.{name}"),
                    message,
                });
            }
        }
    }
    if zeros == 2 {
        let message = "must not be 0 when maxSurge is 0: nothing could ever move".to_owned();
        causes.push(Cause {
            field: "spec.strategy.rollingUpdate.maxUnavailable".to_owned(),
            message,
        });
    }
}
