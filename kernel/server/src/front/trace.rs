//! The way of a packet across nodes: each is asked for its part.
use super::Front;
use sampan_api::{ApiError, rpc};
use std::collections::VecDeque;

/// Nodes on one way at the most: more go in a circle.
const MOST_NODES: usize = 8;
/// Nodes that are asked at the most.
const MOST_ASKED: usize = 256;

/// All steps, those of a way behind each other.
pub async fn trace(front: &Front, mut request: rpc::TraceRequest) -> Result<rpc::TraceResponse, ApiError> {
    if request.namespace.is_empty() {
        sampan_api::DEFAULT_NAMESPACE.clone_into(&mut request.namespace);
    }
    let mut node = front.node_of_pod(&request.namespace, &request.pod)?;
    let first = node
        .client
        .trace(request.clone())
        .await
        .map_err(|status| node.explain(status))?;
    let mut steps = first.into_inner().steps;
    let mut onward: VecDeque<(usize, rpc::TraceStep)> = onward(&steps).map(|step| (1, step)).collect();
    let mut asked = 0;
    while let Some((nodes, step)) = onward.pop_front() {
        asked += 1;
        if nodes > MOST_NODES || asked > MOST_ASKED {
            break;
        }
        let request = rpc::TraceRequest {
            node: step.next_node.clone(),
            source: step.source.clone(),
            address: step.address.clone(),
            port: step.port,
            protocol: request.protocol.clone(),
            ..rpc::TraceRequest::default()
        };
        let mut node = front.nodes_named(&step.next_node)?.remove(0);
        let more = match node.client.trace(request).await.map_err(|status| node.explain(status)) {
            Ok(more) => more.into_inner().steps,
            Err(error) => vec![rpc::TraceStep {
                node: step.next_node.clone(),
                what: "node".to_owned(),
                text: format!("cannot be asked: {error}"),
                verdict: rpc::TraceVerdict::Stops.into(),
                ..rpc::TraceStep::default()
            }],
        };
        let more: Vec<rpc::TraceStep> = more
            .into_iter()
            .map(|next| rpc::TraceStep { way: step.way, ..next })
            .collect();
        onward.extend(self::onward(&more).map(|step| (nodes + 1, step)));
        let after = steps
            .iter()
            .rposition(|before| before.way == step.way)
            .map_or(steps.len(), |at| at + 1);
        steps.splice(after..after, more);
    }
    Ok(rpc::TraceResponse { steps })
}

fn onward(steps: &[rpc::TraceStep]) -> impl Iterator<Item = rpc::TraceStep> {
    steps.iter().filter(|step| !step.next_node.is_empty()).cloned()
}
