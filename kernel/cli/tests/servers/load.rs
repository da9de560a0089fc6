//! Clients that write while things go wrong, and note each answer. A write is sent again, with its key, until it is answered;
//! so at the end each is there once on every server: none lost, none done twice.
use crate::{
    cells::{self, History},
    group::{Group, PATIENCE, SERVERS},
};
use sampan_api::{Reason, rpc};
use sampan_cli::{failure, session::Session};
use serde_json::json;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::task::JoinHandle;

/// Clients that create objects; one more counts, and two use cells.
const CREATORS: usize = 2;
/// Between two writes of a client: more would only keep this machine's cores from what is tested.
const PAUSE: Duration = Duration::from_millis(10);

const COUNTER: &str = "counter";

/// What all clients share.
struct Noted {
    sessions: Vec<Session>,
    end: AtomicBool,
    /// When each acknowledged write was begun and answered.
    writes: Mutex<Vec<(Instant, Instant)>>,
    /// Answers that only a write that was done twice can get.
    twice: Mutex<Vec<String>>,
}

/// The clients at work.
pub struct Load {
    noted: Arc<Noted>,
    creators: Vec<JoinHandle<u64>>,
    counter: JoinHandle<u64>,
    cells: Vec<JoinHandle<()>>,
    history: Arc<History>,
}

fn key(name: &str) -> rpc::Key {
    rpc::Key {
        resource: "configmaps".to_owned(),
        namespace: "default".to_owned(),
        name: name.to_owned(),
    }
}

/// The write that creates a config map.
pub fn create(name: &str, labels: &serde_json::Value, data: &serde_json::Value) -> rpc::Write {
    // Without a name the state gives one: the same write done twice makes two objects.
    let metadata = match name {
        "" => json!({"generateName": "made-", "namespace": "default", "labels": labels}),
        name => json!({"name": name, "namespace": "default", "labels": labels}),
    };
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data});
    rpc::Write {
        key: Some(key(name)),
        operation: Some(rpc::write::Operation::Create(object.to_string().into())),
        expect: 0,
    }
}

/// The write that changes a config map's data.
pub fn change(name: &str, data: &serde_json::Value, expect: u64) -> rpc::Write {
    let patch = json!({"data": data});
    rpc::Write {
        key: Some(key(name)),
        operation: Some(rpc::write::Operation::Merge(patch.to_string().into())),
        expect,
    }
}

/// Asks one server, once. The outer error: what became of it is not known.
pub async fn commit(session: &Session, write: rpc::Write, key: &str) -> anyhow::Result<Result<u64, Reason>> {
    let request = rpc::CommitRequest {
        plans: vec![rpc::Plan { writes: vec![write] }],
        idempotency_key: key.to_owned(),
    };
    let answer = session.once(async { session.objects().commit(request).await }).await?;
    match answer.results.into_iter().next().and_then(|result| result.result) {
        Some(rpc::plan_result::Result::Committed(committed)) => Ok(Ok(committed.revision)),
        Some(rpc::plan_result::Result::Failure(failure)) => {
            let error = sampan_api::ApiError::from(&failure);
            match error.reason {
                Reason::AlreadyExists | Reason::Conflict | Reason::NotFound => Ok(Err(error.reason)),
                _ => Err(error.into()),
            }
        }
        None => panic!("an answer without a result"),
    }
}

