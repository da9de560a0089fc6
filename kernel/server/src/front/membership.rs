//! The service of membership: tokens, joining, and which servers make up the group.
use super::{Front, access, caller};
use crate::{
    clock::now_millis,
    peers::{self, Peer, members},
    token::{Role, Token},
};
use sampan_api::{
    ApiError, Key, Object, Operation, Plan, Reason, Selection, Write, kinds,
    plan::Deletion,
    rpc::{self, membership_client::MembershipClient},
    validate,
};
use sampan_state::Snapshot;
use serde_json::json;
use std::{collections::BTreeSet, net::IpAddr, sync::Arc, time::Duration};
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

/// A machine's request for a certificate is small.
const MAX_CSR: usize = 16 << 10;
const MAX_ADDRESSES: usize = 16;

/// A token lives at least and at most so long, in seconds.
const TTL: std::ops::RangeInclusive<u32> = 1..=365 * 24 * 60 * 60;

/// Joins that are looked at together: each is asked for without a certificate.
const TOGETHER: usize = 8;

/// Who failed waits, so that guessing is slow.
const PENALTY: Duration = Duration::from_secs(1);

/// The service.
pub struct Membership {
    front: Arc<Front>,
    joining: Semaphore,
}

impl Membership {
    pub fn new(front: Arc<Front>) -> Self {
        Membership {
            front,
            joining: Semaphore::new(TOGETHER),
        }
    }

    async fn admit(&self, request: &rpc::JoinRequest) -> Result<rpc::JoinResponse, ApiError> {
        let token: Token = request.token.parse()?;
        let role: Role = request.role.parse()?;
        if !validate::is_name(&request.name) {
            let message = format!(
                "\"{}\" cannot be a machine's name: use lower-case letters, digits, '-' and '.'",
                request.name
            );
            return Err(ApiError::bad_request(message));
        }
        check_csr(&request.csr_pem)?;
        if token.fingerprint != self.front.authority.fingerprint() {
            let message = "the token is of another cluster: its authority is not this one's";
            return Err(ApiError::new(Reason::Unauthorized, message));
        }
        self.front.replica.barrier().await?;
        let state = self.front.replica.snapshot();
        let stored = state.get(&token.key());
        let used = token.admit(stored.as_deref(), role, &request.name, now_millis())?;
        match role {
            Role::Node => self.admit_node(request, used, &state).await,
            Role::Server => self.admit_server(request, used, &state).await,
        }
    }

    async fn admit_node(
        &self,
        request: &rpc::JoinRequest,
        used: Write,
        state: &Snapshot,
    ) -> Result<rpc::JoinResponse, ApiError> {
        let addresses = addresses(std::slice::from_ref(&request.address))?;
        let cert_pem = self
            .front
            .authority
            .sign_node(&request.name, &addresses, &request.csr_pem)
            .map_err(|error| ApiError::bad_request(error.to_string()))?;
        let pod_cidr = free_pod_cidr(state)?;
        let node = new_object("nodes", &request.name)?
            .with_field("spec", &json!({"podCIDR": pod_cidr, "podCIDRs": [pod_cidr]}));
        let create = Write::new(Key::new("nodes", "", &request.name), Operation::Create(node));
        self.commit(vec![used, create], &request.name).await?;
        Ok(rpc::JoinResponse {
            cert_pem,
            pod_cidr,
            ..self.welcome()
        })
    }

    async fn admit_server(
        &self,
        request: &rpc::JoinRequest,
        used: Write,
        state: &Snapshot,
    ) -> Result<rpc::JoinResponse, ApiError> {
        let (host, port) = request.address.rsplit_once(':').unwrap_or_default();
        if host.is_empty() || port.parse::<u16>().map_or(true, |port| port == 0) {
            let message = format!(
                "\"{}\" is no address that other servers can reach: give HOST:PORT with --advertise",
                request.address
            );
            return Err(ApiError::bad_request(message));
        }
        let known = members(state);
        if let Some(other) = known.iter().find(|peer| peer.address == request.address) {
            let message = format!("server \"{}\" is at {} already", other.name, other.address);
            return Err(ApiError::new(Reason::AlreadyExists, message));
        }
        let id = loop {
            let id = u64::from(rand::random::<u32>());
            if id > 1 && known.iter().all(|peer| peer.id != id) {
                break id;
            }
        };
        let member = new_object(peers::RESOURCE, &request.name)?
            .with_field("spec", &json!({"id": id, "address": request.address}));
        let key = Key::new(peers::RESOURCE, "", &request.name);
        self.commit(vec![used, Write::new(key, Operation::Create(member))], &request.name)
            .await?;
        let known = members(&self.front.replica.snapshot());
        Ok(rpc::JoinResponse {
            ca_key_pem: self.front.authority.key_pem(),
            member: id,
            members: known.into_iter().map(address_of).collect(),
            ..self.welcome()
        })
    }

