//! The way to nodes: which node is meant, where its agent answers, and what it means if it does not.
use super::{Front, Pieces};
use futures::StreamExt;
use parking_lot::Mutex;
use sampan_api::{ApiError, Key, Object, Selection, rpc::runtime_client::RuntimeClient};
use sampan_tls::{Credentials, Tcp};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tonic::{
    Status, Streaming,
    transport::{Channel, Endpoint},
};

/// A node that does not take a connection in this time is away.
const CONNECT: Duration = Duration::from_secs(5);
const KEEP_ALIVE: Duration = Duration::from_secs(20);
const MAX_PIECE: usize = 64 << 20;

/// Connections to nodes, made when they are first needed.
pub struct NodeClients {
    credentials: Arc<Credentials>,
    channels: Mutex<HashMap<String, Line>>,
}

/// A connection to a node.
struct Line {
    address: String,
    /// That of the certificate it was made with.
    turn: u64,
    channel: Channel,
}

/// A node that can be asked.
#[derive(Clone)]
pub struct Node {
    pub name: String,
    address: String,
    pub channel: Channel,
    pub client: RuntimeClient<Channel>,
}

impl NodeClients {
    /// With the control plane's own certificate, as a client.
    pub fn new(credentials: Arc<Credentials>) -> Self {
        NodeClients {
            credentials,
            channels: Mutex::default(),
        }
    }

    /// The node of an object.
    ///
    /// # Errors
    /// If it does not say where it can be reached.
    pub(super) fn node(&self, object: &Object) -> Result<Node, ApiError> {
        let name = object.metadata.name.clone();
        let address = address(object).ok_or_else(|| {
            ApiError::unavailable(format!(
                "node \"{name}\" does not say where it can be reached: is its agent running?"
            ))
        })?;
        let turn = self.credentials.turn();
        let mut channels = self.channels.lock();
        let channel = match channels.get(&name) {
            Some(line) if line.address == address && line.turn == turn => line.channel.clone(),
            _ => {
                let channel = self.connect(&name, &address)?;
                let line = Line {
                    address: address.clone(),
                    turn,
                    channel: channel.clone(),
                };
                channels.insert(name.clone(), line);
                channel
            }
        };
        let client = RuntimeClient::new(channel.clone())
            .max_decoding_message_size(MAX_PIECE)
            .max_encoding_message_size(MAX_PIECE);
        Ok(Node {
            name,
            address,
            channel,
            client,
        })
    }

    /// The node must show a certificate for its name, so that no other can answer in its place.
    fn connect(&self, name: &str, address: &str) -> Result<Channel, ApiError> {
        let wrong = |error: &dyn std::fmt::Display| {
            ApiError::unavailable(format!("node \"{name}\" cannot be asked at {address}: {error}"))
        };
        let dialer = self.credentials.dialer(Tcp(address.to_owned()), name);
        let dialer = dialer.map_err(|error| wrong(&error))?;
        let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|error| wrong(&error))?;
        let endpoint = endpoint
            .connect_timeout(CONNECT)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE);
        Ok(endpoint.connect_with_connector_lazy(dialer))
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
    pub(super) fn explain(&self, status: Status) -> ApiError {
        // An answer of the agent carries its reason; what has none comes from the way to it.
        if !status.details().is_empty() || !matches!(status.code(), tonic::Code::Unavailable | tonic::Code::Unknown) {
            return status.into();
        }
        let source = std::error::Error::source(&status);
        let why = source.map_or_else(|| status.message().to_owned(), sampan_tls::origin);
        ApiError::unavailable(format!(
            "node \"{}\" cannot be reached at {}: {why}",
            self.name, self.address
        ))
    }

    /// The answer in pieces, with errors explained.
    pub(super) fn pieces<T: Send + 'static>(self, stream: Streaming<T>) -> Pieces<T> {
        Box::pin(stream.map(move |piece| piece.map_err(|status| self.explain(status).into())))
    }
}

