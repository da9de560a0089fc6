//! What filters run on: an engine, and threads of their own, so that one that computes holds up nothing else of the node.
use super::Trouble;
use sampan_sandbox::{
    Compiler,
    workload::{Filter, FilterLimits, Pool, WorkloadEngine},
};
use serde_json::Value;
use std::{path::PathBuf, sync::Arc};
use tokio::runtime::{Builder, Runtime};

/// Instances of all filters at a time.
const INSTANCES: u32 = 400;

/// Bytes of memory that they share: some are small, and no filter takes a node's memory.
const MEMORY: usize = 1 << 30;

/// Where filters run, made when the first is wanted.
pub struct Machine {
    engine: Arc<WorkloadEngine>,
    runtime: Option<Runtime>,
}

impl Machine {
    /// Filters are compiled by `compiler` and kept in `cache`.
    ///
    /// # Errors
    /// If this machine cannot run any.
    pub fn new(compiler: Compiler, cache: PathBuf) -> Result<Self, String> {
        let engine = WorkloadEngine::compiled_by(compiler, Some(cache), Pool::of(INSTANCES).sharing(MEMORY));
        let engine = engine.map_err(|error| error.to_string())?;
        let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(4));
        let mut runtime = Builder::new_multi_thread();
        runtime.worker_threads(threads).thread_name("filters").enable_all();
        let runtime = runtime.build().map_err(|error| error.to_string())?;
        Ok(Machine {
            engine,
            runtime: Some(runtime),
        })
    }

    /// # Errors
    /// Why it cannot be run, or not now.
    pub async fn load(&self, bytes: Vec<u8>, config: Value) -> Result<Filter, Trouble> {
        let (engine, runtime) = (
            self.engine.clone(),
            self.runtime.as_ref().map(|runtime| runtime.handle().clone()),
        );
        let runtime = runtime.ok_or_else(|| Trouble::Away("filters have ended".to_owned()))?;
        let load = move || Filter::load(&engine, &bytes, &config, FilterLimits::default(), runtime);
        let loaded = tokio::task::spawn_blocking(load).await;
        let loaded = loaded.map_err(|error| Trouble::Unfit(error.to_string()))?;
        loaded.map_err(|error| match error.passes() {
            true => Trouble::Away(error.to_string()),
            false => Trouble::Unfit(error.to_string()),
        })
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
