//! What a plugin would change here if it took its slot now: a fresh instance of it is told all that the one in force was told,
//! what it answers is checked as any plan is, and held against what stands. Nothing is changed.
mod difference;
mod words;

pub use difference::{Change, Counts, Difference, Row};

use super::{
    feed,
    fleet::{self, Make, Unloaded},
    limits::Limits,
    objects::{News, Objects},
    peers::Peers,
    slot::{self, Slot},
    slots::Slots,
    worker::{Input, Worker},
};
use crate::control::{Change as Told, ControlPlane};
use difference::Compared;
use sampan_api::{
    plugin::{PluginSpec, World},
    rpc,
};
use sampan_sandbox::{
    CallError, Loaded, PluginEngine,
    ingress::IngressPlugin,
    network::{Delta, Identity, NetworkPlugin},
    tables::Tables,
};
use std::{
    collections::BTreeSet,
    sync::{Arc, mpsc::Sender},
    time::{Duration, Instant},
};
use tokio::sync::{Semaphore, oneshot};

/// What was found out.
#[derive(Debug)]
pub struct Comparison {
    /// Who decides in the slot here.
    pub decides: Option<String>,
    /// What would be other, or why the plugin would change nothing: it fails, or what it wants is refused.
    pub outcome: Result<Difference, String>,
    /// What the answer took.
    pub took: Duration,
}

/// Whoever compares plugins on this node: one at a time, since each takes a core and an instance's memory.
pub struct Comparer {
    engine: Arc<PluginEngine>,
    plane: ControlPlane,
    inputs: Sender<Input>,
    turns: Semaphore,
}

/// What was so at one moment.
struct Scene<P: Compared> {
    me: Identity,
    limits: Limits,
    peers: Peers,
    /// What the plugin is told of.
    known: Vec<Delta>,
    /// Resources that it wants to be told of, and nobody follows here.
    unknown: Vec<String>,
    taken: Vec<P::Table>,
    stands: Tables<P::Entry>,
}

impl Comparer {
    pub fn new(engine: Arc<PluginEngine>, plane: ControlPlane, inputs: Sender<Input>) -> Self {
        Comparer {
            engine,
            plane,
            inputs,
            turns: Semaphore::new(1),
        }
    }

    /// What a plugin would change. Bytes that are not here are fetched.
    ///
    /// # Errors
    /// Why nothing could be compared.
    pub async fn compare(&self, spec: &PluginSpec, most: usize) -> Result<Comparison, String> {
        let _turn = self.turns.acquire().await.map_err(|error| error.to_string())?;
        match spec.world {
            World::Network => self.compare_in::<NetworkPlugin>(spec, most).await,
            World::Ingress => self.compare_in::<IngressPlugin>(spec, most).await,
            World::Scheduler | World::Controller | World::Filter | World::Ipam => {
                Err(format!("nodes do not compare plugins of the world {}", spec.world))
            }
        }
    }

    async fn compare_in<P: Compared>(&self, spec: &PluginSpec, most: usize) -> Result<Comparison, String> {
        let (make, slot) = (Make::of(spec), spec.slot.clone());
        let (decides, here) = self
            .look(move |worker| {
                let decides = P::slots(worker).get(&slot).and_then(Slot::decides);
                (decides.map(str::to_owned), worker.fleet.loaded(&make))
            })
            .await?;
        let judged = |outcome, took| Comparison { decides, outcome, took };
        let loaded = match here {
            Some(loaded) => loaded,
            None => match self.load(spec).await? {
                Ok(loaded) => loaded,
                Err(why) => return Ok(judged(Err(why), Duration::ZERO)),
            },
        };
        let made = aside(move || {
            let mut plugin = P::make(&loaded)?;
            let watches: BTreeSet<String> = plugin.watches()?.into_iter().collect();
            Ok::<_, CallError>((plugin, watches))
        });
        let (plugin, watches) = match made.await? {
            Ok(made) => made,
            Err(error) => return Ok(judged(Err(error.to_string()), Duration::ZERO)),
        };
        let slot = spec.slot.clone();
        let scene = self
            .look(move |worker| Scene::<P>::of(worker, &slot, &watches))
            .await??;
        let scene = self.completed(scene).await?;
        let (outcome, took) = aside(move || ask(plugin, &scene, most)).await?;
        Ok(judged(outcome.map_err(|error| error.to_string()), took))
    }

