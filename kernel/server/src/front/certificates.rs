//! The services of certificates: who shows which, a new one for whoever calls, and what this server says of its own.
use super::{
    Front, access, caller,
    membership::{addresses, check_csr, member_named},
};
use crate::pki::Identity;
use futures::{StreamExt, stream};
use sampan_api::{
    ApiError, Key, Reason, Selection,
    rpc::{self, own_certificate_client::OwnCertificateClient},
};
use std::{future::Future, sync::Arc, time::Duration};
use tonic::{Request, Response, Status, transport::Channel};

/// Who does not say what it shows in this time is passed over.
const ASKING: Duration = Duration::from_secs(3);
/// A node that renews asks a server, which may have to be looked for.
const ROTATING: Duration = Duration::from_secs(20);
/// Servers and nodes that are asked at the same time.
const TOGETHER: usize = 64;

const AUTHORITY: &str = "authority";
const SERVER: &str = "server";
const NODE: &str = "node";

/// Who has a certificate, and the way there.
struct Bearer {
    role: &'static str,
    name: String,
    channel: Result<Channel, ApiError>,
}

/// The service for clients.
pub struct Certificates(pub Arc<Front>);

impl Certificates {
    async fn list(&self) -> Vec<rpc::Certificate> {
        let front = &self.0;
        let authority = rpc::Certificate {
            role: AUTHORITY.to_owned(),
            name: front.cluster_name.clone(),
            der: front.authority.certificate().der().to_vec().into(),
            problem: String::new(),
        };
        let mut others: Vec<rpc::Certificate> = stream::iter(self.others().await)
            .map(|bearer| async move { bearer.show().await })
            .buffer_unordered(TOGETHER)
            .collect()
            .await;
        // Servers before nodes.
        others.sort_by(|one, other| (&other.role, &one.name).cmp(&(&one.role, &other.name)));
        let mut found = vec![authority, front.own_certificate()];
        found.extend(others);
        found
    }

    /// The other servers, and all nodes.
    async fn others(&self) -> Vec<Bearer> {
        let front = &self.0;
        let own = front.peers.own().member;
        let peers = front.peers.book().all().into_iter().filter(|peer| peer.id != own);
        let peers = peers.map(|peer| async move {
            Bearer {
                role: SERVER,
                channel: front.peers.channel(peer.id).await,
                name: peer.name,
            }
        });
        let mut bearers = futures::future::join_all(peers).await;
        let state = front.replica.snapshot();
        let nodes = Selection::of("nodes");
        bearers.extend(state.list(&nodes).map(|(_, node)| Bearer {
            role: NODE,
            name: node.metadata.name.clone(),
            channel: front.nodes.node(&node).map(|node| node.channel),
        }));
        bearers
    }

    fn renew(&self, who: &Identity, request: &rpc::RenewRequest) -> Result<rpc::RenewResponse, ApiError> {
        check_csr(&request.csr_pem)?;
        let authority = &self.0.authority;
        let signed = match (who.node(), who.server()) {
            (Some(node), _) => {
                let key = Key::new("nodes", "", node);
                if self.0.replica.snapshot().get(&key).is_none() {
                    let message = format!(
                        "node \"{node}\" is not in the cluster any more: it must join again (`sampan token create`, \
                         `sampan join`)"
                    );
                    return Err(ApiError::new(Reason::Forbidden, message));
                }
                authority.sign_node(node, &addresses(&request.addresses)?, &request.csr_pem)
            }
            (None, Some(_)) => {
                let message = format!("user \"{}\" is a server: it issues its certificate itself", who.user);
                return Err(ApiError::new(Reason::Forbidden, message));
            }
            (None, None) => authority.sign_client(who, &request.csr_pem),
        };
        let cert_pem = signed.map_err(|error| ApiError::bad_request(error.to_string()))?;
        tracing::info!(user = who.user, "a certificate was renewed");
        Ok(rpc::RenewResponse { cert_pem })
    }

