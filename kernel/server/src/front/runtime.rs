//! The service of what nodes do: logs and images, passed on to the node they are on.
use super::{Front, Pieces, access, caller};
use crate::pki::KeyPair;
use futures::{StreamExt, stream};
use parking_lot::Mutex;
use sampan_api::{ApiError, Key, Object, Reason, Selection, rpc, rpc::runtime_client::RuntimeClient};
use std::{collections::HashMap, future::Future, sync::Arc, time::Duration};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

/// A node that does not take a connection in this time is away.
const CONNECT: Duration = Duration::from_secs(5);
const KEEP_ALIVE: Duration = Duration::from_secs(20);
const MAX_PIECE: usize = 64 << 20;
/// Pieces of an image that may wait for a slow node.
const AHEAD: usize = 8;

/// Connections to nodes, made when they are first needed.
pub struct NodeClients {
    ca_pem: String,
    identity: KeyPair,
    /// By node: the address, and the connection to it.
    channels: Mutex<HashMap<String, (String, Channel)>>,
}

/// A node that can be asked.
#[derive(Clone)]
struct Node {
    name: String,
    address: String,
    client: RuntimeClient<Channel>,
}

impl NodeClients {
    /// `identity` is the control plane's own certificate, as a client.
    pub fn new(ca_pem: &str, identity: KeyPair) -> Self {
        NodeClients { ca_pem: ca_pem.to_owned(), identity, channels: Mutex::default() }
    }

    fn node(&self, object: &Object) -> Result<Node, ApiError> {
        let name = object.metadata.name.clone();
        let address = address(object).ok_or_else(|| {
            ApiError::unavailable(format!("node \"{name}\" does not say where it can be reached: is its agent running?"))
        })?;
        let mut channels = self.channels.lock();
        let channel = match channels.get(&name) {
            Some((known, channel)) if *known == address => channel.clone(),
            _ => {
                let channel = self.connect(&name, &address)?;
                channels.insert(name.clone(), (address.clone(), channel.clone()));
                channel
            }
        };
        let client = RuntimeClient::new(channel).max_decoding_message_size(MAX_PIECE).max_encoding_message_size(MAX_PIECE);
        Ok(Node { name, address, client })
    }

    /// The node must show a certificate for its name, so that no other can answer in its place.
    fn connect(&self, name: &str, address: &str) -> Result<Channel, ApiError> {
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&self.ca_pem))
            .identity(Identity::from_pem(&self.identity.cert_pem, &self.identity.key_pem))
            .domain_name(name);
        let wrong = |error: tonic::transport::Error| {
            ApiError::unavailable(format!("node \"{name}\" cannot be asked at {address}: {error}"))
        };
        let endpoint = Endpoint::from_shared(format!("https://{address}")).map_err(wrong)?;
        let endpoint = endpoint
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .tls_config(tls)
            .map_err(wrong)?;
        Ok(endpoint.connect_lazy())
    }
}

/// Where a node's agent answers.
fn address(node: &Object) -> Option<String> {
    let status = node.field_value("status");
    let port = u16::try_from(status.pointer("/daemonEndpoints/kubeletEndpoint/Port")?.as_u64()?).ok()?;
    let addresses = status["addresses"].as_array()?;
    let ip = addresses.iter().find(|address| address["type"] == "InternalIP")?["address"].as_str()?;
    let ip: std::net::IpAddr = ip.parse().ok()?;
    Some(std::net::SocketAddr::new(ip, port).to_string())
}

impl Node {
    /// What a node answered; if it did not, that it is away.
    fn explain(&self, status: Status) -> ApiError {
        // An answer of the agent carries its reason; what has none comes from the way to it.
        if !status.details().is_empty() || !matches!(status.code(), tonic::Code::Unavailable | tonic::Code::Unknown) {
            return status.into();
        }
        let mut why = status.message().to_owned();
        let mut source = std::error::Error::source(&status);
        while let Some(error) = source {
            why = error.to_string();
            source = error.source();
        }
        ApiError::unavailable(format!("node \"{}\" cannot be reached at {}: {why}", self.name, self.address))
    }

    /// The answer in pieces, with errors explained.
    fn pieces<T: Send + 'static>(self, stream: Streaming<T>) -> Pieces<T> {
        Box::pin(stream.map(move |piece| piece.map_err(|status| self.explain(status).into())))
    }
}

