//! An instance under its limits: every call is timed, counted, and its failures told apart.
use crate::{
    CallError, Figures,
    engine::{Limits, PluginEngine},
    error::bounded,
    figures::Latencies,
    limiter::Limiter,
    ticker::Ticker,
};
use std::{sync::Arc, time::Instant};
use wasmtime::{Store, Trap};

/// What a store carries: the limiter, and what the world's imports need.
pub struct Data<T> {
    pub limiter: Limiter,
    pub imports: T,
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
