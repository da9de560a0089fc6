//! A plugin of a world that nodes run, held against who decides on each of them: each node does it for itself, as only it knows
//! what stands there.
use super::{Plugins, diff::active_of};
use crate::front::reach::Node;
use futures::{StreamExt, stream};
use sampan_api::{
    ApiError,
    plugin::PluginSpec,
    rpc::{CompareHereRequest, NodeDiff, PluginDiff, PluginDiffRequest, node_plugins_client::NodePluginsClient},
};
use sampan_state::Snapshot;
use std::time::Duration;

/// Nodes that are asked at a time: each fetches the plugin from a server and compiles it.
const TOGETHER: usize = 64;

/// How long a node may take: it may have to compile.
const PATIENCE: Duration = Duration::from_secs(60);

/// Entries that are shown of all nodes together, and of one where nothing else is said.
const MOST_ENTRIES: usize = 10_000;
const MOST_OF_NODE: usize = 1000;
/// Even of very many nodes so many are shown.
const FEWEST: usize = 2;

/// Bytes of a node's answer.
const LARGEST: usize = 16 << 20;

impl Plugins {
    /// What a plugin would change on the nodes.
    pub(super) async fn diff_on_nodes(
        &self,
        state: &Snapshot,
        spec: &PluginSpec,
        request: &PluginDiffRequest,
    ) -> Result<PluginDiff, ApiError> {
        let (active, active_digest) = active_of(state, spec).unwrap_or_default();
        let nodes = self.front.each_node(&request.node)?;
        let most = match request.most as usize {
            0 => MOST_OF_NODE,
            most => most,
        };
        let most = most.min((MOST_ENTRIES / nodes.len().max(1)).max(FEWEST));
        let ask = CompareHereRequest {
            name: request.name.clone(),
            spec: serde_json::to_string(spec).map_err(|error| ApiError::internal(error.to_string()))?,
            most: u32::try_from(most).unwrap_or(u32::MAX),
        };
        let answers = stream::iter(nodes).map(|(name, node)| {
            let ask = ask.clone();
            async move {
                let answer = match node {
                    Ok(node) => compared(node, ask).await,
                    Err(error) => Err(error),
                };
                let answer = answer.unwrap_or_else(|error| NodeDiff {
                    problem: error.message,
                    ..NodeDiff::default()
                });
                // A node speaks for itself alone.
                NodeDiff { node: name, ..answer }
            }
        });
        let mut nodes: Vec<NodeDiff> = answers.buffer_unordered(TOGETHER).collect().await;
        nodes.sort_by(|one, other| one.node.cmp(&other.node));
        Ok(PluginDiff {
            world: spec.world.to_string(),
            slot: spec.slot.clone(),
            candidate: request.name.clone(),
            candidate_digest: spec.digest.clone(),
            active,
            active_digest,
            nodes,
            ..PluginDiff::default()
        })
    }
}

async fn compared(node: Node, ask: CompareHereRequest) -> Result<NodeDiff, ApiError> {
    let mut client = NodePluginsClient::new(node.channel.clone()).max_decoding_message_size(LARGEST);
    match tokio::time::timeout(PATIENCE, client.compare(ask)).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) if status.code() == tonic::Code::Unimplemented => Err(ApiError::unavailable(
            "its agent is of an older version, which cannot compare plugins: upgrade it",
        )),
        Ok(Err(status)) => Err(node.explain(status)),
        Err(_) => Err(ApiError::unavailable(format!(
            "it did not answer within {} s",
            PATIENCE.as_secs()
        ))),
    }
}
