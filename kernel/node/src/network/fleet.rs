//! The node's plugins as the cluster wants them: fetched from the servers and loaded, aside from the worker.
use super::{objects::Objects, slot::Member, worker::Input};
use crate::control::ControlPlane;
use sampan_api::{
    ApiError,
    plugin::{self, Mode, PluginSpec, World},
    rpc::FetchPluginRequest,
};
use sampan_sandbox::{Limits, Loaded, PluginEngine, digest_of};
use serde_json::Value;
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Weak, mpsc::Sender},
    time::{Duration, Instant},
};
use tokio::runtime::Handle;

/// Before bytes that could not be fetched are asked for again.
const PAUSE: Duration = Duration::from_secs(2);

/// Before one is loaded again that could not be compiled, for want of memory or time.
const AGAIN: Duration = Duration::from_secs(10);

/// Why one was not loaded.
pub enum Unloaded {
    /// Its bytes or its configuration are wrong.
    Unfit(String),
    /// It may go well another time.
    Passing(String),
}

/// What makes two plugins the same to whoever runs them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Make {
    pub world: World,
    pub digest: String,
    /// JSON.
    pub config: String,
}

impl Make {
    pub fn of(spec: &PluginSpec) -> Self {
        Make {
            world: spec.world,
            digest: spec.digest.clone(),
            config: spec.config.to_string(),
        }
    }
}

/// What became of one that was wanted.
enum State {
    /// Who fetches it gives up when this is dropped.
    Coming {
        _wanted: Arc<()>,
    },
    Here(Arc<Loaded>),
    /// It cannot be loaded, and will not be: its bytes or its configuration are wrong.
    Unfit,
}

/// Who is to fill a slot.
#[derive(Default)]
pub struct LineUp {
    pub active: Option<Member>,
    pub last_good: Option<Member>,
}

/// All that were loaded.
pub struct Fleet {
    engine: Arc<PluginEngine>,
    plane: ControlPlane,
    runtime: Handle,
    inputs: Sender<Input>,
    states: HashMap<Make, State>,
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.engine.close();
    }
}

impl Fleet {
    pub fn new(engine: Arc<PluginEngine>, plane: ControlPlane, runtime: Handle, inputs: Sender<Input>) -> Self {
        Fleet {
            engine,
            plane,
            runtime,
            inputs,
            states: HashMap::new(),
        }
    }

    /// The line-up of each slot, by the Plugin objects. Who is not here yet is sent for.
    pub fn line_ups(&mut self, world: World, objects: &Objects) -> BTreeMap<String, LineUp> {
        let specs = objects.of(plugin::RESOURCE);
        let specs =
            specs.filter_map(|(key, object)| Some((key.name.to_string(), object.field::<PluginSpec>("spec").ok()?)));
        let specs: Vec<(String, PluginSpec)> = specs
            .filter(|(_, spec)| spec.world == world && matches!(spec.mode, Mode::Active | Mode::LastGood))
            .collect();
        let wanted = |make: &Make| specs.iter().any(|(_, spec)| Make::of(spec) == *make);
        self.states.retain(|make, _| make.world != world || wanted(make));
        let mut line_ups: BTreeMap<String, LineUp> = BTreeMap::new();
        for (name, spec) in specs {
            let member = self.member(&name, &spec);
            let line_up = line_ups.entry(spec.slot).or_default();
            match spec.mode {
                Mode::Active => line_up.active = member,
                _ => line_up.last_good = member,
            }
        }
        line_ups
    }

    fn member(&mut self, name: &str, spec: &PluginSpec) -> Option<Member> {
        let make = Make::of(spec);
        match self.states.get(&make) {
            Some(State::Here(loaded)) => Some(Member {
                name: name.to_owned(),
                loaded: loaded.clone(),
            }),
            Some(State::Coming { .. } | State::Unfit) => None,
            None => {
                let wanted = Arc::new(());
                self.send_for(
                    name.to_owned(),
                    make.clone(),
                    spec.config.clone(),
                    Arc::downgrade(&wanted),
                );
                self.states.insert(make, State::Coming { _wanted: wanted });
                None
            }
        }
    }

