//! What the node says of its own certificate, and that it renews it when an administrator wants it.
use super::rights;
use crate::agent::Node;
use sampan_api::{ApiError, rpc};
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// The service.
pub struct Own {
    pub node: Arc<Node>,
}

impl Own {
    fn shown(&self) -> rpc::Certificate {
        rpc::Certificate {
            role: "node".to_owned(),
            name: self.node.config.name.clone(),
            der: self.node.credentials.certificate().der().to_vec().into(),
            problem: String::new(),
        }
    }
}

#[tonic::async_trait]
impl rpc::own_certificate_server::OwnCertificate for Own {
    async fn show(&self, request: Request<rpc::ShowOwnRequest>) -> Result<Response<rpc::Certificate>, Status> {
        rights::check(&request)?;
        Ok(Response::new(self.shown()))
    }

    async fn rotate(&self, request: Request<rpc::RotateOwnRequest>) -> Result<Response<rpc::Certificate>, Status> {
        rights::check(&request)?;
        let renewed = self.node.renewer.now().await;
        renewed.map_err(|why| {
            let name = &self.node.config.name;
            ApiError::unavailable(format!("node \"{name}\" cannot renew its certificate: {why}"))
        })?;
        Ok(Response::new(self.shown()))
    }
}
