//! The plugins' engine, and plugins that are loaded and can be instantiated in microseconds.
use crate::{
    CallError, Compiler, Description, LoadError,
    cache::Cache,
    compiler::Purpose,
    controller::{ControllerPlugin, ControllerWorld},
    ingress::{IngressPlugin, IngressWorld},
    inspect::{self, Contract},
    instance::{self, Instance},
    ipam::{IpamPlugin, IpamWorld},
    network::{NetworkPlugin, NetworkWorld},
    scheduler::{FormerWorld, SchedulerPlugin, SchedulerWorld},
    ticker::Ticker,
};
use sampan_api::plugin::World;
use serde_json::Value;
use std::{path::PathBuf, sync::Arc, time::Duration};
use wasmtime::{Config, Engine, component::Component};

/// What a plugin may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For one call.
    pub deadline: Duration,
    /// Bytes of linear memory.
    pub memory: usize,
    /// Bytes that may cross the boundary towards the kernel in one call.
    pub answer: usize,
    /// Bytes of the component itself.
    pub component: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            deadline: Duration::from_millis(200),
            memory: 256 << 20,
            answer: 16 << 20,
            component: 64 << 20,
        }
    }
}

impl Limits {
    /// The limits of a world: a scheduler is asked for hundreds of pods at a time and must not hold up the queue, and a pod
    /// waits for its address. The others may be told much at once.
    pub fn for_world(world: World) -> Self {
        match world {
            World::Scheduler | World::Ipam => Limits::default(),
            World::Controller | World::Network | World::Ingress | World::Filter => Limits {
                deadline: Duration::from_secs(1),
                ..Limits::default()
            },
        }
    }
}

/// Compiles and runs plugins. There is no WASI in it, no clock and no other import.
pub struct PluginEngine {
    engine: Engine,
    ticker: Ticker,
    cache: Cache,
}

/// How plugins are compiled and run.
pub(crate) fn config() -> Config {
    let mut config = Config::new();
    config.epoch_interruption(true);
    config.wasm_component_model(true);
    config.max_wasm_stack(1 << 20);
    // Deterministic to the bit on every machine: a recorded call replays anywhere.
    config.cranelift_nan_canonicalization(true);
    config.wasm_relaxed_simd(false);
    config
}

impl PluginEngine {
    /// An engine that compiles by itself; compiled plugins are kept in `cache`.
    ///
    /// # Errors
    /// If this machine cannot run Wasmtime.
    pub fn new(cache: Option<PathBuf>) -> wasmtime::Result<Arc<Self>> {
        Self::compiled_by(Compiler::Here, cache)
    }

