//! What other servers say to this one.
use super::{
    Peers,
    book::{Peer, members},
};
use crate::{
    front::{NodeLiveness, caller},
    pki::Identity,
    replica::ReplicaHandle,
};
use prost::Message as _;
use sampan_api::{
    ApiError, Reason,
    rpc::{
        HeardRequest, HeardResponse, PeerHeader, PeerMessages, PeerMessagesResponse, StatePiece, StateResponse,
        peers_server,
    },
};
use sampan_state::eraftpb::{Message, MessageType};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

/// Pieces of a state that came and are not read yet.
const UNDER_WAY: usize = 4;

/// The service.
pub struct PeersService {
    pub peers: Arc<Peers>,
    pub replica: ReplicaHandle,
    pub liveness: Arc<NodeLiveness>,
    pub closing: CancellationToken,
}

impl PeersService {
    /// Bytes of one piece at the most.
    pub const LARGEST: usize = super::link::LARGEST;

    /// Whether somebody may speak as that member, to this one.
    ///
    /// # Errors
    /// `Forbidden` only for who is no member, and that for certain: it is to stop then.
    async fn check(&self, who: &Identity, header: Option<&PeerHeader>) -> Result<u64, ApiError> {
        let name = server(who)?;
        let header = header.ok_or_else(|| ApiError::bad_request("the first piece does not say who speaks"))?;
        let own = self.peers.own();
        if header.cluster != own.cluster {
            let message = format!(
                "this server is of the cluster {}, and you are of {}: is the address that of another cluster?",
                own.cluster, header.cluster
            );
            return Err(ApiError::bad_request(message));
        }
        if header.to != own.member {
            let message = format!("this is member {}, and you look for {}", own.member, header.to);
            return Err(ApiError::bad_request(message));
        }
        let peer = Peer {
            id: header.from,
            name: name.to_owned(),
            address: header.address.clone(),
            standby: false,
        };
        if self.is_known(&peer) {
            self.peers.book().moved(peer.id, &peer.address);
            return Ok(peer.id);
        }
        // Who has just joined knows nobody, and is spoken to first by the leader.
        if self.replica.snapshot().revision() == 0 {
            self.peers.book().learn(peer);
            return Ok(header.from);
        }
        // What this server knows may be old. After this it is not.
        self.replica.barrier().await?;
        if members(&self.replica.snapshot())
            .iter()
            .any(|known| is_same(known, &peer))
        {
            self.peers.book().learn(peer);
            return Ok(header.from);
        }
        let message = format!(
            "server \"{name}\" with the id {:x} is no member of this cluster: was it removed?",
            header.from
        );
        Err(ApiError::new(Reason::Forbidden, message))
    }

    fn is_known(&self, peer: &Peer) -> bool {
        self.peers
            .book()
            .get(peer.id)
            .is_some_and(|known| is_same(&known, peer))
    }
}

/// Whether both are one member, wherever it is.
fn is_same(one: &Peer, other: &Peer) -> bool {
    (one.id, &one.name) == (other.id, &other.name)
}

/// The server that makes a call.
fn server(who: &Identity) -> Result<&str, ApiError> {
    who.server().ok_or_else(|| {
        let message = format!("user \"{}\" is no server of this cluster", who.user);
        ApiError::new(Reason::Forbidden, message)
    })
}

fn message_of(bytes: &[u8], from: u64, to: u64) -> Result<Message, ApiError> {
    let message = Message::decode(bytes)
        .map_err(|error| ApiError::bad_request(format!("a message of a member cannot be read: {error}")))?;
    if (message.from, message.to) != (from, to) {
        return Err(ApiError::bad_request("a message is not from whom the stream is from"));
    }
    Ok(message)
}

#[tonic::async_trait]
impl peers_server::Peers for PeersService {
    async fn messages(
        &self,
        request: Request<Streaming<PeerMessages>>,
    ) -> Result<Response<PeerMessagesResponse>, Status> {
        let who = caller(&request)?;
        let mut pieces = request.into_inner();
        let mut from = None;
        while let Some(piece) = self.closing.run_until_cancelled(pieces.message()).await {
            let Some(piece) = piece? else { break };
            let from = match from {
                Some(from) => from,
                None => *from.insert(self.check(&who, piece.header.as_ref()).await?),
            };
            self.peers.hear(from);
            let own = self.peers.own().member;
            let messages = piece.messages.iter().map(|bytes| message_of(bytes, from, own));
            self.replica.step(messages.collect::<Result<_, _>>()?).await?;
        }
        Ok(Response::new(PeerMessagesResponse {}))
    }

    async fn state(&self, request: Request<Streaming<StatePiece>>) -> Result<Response<StateResponse>, Status> {
        let who = caller(&request)?;
        let mut pieces = request.into_inner();
        let first = pieces.message().await?.unwrap_or_default();
        let from = self.check(&who, first.header.as_ref()).await?;
        let message = message_of(&first.message, from, self.peers.own().member)?;
        if message.msg_type() != MessageType::MsgSnapshot {
            return Err(ApiError::bad_request("the message brings no state").into());
        }
        let (sender, receiver) = mpsc::channel(UNDER_WAY);
        let hand_on = async {
            while let Some(piece) = pieces.message().await? {
                // Who reads them says itself why it has stopped.
                if sender.send(piece.data).await.is_err() {
                    break;
                }
            }
            drop(sender);
            Ok::<_, Status>(())
        };
        let (handed_on, stepped) = tokio::join!(hand_on, self.replica.step_state(message, receiver));
        handed_on.and(stepped.map_err(Status::from))?;
        Ok(Response::new(StateResponse {}))
    }

    async fn heard(&self, request: Request<HeardRequest>) -> Result<Response<HeardResponse>, Status> {
        server(&caller(&request)?)?;
        for node in &request.into_inner().nodes {
            self.liveness.heard(node);
        }
        Ok(Response::new(HeardResponse {}))
    }
}
