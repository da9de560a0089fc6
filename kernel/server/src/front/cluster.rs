//! The service of the cluster itself: how it is, and its figures.
use super::{Front, Pieces, access, caller, snapshot};
use crate::metrics;
use sampan_api::rpc::{self, cluster_client::ClusterClient};
use std::{sync::Arc, time::Duration};
use tonic::{Request, Response, Status};

/// So long the leader is waited for.
const ASKING: Duration = Duration::from_secs(2);

/// The service.
pub struct Cluster(pub Arc<Front>);

impl Cluster {
    fn status_here(&self) -> rpc::StatusResponse {
        let (status, state) = (self.0.replica.status(), self.0.replica.snapshot());
        let voters = status
            .voters
            .iter()
            .map(|id| (*id, if *id == status.leader { "leader" } else { "follower" }));
        let members = voters.chain(status.learners.iter().map(|id| (*id, "learner")));
        let member = |(id, role): (u64, &str)| {
            let peer = self.0.peers.book().get(id);
            let (name, address) = peer.map(|peer| (peer.name, peer.address)).unwrap_or_default();
            let progress = status.progress.iter().find(|progress| progress.member == id);
            rpc::Member {
                id,
                name,
                role: role.to_owned(),
                address,
                lag: progress.map(|progress| status.last_index.saturating_sub(progress.matched)),
                active: progress.map_or(id == status.member, |progress| progress.active),
                ..rpc::Member::default()
            }
        };
        rpc::StatusResponse {
            cluster_name: self.0.cluster_name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            revision: state.revision(),
            compacted_revision: state.compacted(),
            raft_term: status.term,
            raft_index: status.applied,
            leader: status.leader,
            members: members.map(member).collect(),
            objects: state.len() as u64,
            log_bytes: status.log_bytes,
            server: self
                .0
                .peers
                .book()
                .get(status.member)
                .map(|peer| peer.name)
                .unwrap_or_default(),
        }
    }
}

#[tonic::async_trait]
impl rpc::cluster_server::Cluster for Cluster {
    async fn status(&self, request: Request<rpc::StatusRequest>) -> Result<Response<rpc::StatusResponse>, Status> {
        access::check_master(&caller(&request)?, "ask for the cluster's status")?;
        if !request.get_ref().here
            && let Ok(Some(leader)) = self.0.leader().await
        {
            let here = rpc::StatusRequest { here: true };
            // Who cannot be asked is spoken for by what is known here.
            if let Ok(Ok(answer)) = tokio::time::timeout(ASKING, ClusterClient::new(leader).status(here)).await {
                return Ok(answer);
            }
        }
        Ok(Response::new(self.status_here()))
    }

    async fn metrics(&self, request: Request<rpc::MetricsRequest>) -> Result<Response<rpc::MetricsResponse>, Status> {
        access::check_master(&caller(&request)?, "ask for the cluster's figures")?;
        let (status, state) = (self.0.replica.status(), self.0.replica.snapshot());
        let gauges = [
            ("sampan_revision", state.revision()),
            ("sampan_compacted_revision", state.compacted()),
            ("sampan_objects", state.len() as u64),
            ("sampan_raft_term", status.term),
            ("sampan_raft_applied_index", status.applied),
            ("sampan_log_bytes", status.log_bytes),
            ("sampan_leader", u64::from(status.leader == status.member)),
        ];
        for (name, value) in gauges {
            metrics::set(name, &[], value as f64);
        }
        Ok(Response::new(rpc::MetricsResponse { text: metrics::text() }))
    }

    type SnapshotStream = Pieces<rpc::SnapshotPiece>;

    async fn snapshot(&self, request: Request<rpc::SnapshotRequest>) -> Result<Response<Self::SnapshotStream>, Status> {
        access::check_master(&caller(&request)?, "take a snapshot: it holds all Secrets")?;
        // With all that was acknowledged before, anywhere.
        self.0.replica.barrier().await?;
        let (header, store) = self.0.replica.state().await?;
        Ok(Response::new(snapshot::stream(header, store)))
    }
}