impl Front {
    fn node_named(&self, name: &str) -> Result<Node, ApiError> {
        let key = Key::new("nodes", "", name);
        let object = self.replica.snapshot().get(&key).ok_or_else(|| ApiError::not_found(&key))?;
        self.nodes.node(&object)
    }

    /// The node of that name; all of them where it is empty.
    fn nodes_named(&self, name: &str) -> Result<Vec<Node>, ApiError> {
        if !name.is_empty() {
            return self.node_named(name).map(|node| vec![node]);
        }
        let state = self.replica.snapshot();
        let nodes: Vec<Node> =
            state.list(&Selection::of("nodes")).map(|(_, node)| self.nodes.node(&node)).collect::<Result<_, _>>()?;
        if nodes.is_empty() {
            return Err(ApiError::unavailable("the cluster has no node yet: `sampan get nodes` shows when one has joined"));
        }
        Ok(nodes)
    }

    fn node_of_pod(&self, namespace: &str, pod: &str) -> Result<Node, ApiError> {
        let namespace = if namespace.is_empty() { sampan_api::DEFAULT_NAMESPACE } else { namespace };
        let key = Key::new("pods", namespace, pod);
        let object = self.replica.snapshot().get(&key).ok_or_else(|| ApiError::not_found(&key))?;
        match object.field_value("spec")["nodeName"].as_str() {
            Some(node) if !node.is_empty() => self.node_named(node),
            _ => {
                let message = format!("{key} is not bound to a node yet, so it has no logs: `sampan describe pod {pod}` says why");
                Err(ApiError::bad_request(message))
            }
        }
    }
}

/// Asks all nodes at the same time.
async fn ask_all<T, F>(nodes: Vec<Node>, ask: impl Fn(Node) -> F) -> Result<Vec<(Node, T)>, ApiError>
where
    F: Future<Output = Result<Response<T>, Status>>,
{
    let asked = nodes.into_iter().map(|node| {
        let answer = ask(node.clone());
        async move {
            match answer.await {
                Ok(answer) => Ok((node, answer.into_inner())),
                Err(status) => Err(node.explain(status)),
            }
        }
    });
    futures::future::try_join_all(asked).await
}

/// The service.
pub struct Runtime(pub Arc<Front>);

#[tonic::async_trait]
impl rpc::runtime_server::Runtime for Runtime {
    type LogsStream = Pieces<rpc::LogsResponse>;

    async fn logs(&self, request: Request<rpc::LogsRequest>) -> Result<Response<Self::LogsStream>, Status> {
        access::check_master(&caller(&request)?, "read logs")?;
        let mut request = request.into_inner();
        if request.namespace.is_empty() {
            sampan_api::DEFAULT_NAMESPACE.clone_into(&mut request.namespace);
        }
        let mut node = self.0.node_of_pod(&request.namespace, &request.pod)?;
        match node.client.logs(request).await {
            Ok(answer) => Ok(Response::new(node.pieces(answer.into_inner()))),
            Err(status) => Err(node.explain(status).into()),
        }
    }

    type PullImageStream = Pieces<rpc::ImageProgress>;

    async fn pull_image(&self, request: Request<rpc::PullImageRequest>) -> Result<Response<Self::PullImageStream>, Status> {
        access::check_master(&caller(&request)?, "pull images")?;
        let request = request.into_inner();
        let nodes = self.0.nodes_named(&request.node)?;
        let streams = ask_all(nodes, |mut node| {
            let request = rpc::PullImageRequest { node: node.name.clone(), ..request.clone() };
            async move { node.client.pull_image(request).await }
        });
        let streams = streams.await?.into_iter().map(|(node, stream)| {
            let name = node.name.clone();
            node.pieces(stream).map(move |piece| piece.map(|piece| rpc::ImageProgress { node: name.clone(), ..piece }))
        });
        Ok(Response::new(Box::pin(stream::select_all(streams))))
    }

