//! What filters run on: an engine, and threads of their own, so that one that computes holds up nothing else of the node.
use sampan_sandbox::workload::{Filter, FilterLimits, Pool, WorkloadEngine};
use serde_json::Value;
use std::{path::PathBuf, sync::Arc};
use tokio::runtime::{Builder, Runtime};

/// Instances of all filters at a time.
const INSTANCES: u32 = 400;

/// Where filters run, made when the first is wanted.
pub struct Machine {
    engine: Arc<WorkloadEngine>,
    runtime: Option<Runtime>,
}

impl Machine {
    /// Compiled filters are kept in `cache`.
    ///
    /// # Errors
    /// If this machine cannot run any.
    pub fn new(cache: PathBuf) -> Result<Self, String> {
        let engine = WorkloadEngine::new(Some(cache), Pool::of(INSTANCES)).map_err(|error| error.to_string())?;
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
    /// Why it cannot be run.
    pub async fn load(&self, bytes: Vec<u8>, config: Value) -> Result<Filter, String> {
        let (engine, runtime) = (
            self.engine.clone(),
            self.runtime.as_ref().map(|runtime| runtime.handle().clone()),
        );
        let runtime = runtime.ok_or("filters have ended")?;
        let load = move || Filter::load(&engine, &bytes, &config, FilterLimits::default(), runtime);
        let loaded = tokio::task::spawn_blocking(load)
            .await
            .map_err(|error| error.to_string())?;
        loaded.map_err(|error| error.to_string())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
