//! Stands where `policies/` will stand: the same face, and nothing behind it. Goes with the line in `lib.rs` that names it.
#[path = "policies/narrate.rs"]
mod narrate;

pub use narrate::Narrator;

use crate::replica::ReplicaHandle;
use sampan_api::{Key, Object, Operation, Write, plugin::Mode, rpc::PluginFigures};
use sampan_sandbox::PluginEngine;
use std::sync::Arc;

/// No policies at all.
pub struct Policies;

impl Policies {
    pub fn start(_replica: ReplicaHandle, _engine: Arc<PluginEngine>) -> Self {
        Policies
    }

    /// What is known of a plugin that is loaded here.
    pub fn figures(&self, _name: &str) -> Option<PluginFigures> {
        None
    }

    pub fn shutdown(&self) {}
}

/// The write that changes a plugin's mode, if it is as it was seen.
pub fn mode_write(key: &Key, object: &Object, mode: Mode) -> Write {
    let patch = serde_json::json!({"spec": {"mode": mode}});
    Write::new(key.clone(), Operation::Merge(patch)).expecting(object.metadata.resource_version)
}
