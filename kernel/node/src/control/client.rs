//! The connection to the control plane. It is made when it is needed, and again when it was lost.
use crate::servers::Servers;
use parking_lot::Mutex;
use sampan_api::{
    ApiError, Key, Object, Plan, Reason, SERVERS_HOST,
    rpc::{
        self, certificates_client::CertificatesClient, nodes_client::NodesClient, objects_client::ObjectsClient,
        plugins_client::PluginsClient,
    },
};
use sampan_tls::{Credentials, CredentialsError, Dialer};
use std::{sync::Arc, time::Duration};
use tonic::transport::{Channel, Endpoint};

/// A list of many pods in one answer.
const MAX_MESSAGE: usize = 64 << 20;

/// The control plane, as the node sees it. Cloning shares the connection.
///
/// When the node shows another certificate, calls from then on take a new connection; streams that stand keep the old one.
#[derive(Clone)]
pub struct ControlPlane {
    credentials: Arc<Credentials>,
    dialer: Dialer<Servers>,
    /// The connection, and the turn of the certificate it was made with.
    line: Arc<Mutex<Option<(u64, Channel)>>>,
    servers: Servers,
}

impl ControlPlane {
    /// Does not connect yet. `servers` are a list as contexts have it.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn new(servers: &str, credentials: Arc<Credentials>) -> Result<Self, CredentialsError> {
        let servers = Servers::parse(servers);
        Ok(ControlPlane {
            dialer: credentials.dialer(servers.clone(), SERVERS_HOST)?,
            credentials,
            line: Arc::default(),
            servers,
        })
    }

    fn channel(&self) -> Channel {
        let turn = self.credentials.turn();
        let mut line = self.line.lock();
        match &*line {
            Some((known, channel)) if *known == turn => channel.clone(),
            _ => {
                let channel = Endpoint::from_static("http://servers.sampan")
                    .connect_timeout(Duration::from_secs(5))
                    .http2_keep_alive_interval(Duration::from_secs(10))
                    .keep_alive_timeout(Duration::from_secs(5))
                    .keep_alive_while_idle(true)
                    .connect_with_connector_lazy(self.dialer.clone());
                line.insert((turn, channel)).1.clone()
            }
        }
    }

    /// Calls from now on take a new connection.
    pub fn hang_up(&self) {
        *self.line.lock() = None;
    }

    /// Where the control plane is; the list may be renewed.
    pub fn servers(&self) -> &Servers {
        &self.servers
    }

    pub fn objects(&self) -> ObjectsClient<Channel> {
        ObjectsClient::new(self.channel())
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE)
    }

    pub fn certificates(&self) -> CertificatesClient<Channel> {
        CertificatesClient::new(self.channel())
    }

    pub fn plugins(&self) -> PluginsClient<Channel> {
        PluginsClient::new(self.channel())
    }

    pub fn nodes(&self) -> NodesClient<Channel> {
        NodesClient::new(self.channel())
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