    async fn commit(&self, writes: Vec<Write>, name: &str) -> Result<(), ApiError> {
        let committed = self.front.replica.commit_one(Plan { writes }).await;
        committed.map(drop).map_err(|error| match error.reason {
            Reason::AlreadyExists => {
                let message = format!(
                    "\"{name}\" is in the cluster already: choose another --name, or take the old one away first \
                     (`sampan delete node {name}`, `sampan member remove {name}`)"
                );
                ApiError::new(Reason::AlreadyExists, message)
            }
            Reason::Conflict => ApiError::new(
                Reason::Conflict,
                "the token was used by another at this moment: try again, or create another",
            ),
            _ => error,
        })
    }

    fn welcome(&self) -> rpc::JoinResponse {
        rpc::JoinResponse {
            cluster: self.front.peers.own().cluster.clone(),
            cluster_name: self.front.cluster_name.clone(),
            ca_pem: self.front.authority.ca_pem().to_owned(),
            servers: self
                .front
                .peers
                .book()
                .all()
                .into_iter()
                .map(|peer| peer.address)
                .collect(),
            ..rpc::JoinResponse::default()
        }
    }

    async fn create_token(&self, request: &rpc::CreateTokenRequest) -> Result<rpc::CreateTokenResponse, ApiError> {
        let role: Role = request.role.parse()?;
        if !TTL.contains(&request.ttl_seconds) {
            let message = format!("a token lives from 1 second to 365 days, not {} s", request.ttl_seconds);
            return Err(ApiError::bad_request(message));
        }
        let token = Token::new(self.front.authority.fingerprint());
        let expires = now_millis() + u64::from(request.ttl_seconds) * 1000;
        let object = token.object(role, expires, request.single_use, &request.description)?;
        let write = Write::new(token.key(), Operation::Create(object));
        let committed = self.front.replica.commit_one(Plan::from(write)).await?;
        let object = committed.objects.first().and_then(Option::as_ref);
        Ok(rpc::CreateTokenResponse {
            token: token.reveal(),
            object: object.map(|object| rpc::Object::new(&token.key(), object)),
        })
    }

    /// On the leader, which knows who is there.
    async fn remove(&self, name: &str) -> Result<(), ApiError> {
        self.front.replica.barrier().await?;
        let state = self.front.replica.snapshot();
        let peer = member_named(&state, name)?;
        let status = self.front.replica.status();
        let active = |id: &u64| {
            *id == status.leader
                || status
                    .progress
                    .iter()
                    .any(|progress| progress.member == *id && progress.active)
        };
        let rest: Vec<u64> = status.voters.iter().copied().filter(|id| *id != peer.id).collect();
        let alive = rest.iter().filter(|id| active(id)).count();
        if status.voters.contains(&peer.id) && alive < rest.len() / 2 + 1 {
            let message = format!(
                "without \"{name}\" only {alive} of {} servers would be there, which is no majority: nothing could be \
                 written any more. Bring another back, or join a new one, first",
                rest.len()
            );
            return Err(ApiError::new(Reason::Conflict, message));
        }
        let deletion = Deletion {
            final_: true,
            ..Deletion::default()
        };
        let write = Write::new(Key::new(peers::RESOURCE, "", name), Operation::Delete(deletion));
        self.front.replica.commit_one(Plan::from(write)).await.map(drop)
    }

    fn transfer(&self, name: &str) -> Result<String, ApiError> {
        let state = self.front.replica.snapshot();
        let status = self.front.replica.status();
        let heir = match name {
            "" => members(&state)
                .into_iter()
                .find(|peer| peer.id != status.leader && status.voters.contains(&peer.id))
                .ok_or_else(|| ApiError::bad_request("there is no other server that could lead"))?,
            name => member_named(&state, name)?,
        };
        if !status.voters.contains(&heir.id) {
            let message = format!("\"{}\" is a learner: it leads no one until it has caught up", heir.name);
            return Err(ApiError::bad_request(message));
        }
        self.front.replica.transfer_leadership(heir.id);
        Ok(heir.name)
    }
}

