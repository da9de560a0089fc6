//! Questions that are not the cluster's go to the servers that the node itself asks.
//!
//! Equal questions under way are one; answers are kept while they are fresh; of an answer only what belongs to the question
//! is believed.
mod cache;
mod exchange;
mod upstreams;

pub use upstreams::Upstream;

use super::{
    figures::{Figure, Figures},
    message::Question,
};
use cache::Cache;
use exchange::exchange;
use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{DNSClass, RData, Record, RecordType},
};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use upstreams::Upstreams;

/// How long is tried: clients give up after five seconds.
const PATIENCE: Duration = Duration::from_millis(4500);

/// Different questions under way at the most.
const MOST_UNDER_WAY: usize = 512;

/// How often all servers are asked in turn.
const ROUNDS: usize = 2;

/// The longest chain of aliases that is followed.
const CHAIN: usize = 16;

/// What others said to a question.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    pub code: ResponseCode,
    pub answers: Vec<Record>,
    pub authorities: Vec<Record>,
}

impl Resolved {
    /// What of a message belongs to the question: the aliases from its name on, the records of the last of them, and the
    /// SOA that says for how long there is nothing.
    pub fn of(message: Message, question: &Question) -> Self {
        let mut name = question.name.clone();
        let mut answers = Vec::new();
        let alias = |record: &Record| matches!(record.data, RData::CNAME(_));
        let mut rest: Vec<Record> = message.answers;
        rest.retain(|record| record.dns_class == DNSClass::IN);
        for _ in 0..CHAIN {
            let at = rest.iter().position(|record| alias(record) && record.name == name);
            let Some(at) = at.filter(|_| question.kind != RecordType::CNAME) else {
                break;
            };
            let record = rest.swap_remove(at);
            if let RData::CNAME(target) = &record.data {
                name = target.0.clone();
            }
            answers.push(record);
        }
        rest.retain(|record| {
            let wanted = question.kind == RecordType::ANY || record.record_type() == question.kind;
            record.name == name && wanted
        });
        answers.append(&mut rest);
        let mut authorities = message.authorities;
        authorities.retain(|record| matches!(record.data, RData::SOA(_)) && record.name.zone_of(&name));
        authorities.truncate(1);
        Resolved {
            code: message.metadata.response_code,
            answers,
            authorities,
        }
    }

    /// Seconds that it may be kept. None if nobody said.
    fn lifetime(&self) -> Option<u32> {
        if !matches!(self.code, ResponseCode::NoError | ResponseCode::NXDomain) {
            return None;
        }
        let of_answers = self.answers.iter().map(|record| record.ttl);
        let of_nothing = self.authorities.iter().map(|record| match &record.data {
            RData::SOA(soa) => record.ttl.min(soa.minimum),
            _ => 0,
        });
        let is_nothing = self.answers.iter().all(|record| matches!(record.data, RData::CNAME(_)));
        match (self.answers.is_empty(), is_nothing) {
            (false, false) => of_answers.min(),
            (true, _) => of_nothing.min(),
            // An alias of nothing.
            (false, true) => of_answers.chain(of_nothing).min(),
        }
    }
}

type UnderWay = Shared<BoxFuture<'static, Option<Arc<Resolved>>>>;

/// See the module.
pub struct Forwarder {
    upstreams: Upstreams,
    /// The server that answered last is asked first.
    first: AtomicUsize,
    cache: Mutex<Cache>,
    under_way: Mutex<HashMap<Question, UnderWay>>,
    figures: Arc<Figures>,
}

impl Forwarder {
    /// `own` are the addresses that are served here: they are never asked.
    pub fn new(upstream: Upstream, own: Vec<SocketAddr>, figures: Arc<Figures>) -> Self {
        Forwarder {
            upstreams: Upstreams::new(upstream, own),
            first: AtomicUsize::new(0),
            cache: Mutex::default(),
            under_way: Mutex::default(),
            figures,
        }
    }

    /// A fresh answer that was given before.
    pub fn kept(&self, question: &Question) -> Option<Resolved> {
        let kept = self.cache.lock().get(question, Instant::now())?;
        self.figures.count(Figure::CacheHits);
        Some(kept)
    }

    /// The answer, from wherever. None if nobody has one.
    pub async fn resolve(self: &Arc<Self>, question: Question) -> Option<Resolved> {
        if let Some(kept) = self.kept(&question) {
            return Some(kept);
        }
        let answer = self.joined(question)?.await?;
        Some((*answer).clone())
    }

    /// None if too much is under way.
    fn joined(self: &Arc<Self>, question: Question) -> Option<UnderWay> {
        let mut under_way = self.under_way.lock();
        if let Some(same) = under_way.get(&question) {
            self.figures.count(Figure::Joined);
            return Some(same.clone());
        }
        if under_way.len() >= MOST_UNDER_WAY {
            self.figures.count(Figure::Overload);
            return None;
        }
        let (this, of) = (self.clone(), question.clone());
        // In a task of its own, so that it comes to its end, and out of the map, whoever waits or does not.
        let task = tokio::spawn(async move {
            let answer = tokio::time::timeout(PATIENCE, this.ask_all(&of)).await.ok().flatten();
            this.under_way.lock().remove(&of);
            answer
        });
        let waiting = async move { task.await.ok().flatten() }.boxed().shared();
        under_way.insert(question, waiting.clone());
        Some(waiting)
    }

    /// Asks one server after the other until one has an answer; a failure is one if all others have none either.
    async fn ask_all(&self, question: &Question) -> Option<Arc<Resolved>> {
        let servers = self.upstreams.servers();
        let first = self.first.load(Ordering::Relaxed);
        let mut last = None;
        for number in 0..servers.len() * ROUNDS {
            let at = (first + number) % servers.len();
            let (message, bytes) = match exchange(servers[at], question, &self.figures).await {
                Ok(heard) => heard,
                Err(error) => {
                    tracing::debug!(server = %servers[at], %error, "a name server does not answer");
                    self.figures.count(Figure::UpstreamFailures);
                    continue;
                }
            };
            let answer = Arc::new(Resolved::of(message, question));
            if !matches!(answer.code, ResponseCode::NoError | ResponseCode::NXDomain) {
                self.figures.count(Figure::UpstreamFailures);
                last = Some(answer);
                continue;
            }
            self.first.store(at, Ordering::Relaxed);
            self.cache
                .lock()
                .put(question.clone(), answer.clone(), bytes, Instant::now());
            return Some(answer);
        }
        last
    }
}
