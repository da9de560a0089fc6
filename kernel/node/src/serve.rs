//! What the node does for those who ask: logs, images, connections to pods, its certificate, over gRPC, for the control plane and administrators
//! alone.
mod certificate;
mod comparing;
mod forward;
mod images;
mod logs;
mod peers;
mod rights;
mod trace;

use crate::agent::{Node, StartError};
use sampan_api::rpc::{
    self, node_plugins_server::NodePluginsServer, own_certificate_server::OwnCertificateServer,
    runtime_server::RuntimeServer,
};
use sampan_tls::{Clients, Handshakes};
use std::{
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
};
use tokio::{net::TcpListener, sync::watch};
use tokio_stream::Stream;
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Server, server::TcpIncoming},
};

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What is served, and where.
pub struct Serving {
    node: Arc<Node>,
    port: u16,
    serving: Serves,
}

type Serves = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Serving {
    /// Serves for as long as the future is polled, on the machine's address, whatever that comes to be.
    pub async fn follow(mut self, mut address: watch::Receiver<IpAddr>) {
        loop {
            let to = tokio::select! {
                () = &mut self.serving => return,
                Ok(()) = address.changed() => *address.borrow_and_update(),
            };
            let at = SocketAddr::new(to, self.port);
            let listener = match TcpListener::bind(at).await {
                Ok(listener) => listener,
                Err(error) => {
                    tracing::error!(%at, %error, "the node does not serve on its new address");
                    continue;
                }
            };
            match on(self.node.clone(), listener) {
                Ok(serving) => self.serving = serving,
                Err(error) => tracing::error!(%at, %error, "the node does not serve on its new address"),
            }
        }
    }
}

/// What is to be polled.
///
/// # Errors
/// If the authority cannot be trusted.
pub fn serve(node: Arc<Node>, listener: TcpListener) -> Result<Serving, StartError> {
    Ok(Serving {
        port: listener.local_addr().map_or(0, |address| address.port()),
        serving: on(node.clone(), listener)?,
        node,
    })
}

fn on(node: Arc<Node>, listener: TcpListener) -> Result<Serves, StartError> {
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let incoming = Handshakes::new(incoming, &node.credentials, Clients::Known)?;
    let router = Server::builder()
        .add_service(OwnCertificateServer::new(certificate::Own { node: node.clone() }))
        .add_service(NodePluginsServer::new(comparing::NodePlugins { node: node.clone() }))
        .add_service(RuntimeServer::new(Service { node }));
    Ok(Box::pin(async move {
        if let Err(error) = router.serve_with_incoming(incoming).await {
            tracing::error!(%error, "the node does not serve logs and images any more");
        }
    }))
}

struct Service {
    node: Arc<Node>,
}

#[tonic::async_trait]
impl rpc::runtime_server::Runtime for Service {
    type LogsStream = Answers<rpc::LogsResponse>;
    type PullImageStream = Answers<rpc::ImageProgress>;

    async fn logs(&self, request: Request<rpc::LogsRequest>) -> Result<Response<Self::LogsStream>, Status> {
        rights::check(&request)?;
        logs::logs(self.node.clone(), request.into_inner())
            .map(Response::new)
            .map_err(Status::from)
    }

    async fn pull_image(
        &self,
        request: Request<rpc::PullImageRequest>,
    ) -> Result<Response<Self::PullImageStream>, Status> {
        rights::check(&request)?;
        images::pull(self.node.clone(), request.into_inner())
            .map(Response::new)
            .map_err(Status::from)
    }

    async fn load_image(
        &self,
        request: Request<Streaming<rpc::LoadImageRequest>>,
    ) -> Result<Response<rpc::LoadImageResponse>, Status> {
        rights::check(&request)?;
        images::load(&self.node, request.into_inner()).await.map(Response::new)
    }

    async fn list_images(
        &self,
        request: Request<rpc::ListImagesRequest>,
    ) -> Result<Response<rpc::ListImagesResponse>, Status> {
        rights::check(&request)?;
        Ok(Response::new(images::list(&self.node)))
    }

    type PortForwardStream = Answers<rpc::PortForwardResponse>;

    async fn port_forward(
        &self,
        request: Request<Streaming<rpc::PortForwardRequest>>,
    ) -> Result<Response<Self::PortForwardStream>, Status> {
        rights::check(&request)?;
        forward::forward(&self.node, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn trace(&self, request: Request<rpc::TraceRequest>) -> Result<Response<rpc::TraceResponse>, Status> {
        rights::check(&request)?;
        let steps = trace::trace(&self.node, &request.into_inner()).await?;
        Ok(Response::new(steps))
    }

    async fn list_peers(
        &self,
        request: Request<rpc::ListPeersRequest>,
    ) -> Result<Response<rpc::ListPeersResponse>, Status> {
        rights::check(&request)?;
        Ok(Response::new(peers::list(&self.node).await))
    }

    async fn remove_image(
        &self,
        request: Request<rpc::RemoveImageRequest>,
    ) -> Result<Response<rpc::RemoveImageResponse>, Status> {
        rights::check(&request)?;
        images::remove(&self.node, &request.into_inner().image)
            .await
            .map(Response::new)
            .map_err(Status::from)
    }
}
