//! Filters: components of `wasi:http/proxy` that stand before something that answers requests.
//!
//! Each request meets a fresh instance, as those of servers do. It answers by itself, or by way of `wasi:http/outgoing-handler`:
//! what it sends to the authority that it was asked for goes on to what it stands before, and nothing else goes anywhere. Bodies
//! go through as they come. Time is counted from the last piece of a body that moved, so what goes on for long may.
mod pass;
mod running;

pub(crate) use pass::Pass;

use super::{
    engine::WorkloadEngine,
    error::WorkloadError,
    host::{Host, Settings, Stdio},
    program::Pre,
};
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::{Request, Response};
use serde_json::Value;
use std::{pin::Pin, sync::Arc, time::Duration};
use tokio::{runtime::Handle, sync::Semaphore};
use wasmtime_wasi_http::p2::bindings::ProxyPre;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What goes into a filter and comes out of it.
pub type FilterBody = UnsyncBoxBody<Bytes, BoxError>;

/// What a filter stands before.
pub trait Onward: Send + Sync + 'static {
    /// Sends a request on. That nobody answers is an answer, too.
    fn send(&self, request: Request<FilterBody>) -> Pin<Box<dyn Future<Output = Response<FilterBody>> + Send>>;
}

/// What a filter may take.
#[derive(Clone, Copy, Debug)]
pub struct FilterLimits {
    /// Bytes of linear memory of an instance.
    pub memory: usize,
    /// How long it may compute while nothing of the request or the answer moves.
    pub computing: Duration,
    /// How long nothing may move at all.
    pub still: Duration,
    /// Requests at a time; others wait for as long as it may compute.
    pub turns: usize,
    /// Requests that it may send on for one that it was asked.
    pub onward: u32,
}

impl Default for FilterLimits {
    fn default() -> Self {
        FilterLimits {
            memory: 64 << 20,
            computing: Duration::from_secs(5),
            still: Duration::from_secs(60),
            turns: 200,
            onward: 8,
        }
    }
}

/// Whom a request is for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// `shop.example:8080`
    pub authority: String,
    pub https: bool,
}

/// Why a filter gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    #[error("{0} requests are in it already")]
    Busy(usize),
    #[error("it cannot be started: {0}")]
    Start(String),
    #[error("it trapped: {0}")]
    Trapped(String),
    #[error("it needed more than the {} MiB of memory it may have", .0 >> 20)]
    OutOfMemory(usize),
    #[error("it and other filters needed more than the {} MiB of memory that they share", .0 >> 20)]
    Crowded(usize),
    #[error("it computed for {} ms while nothing moved, or nothing moved for too long", .0.as_millis())]
    Late(Duration),
    #[error("it gave no answer")]
    Silent,
    #[error("it says that it failed: {0}")]
    Said(String),
}

/// A filter that can be asked.
pub struct Filter {
    engine: Arc<WorkloadEngine>,
    pre: ProxyPre<Host>,
    settings: Settings,
    limits: FilterLimits,
    turns: Arc<Semaphore>,
    /// Where instances run: a filter that computes takes no thread of whoever asks it.
    runtime: Handle,
}

impl Filter {
    /// Compiles it, or takes it from the cache. Of its configuration it sees what is named there as its environment.
    ///
    /// # Errors
    /// Why it cannot be run.
    pub fn load(
        engine: &Arc<WorkloadEngine>,
        bytes: &[u8],
        config: &Value,
        limits: FilterLimits,
        runtime: Handle,
    ) -> Result<Filter, WorkloadError> {
        let program = engine.load_bytes(bytes)?;
        let Pre::Server(pre) = program.pre else {
            return Err(WorkloadError::Kind {
                exports: "wasi:cli/run: it is a command".to_owned(),
            });
        };
        let named = config.as_object().into_iter().flatten();
        let env = named.map(|(name, value)| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            (name.clone(), text)
        });
        let settings = Settings {
            args: vec!["filter".to_owned()],
            env: env.collect(),
            memory: limits.memory,
            deadline: Some(limits.computing),
            stdio: Stdio::Nowhere,
            alone: true,
            ..Settings::default()
        };
        // That an instance can be had is known before a request needs one.
        settings.store(engine, None)?;
        Ok(Filter {
            engine: engine.clone(),
            pre,
            settings,
            limits,
            turns: Arc::new(Semaphore::new(limits.turns)),
            runtime,
        })
    }
}
