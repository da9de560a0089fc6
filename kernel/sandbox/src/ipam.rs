//! Plugins of the world `ipam`: which address a pod of a node gets.
use crate::{
    CallError, Figures,
    instance::{Instance, world},
};
use std::net::Ipv4Addr;

pub(crate) mod bindings {
    #![allow(missing_docs, clippy::all, rust_2018_idioms)]
    wasmtime::component::bindgen!({
        path: ["../../wit/lifecycle", "../../wit/ipam"],
        world: "sampan:ipam/ipam",
        additional_derives: [PartialEq, Eq, Clone],
    });
}

pub use bindings::sampan::ipam::types::{Holder, Identity, Pod};

pub(crate) use bindings::Ipam as IpamWorld;

world!(Ipam, IpamPre, (), |_| Ok(()));

/// An instance of such a plugin.
pub struct IpamPlugin {
    pub(crate) instance: Instance<bindings::Ipam>,
}

impl IpamPlugin {
    pub(crate) fn new(instance: Instance<bindings::Ipam>) -> Self {
        IpamPlugin { instance }
    }

    /// Says where it runs. Comes before all else.
    ///
    /// # Errors
    /// What it failed with.
    pub fn start(&mut self, me: &Identity) -> Result<(), CallError> {
        let policy = self.instance.world.sampan_ipam_policy();
        let started = self.instance.guarded.call(|store| policy.call_start(store, me))?;
        started.map_err(|words| self.instance.guarded.refused_for_good(words))
    }

    /// Tells it what pods have.
    ///
    /// # Errors
    /// What it failed with.
    pub fn keep(&mut self, holders: &[Holder]) -> Result<(), CallError> {
        let policy = self.instance.world.sampan_ipam_policy();
        self.instance.guarded.call(|store| policy.call_keep(store, holders))
    }

    /// Asks for a pod's address. `check` says what is wrong with the one that it gives.
    ///
    /// # Errors
    /// `Refused` if it gives none, in its own words, and may be asked again; all else it failed with, after which it is of no
    /// more use.
    pub fn claim(
        &mut self,
        pod: &Pod,
        check: impl FnOnce(Ipv4Addr) -> Result<(), String>,
    ) -> Result<Ipv4Addr, CallError> {
        let policy = self.instance.world.sampan_ipam_policy();
        let answer = self.instance.guarded.call(|store| policy.call_claim(store, pod))?;
        let address = Ipv4Addr::from(answer.map_err(CallError::refused)?);
        check(address).map_err(|what| self.instance.guarded.rubbish(what))?;
        Ok(address)
    }

    /// Tells it that a pod needs its address no more.
    ///
    /// # Errors
    /// What it failed with.
    pub fn release(&mut self, uid: &str) -> Result<(), CallError> {
        let policy = self.instance.world.sampan_ipam_policy();
        self.instance.guarded.call(|store| policy.call_release(store, uid))
    }

    pub fn figures(&self) -> Figures {
        self.instance.guarded.figures()
    }
}