    /// As `new`, with somebody who compiles.
    ///
    /// # Errors
    /// As `new`.
    pub fn compiled_by(compiler: Compiler, cache: Option<PathBuf>) -> wasmtime::Result<Arc<Self>> {
        let engine = Engine::new(&config())?;
        let ticker = Ticker::start(&engine)?;
        let cache = Cache::new(cache, compiler, Purpose::Plugin);
        Ok(Arc::new(PluginEngine { engine, ticker, cache }))
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn ticker(&self) -> &Ticker {
        &self.ticker
    }

    pub(crate) fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Whoever waits for a plugin that a child compiles waits no longer, now and later: the process is to end.
    pub fn close(&self) {
        self.cache.close();
    }

    pub fn is_closed(&self) -> bool {
        self.cache.is_closed()
    }

    /// Compiles (or takes from the cache), links, and tries a component out: it must describe itself and take its
    /// configuration.
    ///
    /// # Errors
    /// Why it is not let in.
    pub fn load(
        self: &Arc<Self>,
        world: World,
        bytes: &[u8],
        config: &Value,
        limits: Limits,
    ) -> Result<Loaded, LoadError> {
        let component = inspect::component(self, bytes, &limits)?;
        let (imports, exports) = inspect::names(self, &component);
        let found = inspect::contract(&imports, &exports)?;
        if found.world != world {
            return Err(LoadError::WrongWorld {
                found: found.world.to_string(),
                wanted: world.to_string(),
            });
        }
        self.load_component(found, &component, config, limits)
    }

    pub(crate) fn load_component(
        self: &Arc<Self>,
        contract: Contract,
        component: &Component,
        config: &Value,
        limits: Limits,
    ) -> Result<Loaded, LoadError> {
        let world = contract.world;
        let pre = match world {
            World::Scheduler if contract.is_former() => {
                Pre::FormerScheduler(instance::prepare::<FormerWorld>(self, component)?)
            }
            World::Scheduler => Pre::Scheduler(instance::prepare::<SchedulerWorld>(self, component)?),
            World::Controller => Pre::Controller(instance::prepare::<ControllerWorld>(self, component)?),
            World::Network => Pre::Network(instance::prepare::<NetworkWorld>(self, component)?),
            World::Ingress => Pre::Ingress(instance::prepare::<IngressWorld>(self, component)?),
            World::Ipam => Pre::Ipam(instance::prepare::<IpamWorld>(self, component)?),
            // Nodes run it, as a workload: here it is known to compile, and what it asks for.
            World::Filter => Pre::Filter,
        };
        let config = if config.is_null() {
            "{}".to_owned()
        } else {
            config.to_string()
        };
        let mut loaded = Loaded {
            engine: self.clone(),
            pre,
            config,
            limits,
            description: Description::default(),
        };
        let start = |error| match error {
            CallError::Refused(reason) => LoadError::Configuration { reason },
            error => LoadError::Start(error),
        };
        let described = match world {
            World::Scheduler => loaded.scheduler().and_then(|mut plugin| plugin.describe()),
            World::Controller => loaded.controller().and_then(|mut plugin| plugin.0.describe()),
            World::Network => loaded.network().and_then(|mut plugin| plugin.instance.describe()),
            World::Ingress => loaded.ingress().and_then(|mut plugin| plugin.instance.describe()),
            World::Ipam => loaded.ipam().and_then(|mut plugin| plugin.instance.describe()),
            World::Filter => Ok(Description::default()),
        };
        loaded.description = described.map_err(start)?;
        Ok(loaded)
    }
}

enum Pre {
    FormerScheduler(<FormerWorld as instance::World>::Pre),
    Scheduler(<SchedulerWorld as instance::World>::Pre),
    Controller(<ControllerWorld as instance::World>::Pre),
    Network(<NetworkWorld as instance::World>::Pre),
    Ingress(<IngressWorld as instance::World>::Pre),
    Ipam(<IpamWorld as instance::World>::Pre),
    Filter,
}

impl Pre {
    /// What is said to who takes it for a plugin of another world.
    fn is_not(&self, wanted: World) -> CallError {
        let world = match self {
            Pre::FormerScheduler(_) | Pre::Scheduler(_) => World::Scheduler,
            Pre::Controller(_) => World::Controller,
            Pre::Network(_) => World::Network,
            Pre::Ingress(_) => World::Ingress,
            Pre::Ipam(_) => World::Ipam,
            Pre::Filter => World::Filter,
        };
        CallError::Refused(format!("it is for the world {world}, not {wanted}"))
    }
}

/// A plugin that was let in: instances of it are made in microseconds.
pub struct Loaded {
    engine: Arc<PluginEngine>,
    pre: Pre,
    config: String,
    limits: Limits,
    description: Description,
}

impl Loaded {
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// A fresh, configured instance.
    ///
    /// # Errors
    /// What it failed with, or that it is no scheduler.
    pub fn scheduler(&self) -> Result<SchedulerPlugin, CallError> {
        match &self.pre {
            Pre::FormerScheduler(pre) => self.instance(pre).map(SchedulerPlugin::first),
            Pre::Scheduler(pre) => self.instance(pre).map(SchedulerPlugin::second),
            other => Err(other.is_not(World::Scheduler)),
        }
    }

    /// A fresh, configured instance.
    ///
    /// # Errors
    /// What it failed with, or that it is no controller.
    pub fn controller(&self) -> Result<ControllerPlugin, CallError> {
        match &self.pre {
            Pre::Controller(pre) => self.instance(pre).map(ControllerPlugin),
            other => Err(other.is_not(World::Controller)),
        }
    }

    /// A fresh, configured instance; it is to be started.
    ///
    /// # Errors
    /// What it failed with, or that it is no network plugin.
    pub fn network(&self) -> Result<NetworkPlugin, CallError> {
        match &self.pre {
            Pre::Network(pre) => self.instance(pre).map(NetworkPlugin::new),
            other => Err(other.is_not(World::Network)),
        }
    }

    /// A fresh, configured instance; it is to be started.
    ///
    /// # Errors
    /// What it failed with, or that it is no ingress plugin.
    pub fn ingress(&self) -> Result<IngressPlugin, CallError> {
        match &self.pre {
            Pre::Ingress(pre) => self.instance(pre).map(IngressPlugin::new),
            other => Err(other.is_not(World::Ingress)),
        }
    }

    /// A fresh, configured instance; it is to be started.
    ///
    /// # Errors
    /// What it failed with, or that it gives no addresses.
    pub fn ipam(&self) -> Result<IpamPlugin, CallError> {
        match &self.pre {
            Pre::Ipam(pre) => self.instance(pre).map(IpamPlugin::new),
            other => Err(other.is_not(World::Ipam)),
        }
    }

    fn instance<W: instance::World>(&self, pre: &W::Pre) -> Result<Instance<W>, CallError> {
        Instance::new(&self.engine, pre, &self.config, self.limits)
    }
}