    async fn rotate(&self, request: &rpc::RotateRequest) -> Result<rpc::Certificate, ApiError> {
        let front = &self.0;
        let name = request.name.clone();
        let (role, channel) = match request.role.as_str() {
            NODE => (NODE, front.node_named(&name).map(|node| node.channel)?),
            SERVER => {
                let peer = member_named(&front.replica.snapshot(), &name)?;
                if peer.id == front.peers.own().member {
                    return front.rotate_own().await;
                }
                (SERVER, front.peers.channel(peer.id).await?)
            }
            other => {
                let message = format!("\"{other}\" is neither a server nor a node");
                return Err(ApiError::bad_request(message));
            }
        };
        let request = rpc::RotateOwnRequest {};
        let mut client = OwnCertificateClient::new(channel);
        answered(role, &name, ROTATING, client.rotate(request)).await
    }
}

impl Bearer {
    async fn show(self) -> rpc::Certificate {
        let Bearer { role, name, channel } = self;
        let asked = async {
            let mut client = OwnCertificateClient::new(channel?);
            answered(role, &name, ASKING, client.show(rpc::ShowOwnRequest {})).await
        };
        match asked.await {
            Ok(shown) => rpc::Certificate {
                role: role.to_owned(),
                name,
                ..shown
            },
            Err(error) => rpc::Certificate {
                role: role.to_owned(),
                name,
                der: Default::default(),
                problem: error.message,
            },
        }
    }
}

/// What a server or node answered, or why it did not.
async fn answered<T>(
    role: &str,
    name: &str,
    patience: Duration,
    answer: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, ApiError> {
    let away = |why: &str| ApiError::unavailable(format!("{role} \"{name}\" cannot be asked: {why}"));
    match tokio::time::timeout(patience, answer).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) if !status.details().is_empty() => Err(status.into()),
        Ok(Err(status)) => {
            let source = std::error::Error::source(&status);
            Err(away(
                &source.map_or_else(|| status.message().to_owned(), sampan_tls::origin),
            ))
        }
        Err(_) => Err(away("it does not answer")),
    }
}

impl Front {
    fn own_certificate(&self) -> rpc::Certificate {
        let own = self.peers.own().member;
        let name = self.peers.book().get(own).map(|peer| peer.name).unwrap_or_default();
        rpc::Certificate {
            role: SERVER.to_owned(),
            name,
            der: self.credentials.certificate().der().to_vec().into(),
            problem: String::new(),
        }
    }

    async fn rotate_own(&self) -> Result<rpc::Certificate, ApiError> {
        self.renewer.now().await.map_err(ApiError::unavailable)?;
        Ok(self.own_certificate())
    }
}

#[tonic::async_trait]
impl rpc::certificates_server::Certificates for Certificates {
    async fn list(
        &self,
        request: Request<rpc::ListCertificatesRequest>,
    ) -> Result<Response<rpc::ListCertificatesResponse>, Status> {
        access::check_master(&caller(&request)?, "list the cluster's certificates")?;
        let certificates = self.list().await;
        Ok(Response::new(rpc::ListCertificatesResponse { certificates }))
    }

    async fn renew(&self, request: Request<rpc::RenewRequest>) -> Result<Response<rpc::RenewResponse>, Status> {
        let who = caller(&request)?;
        Ok(Response::new(self.renew(&who, request.get_ref())?))
    }

    async fn rotate(&self, request: Request<rpc::RotateRequest>) -> Result<Response<rpc::Certificate>, Status> {
        access::check_master(&caller(&request)?, "renew the certificates of servers and nodes")?;
        Ok(Response::new(self.rotate(request.get_ref()).await?))
    }
}

/// The service of this server's own.
pub struct Own(pub Arc<Front>);

#[tonic::async_trait]
impl rpc::own_certificate_server::OwnCertificate for Own {
    async fn show(&self, request: Request<rpc::ShowOwnRequest>) -> Result<Response<rpc::Certificate>, Status> {
        access::check_master(&caller(&request)?, "look at a server's certificate")?;
        Ok(Response::new(self.0.own_certificate()))
    }

    async fn rotate(&self, request: Request<rpc::RotateOwnRequest>) -> Result<Response<rpc::Certificate>, Status> {
        access::check_master(&caller(&request)?, "renew a server's certificate")?;
        Ok(Response::new(self.0.rotate_own().await?))
    }
}
