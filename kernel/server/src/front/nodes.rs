//! The service of agents: heartbeats.
use super::{Front, Pieces, caller};
use crate::pki::{Identity, MASTERS};
use sampan_api::{ApiError, Reason, rpc};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// The service.
pub struct Nodes(pub Arc<Front>);

#[tonic::async_trait]
impl rpc::nodes_server::Nodes for Nodes {
    type HeartbeatStream = Pieces<rpc::HeartbeatResponse>;

    async fn heartbeat(
        &self,
        request: Request<Streaming<rpc::HeartbeatRequest>>,
    ) -> Result<Response<Self::HeartbeatStream>, Status> {
        let who = caller(&request)?;
        if who.node().is_none() && !who.is_in(MASTERS) {
            return Err(not_that_node(&who, "a node").into());
        }
        let (answers, receiver) = mpsc::channel(1);
        tokio::spawn(listen(self.0.clone(), who, request.into_inner(), answers));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

/// Hears a node until it ends, or the server does.
async fn listen(
    front: Arc<Front>,
    who: Identity,
    mut beats: Streaming<rpc::HeartbeatRequest>,
    answers: mpsc::Sender<Result<rpc::HeartbeatResponse, Status>>,
) {
    let serving = front.serving.clone();
    while let Some(Ok(Some(beat))) = serving.run_until_cancelled(beats.message()).await {
        if who.node().is_some_and(|own| own != beat.node) {
            let _ = answers
                .send(Err(not_that_node(&who, &format!("node \"{}\"", beat.node)).into()))
                .await;
            return;
        }
        front.liveness.heard(&beat.node);
        let answer = rpc::HeartbeatResponse {
            interval_ms: front.liveness.interval_ms(),
            servers: front.peers.book().all().into_iter().map(|peer| peer.address).collect(),
        };
        if answers.send(Ok(answer)).await.is_err() {
            return;
        }
    }
}

fn not_that_node(who: &Identity, node: &str) -> ApiError {
    ApiError::new(
        Reason::Forbidden,
        format!("user \"{}\" may not speak for {node}: only its own agent may", who.user),
    )
}
