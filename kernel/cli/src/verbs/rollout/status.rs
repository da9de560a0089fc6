//! How far a rollout is, in kubectl's words.
use crate::{
    doc::{Doc, condition, number, text},
    progress,
    session::{Seen, Session},
    terminal,
};
use anyhow::{Result, anyhow, bail};
use sampan_api::rpc;
use serde_json::Value;
use std::time::Duration;

/// What is to be said, and whether it is done.
///
/// # Errors
/// If it will not get done.
pub fn verdict(deployment: &Value) -> Result<(String, bool)> {
    let name = text(deployment, "/metadata/name");
    if number(deployment, "/metadata/generation") > number(deployment, "/status/observedGeneration") {
        return Ok(("Waiting for deployment spec update to be observed...".to_owned(), false));
    }
    if condition(deployment, "Progressing")["reason"] == "ProgressDeadlineExceeded" {
        bail!("deployment \"{name}\" exceeded its progress deadline");
    }
    let wanted = deployment
        .pointer("/spec/replicas")
        .and_then(Value::as_i64)
        .unwrap_or(1);
    let of = |field: &str| number(deployment, &format!("/status/{field}"));
    let (replicas, updated, available) = (of("replicas"), of("updatedReplicas"), of("availableReplicas"));
    let waiting = |what: String| {
        Ok((
            format!("Waiting for deployment \"{name}\" rollout to finish: {what}..."),
            false,
        ))
    };
    if updated < wanted {
        return waiting(format!("{updated} out of {wanted} new replicas have been updated"));
    }
    if replicas > updated {
        return waiting(format!("{} old replicas are pending termination", replicas - updated));
    }
    if available < updated {
        return waiting(format!("{available} of {updated} updated replicas are available"));
    }
    Ok((format!("deployment \"{name}\" successfully rolled out"), true))
}

/// Tells how a rollout goes on, until it is done.
pub async fn follow(doc: &Doc, watch: bool, timeout: Duration, revision: i64, session: &Session) -> Result<()> {
    if !watch {
        check_revision(doc, revision)?;
        println!("{}", verdict(&doc.value)?.0);
        return Ok(());
    }
    let following = follow_to_end(doc, revision, session);
    if timeout.is_zero() {
        return following.await;
    }
    let timed_out = |_| {
        anyhow!(
            "timed out waiting for {} after {timeout:?}: the rollout goes on",
            doc.full_name()
        )
    };
    tokio::time::timeout(timeout, following).await.map_err(timed_out)?
}

async fn follow_to_end(doc: &Doc, revision: i64, session: &Session) -> Result<()> {
    let selection = rpc::Selection {
        resource: doc.kind.resource.to_owned(),
        namespace: doc.namespace().to_owned(),
        field_selector: format!("metadata.name={}", doc.name()),
        ..rpc::Selection::default()
    };
    let mut watcher = session.watch(selection, 0);
    let mut last = String::new();
    let spinner = progress::spinner("rolling out");
    loop {
        match watcher.next().await? {
            Seen::Added(seen) | Seen::Modified(seen) => {
                check_revision(&seen, revision)?;
                let (message, done) = verdict(&seen.value)?;
                if message != last {
                    spinner.suspend(|| println!("{message}"));
                    terminal::flush();
                }
                if done {
                    spinner.finish_and_clear();
                    return Ok(());
                }
                last = message;
            }
            Seen::Deleted(_) => bail!("{} was deleted", doc.full_name()),
            Seen::Synced(_) if last.is_empty() => return Err(sampan_api::ApiError::not_found(&doc.key()).into()),
            Seen::Synced(_) | Seen::Restarted => {}
        }
    }
}

fn check_revision(doc: &Doc, wanted: i64) -> Result<()> {
    let newest = super::history::revision(&doc.value);
    if wanted > 0 && newest != wanted {
        bail!("the revision wanted, {wanted}, is not the newest, which is {newest}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_words_of_each_stage() {
        let say = |replicas: i64, updated: i64, available: i64| {
            let deployment = json!({"metadata": {"name": "web", "generation": 2}, "spec": {"replicas": 3}, "status":
                {"observedGeneration": 2, "replicas": replicas, "updatedReplicas": updated, "availableReplicas": available}});
            verdict(&deployment).unwrap()
        };
        assert!(say(4, 1, 3).0.ends_with("1 out of 3 new replicas have been updated..."));
        assert!(say(4, 3, 3).0.ends_with("1 old replicas are pending termination..."));
        assert!(say(3, 3, 2).0.ends_with("2 of 3 updated replicas are available..."));
        assert_eq!(
            say(3, 3, 3),
            ("deployment \"web\" successfully rolled out".to_owned(), true)
        );
        let unseen = json!({"metadata": {"name": "web", "generation": 3}, "status": {"observedGeneration": 2}});
        assert!(verdict(&unseen).unwrap().0.contains("to be observed"));
        let stuck = json!({"metadata": {"name": "web"}, "status": {"conditions":
            [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]}});
        assert!(
            verdict(&stuck)
                .unwrap_err()
                .to_string()
                .contains("exceeded its progress deadline")
        );
    }
}
