//! The Plugin object: what a policy is, as state.
//!
//! A plugin fills a *slot*: a scheduler fills the scheduler's name that pods ask for, one that gives addresses fills `ipam`, all
//! others fill their own names.
//! Of the plugins of one slot at most one is `Active`; a swap is one plan that changes the modes of two.
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The kind's resource.
pub const RESOURCE: &str = "plugins.sampan.dev";

/// The slot of schedulers that name none, and the scheduler of pods that name none.
pub const DEFAULT_SCHEDULER: &str = "default-scheduler";

/// The slot of plugins that give pods their addresses: each node asks one.
pub const IPAM: &str = "ipam";

/// What a plugin is wanted to be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PluginSpec {
    pub world: World,
    /// `sha256:…` of the component.
    pub digest: String,
    pub slot: String,
    pub mode: Mode,
    /// Handed to `configure` as JSON.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub config: Value,
    /// What it may import beyond its world. No grants exist yet, so any is refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<String>,
}

impl PluginSpec {
    /// What is wrong with its slot, if nobody would ask a plugin of its world there.
    pub fn wrong_slot(&self) -> Option<String> {
        let wrong = self.world == World::Ipam && self.slot != IPAM;
        let why = || {
            format!(
                "\"{}\" is asked by nobody: plugins of the world ipam fill the slot \"{IPAM}\"",
                self.slot
            )
        };
        wrong.then(why)
    }
}

/// An extension point: which contract of `wit/` a plugin keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum World {
    #[default]
    Scheduler,
    Controller,
    Network,
    Ingress,
    /// A component of `wasi:http/proxy` that stands before Ingresses.
    Filter,
    /// Gives the pods of a node their addresses.
    Ipam,
}

/// What a plugin does now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Loaded, and asked nothing.
    #[default]
    Standby,
    /// Its decisions are carried out.
    Active,
    /// Asked beside the active one; its decisions are compared and dropped.
    Shadow,
    /// The one that was active before, kept warm; a rollback makes it active again.
    LastGood,
}

/// What became of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PluginStatus {
    /// `Ready`, or `Failed` after the breaker opened.
    pub phase: String,
    /// Why, for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The component's own words.
    pub name: String,
    pub version: String,
    pub summary: String,
    /// Its size in bytes.
    pub size: u64,
}

impl World {
    pub const ALL: [World; 6] = [
        World::Scheduler,
        World::Controller,
        World::Network,
        World::Ingress,
        World::Filter,
        World::Ipam,
    ];

    /// Whether plugins of this world run on every node, instead of on the servers.
    pub fn runs_on_nodes(self) -> bool {
        matches!(self, World::Network | World::Ingress | World::Filter | World::Ipam)
    }

    /// The slot of a plugin that names none.
    pub fn slot_of(self, name: &str) -> &str {
        match self {
            World::Scheduler => DEFAULT_SCHEDULER,
            World::Ipam => IPAM,
            World::Controller | World::Network | World::Ingress | World::Filter => name,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            World::Scheduler => "scheduler",
            World::Controller => "controller",
            World::Network => "network",
            World::Ingress => "ingress",
            World::Filter => "filter",
            World::Ipam => "ipam",
        }
    }
}

impl std::fmt::Display for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
