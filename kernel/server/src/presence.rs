//! What each server says of itself in its Member object: its build, and where it is reached. Both may be others than when it
//! ran last.
use crate::{
    features::Build,
    membership::changed,
    peers::{Own, Peer, Peers, is_better, member},
    replica::ReplicaHandle,
};
use sampan_api::{Operation, Plan, Write};
use sampan_state::Snapshot;
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// Before it is tried again.
const PAUSE: Duration = Duration::from_millis(200);

/// Keeps this server's Member object true until the server closes.
pub async fn say(replica: ReplicaHandle, peers: Arc<Peers>, build: Build, closing: CancellationToken) {
    loop {
        let state = replica.snapshot();
        let said = async {
            match news(&state, peers.own(), &build) {
                None => changed(&replica, &state).await,
                Some(plan) => {
                    if let Err(error) = replica.commit_one(plan).await {
                        tracing::debug!(%error, "what this server is cannot be written down now");
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        };
        if closing.run_until_cancelled(said).await.is_none() {
            return;
        }
    }
}

/// The plan that makes the Member object true, unless it is.
fn news(state: &Snapshot, own: &Own, build: &Build) -> Option<Plan> {
    let (key, object) = member(state, own.member)?;
    let known = Peer::of(&object)?;
    let mut writes = Vec::new();
    if known.address != own.address && is_better(&own.address, &known.address) {
        let patch = json!({"spec": {"address": own.address}});
        writes.push(Write::new(key.clone(), Operation::Merge(patch)));
    }
    if Build::of(&object) != *build {
        let patch = json!({"status": build.status()});
        writes.push(Write::new(key, Operation::MergeStatus(patch)));
    }
    // Only the first: the second finds what the first has written.
    if let Some(first) = writes.first_mut() {
        first.expect = object.metadata.resource_version;
    }
    (!writes.is_empty()).then_some(Plan { writes })
}
