//! What an instance of a workload is given: WASI, within its limits.
use super::{egress::Way, engine::WorkloadEngine, error::WorkloadError, spec::Mount};
use crate::{limiter::Limiter, ticker::Ticker};
use std::time::{Duration, Instant};
use wasmtime::{Store, UpdateDeadline};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxView, WasiView, p1::WasiP1Ctx};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

/// Where a workload's words go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stdio {
    /// The process's own.
    #[default]
    Inherited,
    /// Nowhere.
    Nowhere,
}

/// What each instance of a workload is given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    pub mounts: Vec<Mount>,
    /// Bytes of linear memory.
    pub memory: usize,
    /// For all that an instance does.
    pub deadline: Option<Duration>,
    pub stdio: Stdio,
    /// It has no network but the way that it is given.
    pub alone: bool,
}

/// An instance's side of the house.
pub(crate) struct Host {
    /// With the table of resources, and what WASI preview 1 has above it, for modules that speak that.
    pub wasi: WasiP1Ctx,
    http: WasiHttpCtx,
    way: Way,
    pub limiter: Limiter,
}

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.wasi.ctx()
    }
}

impl WasiHttpView for Host {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            hooks: &mut self.way,
            table: self.wasi.ctx().table,
            ctx: &mut self.http,
        }
    }
}

impl Settings {
    /// A store for one instance, which has until `until`.
    ///
    /// # Errors
    /// If a mount cannot be opened.
    pub fn store(&self, engine: &WorkloadEngine, until: Option<Instant>) -> Result<Store<Host>, WorkloadError> {
        let late = move || until.is_some_and(|until| Instant::now() >= until);
        self.store_with(engine, Way::Network, late)
    }

    /// A store for one instance that sends its requests some way, and is stopped once it is late.
    ///
    /// # Errors
    /// If a mount cannot be opened.
    pub fn store_with(
        &self,
        engine: &WorkloadEngine,
        way: Way,
        late: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Result<Store<Host>, WorkloadError> {
        let host = Host {
            wasi: self.wasi()?,
            http: WasiHttpCtx::new(),
            way,
            limiter: Limiter::sharing(self.memory, engine.memory()),
        };
        let mut store = Store::new(engine.engine(), host);
        store.limiter(|host| &mut host.limiter);
        // Each tick it makes way for others that run on this thread.
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(move |_| {
            Ok(if late() {
                UpdateDeadline::Interrupt
            } else {
                UpdateDeadline::Yield(1)
            })
        });
        Ok(store)
    }

    fn wasi(&self) -> Result<WasiP1Ctx, WorkloadError> {
        let mut wasi = WasiCtx::builder();
        wasi.args(&self.args)
            .envs(&self.env)
            .allow_tcp(!self.alone)
            .allow_udp(!self.alone)
            .allow_ip_name_lookup(!self.alone);
        if !self.alone {
            // The network is the pod's: its namespace is the fence.
            wasi.inherit_network();
        }
        if self.stdio == Stdio::Inherited {
            wasi.inherit_stdio();
        }
        for mount in &self.mounts {
            let may = if mount.readonly {
                FsPerms::ReadOnly
            } else {
                FsPerms::ReadWrite
            };
            wasi.preopened_dir(&mount.host, &mount.guest, may)
                .map_err(|error| WorkloadError::Mount {
                    host: mount.host.clone(),
                    guest: mount.guest.clone(),
                    reason: format!("{error:#}"),
                })?;
        }
        Ok(wasi.build_p1())
    }
}

/// A deadline is looked at once a tick, so what waits for it outside is a little more patient.
pub(crate) fn patience(deadline: Duration) -> Duration {
    deadline + 4 * Ticker::TICK
}
