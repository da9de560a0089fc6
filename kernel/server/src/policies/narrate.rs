//! Events: what was done to an object and why, as Kubernetes' Event objects. Said, never waited for.
//!
//! One thread writes them all. While it waits for the disk the next ones gather, and share the next sync.
use crate::replica::ReplicaHandle;
use sampan_api::{Key, Object, Operation, Plan, Write, kinds, time::Timestamp};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    time::Duration,
};

/// Events that may wait to be written; more are dropped, since a story must not hold up the work.
const WAITING: usize = 4096;

/// Events that go into one Raft entry.
const TOGETHER: usize = 128;

/// How long a flood is held back after as many events as go into one entry.
const FLOOD_PAUSE: Duration = Duration::from_millis(20);

/// Stories remembered, to count repetitions instead of telling them again.
const REMEMBERED: usize = 8192;

/// Tells events of one component; copies are cheap.
#[derive(Clone)]
pub struct Narrator {
    component: Arc<str>,
    sender: SyncSender<Story>,
    told: Arc<parking_lot::Mutex<HashMap<Key, u64>>>,
}

struct Story {
    component: Arc<str>,
    about: Key,
    kind: &'static str,
    reason: String,
    message: String,
}

impl Narrator {
    /// Starts the thread that writes; it ends when the last narrator is dropped.
    pub fn start(replica: ReplicaHandle, component: &str) -> Self {
        let (sender, receiver) = sync_channel(WAITING);
        let spawned = std::thread::Builder::new().name("narrator".to_owned()).spawn(move || {
            Writer {
                replica,
                counts: HashMap::new(),
            }
            .run(&receiver)
        });
        if let Err(error) = spawned {
            tracing::warn!(%error, "events cannot be written");
        }
        Narrator {
            component: component.into(),
            sender,
            told: Arc::default(),
        }
    }

    /// For another component.
    pub fn of(&self, component: &str) -> Self {
        Narrator {
            component: component.into(),
            ..self.clone()
        }
    }

    pub fn normal(&self, about: &Key, reason: &str, message: &str) {
        self.tell("Normal", about, reason, message);
    }

    pub fn warning(&self, about: &Key, reason: &str, message: &str) {
        self.tell("Warning", about, reason, message);
    }

    /// Warns unless the last warning about this object said the same; whether it did.
    pub fn warning_once(&self, about: &Key, reason: &str, message: &str) -> bool {
        let mark = hash(&[&self.component, reason, message]);
        let mut told = self.told.lock();
        if told.len() >= REMEMBERED {
            told.clear();
        }
        if told.insert(about.clone(), mark) == Some(mark) {
            return false;
        }
        drop(told);
        self.warning(about, reason, message);
        true
    }

    fn tell(&self, kind: &'static str, about: &Key, reason: &str, message: &str) {
        let story = Story {
            component: self.component.clone(),
            about: about.clone(),
            kind,
            reason: reason.to_owned(),
            message: message.to_owned(),
        };
        if let Err(TrySendError::Full(story)) = self.sender.try_send(story) {
            tracing::debug!(about = %story.about, story.reason, "an event was dropped: too many wait");
        }
    }
}

struct Writer {
    replica: ReplicaHandle,
    counts: HashMap<String, u32>,
}

impl Writer {
    fn run(mut self, stories: &Receiver<Story>) {
        while let Ok(first) = stories.recv() {
            let batch: Vec<Story> = std::iter::once(first)
                .chain(stories.try_iter().take(TOGETHER - 1))
                .collect();
            if batch.len() == TOGETHER {
                // A flood of stories does not take the disk from the work: more of it is dropped.
                std::thread::sleep(FLOOD_PAUSE);
            }
            let plans = batch.iter().map(|story| self.plan(story)).collect();
            if let Err(error) = self.replica.commit_blocking(plans) {
                tracing::debug!(%error, "events could not be written");
            }
        }
    }

    fn plan(&mut self, story: &Story) -> Plan {
        let object = self.replica.snapshot().get(&story.about);
        let uid = object
            .as_ref()
            .map(|object| object.metadata.uid.clone())
            .unwrap_or_default();
        let namespace = match &*story.about.namespace {
            "" => sampan_api::DEFAULT_NAMESPACE,
            namespace => namespace,
        };
        let mark = hash(&[
            &story.about.path(),
            &uid,
            &story.reason,
            &story.message,
            &story.component,
        ]);
        let name = format!("{}.{mark:016x}", story.about.name);
        let key = Key::new("events", namespace, &name);
        if self.counts.len() >= REMEMBERED {
            self.counts.clear();
        }
        let known = self.replica.snapshot().get(&key);
        // What was told before this process, or before the counts were dropped, goes on; what gathers for one entry is not
        // in the state yet.
        let so_far = known.as_ref().and_then(|event| event.field_value("count").as_u64());
        let so_far = so_far.and_then(|count| u32::try_from(count).ok()).unwrap_or(0);
        let count = self.counts.entry(name).or_default();
        *count = so_far.max(*count).saturating_add(1);
        let now = Timestamp::from_millis(self.replica.now_millis());
        let operation = match known {
            Some(_) => Operation::Merge(json!({"count": *count, "lastTimestamp": now})),
            None => Operation::Create(self.event(&key, story, &uid, now)),
        };
        Plan::from(Write::new(key, operation))
    }

    fn event(&self, key: &Key, story: &Story, uid: &str, now: Timestamp) -> Object {
        let kind = kinds::of_resource(&story.about.resource);
        let mut about = json!({"name": &*story.about.name, "uid": uid});
        if let Some(kind) = kind {
            about["kind"] = kind.kind.into();
            about["apiVersion"] = kind.api_version.into();
        }
        if !story.about.namespace.is_empty() {
            about["namespace"] = Value::from(&*story.about.namespace);
        }
        let mut event = Object {
            api_version: "v1".to_owned(),
            kind: "Event".to_owned(),
            metadata: sampan_api::Meta {
                name: key.name.to_string(),
                namespace: key.namespace.to_string(),
                ..Default::default()
            },
            ..Object::default()
        };
        event.set_field("involvedObject", &about);
        event.set_field("reason", &story.reason);
        event.set_field("message", &story.message);
        event.set_field("type", story.kind);
        event.set_field("count", &1);
        event.set_field("firstTimestamp", &now);
        event.set_field("lastTimestamp", &now);
        event.set_field("source", &json!({ "component": &*story.component }));
        event.set_field("reportingComponent", &*story.component);
        event
    }
}

fn hash(parts: &[&str]) -> u64 {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.len().to_le_bytes());
        hasher.update(part);
    }
    let digest = hasher.finalize();
    digest.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}