    /// Looks at the network, once everybody was asked who was told something.
    async fn look<T: Send + 'static>(&self, look: impl FnOnce(&Worker) -> T + Send + 'static) -> Result<T, String> {
        let (answer, wait) = oneshot::channel();
        let look = Box::new(move |worker: &Worker| drop(answer.send(look(worker))));
        let _ = self.inputs.send(Input::Look(look));
        wait.await.map_err(|_| "its network has ended".to_owned())
    }

    async fn load(&self, spec: &PluginSpec) -> Result<Result<Arc<Loaded>, String>, String> {
        let make = Make::of(spec);
        let bytes = fleet::fetch(&self.plane, &make).await;
        let bytes = bytes.map_err(|error| format!("it cannot fetch the plugin: {error}"))?;
        let (engine, config) = (self.engine.clone(), spec.config.clone());
        match aside(move || fleet::load(&engine, &make, &bytes, &config)).await? {
            Ok(loaded) => Ok(Ok(Arc::new(loaded))),
            Err(Unloaded::Unfit(why)) => Ok(Err(why)),
            Err(Unloaded::Passing(why)) => Err(format!("it cannot load the plugin now: {why}")),
        }
    }

    /// With what nobody follows here asked for once: that somebody asked is no reason to follow it.
    async fn completed<P: Compared>(&self, mut scene: Scene<P>) -> Result<Scene<P>, String> {
        for resource in std::mem::take(&mut scene.unknown) {
            let request = rpc::ListRequest {
                selection: Some(rpc::Selection {
                    resource: resource.clone(),
                    ..rpc::Selection::default()
                }),
                ..rpc::ListRequest::default()
            };
            let failed = |why: String| format!("it cannot list the {resource} that the plugin asks for: {why}");
            let answer = self.plane.objects().list(request).await;
            let answer = answer.map_err(|status| failed(status.message().to_owned()))?;
            let mut objects = Objects::default();
            for object in answer.into_inner().objects {
                let object = object.object().map_err(|error| failed(error.to_string()))?;
                for news in objects.take(&resource, Told::Seen(Box::new(object))) {
                    scene.take(&news);
                }
            }
        }
        Ok(scene)
    }
}

impl<P: Compared> Scene<P> {
    fn of(worker: &Worker, slot: &str, watches: &BTreeSet<String>) -> Result<Self, String> {
        let objects = &worker.objects;
        if let Some(resource) = feed::ALWAYS.iter().find(|resource| !objects.is_synced(resource)) {
            return Err(format!("it was not yet told of all {resource}"));
        }
        let (known, unknown): (Vec<String>, Vec<String>) = watches
            .iter()
            .cloned()
            .partition(|resource| objects.is_synced(resource));
        let slots: &Slots<P> = P::slots(worker);
        Ok(Scene {
            me: worker.me.clone(),
            limits: worker.limits.clone(),
            peers: worker.peers.clone(),
            known: objects.deltas(&known),
            unknown,
            taken: slots.taken(slot),
            stands: slots.get(slot).map(|slot| slot.sum.clone()).unwrap_or_default(),
        })
    }

    fn take(&mut self, news: &News) {
        self.limits.take(news);
        self.known.push(news.delta());
    }
}

/// Asks a fresh plugin for everything. Blocks.
fn ask<P: Compared>(mut plugin: P, scene: &Scene<P>, most: usize) -> (Result<Difference, CallError>, Duration) {
    if let Err(error) = slot::start(&mut plugin, &scene.me, &scene.taken) {
        return (Err(error), Duration::ZERO);
    }
    let mut wanted = Tables::default();
    let asked = Instant::now();
    let answer = plugin.plan(&scene.known, P::bounds(&scene.limits), &mut wanted);
    let took = asked.elapsed();
    let difference = answer.map(|_| Difference::between::<P>(&scene.stands, &wanted, &scene.peers, most));
    (difference, took)
}

/// On a thread that may block.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| error.to_string())
}
