//! A compiled and linked workload: instances of it are made in microseconds.
use super::{engine::WorkloadEngine, error::WorkloadError, host::Host};
use std::sync::Arc;
use wasmtime::{
    InstancePre, Module,
    component::{Component, Linker},
};
use wasmtime_wasi::p2::bindings::CommandPre;
use wasmtime_wasi_http::p2::bindings::ProxyPre;

/// What a program for WASI preview 1 begins with.
pub(crate) const START: &str = "_start";

/// What a component is, by what it exports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Runs once: `wasi:cli/run`, or a core module's `_start`.
    Command,
    /// Answers requests: `wasi:http/incoming-handler`.
    Server,
}

#[derive(Clone)]
pub(crate) enum Pre {
    Command(CommandPre<Host>),
    /// A command for WASI preview 1, as many toolchains still make them.
    Module(InstancePre<Host>),
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

    /// Of a core module, which gets WASI preview 1. It is run as it is: adapters to components live in the module's own
    /// memory, which the allocators of some languages take to be theirs alone.
    pub(crate) fn of_module(engine: &Arc<WorkloadEngine>, module: &Module) -> Result<Self, WorkloadError> {
        if module
            .get_export(START)
            .and_then(|export| export.func().cloned())
            .is_none()
        {
            return Err(WorkloadError::NoStart);
        }
        let link = |error: wasmtime::Error| WorkloadError::Link(format!("{error:#}"));
        let mut linker = wasmtime::Linker::<Host>::new(engine.engine());
        wasmtime_wasi::p1::add_to_linker_async(&mut linker, |host| &mut host.wasi).map_err(link)?;
        Ok(Program {
            engine: engine.clone(),
            pre: Pre::Module(linker.instantiate_pre(module).map_err(link)?),
        })
    }

    pub fn kind(&self) -> Kind {
        match self.pre {
            Pre::Command(_) | Pre::Module(_) => Kind::Command,
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
