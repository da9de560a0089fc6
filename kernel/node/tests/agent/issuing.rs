//! The test's control plane as it issues certificates: for the one node there is, and for seconds.
use crate::plane::Authority;
use sampan_api::rpc;
use std::{sync::Arc, time::Duration};
use tonic::{Request, Response, Status};

/// So long a certificate lives.
pub const LIFE: Duration = Duration::from_secs(6);

pub struct Issuing(pub Arc<Authority>);

#[tonic::async_trait]
impl rpc::certificates_server::Certificates for Issuing {
    async fn renew(&self, request: Request<rpc::RenewRequest>) -> Result<Response<rpc::RenewResponse>, Status> {
        let csr_pem = request.into_inner().csr_pem;
        let cert_pem = self.0.sign("system:node:n1", "system:nodes", &csr_pem, LIFE);
        Ok(Response::new(rpc::RenewResponse { cert_pem }))
    }

    async fn list(
        &self,
        _: Request<rpc::ListCertificatesRequest>,
    ) -> Result<Response<rpc::ListCertificatesResponse>, Status> {
        Err(Status::unimplemented("not of this test"))
    }

    async fn rotate(&self, _: Request<rpc::RotateRequest>) -> Result<Response<rpc::Certificate>, Status> {
        Err(Status::unimplemented("not of this test"))
    }
}
