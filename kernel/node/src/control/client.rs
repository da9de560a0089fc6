//! The connection to the control plane. It is made when it is needed, and again when it was lost.
use crate::{config::AgentConfig, servers::Servers};
use sampan_api::{
    ApiError, Key, Object, Plan, Reason, SERVERS_HOST,
    rpc::{self, nodes_client::NodesClient, objects_client::ObjectsClient},
};
use std::time::Duration;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

/// A list of many pods in one answer.
const MAX_MESSAGE: usize = 64 << 20;

/// The control plane, as the node sees it. Cloning shares the connection.
#[derive(Clone, Debug)]
pub struct ControlPlane {
    channel: Channel,
    servers: Servers,
}

impl ControlPlane {
    /// Does not connect yet.
    ///
    /// # Errors
    /// If the address or the certificates make no sense.
    pub fn new(config: &AgentConfig) -> Result<Self, tonic::transport::Error> {
        let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&config.ca_pem));
        tls = tls
            .identity(Identity::from_pem(&config.cert_pem, &config.key_pem))
            .domain_name(SERVERS_HOST);
        let endpoint = Endpoint::from_shared(format!("https://{}", SERVERS_HOST))?
            .tls_config(tls)?
            .connect_timeout(Duration::from_secs(5))
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(5))
            .keep_alive_while_idle(true);
        let servers = Servers::parse(&config.server);
        Ok(ControlPlane {
            channel: endpoint.connect_with_connector_lazy(servers.clone()),
            servers,
        })
    }

    /// Where the control plane is; the list may be renewed.
    pub fn servers(&self) -> &Servers {
        &self.servers
    }

    pub fn objects(&self) -> ObjectsClient<Channel> {
        ObjectsClient::new(self.channel.clone())
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE)
    }

    pub fn nodes(&self) -> NodesClient<Channel> {
        NodesClient::new(self.channel.clone())
    }

    /// One object; none if it does not exist.
    ///
    /// # Errors
    /// What the control plane says, or that it is away.
    pub async fn get(&self, key: &Key) -> Result<Option<Object>, ApiError> {
        let mut request = tonic::Request::new(rpc::GetRequest {
            key: Some(key.into()),
            stale: false,
        });
        request.set_timeout(Duration::from_secs(5));
        match self.objects().get(request).await {
            Ok(found) => found.into_inner().object().map(Some),
            Err(status) => match ApiError::from(status) {
                error if error.reason == Reason::NotFound => Ok(None),
                error => Err(error),
            },
        }
    }

    /// Commits plans, each for itself.
    ///
    /// # Errors
    /// That of all of them: the control plane is away, or does not let this node.
    pub async fn commit(&self, plans: &[Plan]) -> Result<Vec<Result<(), ApiError>>, ApiError> {
        let plans = plans.iter().map(rpc::Plan::from).collect();
        let mut request = tonic::Request::new(rpc::CommitRequest {
            plans,
            idempotency_key: String::new(),
        });
        request.set_timeout(Duration::from_secs(30));
        let response = self
            .objects()
            .commit(request)
            .await
            .map_err(ApiError::from)?
            .into_inner();
        let one = |result: rpc::PlanResult| match result.result {
            Some(rpc::plan_result::Result::Failure(failure)) => Err(ApiError::from(&failure)),
            _ => Ok(()),
        };
        Ok(response.results.into_iter().map(one).collect())
    }
}
