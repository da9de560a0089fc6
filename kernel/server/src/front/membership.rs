//! The service of membership: tokens, and which servers make up the group. Joining is a matter of its own.
use super::{Front, access, caller, joining::Joining};
use crate::{
    clock::now_millis,
    peers::{self, Peer, members},
    token::{Role, Token},
};
use sampan_api::{
    ApiError, Key, Operation, Plan, Reason, Write,
    plan::Deletion,
    rpc::{self, membership_client::MembershipClient},
};
use sampan_state::Snapshot;
use serde_json::json;
use std::{net::IpAddr, sync::Arc};
use tonic::{Request, Response, Status};

/// A machine's request for a certificate is small.
const MAX_CSR: usize = 16 << 10;
const MAX_ADDRESSES: usize = 16;

/// A token lives at least and at most so long, in seconds.
const TTL: std::ops::RangeInclusive<u32> = 1..=365 * 24 * 60 * 60;

/// The service.
pub struct Membership {
    front: Arc<Front>,
    joining: Joining,
}

impl Membership {
    pub fn new(front: Arc<Front>) -> Self {
        Membership {
            joining: Joining::new(front.clone()),
            front,
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

    /// Makes a standby one that is to vote.
    async fn promote(&self, name: &str) -> Result<(), ApiError> {
        self.front.replica.barrier().await?;
        let state = self.front.replica.snapshot();
        let peer = member_named(&state, name)?;
        if !peer.standby {
            let message = format!("\"{name}\" is no standby: it votes, or will once it has caught up");
            return Err(ApiError::bad_request(message));
        }
        let patch = json!({"spec": {"standby": null}});
        let write = Write::new(Key::new(peers::RESOURCE, "", name), Operation::Merge(patch));
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
            let until = match heir.standby {
                true => format!("it is promoted (`sampan member promote {}`)", heir.name),
                false => "it has caught up".to_owned(),
            };
            let message = format!("\"{}\" is a learner: it leads no one until {until}", heir.name);
            return Err(ApiError::bad_request(message));
        }
        self.front.replica.transfer_leadership(heir.id);
        Ok(heir.name)
    }
}

/// The server of a name.
pub fn member_named(state: &Snapshot, name: &str) -> Result<Peer, ApiError> {
    let known = members(state);
    known.iter().find(|peer| peer.name == name).cloned().ok_or_else(|| {
        let names: Vec<&str> = known.iter().map(|peer| peer.name.as_str()).collect();
        let message = format!("no server \"{name}\": the members are {}", names.join(", "));
        ApiError::new(Reason::NotFound, message)
    })
}

pub fn check_csr(csr: &str) -> Result<(), ApiError> {
    if csr.len() > MAX_CSR {
        return Err(ApiError::bad_request(format!(
            "a request for a certificate has at most {MAX_CSR} bytes"
        )));
    }
    Ok(())
}

/// Only addresses: what else a certificate is good for is not for its bearer to say.
pub fn addresses(given: &[String]) -> Result<Vec<String>, ApiError> {
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

#[tonic::async_trait]
impl rpc::membership_server::Membership for Membership {
    async fn join(&self, request: Request<rpc::JoinRequest>) -> Result<Response<rpc::JoinResponse>, Status> {
        Ok(Response::new(self.joining.join(&request.into_inner()).await?))
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

    async fn promote_member(
        &self,
        request: Request<rpc::PromoteMemberRequest>,
    ) -> Result<Response<rpc::PromoteMemberResponse>, Status> {
        access::check_master(&caller(&request)?, "promote servers")?;
        self.promote(&request.get_ref().name).await?;
        Ok(Response::new(rpc::PromoteMemberResponse {}))
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
