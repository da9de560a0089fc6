//! The listener: TLS, limits, and the services behind the gate.
use super::{
    Front,
    certificates::{Certificates, Own},
    cluster::Cluster,
    gate::GateLayer,
    membership::Membership,
    nodes::Nodes,
    objects::Objects,
    plugins::Plugins,
    runtime::Runtime,
};
use crate::{metrics, peers::PeersService};
use futures::TryStreamExt;
use sampan_api::rpc::{
    self, certificates_server::CertificatesServer, cluster_server::ClusterServer, membership_server::MembershipServer,
    nodes_server::NodesServer, objects_server::ObjectsServer, own_certificate_server::OwnCertificateServer,
    peers_server::PeersServer, plugins_server::PluginsServer, runtime_server::RuntimeServer,
};
use sampan_tls::{Clients, CredentialsError, Handshakes};
use std::{sync::Arc, time::Duration};
use tokio::net::TcpListener;
use tonic::transport::{Server, server::TcpIncoming};
use tonic_health::server::HealthReporter;

/// A request that is no stream.
const MAX_REQUEST: usize = 4 << 20;
/// A piece of a stream of plugins or images.
const MAX_PIECE: usize = 64 << 20;
const KEEP_ALIVE: Duration = Duration::from_secs(20);
const MAX_HEADERS: u32 = 64 << 10;
/// Calls under way on one connection; streams that only answer do not count.
const MAX_CALLS: usize = 512;
const MAX_STREAMS: u32 = 2048;

/// A server that listens.
pub struct Listening {
    pub task: tokio::task::JoinHandle<()>,
    pub health: HealthReporter,
}

/// Serves on a listener until the front serves no more.
///
/// # Errors
/// If the authority cannot be trusted.
pub async fn serve(front: Arc<Front>, listener: TcpListener) -> Result<Listening, CredentialsError> {
    // Whoever comes first installs it; there is no other in this house.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let incoming = TcpIncoming::from(listener)
        .with_nodelay(Some(true))
        .with_keepalive(Some(KEEP_ALIVE));
    // Anybody, for the health service and to join; the gate lets nobody else through.
    let incoming = Handshakes::new(incoming, &front.credentials, Clients::Anybody)?
        .inspect_ok(|_| metrics::count("sampan_connections_total", &[], 1.0));
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<ObjectsServer<Objects>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(rpc::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1();
    let reflection = reflection
        .inspect_err(|error| tracing::error!(%error, "there is no reflection"))
        .ok();
    let serving = front.serving.clone();
    let peers = PeersService {
        peers: front.peers.clone(),
        replica: front.replica.clone(),
        liveness: front.liveness.clone(),
        closing: front.closing.clone(),
    };
    let router = Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE))
        .http2_max_header_list_size(MAX_HEADERS)
        .max_concurrent_streams(MAX_STREAMS)
        .concurrency_limit_per_connection(MAX_CALLS)
        .layer(GateLayer {
            calls: front.calls.clone(),
        })
        .add_service(health_service)
        .add_optional_service(reflection)
        .add_service(ObjectsServer::new(Objects(front.clone())).max_decoding_message_size(MAX_REQUEST))
        .add_service(ClusterServer::new(Cluster(front.clone())).max_decoding_message_size(MAX_REQUEST))
        .add_service(MembershipServer::new(Membership::new(front.clone())).max_decoding_message_size(MAX_REQUEST))
        .add_service(CertificatesServer::new(Certificates(front.clone())).max_decoding_message_size(MAX_REQUEST))
        .add_service(OwnCertificateServer::new(Own(front.clone())).max_decoding_message_size(MAX_REQUEST))
        .add_service(PeersServer::new(peers).max_decoding_message_size(PeersService::LARGEST))
        .add_service(NodesServer::new(Nodes(front.clone())).max_decoding_message_size(MAX_REQUEST))
        .add_service(PluginsServer::new(Plugins::new(front.clone())).max_decoding_message_size(MAX_PIECE))
        .add_service(RuntimeServer::new(Runtime(front)).max_decoding_message_size(MAX_PIECE));
    let task = tokio::spawn(async move {
        if let Err(error) = router
            .serve_with_incoming_shutdown(incoming, serving.cancelled_owned())
            .await
        {
            tracing::error!(%error, "the listener failed");
        }
    });
    Ok(Listening { task, health })
}
