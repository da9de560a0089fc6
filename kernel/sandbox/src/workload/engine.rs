//! The workloads' engine: WASI 0.2, waiting without a thread, and room for many instances set aside.
use super::{error::WorkloadError, program::Program};
use crate::{
    cache::{Cache, Code, digest_of},
    compiler::{CompileError, Compiler, Purpose},
    limiter::Budget,
    ticker::Ticker,
};
use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, Module, PoolingAllocationConfig, component::Component};

/// A component's file at the most. Bytes.
const MOST_BYTES: u64 = 512 << 20;

/// Of one component at the most; compilers make one memory and a few tables.
const MEMORIES: u32 = 8;
const TABLES: u32 = 16;

/// Memory that an instance leaves behind for the next one, cleared instead of given back: cheaper than a page fault.
const KEPT_BYTES: usize = 128 << 10;

/// How many instances there can be at a time, and what they may take together. Only addresses are set aside for them, no memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    instances: u32,
    memory: usize,
}

impl Pool {
    /// Room for so many; 0 for the default of 32.
    pub fn of(instances: u32) -> Self {
        Pool {
            instances: if instances == 0 { 32 } else { instances.min(1000) },
            memory: usize::MAX,
        }
    }

    /// With so many bytes of linear memory for all of them.
    pub fn sharing(self, memory: usize) -> Self {
        Pool { memory, ..self }
    }

    pub fn instances(self) -> usize {
        self.instances as usize
    }

    fn config(self) -> PoolingAllocationConfig {
        let (mut pool, instances) = (PoolingAllocationConfig::new(), self.instances);
        pool.total_component_instances(instances)
            .total_core_instances(instances * 32)
            .total_stacks(instances + 1)
            .total_memories(instances + MEMORIES)
            .total_tables(instances * 4 + TABLES)
            .max_memories_per_component(MEMORIES)
            .max_tables_per_component(TABLES)
            .max_unused_warm_slots(instances.min(8))
            .linear_memory_keep_resident(KEPT_BYTES)
            .table_keep_resident(16 << 10);
        pool
    }
}

/// Compiles and runs workloads.
pub struct WorkloadEngine {
    engine: Engine,
    ticker: Ticker,
    cache: Cache,
    pool: Pool,
    memory: Budget,
}

/// How workloads are compiled and run.
pub(crate) fn config(pool: Pool) -> Config {
    let mut config = Config::new();
    // The sizes of the pool are no part of what a compiled component depends on; all else is the same everywhere.
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool.config()));
    config.epoch_interruption(true);
    config.concurrency_support(false);
    config
}

impl WorkloadEngine {
    /// An engine that compiles by itself; compiled workloads are kept in `cache`.
    ///
    /// # Errors
    /// If this machine cannot run Wasmtime.
    pub fn new(cache: Option<PathBuf>, pool: Pool) -> Result<Arc<Self>, WorkloadError> {
        Self::compiled_by(Compiler::Here, cache, pool)
    }

    /// As `new`, with somebody who compiles.
    ///
    /// # Errors
    /// As `new`.
    pub fn compiled_by(compiler: Compiler, cache: Option<PathBuf>, pool: Pool) -> Result<Arc<Self>, WorkloadError> {
        let engine = Engine::new(&config(pool)).map_err(|error| WorkloadError::Engine(format!("{error:#}")))?;
        let ticker = Ticker::start(&engine).map_err(WorkloadError::System)?;
        Ok(Arc::new(WorkloadEngine {
            engine,
            ticker,
            cache: Cache::new(cache, compiler, Purpose::Workload),
            pool,
            memory: Budget::of(pool.memory),
        }))
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn ticker(&self) -> &Ticker {
        &self.ticker
    }

    pub(crate) fn pool(&self) -> Pool {
        self.pool
    }

    /// What all instances share.
    pub(crate) fn memory(&self) -> Budget {
        self.memory.clone()
    }

    /// Whether it has a workload compiled already.
    pub fn has(&self, digest: &str) -> bool {
        self.kept::<Component>(digest).is_some() || self.kept::<Module>(digest).is_some()
    }

    fn kept<C: Code>(&self, digest: &str) -> Option<C> {
        self.cache.kept(&self.engine, digest)
    }

    /// A workload from its file, whose digest may be known.
    ///
    /// # Errors
    /// Why it cannot be run.
    pub fn load(self: &Arc<Self>, module: &Path, digest: Option<&str>) -> Result<Program, WorkloadError> {
        if let Some(component) = digest.and_then(|digest| self.kept(digest)) {
            return Program::new(self, &component);
        }
        if let Some(module) = digest.and_then(|digest| self.kept(digest)) {
            return Program::of_module(self, &module);
        }
        self.load_checked(&read(module)?, digest)
    }

    /// A workload from its bytes.
    ///
    /// # Errors
    /// Why it cannot be run.
    pub fn load_bytes(self: &Arc<Self>, bytes: &[u8]) -> Result<Program, WorkloadError> {
        self.load_checked(bytes, None)
    }

    fn load_checked(self: &Arc<Self>, bytes: &[u8], wanted: Option<&str>) -> Result<Program, WorkloadError> {
        let is_module = match bytes {
            [b'\0', b'a', b's', b'm', version @ ..] => version.starts_with(&[1, 0, 0, 0]),
            _ => return Err(WorkloadError::NotWasm),
        };
        let found = digest_of(bytes);
        if let Some(wanted) = wanted.filter(|wanted| *wanted != found) {
            return Err(WorkloadError::Digest {
                found,
                wanted: wanted.to_owned(),
            });
        }
        if is_module {
            return Program::of_module(self, &self.compiled(bytes, &found)?);
        }
        Program::new(self, &self.compiled(bytes, &found)?)
    }

    fn compiled<C: Code>(&self, bytes: &[u8], digest: &str) -> Result<C, WorkloadError> {
        let compiled = self.cache.get(&self.engine, bytes, digest);
        compiled.map_err(|error| match error {
            CompileError::Refused(reason) => WorkloadError::Compile(reason),
            CompileError::Failed(reason) => WorkloadError::NotCompiled(reason),
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, WorkloadError> {
    let file = File::open(path).map_err(WorkloadError::Read)?;
    let size = file.metadata().map_err(WorkloadError::Read)?.len();
    let mut bytes = Vec::new();
    file.take(MOST_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(WorkloadError::Read)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(WorkloadError::TooLarge {
            size: size.max(MOST_BYTES + 1),
            limit: MOST_BYTES,
        });
    }
    Ok(bytes)
}
