//! The service of the cluster itself: how it is, and its figures.
use super::{Front, Pieces, access, caller, snapshot};
use crate::metrics;
use sampan_api::rpc;
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// The service.
pub struct Cluster(pub Arc<Front>);

#[tonic::async_trait]
impl rpc::cluster_server::Cluster for Cluster {
    async fn status(&self, request: Request<rpc::StatusRequest>) -> Result<Response<rpc::StatusResponse>, Status> {
        access::check_master(&caller(&request)?, "ask for the cluster's status")?;
        Ok(Response::new(match request.get_ref().here {
            true => self.0.status_here(),
            false => self.0.status_of_all().await,
        }))
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
