//! The ipam world: which address a pod of a node gets.
//!
//! [`Ipam`] is the simple face: a pod and what is known of the node's addresses go in, an address or words for people come
//! out. The SDK keeps who has what, and in which order free ones come.
//!
//! ```
//! use sampan_sdk::ipam::{Description, Ipam, Pod, Range, description};
//! use std::net::Ipv4Addr;
//!
//! /// Gives the lowest that is free.
//! #[derive(Default)]
//! struct Lowest;
//!
//! impl Ipam for Lowest {
//!     fn describe() -> Description {
//!         description("lowest", env!("CARGO_PKG_VERSION"), "The lowest address that is free.")
//!     }
//!     fn claim(&self, _pod: &Pod, range: &Range) -> Result<Ipv4Addr, String> {
//!         range.free().min().ok_or_else(|| format!("no address is free in {range}"))
//!     }
//! }
//!
//! sampan_sdk::export_ipam!(Lowest);
//! ```
pub use crate::scheduler::{Description, description};

/// The generated contract; for those who want to implement it themselves.
#[doc(hidden)]
pub use world_ipam as bindings;

pub use bindings::sampan::ipam::types::{Holder, Identity, Pod};

use crate::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::Ipv4Addr,
};

/// A policy of pods' addresses.
pub trait Ipam: Default + 'static {
    fn describe() -> Description;

    /// Takes the Plugin object's config.
    ///
    /// # Errors
    /// In words for the operator; the plugin is refused then.
    fn configure(&mut self, _config: &Value) -> Result<(), String> {
        Ok(())
    }

    /// The address that a pod gets, which has none. The node refuses any that is not free.
    ///
    /// # Errors
    /// In words for people: the pod waits, and is asked for again later.
    fn claim(&self, pod: &Pod, range: &Range) -> Result<Ipv4Addr, String>;
}

/// The value of an annotation of a pod.
pub fn annotation<'a>(pod: &'a Pod, name: &str) -> Option<&'a str> {
    let found = pod.annotations.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value.as_str())
}

/// The value of a label of a pod.
pub fn label<'a>(pod: &'a Pod, name: &str) -> Option<&'a str> {
    let found = pod.labels.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value.as_str())
}

/// The addresses of a node's pods, and who has which.
#[derive(Debug, Default)]
pub struct Range {
    node: String,
    base: u32,
    prefix: u8,
    reserved: BTreeSet<u32>,
    held: BTreeMap<u32, Pod>,
    by_uid: BTreeMap<String, u32>,
    /// The address that was given last in order.
    last: u32,
}

impl Range {
    fn new(me: Identity) -> Self {
        Range {
            node: me.node,
            base: me.base,
            prefix: me.prefix.min(32),
            reserved: me.reserved.into_iter().collect(),
            last: me.base,
            ..Range::default()
        }
    }

    /// The node's name.
    pub fn node(&self) -> &str {
        &self.node
    }

    fn size(&self) -> u64 {
        1 << (32 - u32::from(self.prefix))
    }

    /// Whether an address is one of the range, whoever has it.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        u64::from(u32::from(address).wrapping_sub(self.base)) < self.size()
    }

    /// Whether no pod gets it: it is the range's own, its last, or the node's.
    pub fn is_reserved(&self, address: Ipv4Addr) -> bool {
        self.reserved.contains(&u32::from(address))
    }

    /// The pod that has an address.
    pub fn holder(&self, address: Ipv4Addr) -> Option<&Pod> {
        self.held.get(&u32::from(address))
    }

    /// Those that pods may get, whoever has them, the lowest first.
    pub fn usable(&self) -> impl Iterator<Item = Ipv4Addr> + '_ {
        let base = u64::from(self.base);
        let all = (base..base + self.size()).filter_map(|address| u32::try_from(address).ok());
        all.filter(|address| !self.reserved.contains(address))
            .map(Ipv4Addr::from)
    }

    /// Those that may be given, in order: after the last that was given, round and round, so that an address comes round again
    /// as late as can be.
    pub fn free(&self) -> impl Iterator<Item = Ipv4Addr> + '_ {
        let (base, size) = (u64::from(self.base), self.size());
        let after = u64::from(self.last.wrapping_sub(self.base));
        let around = (1..=size).map(move |step| base + (after + step) % size);
        let addresses = around.filter_map(|address| u32::try_from(address).ok());
        let free = addresses.filter(|address| !self.reserved.contains(address) && !self.held.contains_key(address));
        free.map(Ipv4Addr::from)
    }

    fn keep(&mut self, pod: Pod, address: u32) {
        self.release(&pod.uid);
        self.by_uid.insert(pod.uid.clone(), address);
        self.held.insert(address, pod);
    }

    fn release(&mut self, uid: &str) {
        if let Some(address) = self.by_uid.remove(uid) {
            self.held.remove(&address);
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.base), self.prefix)
    }
}

