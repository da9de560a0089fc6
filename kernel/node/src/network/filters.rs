//! The filters that Ingresses name: plugins of the world `filter`, fetched and compiled aside, and swapped between two requests.
//!
//! Who is named by a slot's active plugin answers; while another is fetched and compiled the one before goes on. A trap is the
//! matter of the one request that it met: whoever could make a filter trap could otherwise have it taken away. It is told as an
//! event, now and then.
mod machine;

use super::{
    fleet::{self, Make},
    objects::{News, Objects},
};
use crate::{
    control::{About, ControlPlane, NodeEvent, Writer},
    host,
    ingress::{Body, Filters, Onward, failed_filter},
};
use futures::future::BoxFuture;
use http::{Request, Response};
use machine::Machine;
use parking_lot::{Mutex, RwLock};
use sampan_api::{
    Key, Object,
    plugin::{self, Mode, PluginSpec, World},
};
use sampan_sandbox::{
    Compiler, digest_of,
    workload::{Asked, Filter},
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Before bytes that could not be fetched are asked for again.
const PAUSE: Duration = Duration::from_secs(2);

/// Of one plugin, failures are told so often.
const TOLD_EVERY: Duration = Duration::from_secs(10);

const INGRESSES: &str = "ingresses.networking.k8s.io";

/// With which an Ingress names its filter, as the plugin `ingress` reads it.
const NAMES_FILTER: &str = "ingress.sampan.dev/filter";

/// A filter as its slot's Plugin object wants it.
#[derive(Clone, PartialEq)]
struct Wanted {
    plugin: String,
    uid: String,
    make: Make,
    config: Value,
}

/// One that answers.
struct Seat {
    wanted: Wanted,
    filter: Arc<Filter>,
}

/// The worker's side: who is wanted.
pub struct Filtering {
    known: Arc<Known>,
    wanted: watch::Sender<BTreeMap<String, Wanted>>,
    stale: bool,
    /// Ingresses, by uid, of which was said that their filter is not there, and which.
    missed: HashSet<(String, String)>,
    end: CancellationToken,
}

/// The proxy's side: who answers.
struct Known {
    seats: RwLock<HashMap<String, Seat>>,
    writer: Writer,
    told: Mutex<HashMap<String, Instant>>,
}

/// Why a filter is not here.
enum Trouble {
    Away(String),
    Unfit(String),
}

impl Filtering {
    /// Without any. Call within a tokio runtime.
    pub fn new(plane: ControlPlane, writer: Writer, compiler: Compiler, cache: PathBuf) -> Self {
        let (wanted, receiver) = watch::channel(BTreeMap::new());
        let known = Arc::new(Known {
            seats: RwLock::default(),
            writer,
            told: Mutex::default(),
        });
        let end = CancellationToken::new();
        let machine = move || Machine::new(compiler.clone(), cache.clone());
        let keep = keep(known.clone(), plane, machine, receiver);
        tokio::spawn(end.clone().run_until_cancelled_owned(keep));
        Filtering {
            known,
            wanted,
            stale: false,
            missed: HashSet::new(),
            end,
        }
    }

    /// For the proxy.
    pub fn filters(&self) -> Arc<dyn Filters> {
        Arc::new(self.known.clone())
    }

    /// Takes in what happened to an object of any resource.
    pub fn take(&mut self, news: &News) {
        self.stale |= matches!(&*news.key.resource, plugin::RESOURCE | INGRESSES);
    }

    /// Sends for whom the Plugin objects name now, and says of which Ingresses the filter is missing.
    pub fn turn(&mut self, objects: &Objects) {
        if !std::mem::take(&mut self.stale) {
            return;
        }
        let wanted: BTreeMap<String, Wanted> = objects.of(plugin::RESOURCE).filter_map(wanted).collect();
        for (key, ingress) in objects.of(INGRESSES) {
            let Some(name) = ingress.metadata.annotations.get(NAMES_FILTER) else {
                continue;
            };
            let missing = (ingress.metadata.uid.clone(), name.clone());
            match wanted.contains_key(name) {
                true => drop(self.missed.remove(&missing)),
                false if self.missed.insert(missing) => self.known.missing(key, ingress, name),
                false => {}
            }
        }
        if !self.missed.is_empty() {
            let there: HashSet<&str> = objects.of(INGRESSES).map(|(_, one)| &*one.metadata.uid).collect();
            self.missed.retain(|(uid, _)| there.contains(&**uid));
        }
        self.wanted.send_if_modified(|before| {
            let other = *before != wanted;
            *before = wanted;
            other
        });
    }
}

impl Drop for Filtering {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

/// What a Plugin object wants, by its slot.
fn wanted((key, object): (&Key, &Object)) -> Option<(String, Wanted)> {
    let spec: PluginSpec = object.field("spec").ok()?;
    if spec.world != World::Filter || spec.mode != Mode::Active {
        return None;
    }
    let wanted = Wanted {
        plugin: key.name.to_string(),
        uid: object.metadata.uid.clone(),
        make: Make::of(&spec),
        config: spec.config,
    };
    Some((spec.slot, wanted))
}

impl Known {
    fn event(&self, about: About, reason: &'static str, message: String) {
        self.writer.event(NodeEvent {
            about,
            field_path: String::new(),
            warning: true,
            reason,
            message,
            at: host::unix_millis(),
        });
    }

    fn missing(&self, key: &Key, ingress: &Object, name: &str) {
        let about = About {
            api_version: "networking.k8s.io/v1",
            kind: "Ingress",
            namespace: key.namespace.to_string(),
            name: key.name.to_string(),
            uid: ingress.metadata.uid.clone(),
        };
        let name = name.escape_debug().take(64).collect::<String>();
        let message = format!(
            "no plugin of the world filter is active in the slot \"{name}\": its requests are answered with 503 (`sampan \
             plugin load FILE --name {name} --activate`)"
        );
        self.event(about, "FilterMissing", message);
    }

    /// Says that a filter failed, now and then.
    fn failed(&self, wanted: &Wanted, why: &str) {
        let plugin = &wanted.plugin;
        {
            let mut told = self.told.lock();
            told.retain(|_, at| at.elapsed() < TOLD_EVERY);
            if told.contains_key(plugin) {
                return;
            }
            told.insert(plugin.clone(), Instant::now());
        }
        tracing::warn!(plugin, why, "a filter failed on this node");
        let about = About {
            api_version: "sampan.dev/v1",
            kind: "Plugin",
            namespace: String::new(),
            name: plugin.clone(),
            uid: wanted.uid.clone(),
        };
        self.event(about, "PluginFailed", why.to_owned());
    }
}

impl Filters for Arc<Known> {
    fn answer(
        &self,
        name: &str,
        asked: Asked,
        request: Request<Body>,
        onward: Onward,
    ) -> Option<BoxFuture<'static, Response<Body>>> {
        let seats = self.seats.read();
        let seat = seats.get(name)?;
        let (filter, wanted, known) = (seat.filter.clone(), seat.wanted.clone(), self.clone());
        Some(Box::pin(async move {
            match filter.answer(asked, request.map(Body::for_filter), onward).await {
                Ok(response) => response.map(Body::filtered),
                Err(failed) => {
                    known.failed(&wanted, &failed.to_string());
                    failed_filter(&failed)
                }
            }
        }))
    }
}

/// Fetches, compiles and seats whoever is wanted. While no server is there those who are here go on.
async fn keep(
    known: Arc<Known>,
    plane: ControlPlane,
    make: impl Fn() -> Result<Machine, String>,
    mut wanted: watch::Receiver<BTreeMap<String, Wanted>>,
) {
    let mut machine = None;
    let mut unfit: HashMap<String, Wanted> = HashMap::new();
    loop {
        let all = wanted.borrow_and_update().clone();
        known.seats.write().retain(|slot, _| all.contains_key(slot));
        unfit.retain(|slot, was| all.get(slot) == Some(was));
        let mut away = false;
        for (slot, wanted) in &all {
            let is_here = known.seats.read().get(slot).is_some_and(|seat| seat.wanted == *wanted);
            if is_here || unfit.contains_key(slot) {
                continue;
            }
            match bring(&mut machine, &plane, &make, wanted).await {
                Ok(filter) => {
                    tracing::info!(
                        slot,
                        plugin = wanted.plugin,
                        digest = wanted.make.digest,
                        "a filter answers"
                    );
                    let seat = Seat {
                        wanted: wanted.clone(),
                        filter: Arc::new(filter),
                    };
                    known.seats.write().insert(slot.clone(), seat);
                }
                Err(Trouble::Away(why)) => {
                    tracing::debug!(slot, why, "a filter cannot be had now");
                    away = true;
                }
                Err(Trouble::Unfit(why)) => {
                    let stays = match known.seats.read().contains_key(slot) {
                        true => "the one before it goes on here",
                        false => "requests of Ingresses that name it are answered with 503 here",
                    };
                    known.failed(wanted, &format!("it cannot be run: {why}; {stays}"));
                    unfit.insert(slot.clone(), wanted.clone());
                }
            }
        }
        let changed = match away {
            true => tokio::time::timeout(PAUSE, wanted.changed()).await.unwrap_or(Ok(())),
            false => wanted.changed().await,
        };
        if changed.is_err() {
            return;
        }
    }
}

async fn bring(
    machine: &mut Option<Machine>,
    plane: &ControlPlane,
    make: impl Fn() -> Result<Machine, String>,
    wanted: &Wanted,
) -> Result<Filter, Trouble> {
    let bytes = fleet::fetch(plane, &wanted.make).await;
    let bytes = bytes.map_err(|error| Trouble::Away(error.to_string()))?;
    let digest = &wanted.make.digest;
    if digest_of(&bytes) != *digest {
        return Err(Trouble::Away(format!(
            "the bytes that came do not have the digest {digest}"
        )));
    }
    let machine = match machine {
        Some(machine) => machine,
        none => none.insert(make().map_err(Trouble::Unfit)?),
    };
    machine.load(bytes, wanted.config.clone()).await
}