    fn send_for(&self, name: String, make: Make, config: Value, wanted: Weak<()>) {
        let (engine, plane, inputs) = (self.engine.clone(), self.plane.clone(), self.inputs.clone());
        self.runtime.spawn(async move {
            let Some(bytes) = fetch_while(&wanted, &plane, &name, &make).await else {
                return;
            };
            let bytes: Arc<[u8]> = bytes.into();
            while wanted.strong_count() > 0 {
                let (engine, of, bytes, config) = (engine.clone(), make.clone(), bytes.clone(), config.clone());
                let load = move || load(&engine, &of, &bytes, &config);
                let started = Instant::now();
                let loaded = tokio::task::spawn_blocking(load).await;
                let result = match loaded {
                    Ok(Err(Unloaded::Passing(why))) => {
                        tracing::warn!(plugin = name, why, "a plugin cannot be loaded now");
                        tokio::time::sleep(AGAIN).await;
                        continue;
                    }
                    Ok(Err(Unloaded::Unfit(why))) => Err(why),
                    Ok(Ok(loaded)) => Ok(Box::new(loaded)),
                    Err(error) => Err(error.to_string()),
                };
                tracing::info!(plugin = name, digest = make.digest, elapsed = ?started.elapsed(), "loaded a plugin");
                let _ = inputs.send(Input::Loaded { name, make, result });
                return;
            }
        });
    }

    /// One that is here already.
    pub fn loaded(&self, make: &Make) -> Option<Arc<Loaded>> {
        match self.states.get(make) {
            Some(State::Here(loaded)) => Some(loaded.clone()),
            _ => None,
        }
    }

    /// Whether somebody who was sent for has not come yet.
    pub fn expects_some(&self) -> bool {
        self.states.values().any(|state| matches!(state, State::Coming { .. }))
    }

    /// Whether somebody of a world was sent for and has not come yet.
    pub fn expects(&self, world: World) -> bool {
        let mut states = self.states.iter();
        states.any(|(make, state)| make.world == world && matches!(state, State::Coming { .. }))
    }

    /// What was sent for has come, or will not. Says why not.
    pub fn arrived(&mut self, make: Make, result: Result<Box<Loaded>, String>) -> Result<(), String> {
        // Nobody wants it any more.
        let Some(state) = self.states.get_mut(&make) else {
            return Ok(());
        };
        match result {
            Ok(loaded) => {
                *state = State::Here(Arc::from(loaded));
                Ok(())
            }
            Err(why) => {
                *state = State::Unfit;
                Err(why)
            }
        }
    }
}

/// Asks for the bytes for as long as they are wanted.
async fn fetch_while(wanted: &Weak<()>, plane: &ControlPlane, name: &str, make: &Make) -> Option<Vec<u8>> {
    while wanted.strong_count() > 0 {
        match fetch(plane, make).await {
            Ok(bytes) => return Some(bytes),
            Err(error) => tracing::debug!(plugin = name, %error, "a plugin cannot be fetched now"),
        }
        tokio::time::sleep(PAUSE).await;
    }
    None
}

/// The bytes of a plugin.
///
/// # Errors
/// What the servers say, or that they are away.
pub async fn fetch(plane: &ControlPlane, make: &Make) -> Result<Vec<u8>, ApiError> {
    let most = Limits::for_world(make.world).component;
    let request = FetchPluginRequest {
        digest: make.digest.clone(),
    };
    let mut pieces = plane.plugins().fetch(request).await?.into_inner();
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.message().await? {
        bytes.extend_from_slice(&piece.data);
        if bytes.len() > most {
            return Err(ApiError::bad_request(format!("it has more than {most} bytes")));
        }
    }
    Ok(bytes)
}

/// Takes in bytes that came. Blocks for as long as compiling takes.
///
/// # Errors
/// Why it cannot be loaded.
pub fn load(engine: &Arc<PluginEngine>, make: &Make, bytes: &[u8], config: &Value) -> Result<Loaded, Unloaded> {
    let digest = &make.digest;
    if digest_of(bytes) != *digest {
        let why = format!("the bytes that came do not have the digest {digest}");
        return Err(Unloaded::Unfit(why));
    }
    let loaded = engine.load(make.world, bytes, config, Limits::for_world(make.world));
    loaded.map_err(|error| match error.passes() {
        true => Unloaded::Passing(error.to_string()),
        false => Unloaded::Unfit(error.to_string()),
    })
}