/// A node to be asked, or why it is not.
pub(super) type Asked = (String, Result<Node, ApiError>);

pub(super) fn no_node() -> ApiError {
    ApiError::unavailable("the cluster has no node yet: `sampan get nodes` shows when one has joined")
}

/// Nothing is said against it.
fn is_ready(node: &Object) -> bool {
    let status = node.field_value("status");
    let mut conditions = status["conditions"].as_array().into_iter().flatten();
    conditions.all(|one| one["type"] != "Ready" || one["status"] == "True")
}

impl Front {
    pub(super) fn node_named(&self, name: &str) -> Result<Node, ApiError> {
        let key = Key::new("nodes", "", name);
        let object = self
            .replica
            .snapshot()
            .get(&key)
            .ok_or_else(|| ApiError::not_found(&key))?;
        self.nodes.node(&object)
    }

    /// The node of that name; all of them where it is empty.
    pub(super) fn nodes_named(&self, name: &str) -> Result<Vec<Node>, ApiError> {
        if !name.is_empty() {
            return self.node_named(name).map(|node| vec![node]);
        }
        let state = self.replica.snapshot();
        let nodes: Vec<Node> = state
            .list(&Selection::of("nodes"))
            .map(|(_, node)| self.nodes.node(&node))
            .collect::<Result<_, _>>()?;
        if nodes.is_empty() {
            return Err(no_node());
        }
        Ok(nodes)
    }

    /// The node of that name, whatever is said of it; all of them where it is empty, or why some are not asked.
    pub(super) fn each_node(&self, name: &str) -> Result<Vec<Asked>, ApiError> {
        if !name.is_empty() {
            return Ok(vec![(name.to_owned(), Ok(self.node_named(name)?))]);
        }
        let state = self.replica.snapshot();
        let nodes = Selection::of("nodes");
        let nodes = state.list(&nodes).map(|(key, object)| {
            let node = match is_ready(&object) {
                true => self.nodes.node(&object),
                false => Err(ApiError::unavailable("it is not ready, and was not asked")),
            };
            (key.name.to_string(), node)
        });
        Ok(nodes.collect())
    }

    pub(super) fn node_of_pod(&self, namespace: &str, pod: &str) -> Result<Node, ApiError> {
        self.place_of_pod(namespace, pod).map(|(node, _)| node)
    }

    /// A pod's node, and whether the pod has the node's network.
    pub(super) fn place_of_pod(&self, namespace: &str, pod: &str) -> Result<(Node, bool), ApiError> {
        let namespace = if namespace.is_empty() {
            sampan_api::DEFAULT_NAMESPACE
        } else {
            namespace
        };
        let key = Key::new("pods", namespace, pod);
        let object = self
            .replica
            .snapshot()
            .get(&key)
            .ok_or_else(|| ApiError::not_found(&key))?;
        let spec = object.field_value("spec");
        match spec["nodeName"].as_str() {
            Some(node) if !node.is_empty() => Ok((self.node_named(node)?, spec["hostNetwork"] == true)),
            _ => {
                let message = format!(
                    "{key} is not bound to a node yet, so nothing of it runs: `sampan describe pod {pod}` says why"
                );
                Err(ApiError::bad_request(message))
            }
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
        let of = |ip: &str| {
            node(
                json!({"addresses": [{"type": "Hostname", "address": "x"}, {"type": "InternalIP", "address": ip}], "daemonEndpoints": port}),
            )
        };
        assert_eq!(address(&of("10.0.0.1")).as_deref(), Some("10.0.0.1:4711"));
        assert_eq!(address(&of("fd00::1")).as_deref(), Some("[fd00::1]:4711"));
        // An address is no place to smuggle a path or another host in.
        assert_eq!(address(&of("evil.example/#")), None);
        assert_eq!(address(&node(json!({"daemonEndpoints": port}))), None);
        assert_eq!(
            address(&node(
                json!({"addresses": [], "daemonEndpoints": {"kubeletEndpoint": {"Port": 70000}}})
            )),
            None
        );
    }
}
