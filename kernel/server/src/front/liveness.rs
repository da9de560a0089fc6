//! Which nodes live: agents say so by heartbeats, which are kept in memory; only silence is written to the state.
use crate::{
    metrics,
    peers::Peers,
    replica::{ReplicaHandle, leads},
};
use parking_lot::Mutex;
use sampan_api::{
    ApiError, Key, Object, Operation, Plan, Selection, Write,
    rpc::{HeardRequest, peers_client::PeersClient},
    time::Timestamp,
};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

/// When each node was last heard of.
pub struct NodeLiveness {
    seen: Mutex<HashMap<String, Instant>>,
    /// Before this nobody could be heard: the start, or that of the term in which this member leads.
    since: Mutex<Instant>,
    /// The silence after which nobody knows how a node is.
    grace: Duration,
}

impl NodeLiveness {
    pub fn new(grace: Duration) -> Self {
        NodeLiveness {
            seen: Mutex::default(),
            since: Mutex::new(Instant::now()),
            grace,
        }
    }

    /// A node was heard of.
    pub fn heard(&self, node: &str) {
        self.seen.lock().insert(node.to_owned(), Instant::now());
    }

    /// Who was heard of within a time.
    fn heard_within(&self, time: Duration) -> Vec<String> {
        let seen = self.seen.lock();
        let lately = seen.iter().filter(|(_, seen)| seen.elapsed() <= time);
        lately.map(|(node, _)| node.clone()).collect()
    }

    /// Tells the leader of the nodes that were heard of here, until the server closes: it judges who is silent.
    pub async fn hand_on(&self, replica: ReplicaHandle, peers: Arc<Peers>, closing: CancellationToken) {
        let pause = Duration::from_millis(u64::from(self.interval_ms()));
        let mut leadership = replica.leadership();
        loop {
            let following = async {
                // Who leads has nobody to tell.
                let _ = leadership.wait_for(Option::is_none).await;
                tokio::time::sleep(pause).await;
            };
            if closing.run_until_cancelled(following).await.is_none() || leadership.has_changed().is_err() {
                return;
            }
            let nodes = self.heard_within(pause * 2);
            let leader = replica.status().leader;
            if nodes.is_empty() || leader == peers.own().member {
                continue;
            }
            let told = async {
                let mut client = PeersClient::new(peers.channel(leader).await?);
                client.heard(HeardRequest { nodes }).await.map_err(ApiError::from)
            };
            if let Err(error) = told.await {
                tracing::debug!(%error, "the leader is not told which nodes live");
            }
        }
    }

    /// How often an agent should be heard, in milliseconds: four times before it is missed.
    pub fn interval_ms(&self) -> u32 {
        u32::try_from(self.grace.as_millis() / 4)
            .unwrap_or(u32::MAX)
            .clamp(100, 10_000)
    }

    /// How long nothing was heard of a node.
    pub fn silence(&self, node: &str) -> Duration {
        let since = *self.since.lock();
        self.seen
            .lock()
            .get(node)
            .map_or(since, |seen| since.max(*seen))
            .elapsed()
    }

    /// Writes of nodes that fell silent that nobody knows how they are, while this member leads, until the server closes.
    pub async fn watch_over(&self, replica: ReplicaHandle, closing: CancellationToken) {
        let pause = (self.grace / 8).clamp(Duration::from_millis(50), Duration::from_secs(5));
        let mut leadership = replica.leadership();
        let mut led = None;
        while closing.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
            let Some(Some(term)) = closing.run_until_cancelled(leads(&mut leadership)).await else {
                return;
            };
            if led.replace(term) != Some(term) {
                // Until now the agents may have told another member.
                *self.since.lock() = Instant::now();
            }
            let plans = self.news(&replica);
            if plans.is_empty() {
                continue;
            }
            // A plan that meets a change of its node is decided again in the next round.
            if let Err(error) = replica.commit_in(term, plans).await {
                tracing::warn!(%error, "silent nodes cannot be written down");
            }
        }
    }

    fn news(&self, replica: &ReplicaHandle) -> Vec<Plan> {
        let state = replica.snapshot();
        let selection = Selection::of("nodes");
        let nodes: Vec<_> = state.list(&selection).collect();
        self.seen
            .lock()
            .retain(|name, _| nodes.iter().any(|(key, _)| *key.name == **name));
        let silent = |key: &Key| self.silence(&key.name) > self.grace;
        metrics::set("sampan_nodes", &[], nodes.len() as f64);
        metrics::set(
            "sampan_nodes_silent",
            &[],
            nodes.iter().filter(|(key, _)| silent(key)).count() as f64,
        );
        let lost = nodes.iter().filter(|(key, _)| silent(key)).filter_map(|(key, node)| {
            let status = unknown(node, Timestamp::from_millis(replica.now_millis()))?;
            tracing::warn!(node = &*key.name, silence = ?self.silence(&key.name), "a node is silent");
            let write = Write::new(key.clone(), Operation::MergeStatus(json!({ "status": status })));
            Some(Plan::from(write.expecting(node.metadata.resource_version)))
        });
        lost.collect()
    }
}

/// The node's conditions as unknown; none if they are already.
fn unknown(node: &Object, now: Timestamp) -> Option<Value> {
    let mut conditions = match node.field_value("status")["conditions"].take() {
        Value::Array(conditions) => conditions,
        _ => Vec::new(),
    };
    if !conditions.iter().any(|condition| condition["type"] == "Ready") {
        conditions.push(json!({"type": "Ready"}));
    }
    let mut news = false;
    for condition in &mut conditions {
        let known = condition["status"] == "Unknown";
        let agents = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];
        if known || !agents.iter().any(|kind| condition["type"] == *kind) || !condition.is_object() {
            continue;
        }
        news = true;
        condition["status"] = "Unknown".into();
        condition["reason"] = "NodeStatusUnknown".into();
        condition["message"] = "the node's agent has not been heard of".into();
        condition["lastTransitionTime"] = json!(now);
    }
    news.then(|| json!({ "conditions": conditions }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_said_once() {
        let mut node = Object::default();
        node.set_field(
            "status",
            &json!({"conditions": [{"type": "Ready", "status": "True"}, {"type": "Own", "status": "True"}]}),
        );
        let now = Timestamp::from_millis(0);
        let status = unknown(&node, now).unwrap();
        assert_eq!(status["conditions"][0]["reason"], "NodeStatusUnknown");
        assert_eq!(status["conditions"][1]["status"], "True");
        node.set_field("status", &status);
        assert_eq!(unknown(&node, now), None);
        assert_eq!(
            unknown(&Object::default(), now).unwrap()["conditions"][0]["status"],
            "Unknown"
        );
    }

    #[test]
    fn who_was_never_heard_is_silent_since_the_start() {
        let liveness = NodeLiveness::new(Duration::from_secs(40));
        assert!(liveness.silence("n") < Duration::from_secs(1));
        assert_eq!(liveness.interval_ms(), 10_000);
        liveness.heard("n");
        assert!(liveness.silence("n") < Duration::from_secs(1));
    }
}
