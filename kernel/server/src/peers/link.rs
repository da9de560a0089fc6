//! One peer: a stream of messages to it, made again when it breaks.
use super::{Peers, book::Peer};
use crate::replica::state_pieces;
use futures::StreamExt;
use prost::Message as _;
use rand::Rng;
use sampan_api::rpc::{PeerHeader, PeerMessages, StatePiece, peers_client::PeersClient};
use sampan_state::eraftpb::{Message, MessageType};
use sampan_tls::Tcp;
use std::{
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};

/// What does not answer in this time is away.
const CONNECT: Duration = Duration::from_millis(1000);
const KEEP_ALIVE: Duration = Duration::from_millis(1000);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(2);

/// Before a broken stream is made again: doubled each time, with a random part.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(800);

/// Messages that go in one piece, and their bytes, about.
const TOGETHER: usize = 128;
const PIECE_BYTES: usize = 4 << 20;

/// Pieces on their way that nobody has taken yet.
const UNDER_WAY: usize = 8;

/// One message is no larger: an entry, and what Raft adds to it.
pub const LARGEST: usize = 160 << 20;

pub struct Link {
    peers: Weak<Peers>,
    to: u64,
}

impl Link {
    pub fn new(peers: &Arc<Peers>, to: u64) -> Self {
        Link {
            peers: Arc::downgrade(peers),
            to,
        }
    }

    /// Carries messages until nobody can send any more.
    pub async fn run(self, mut messages: mpsc::Receiver<Message>) {
        let mut pause = FIRST_PAUSE;
        let mut said = String::new();
        while let Some(first) = messages.recv().await {
            let Some(peers) = self.peers.upgrade() else { return };
            let Some(peer) = peers.book.get(self.to) else {
                peers.unreachable(self.to);
                continue;
            };
            match self.carry(&peers, &peer, first, &mut messages).await {
                Ok(()) => pause = FIRST_PAUSE,
                Err(status) => {
                    // A peer that stays away is said once.
                    let why = status.message().to_owned();
                    if why != said {
                        tracing::info!(peer = peer.name, address = peer.address, why, "a member is away");
                        said = why;
                    }
                    peers.unreachable(self.to);
                    drop(peers);
                    let jitter = rand::rng().random_range(0.5..1.5);
                    tokio::time::sleep(pause.mul_f64(jitter)).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    // What waited meanwhile is old: Raft says it anew.
                    while messages.try_recv().is_ok() {}
                }
            }
        }
    }

    /// Opens a stream and carries messages until it breaks.
    async fn carry(
        &self,
        peers: &Arc<Peers>,
        peer: &Peer,
        first: Message,
        messages: &mut mpsc::Receiver<Message>,
    ) -> Result<(), Status> {
        let mut client = client(peers, peer).await?;
        let (pieces, receiver) = mpsc::channel(UNDER_WAY);
        let mut answering = client.clone();
        let call = answering.messages(ReceiverStream::new(receiver));
        tokio::pin!(call);
        let mut header = Some(header(peers, self.to));
        let mut waiting = vec![first];
        loop {
            let mut piece = PeerMessages {
                header: header.take(),
                messages: Vec::new(),
            };
            let mut bytes = 0;
            for message in waiting.drain(..) {
                if message.msg_type() == MessageType::MsgSnapshot {
                    self.send_state(peers, &mut client, message);
                    continue;
                }
                let encoded = message.encode_to_vec();
                bytes += encoded.len();
                piece.messages.push(encoded.into());
            }
            debug_assert!(bytes <= LARGEST, "a piece can be read");
            tokio::select! {
                ended = &mut call => return ended.map(drop),
                sent = pieces.send(piece) => if sent.is_err() {
                    return call.await.map(drop);
                },
            }
            tokio::select! {
                ended = &mut call => return ended.map(drop),
                next = messages.recv() => match next {
                    Some(next) => waiting.push(next),
                    None => return Ok(()),
                },
            }
            let mut bytes = size(&waiting[0]);
            while waiting.len() < TOGETHER && bytes < PIECE_BYTES {
                let Ok(next) = messages.try_recv() else { break };
                bytes += size(&next);
                waiting.push(next);
            }
        }
    }

    /// Sends the state beside the stream, so that heartbeats are not held up.
    fn send_state(&self, peers: &Arc<Peers>, client: &mut PeersClient<Channel>, message: Message) {
        let (peers, to, client) = (peers.clone(), self.to, client.clone());
        tokio::spawn(async move {
            let sent = stream_state(&peers, to, client, message).await;
            if let Err(status) = &sent {
                tracing::info!(member = to, why = status.message(), "the state could not be sent");
            }
            peers.state_sent(to, sent.is_ok());
        });
    }
}

/// Sends the state as it is now, encoded as it goes: it is nowhere whole but in the replicas.
async fn stream_state(
    peers: &Peers,
    to: u64,
    mut client: PeersClient<Channel>,
    message: Message,
) -> Result<(), Status> {
    let replica = peers.replica.get().ok_or_else(|| Status::unavailable("closing"))?;
    let (state, store) = replica.state().await?;
    let first = StatePiece {
        header: Some(header(peers, to)),
        message: message.encode_to_vec().into(),
        ..StatePiece::default()
    };
    let rest = state_pieces(state, store).map(|data| StatePiece {
        data,
        ..StatePiece::default()
    });
    let pieces = futures::stream::once(async { first }).chain(rest);
    client.state(pieces).await.map(drop)
}

fn size(message: &Message) -> usize {
    message.entries.iter().map(|entry| entry.data.len()).sum()
}

fn header(peers: &Peers, to: u64) -> PeerHeader {
    let own = peers.own();
    PeerHeader {
        cluster: own.cluster.clone(),
        from: own.member,
        to,
        address: own.address.clone(),
    }
}

async fn client(peers: &Peers, peer: &Peer) -> Result<PeersClient<Channel>, Status> {
    Ok(PeersClient::new(connect(peers, peer).await?)
        .max_encoding_message_size(LARGEST)
        .max_decoding_message_size(1 << 20))
}

/// Says who this server is, and nothing else: whether a peer hears it at all.
pub async fn greet(peers: &Peers, peer: &Peer) -> Result<(), Status> {
    let greeting = PeerMessages {
        header: Some(header(peers, peer.id)),
        messages: Vec::new(),
    };
    let mut client = client(peers, peer).await?;
    client.messages(futures::stream::iter([greeting])).await.map(drop)
}

/// Connects to a peer, which must show a certificate of its own name: no other can answer in its place.
pub async fn connect(peers: &Peers, peer: &Peer) -> Result<Channel, Status> {
    let away = |error: tonic::transport::Error| Status::unavailable(sampan_tls::origin(&error));
    let host = crate::pki::member_host(&peer.name);
    let dialer = peers.credentials.dialer(Tcp(peer.address.clone()), &host);
    let dialer = dialer.map_err(|error| Status::unavailable(error.to_string()))?;
    let endpoint = Endpoint::from_shared(format!("http://{}", peer.address)).map_err(away)?;
    endpoint
        .connect_timeout(CONNECT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .initial_stream_window_size(8 << 20)
        .initial_connection_window_size(16 << 20)
        .connect_with_connector(dialer)
        .await
        .map_err(away)
}
