//! The other servers: who and where they are, and how Raft's messages get to them and come in from them.
//!
//! Messages may be lost: Raft sends them again. So nothing here waits, and a peer that is away costs the others nothing.
mod book;
mod lines;
mod link;
mod service;

pub use book::{Book, Peer, RESOURCE, is_better, member, members};
pub use service::PeersService;

use crate::replica::ReplicaHandle;
use lines::Lines;
use link::Link;
use parking_lot::Mutex;
use sampan_api::{ApiError, Reason};
use sampan_state::eraftpb::Message;
use sampan_tls::Credentials;
use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};
use tokio::{runtime::Handle, sync::mpsc};
use tonic::transport::Channel;

/// Messages that may wait for one peer; more are dropped.
const WAITING: usize = 4096;

/// Who does not answer in this time whether this server is a member does not say.
const ASKING: Duration = Duration::from_secs(5);

/// This server, as others see it.
#[derive(Clone, Debug)]
pub struct Own {
    pub cluster: String,
    pub member: u64,
    pub name: String,
    /// `HOST:PORT`
    pub address: String,
}

/// The way to the other servers.
pub struct Peers {
    own: Own,
    credentials: Arc<Credentials>,
    book: Book,
    lines: Lines,
    runtime: Handle,
    links: Mutex<HashMap<u64, mpsc::Sender<Message>>>,
    /// When each member was heard last.
    heard: Mutex<HashMap<u64, Instant>>,
    began: Instant,
    replica: OnceLock<ReplicaHandle>,
}

impl Peers {
    /// Must be called on a runtime: the links run there.
    pub fn new(own: Own, credentials: Arc<Credentials>, book: Book) -> Arc<Self> {
        Arc::new(Peers {
            own,
            credentials,
            book,
            lines: Lines::default(),
            runtime: Handle::current(),
            links: Mutex::default(),
            heard: Mutex::default(),
            began: Instant::now(),
            replica: OnceLock::new(),
        })
    }

    /// The replica whose messages these are. Said once, before the first message comes in.
    pub fn serve(&self, replica: ReplicaHandle) {
        let _ = self.replica.set(replica);
    }

    pub fn own(&self) -> &Own {
        &self.own
    }

    pub fn book(&self) -> &Book {
        &self.book
    }

    /// A member was heard.
    fn hear(&self, member: u64) {
        self.heard.lock().insert(member, Instant::now());
    }

    /// How long nothing was heard of a member; at the most since this server began.
    pub fn silence(&self, member: u64) -> Duration {
        let heard = self.heard.lock().get(&member).copied();
        heard.unwrap_or(self.began).elapsed()
    }

    /// Asks the other servers whether this one is a member; why not, if one of them says that it is none.
    pub async fn refusal(self: &Arc<Self>) -> Option<String> {
        let others = self.book.all().into_iter().filter(|peer| peer.id != self.own.member);
        let asked = others.map(|peer| async move {
            let answer = tokio::time::timeout(ASKING, link::greet(self, &peer)).await;
            let error = ApiError::from(answer.ok()?.err()?);
            (error.reason == Reason::Forbidden).then(|| format!("server \"{}\" says so", peer.name))
        });
        futures::future::join_all(asked).await.into_iter().flatten().next()
    }

    /// Sends a message to whom it is for, or drops it.
    pub fn post(self: &Arc<Self>, message: Message) {
        let to = message.to;
        let mut links = self.links.lock();
        let link = links.entry(to).or_insert_with(|| {
            let (sender, receiver) = mpsc::channel(WAITING);
            self.runtime.spawn(Link::new(self, to).run(receiver));
            sender
        });
        if link.try_send(message).is_err() {
            drop(links);
            self.unreachable(to);
        }
    }

    /// A connection to another server, for what only it can do. It is kept for the next call.
    ///
    /// # Errors
    /// If it is not known where it is, or it is away.
    pub async fn channel(&self, member: u64) -> Result<Channel, ApiError> {
        let unknown = || ApiError::unavailable("it is not known which server leads now: try again in a moment");
        let peer = self.book.get(member).ok_or_else(unknown)?;
        let turn = self.credentials.turn();
        if let Some(kept) = self.lines.get(&peer, turn) {
            return Ok(kept);
        }
        let connected = link::connect(self, &peer).await;
        let channel = connected.map_err(|status| {
            ApiError::unavailable(format!(
                "server \"{}\" at {} is away: {}",
                peer.name,
                peer.address,
                status.message()
            ))
        })?;
        self.lines.keep(peer, turn, channel.clone());
        Ok(channel)
    }

    fn unreachable(&self, member: u64) {
        if let Some(replica) = self.replica.get() {
            replica.unreachable(member);
        }
    }

    fn state_sent(&self, member: u64, arrived: bool) {
        if let Some(replica) = self.replica.get() {
            replica.state_sent(member, arrived);
        }
    }
}
