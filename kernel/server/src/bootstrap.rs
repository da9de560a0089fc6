//! What every cluster has from its first moment: namespaces and the built-in plugins.
use crate::{
    ServerConfig, builtins, features,
    front::{namespace, spec_of},
    new_object,
    peers::{self, Own, members},
    replica::ReplicaHandle,
};
use sampan_api::{ApiError, Key, Operation, Plan, Reason, Write, dual};
use sampan_state::Snapshot;
use serde_json::json;
use std::time::Duration;

/// How often it is looked whether the state has come.
const ARRIVING: Duration = Duration::from_millis(20);

/// So long a server that joined waits for it before it goes on without.
const MOST_ARRIVING: Duration = Duration::from_secs(30);

/// Makes what is missing, in one entry.
///
/// # Errors
/// Why it cannot be written.
pub async fn bootstrap(replica: &ReplicaHandle, config: &ServerConfig, own: &Own) -> Result<(), ApiError> {
    let digests = builtins::bring(replica, &config.builtin_plugins).await?;
    let state = replica.snapshot();
    let mut plans = Vec::new();
    for name in [sampan_api::DEFAULT_NAMESPACE, crate::SYSTEM_NAMESPACE] {
        let key = Key::new("namespaces", "", name);
        if state.get(&key).is_none() {
            plans.push(Plan::from(Write::new(key, Operation::Create(namespace(name)))));
        }
    }
    if members(&state).is_empty() {
        let mut spec = match dual::of_node(&config.pod_cidr) {
            Ok(range) => spec_of(range),
            Err(_) => json!({}),
        };
        spec["id"] = own.member.into();
        spec["address"] = own.address.clone().into();
        let member = new_object(peers::RESOURCE, &config.name)?
            .with_field("spec", &spec)
            .with_field("status", &config.build.status());
        let key = Key::new(peers::RESOURCE, "", &config.name);
        plans.push(Plan::from(Write::new(key, Operation::Create(member))));
    }
    if state.get(&features::key()).is_none() && members(&state).is_empty() {
        plans.push(Plan::from(features::first(
            &config.build,
            &config.ranges.unwrap_or_default(),
        )?));
        plans.extend(system_classes(&state, config.build.level)?);
    } else {
        plans.extend(system_classes(&state, features::in_force(&state))?);
    }
    plans.extend(builtins::plans(&state, &config.builtin_plugins, &digests)?);
    for result in replica.commit(plans).await? {
        match result {
            // Somebody else of the group was faster.
            Err(error) if matches!(error.reason, Reason::AlreadyExists | Reason::Conflict) => {}
            other => drop(other?),
        }
    }
    Ok(())
}

/// Waits until what the cluster began with is here, too: a server that has just joined has nothing yet, and what it answered
/// would be of a cluster without ranges and namespaces.
pub async fn arrived(replica: &ReplicaHandle) {
    let arriving = async {
        while replica.snapshot().revision() == 0 {
            tokio::time::sleep(ARRIVING).await;
        }
    };
    if tokio::time::timeout(MOST_ARRIVING, arriving).await.is_err() {
        tracing::warn!("the cluster's state has not come yet: it comes from the leader, once there is one");
    }
}

/// One for each class, so that one that somebody else made meanwhile holds up no other.
fn system_classes(state: &Snapshot, level: u32) -> Result<Vec<Plan>, ApiError> {
    let writes = features::system_classes(state, level)?;
    Ok(writes.into_iter().map(Plan::from).collect())
}