    async fn load_image(
        &self,
        request: Request<Streaming<rpc::LoadImageRequest>>,
    ) -> Result<Response<rpc::LoadImageResponse>, Status> {
        access::check_master(&caller(&request)?, "load images")?;
        let mut pieces = request.into_inner();
        let Some(first) = pieces.message().await? else {
            return Err(ApiError::bad_request("no image was sent").into());
        };
        let nodes = self.0.nodes_named(&first.node)?;
        let mut ways = Vec::with_capacity(nodes.len());
        let loading = nodes.into_iter().map(|mut node| {
            let (way, receiver) = mpsc::channel(AHEAD);
            ways.push((node.name.clone(), way));
            async move { node.client.load_image(ReceiverStream::new(receiver)).await.map_err(|status| node.explain(status)) }
        });
        let loading = futures::future::try_join_all(loading.collect::<Vec<_>>());
        let passing = async move {
            let mut piece = Some(first);
            while let Some(next) = piece {
                for (name, way) in &ways {
                    // A node that takes no more has an answer to give: it is waited for.
                    let _ = way.send(rpc::LoadImageRequest { node: name.clone(), ..next.clone() }).await;
                }
                if ways.iter().all(|(_, way)| way.is_closed()) {
                    break;
                }
                piece = pieces.message().await?;
            }
            Ok::<(), Status>(())
        };
        // If the client breaks off, the nodes must not take what they have for the whole: then their calls are dropped.
        let ((), answers) = tokio::try_join!(passing, async { loading.await.map_err(Status::from) })?;
        let mut images: Vec<String> = answers.into_iter().flat_map(|answer| answer.into_inner().images).collect();
        images.sort();
        images.dedup();
        Ok(Response::new(rpc::LoadImageResponse { images }))
    }

    async fn list_images(&self, request: Request<rpc::ListImagesRequest>) -> Result<Response<rpc::ListImagesResponse>, Status> {
        access::check_master(&caller(&request)?, "list images")?;
        let nodes = self.0.nodes_named(&request.into_inner().node)?;
        let answers = ask_all(nodes, |mut node| async move {
            node.client.list_images(rpc::ListImagesRequest { node: node.name.clone() }).await
        });
        let of_node = |(node, answer): (Node, rpc::ListImagesResponse)| {
            answer.images.into_iter().map(move |image| rpc::Image { node: node.name.clone(), ..image })
        };
        Ok(Response::new(rpc::ListImagesResponse { images: answers.await?.into_iter().flat_map(of_node).collect() }))
    }

    async fn remove_image(&self, request: Request<rpc::RemoveImageRequest>) -> Result<Response<rpc::RemoveImageResponse>, Status> {
        access::check_master(&caller(&request)?, "remove images")?;
        let request = request.into_inner();
        let nodes = self.0.nodes_named(&request.node)?;
        let mut total = rpc::RemoveImageResponse::default();
        let mut missing = None;
        let mut found = false;
        for mut node in nodes {
            let asked = rpc::RemoveImageRequest { node: node.name.clone(), ..request.clone() };
            match node.client.remove_image(asked).await.map_err(|status| node.explain(status)) {
                Ok(answer) => {
                    let answer = answer.into_inner();
                    found = true;
                    total.removed.extend(answer.removed);
                    total.freed_bytes += answer.freed_bytes;
                }
                // It need not be on every node.
                Err(error) if error.reason == Reason::NotFound => missing = Some(error),
                Err(error) => return Err(error.into()),
            }
        }
        match missing {
            Some(error) if !found => Err(error.into()),
            _ => Ok(Response::new(total)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_node_says_where_it_is() {
        let node = |status: serde_json::Value| Object::default().with_field("status", &status);
        let port = json!({"kubeletEndpoint": {"Port": 4711}});
        let of = |ip: &str| node(json!({"addresses": [{"type": "Hostname", "address": "x"}, {"type": "InternalIP", "address": ip}], "daemonEndpoints": port}));
        assert_eq!(address(&of("10.0.0.1")).as_deref(), Some("10.0.0.1:4711"));
        assert_eq!(address(&of("fd00::1")).as_deref(), Some("[fd00::1]:4711"));
        // An address is no place to smuggle a path or another host in.
        assert_eq!(address(&of("evil.example/#")), None);
        assert_eq!(address(&node(json!({"daemonEndpoints": port}))), None);
        assert_eq!(address(&node(json!({"addresses": [], "daemonEndpoints": {"kubeletEndpoint": {"Port": 70000}}}))), None);
    }
}
