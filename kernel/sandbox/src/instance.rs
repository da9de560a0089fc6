//! An instance under its limits: every call is timed, counted, and its failures told apart.
use crate::{
    CallError, Description, Figures, LoadError,
    engine::{Limits, PluginEngine},
    error::bounded,
    figures::Latencies,
    limiter::Limiter,
    ticker::Ticker,
};
use std::{sync::Arc, time::Instant};
use wasmtime::{
    Store, Trap,
    component::{Component, InstancePre, Linker},
};

/// What a store carries: the limiter, and what the world's imports need.
pub struct Data<T> {
    pub limiter: Limiter,
    pub imports: T,
}

/// What all worlds have in common; the generated types are each world's own.
pub trait World: Sized {
    /// What its imports need.
    type Imports: Default + 'static;
    type Pre;

    /// Grants what the world imports.
    fn grant(linker: &mut Linker<Data<Self::Imports>>) -> wasmtime::Result<()>;
    fn check(pre: InstancePre<Data<Self::Imports>>) -> wasmtime::Result<Self::Pre>;
    fn instantiate(pre: &Self::Pre, store: &mut Store<Data<Self::Imports>>) -> wasmtime::Result<Self>;
    fn configure(&self, store: &mut Store<Data<Self::Imports>>, config: &str) -> wasmtime::Result<Result<(), String>>;
    fn describe(&self, store: &mut Store<Data<Self::Imports>>) -> wasmtime::Result<Description>;
}

/// Makes the generated types of a world (in the module `bindings`) a [`World`]. They are each world's own, and alike: what
/// differs is what the imports need, and how they are granted.
macro_rules! world {
    ($world:ident, $pre:ident, $imports:ty, $grant:expr) => {
        impl $crate::instance::World for bindings::$world {
            type Imports = $imports;
            type Pre = bindings::$pre<$crate::instance::Data<$imports>>;

            fn grant(
                linker: &mut ::wasmtime::component::Linker<$crate::instance::Data<$imports>>,
            ) -> ::wasmtime::Result<()> {
                ($grant)(linker)
            }

            fn check(
                pre: ::wasmtime::component::InstancePre<$crate::instance::Data<$imports>>,
            ) -> ::wasmtime::Result<Self::Pre> {
                bindings::$pre::new(pre)
            }

            fn instantiate(
                pre: &Self::Pre,
                store: &mut ::wasmtime::Store<$crate::instance::Data<$imports>>,
            ) -> ::wasmtime::Result<Self> {
                pre.instantiate(store)
            }

            fn configure(
                &self,
                store: &mut ::wasmtime::Store<$crate::instance::Data<$imports>>,
                config: &str,
            ) -> ::wasmtime::Result<Result<(), String>> {
                self.sampan_lifecycle_lifecycle().call_configure(store, config)
            }

            fn describe(
                &self,
                store: &mut ::wasmtime::Store<$crate::instance::Data<$imports>>,
            ) -> ::wasmtime::Result<$crate::Description> {
                let said = self.sampan_lifecycle_lifecycle().call_describe(store)?;
                Ok($crate::Description::bounded(
                    said.name,
                    said.version,
                    said.summary,
                ))
            }
        }
    };
}
pub(crate) use world;

/// A component linked to what its world grants.
///
/// # Errors
/// If it does not keep the world's contract.
pub fn prepare<W: World>(engine: &PluginEngine, component: &Component) -> Result<W::Pre, LoadError> {
    let link = || {
        let mut linker = Linker::new(engine.engine());
        W::grant(&mut linker)?;
        W::check(linker.instantiate_pre(component)?)
    };
    link().map_err(|error| LoadError::Contract {
        reason: format!("{error:#}"),
    })
}

/// A configured instance of a world.
pub struct Instance<W: World> {
    pub guarded: Guarded<W::Imports>,
    pub world: W,
}

impl<W: World> Instance<W> {
    /// # Errors
    /// What it failed with; `Refused` if it does not take its configuration.
    pub fn new(engine: &Arc<PluginEngine>, pre: &W::Pre, config: &str, limits: Limits) -> Result<Self, CallError> {
        let mut guarded = Guarded::new(engine, limits, W::Imports::default());
        let world = guarded.call(|store| W::instantiate(pre, store))?;
        let configured = guarded.call(|store| world.configure(store, config))?;
        configured.map_err(CallError::refused)?;
        Ok(Instance { guarded, world })
    }

    /// Its own words about itself.
    ///
    /// # Errors
    /// What it failed with.
    pub fn describe(&mut self) -> Result<Description, CallError> {
        self.guarded.call(|store| self.world.describe(store))
    }
}

/// A store with its limits and counts.
pub struct Guarded<T: 'static> {
    engine: Arc<PluginEngine>,
    pub store: Store<Data<T>>,
    limits: Limits,
    latencies: Latencies,
    traps: u64,
    poisoned: bool,
}

impl<T: 'static> Guarded<T> {
    pub fn new(engine: &Arc<PluginEngine>, limits: Limits, imports: T) -> Self {
        let data = Data {
            limiter: Limiter::new(limits.memory),
            imports,
        };
        let mut store = Store::new(engine.engine(), data);
        store.limiter(|data| &mut data.limiter);
        store.set_hostcall_fuel(limits.answer);
        store.epoch_deadline_trap();
        Guarded {
            engine: engine.clone(),
            store,
            limits,
            latencies: Latencies::default(),
            traps: 0,
            poisoned: false,
        }
    }

    /// Makes a call within the deadline.
    ///
    /// # Errors
    /// What it failed with; the instance is poisoned then.
    pub fn call<R>(&mut self, call: impl FnOnce(&mut Store<Data<T>>) -> wasmtime::Result<R>) -> Result<R, CallError> {
        if self.poisoned {
            return Err(CallError::Poisoned);
        }
        let started = Instant::now();
        let result = {
            let _timed = self.engine.ticker().time();
            self.store.set_epoch_deadline(Ticker::ticks(self.limits.deadline));
            self.store.data_mut().limiter.forgive();
            call(&mut self.store)
        };
        self.latencies.record(started.elapsed());
        result.map_err(|error| self.failed(&error))
    }

    fn failed(&mut self, error: &wasmtime::Error) -> CallError {
        self.poisoned = true;
        self.traps += 1;
        if self.store.data().limiter.refused() {
            return CallError::Memory(self.limits.memory);
        }
        match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => CallError::Deadline(self.limits.deadline),
            Some(_) => CallError::Trap(bounded(format!("{error:#}"))),
            None => CallError::Rubbish(bounded(format!("{error:#}"))),
        }
    }

    /// Its answer made no sense: it is of no more use.
    pub fn rubbish(&mut self, what: String) -> CallError {
        self.poisoned = true;
        self.traps += 1;
        CallError::Rubbish(bounded(what))
    }

    /// It refused, in its own words, and cannot be asked to go on from there.
    pub fn refused_for_good(&mut self, words: String) -> CallError {
        self.poisoned = true;
        CallError::refused(words)
    }

    pub fn figures(&self) -> Figures {
        Figures {
            calls: self.latencies.total(),
            traps: self.traps,
            memory_bytes: self.store.data().limiter.used() as u64,
            p50_micros: self.latencies.percentile(500),
            p99_micros: self.latencies.percentile(990),
        }
    }
}