/// Reads the text of a config map, and its revision.
pub async fn read(session: &Session, name: &str) -> anyhow::Result<Option<(u64, u64)>> {
    let request = rpc::GetRequest {
        key: Some(key(name)),
        stale: false,
    };
    match session.once(async { session.objects().get(request).await }).await {
        Ok(object) => {
            let json: serde_json::Value = serde_json::from_slice(&object.json)?;
            let value = json["data"]["value"].as_str().unwrap().parse()?;
            Ok(Some((value, object.revision)))
        }
        Err(error) if failure::is_not_found(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Noted {
    fn is_over(&self) -> bool {
        self.end.load(Ordering::Relaxed)
    }

    /// Writes, at one server after the other, until it is answered.
    async fn insist(&self, at: &mut usize, write: &rpc::Write, key: &str) -> Result<u64, Reason> {
        let began = Instant::now();
        loop {
            match commit(&self.sessions[*at], write.clone(), key).await {
                Ok(answer) => {
                    if answer.is_ok() {
                        self.writes.lock().unwrap().push((began, Instant::now()));
                    }
                    return answer;
                }
                Err(error) => {
                    let late = began.elapsed() > PATIENCE;
                    assert!(!late, "{key} was never answered: {error:#}");
                    *at = (*at + 1) % self.sessions.len();
                    tokio::time::sleep(PAUSE * 2).await;
                }
            }
        }
    }
}

/// Creates objects that are unlike each other; how many.
async fn creates(noted: Arc<Noted>, client: usize) -> u64 {
    let mut at = client;
    for count in 0.. {
        if noted.is_over() {
            return count;
        }
        let name = format!("{client}-{count}");
        let write = create("", &json!({"load": "created"}), &json!({"value": name}));
        if let Err(reason) = noted.insist(&mut at, &write, &name).await {
            noted.twice.lock().unwrap().push(format!("{name}: {reason:?}"));
        }
        tokio::time::sleep(PAUSE).await;
    }
    unreachable!()
}

/// Counts, each time by a compare and swap; how many succeeded.
async fn counts(noted: Arc<Noted>) -> u64 {
    let mut at = 2;
    let mut done = 0;
    for count in 0.. {
        if noted.is_over() {
            break;
        }
        let Ok(Some((value, revision))) = read(&noted.sessions[at], COUNTER).await else {
            at = (at + 1) % noted.sessions.len();
            tokio::time::sleep(PAUSE * 2).await;
            continue;
        };
        let write = change(COUNTER, &json!({"value": (value + 1).to_string()}), revision);
        match noted.insist(&mut at, &write, &format!("count-{count}")).await {
            Ok(_) => done += 1,
            // Nobody else counts: a conflict is its own write, done twice, or a read that was not the newest.
            Err(reason) => noted.twice.lock().unwrap().push(format!("count {count}: {reason:?}")),
        }
        tokio::time::sleep(PAUSE).await;
    }
    done
}

impl Load {
    pub async fn start(group: &Group) -> Self {
        let noted = Arc::new(Noted {
            sessions: (0..SERVERS).map(|host| group.session(host)).collect(),
            end: AtomicBool::new(false),
            writes: Mutex::default(),
            twice: Mutex::default(),
        });
        let counter = create(COUNTER, &json!({}), &json!({"value": "0"}));
        noted.insist(&mut 0, &counter, "counter").await.unwrap();
        let history = Arc::new(History::default());
        let clients = (0..CREATORS).map(|client| tokio::spawn(creates(noted.clone(), client)));
        let creators = clients.collect();
        let user = |client| {
            let sessions = (0..SERVERS).map(|host| group.session(host)).collect();
            let (noted, history) = (noted.clone(), history.clone());
            tokio::spawn(cells::uses(sessions, client, history, move || noted.is_over()))
        };
        Load {
            creators,
            counter: tokio::spawn(counts(noted.clone())),
            cells: (0..2).map(user).collect(),
            history,
            noted,
        }
    }

    /// Waits until a write is answered that was begun after that moment; how long after it.
    pub async fn resumed(&self, since: Instant) -> Duration {
        loop {
            let after = |(began, ended): &(Instant, Instant)| (*began >= since).then_some(*ended);
            let first = self
                .noted
                .writes
                .lock()
                .unwrap()
                .iter()
                .rev()
                .take(200)
                .filter_map(after)
                .min();
            if let Some(first) = first {
                return first - since;
            }
            assert!(since.elapsed() < PATIENCE, "nothing was written any more");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The longest time in which no write was answered.
    pub fn longest_pause(&self) -> Duration {
        let mut answered: Vec<Instant> = self
            .noted
            .writes
            .lock()
            .unwrap()
            .iter()
            .map(|(_, ended)| *ended)
            .collect();
        answered.sort_unstable();
        let pauses = answered.windows(2).map(|pair| pair[1] - pair[0]);
        pauses.max().unwrap_or_default()
    }

    /// Ends the clients, and compares what they were told with what is on every server.
    pub async fn end(self, group: &Group) {
        self.noted.end.store(true, Ordering::Relaxed);
        let mut written = BTreeMap::new();
        for (client, creator) in self.creators.into_iter().enumerate() {
            for count in 0..creator.await.unwrap() {
                written.insert(format!("{client}-{count}"), 1);
            }
        }
        let counted = self.counter.await.unwrap();
        for client in self.cells {
            client.await.unwrap();
        }
        let twice = self.noted.twice.lock().unwrap().clone();
        assert!(twice.is_empty(), "done twice: {twice:?}");
        assert!(written.len() > 20, "hardly any load: {}", written.len());
        for host in 0..SERVERS {
            let session = group.session(host).patient(PATIENCE);
            assert_eq!(
                created(&session).await,
                written,
                "what is on s{host} and what was acknowledged"
            );
            let there = read(&session, COUNTER).await.unwrap().unwrap().0;
            assert_eq!(there, counted, "the counter on s{host}");
        }
        let operations = self.history.check();
        println!(
            "{} created and {counted} counted, 0 lost, 0 twice; {operations} operations on cells have an order",
            written.len()
        );
    }
}

/// What the clients created, as one server shows it, and how often each is there.
async fn created(session: &Session) -> BTreeMap<String, u32> {
    let selection = rpc::Selection {
        resource: "configmaps".to_owned(),
        label_selector: "load=created".to_owned(),
        ..rpc::Selection::default()
    };
    let mut found = BTreeMap::new();
    for object in session.list(&selection).await.unwrap().objects {
        *found.entry(object.text("/data/value").to_owned()).or_default() += 1;
    }
    found
}
