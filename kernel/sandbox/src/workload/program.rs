//! A compiled and linked workload: instances of it are made in microseconds.
use super::{engine::WorkloadEngine, error::WorkloadError, host::Host};
use std::sync::Arc;
use wasmtime::component::{Component, Linker};
use wasmtime_wasi::p2::bindings::CommandPre;
use wasmtime_wasi_http::p2::bindings::ProxyPre;

/// What a component is, by what it exports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Runs once: `wasi:cli/run`.
    Command,
    /// Answers requests: `wasi:http/incoming-handler`.
    Server,
}

#[derive(Clone)]
pub(crate) enum Pre {
    Command(CommandPre<Host>),
    Server(ProxyPre<Host>),
}

/// A workload that can be run.
#[derive(Clone)]
pub struct Program {
    pub(crate) engine: Arc<WorkloadEngine>,
    pub(crate) pre: Pre,
}

impl Program {
    pub(crate) fn new(engine: &Arc<WorkloadEngine>, component: &Component) -> Result<Self, WorkloadError> {
        let kind = kind_of(engine, component)?;
        let link = |error: wasmtime::Error| WorkloadError::Link(format!("{error:#}"));
        let mut linker = Linker::<Host>::new(engine.engine());
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).map_err(link)?;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker).map_err(link)?;
        let pre = linker.instantiate_pre(component).map_err(link)?;
        let pre = match kind {
            Kind::Command => Pre::Command(CommandPre::new(pre).map_err(link)?),
            Kind::Server => Pre::Server(ProxyPre::new(pre).map_err(link)?),
        };
        Ok(Program {
            engine: engine.clone(),
            pre,
        })
    }

    pub fn kind(&self) -> Kind {
        match self.pre {
            Pre::Command(_) => Kind::Command,
            Pre::Server(_) => Kind::Server,
        }
    }
}

/// A component that is both is a server: what has an HTTP handler is deployed for it.
fn kind_of(engine: &WorkloadEngine, component: &Component) -> Result<Kind, WorkloadError> {
    let ty = component.component_type();
    let exports: Vec<&str> = ty.exports(engine.engine()).map(|(name, _)| name).collect();
    let has = |prefix: &str| exports.iter().any(|export| export.starts_with(prefix));
    if has("wasi:http/incoming-handler@0.2") {
        return Ok(Kind::Server);
    }
    if has("wasi:cli/run@0.2") {
        return Ok(Kind::Command);
    }
    let exports = if exports.is_empty() {
        "nothing at all".to_owned()
    } else {
        exports.join(", ")
    };
    Err(WorkloadError::Kind { exports })
}