/// A plugin as the contract wants it.
#[derive(Default)]
pub struct Keeper<P: Ipam> {
    policy: P,
    range: Range,
}

impl<P: Ipam> Keeper<P> {
    /// Hands the policy its config.
    ///
    /// # Errors
    /// If it is not JSON, or the policy refuses it.
    pub fn configure(&mut self, config: &str) -> Result<(), String> {
        let config = serde_json::from_str(config).map_err(|error| format!("the config is not JSON: {error}"))?;
        self.policy.configure(&config)
    }

    pub fn start(&mut self, me: Identity) {
        self.range = Range::new(me);
    }

    /// After those that pods have already, free ones come in order: what was given before is not known.
    pub fn keep(&mut self, holders: Vec<Holder>) {
        let last = holders.iter().map(|holder| holder.address).max();
        for holder in holders {
            self.range.keep(holder.pod, holder.address);
        }
        let within = last.filter(|last| self.range.contains((*last).into()));
        self.range.last = self.range.last.max(within.unwrap_or_default());
    }

    /// # Errors
    /// The policy's words.
    pub fn claim(&mut self, pod: Pod) -> Result<Ipv4Addr, String> {
        let address = self.policy.claim(&pod, &self.range)?;
        // One that was wished for leaves the order as it is.
        if self.range.free().next() == Some(address) {
            self.range.last = address.into();
        }
        self.range.keep(pod, address.into());
        Ok(address)
    }

    pub fn release(&mut self, uid: &str) {
        self.range.release(uid);
    }
}

/// Makes an [`Ipam`] the plugin that this crate is.
#[macro_export]
macro_rules! export_ipam {
    ($policy:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::ipam::{
                Holder, Identity, Keeper, Pod,
                bindings::exports::sampan::{ipam::policy, lifecycle::lifecycle},
            };
            std::thread_local! {
                static KEEPER: std::cell::RefCell<Keeper<$policy>> = Default::default();
            }
            struct Export;
            impl lifecycle::Guest for Export {
                fn describe() -> lifecycle::Description {
                    let said = <$policy as $crate::ipam::Ipam>::describe();
                    lifecycle::Description {
                        name: said.name,
                        version: said.version,
                        summary: said.summary,
                    }
                }
                fn configure(config: String) -> Result<(), String> {
                    KEEPER.with_borrow_mut(|keeper| keeper.configure(&config))
                }
            }
            impl policy::Guest for Export {
                fn start(me: Identity) -> Result<(), String> {
                    KEEPER.with_borrow_mut(|keeper| keeper.start(me));
                    Ok(())
                }
                fn keep(holders: Vec<Holder>) {
                    KEEPER.with_borrow_mut(|keeper| keeper.keep(holders));
                }
                fn claim(pod: Pod) -> Result<u32, String> {
                    KEEPER.with_borrow_mut(|keeper| keeper.claim(pod).map(u32::from))
                }
                fn release(uid: String) {
                    KEEPER.with_borrow_mut(|keeper| keeper.release(&uid));
                }
            }
    $crate::ipam::bindings::export_world!(Export with_types_in $crate::ipam::bindings);
        };
    };
}