fn member_named(state: &Snapshot, name: &str) -> Result<Peer, ApiError> {
    let known = members(state);
    known.iter().find(|peer| peer.name == name).cloned().ok_or_else(|| {
        let names: Vec<&str> = known.iter().map(|peer| peer.name.as_str()).collect();
        let message = format!("no server \"{name}\": the members are {}", names.join(", "));
        ApiError::new(Reason::NotFound, message)
    })
}

fn address_of(peer: Peer) -> rpc::MemberAddress {
    rpc::MemberAddress {
        id: peer.id,
        name: peer.name,
        address: peer.address,
    }
}

fn new_object(resource: &str, name: &str) -> Result<Object, ApiError> {
    let kind = kinds::of_resource(resource).ok_or_else(|| ApiError::internal(format!("{resource} are no kind")))?;
    Ok(Object::new(kind, "", name))
}

pub(super) fn check_csr(csr: &str) -> Result<(), ApiError> {
    if csr.len() > MAX_CSR {
        return Err(ApiError::bad_request(format!(
            "a request for a certificate has at most {MAX_CSR} bytes"
        )));
    }
    Ok(())
}

/// Only addresses: what else a certificate is good for is not for its bearer to say.
pub(super) fn addresses(given: &[String]) -> Result<Vec<String>, ApiError> {
    if given.len() > MAX_ADDRESSES {
        return Err(ApiError::bad_request(format!(
            "at most {MAX_ADDRESSES} addresses can be given"
        )));
    }
    let parse = |text: &String| -> Result<String, ApiError> {
        let address: IpAddr = text
            .parse()
            .map_err(|_| ApiError::bad_request(format!("\"{text}\" is no IP address")))?;
        Ok(address.to_string())
    };
    given.iter().filter(|text| !text.is_empty()).map(parse).collect()
}

/// The lowest range of pods' addresses that no node has.
fn free_pod_cidr(state: &Snapshot) -> Result<String, ApiError> {
    let nodes = Selection::of("nodes");
    let taken: BTreeSet<String> = state
        .list(&nodes)
        .filter_map(|(_, node)| Some(node.field_value("spec")["podCIDR"].as_str()?.to_owned()))
        .collect();
    (0..=255)
        .map(|n| format!("10.42.{n}.0/24"))
        .find(|cidr| !taken.contains(cidr))
        .ok_or_else(|| {
            ApiError::new(
                Reason::Conflict,
                "all ranges of pods' addresses are taken: delete nodes that are gone",
            )
        })
}

#[tonic::async_trait]
impl rpc::membership_server::Membership for Membership {
    async fn join(&self, request: Request<rpc::JoinRequest>) -> Result<Response<rpc::JoinResponse>, Status> {
        let Ok(_turn) = self.joining.acquire().await else {
            return Err(ApiError::unavailable("the control plane is shutting down").into());
        };
        match self.admit(&request.into_inner()).await {
            Ok(welcome) => Ok(Response::new(welcome)),
            Err(error) => {
                tracing::warn!(%error, "a machine was not let in");
                tokio::time::sleep(PENALTY).await;
                Err(error.into())
            }
        }
    }

    async fn create_token(
        &self,
        request: Request<rpc::CreateTokenRequest>,
    ) -> Result<Response<rpc::CreateTokenResponse>, Status> {
        access::check_master(&caller(&request)?, "create tokens")?;
        Ok(Response::new(self.create_token(request.get_ref()).await?))
    }

    async fn remove_member(
        &self,
        request: Request<rpc::RemoveMemberRequest>,
    ) -> Result<Response<rpc::RemoveMemberResponse>, Status> {
        access::check_master(&caller(&request)?, "remove servers")?;
        if let Some(leader) = self.front.leader().await? {
            return MembershipClient::new(leader).remove_member(request.into_inner()).await;
        }
        self.remove(&request.get_ref().name).await?;
        Ok(Response::new(rpc::RemoveMemberResponse {}))
    }

    async fn transfer_leadership(
        &self,
        request: Request<rpc::TransferLeadershipRequest>,
    ) -> Result<Response<rpc::TransferLeadershipResponse>, Status> {
        access::check_master(&caller(&request)?, "hand leadership over")?;
        let name = self.transfer(&request.get_ref().name)?;
        Ok(Response::new(rpc::TransferLeadershipResponse { name }))
    }
}
