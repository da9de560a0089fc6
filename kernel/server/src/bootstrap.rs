//! What every cluster has from its first moment: namespaces and the built-in plugins.
use crate::{
    ServerConfig, features,
    front::namespace,
    new_object,
    peers::{self, Own, members},
    replica::ReplicaHandle,
};
use bytes::Bytes;
use sampan_api::{
    ApiError, Key, Object, Operation, Plan, Reason, Write, kinds,
    plugin::{self, DEFAULT_SCHEDULER, Mode, PluginSpec, PluginStatus, World},
};
use serde_json::json;

/// The annotation of a built-in plugin: the digest it came with. A user's own bytes under its name have none.
pub const BUILTIN: &str = "sampan.dev/builtin";

/// A plugin that the binary carries.
#[derive(Clone, Copy, Debug)]
pub struct BuiltinPlugin {
    pub name: &'static str,
    pub world: World,
    pub slot: &'static str,
    pub bytes: &'static [u8],
    /// What it is in a new cluster.
    pub mode: Mode,
}

impl BuiltinPlugin {
    /// What a policy that the binary carries is, by its name: of the schedulers one decides and the others stand by; each of
    /// the others fills the slot of its name.
    pub fn named(name: &'static str, bytes: &'static [u8]) -> Self {
        let (world, slot, mode) = match name {
            "spread" => (World::Scheduler, DEFAULT_SCHEDULER, Mode::Active),
            "binpack" => (World::Scheduler, DEFAULT_SCHEDULER, Mode::Standby),
            "routes" | "service" | "network-policy" => (World::Network, name, Mode::Active),
            controller => (World::Controller, controller, Mode::Active),
        };
        BuiltinPlugin {
            name,
            world,
            slot,
            bytes,
            mode,
        }
    }
}

/// Makes what is missing, in one entry.
///
/// # Errors
/// Why it cannot be written.
pub async fn bootstrap(replica: &ReplicaHandle, config: &ServerConfig, own: &Own) -> Result<(), ApiError> {
    let digests = futures::future::try_join_all(
        config
            .builtin_plugins
            .iter()
            .map(|plugin| replica.put_blob(Bytes::from_static(plugin.bytes))),
    );
    let digests = digests.await?;
    let state = replica.snapshot();
    let mut plans = Vec::new();
    for name in [sampan_api::DEFAULT_NAMESPACE, crate::SYSTEM_NAMESPACE] {
        let key = Key::new("namespaces", "", name);
        if state.get(&key).is_none() {
            plans.push(Plan::from(Write::new(key, Operation::Create(namespace(name)))));
        }
    }
    if members(&state).is_empty() {
        let mut spec = json!({"id": own.member, "address": own.address});
        if !config.pod_cidr.is_empty() {
            spec["podCIDR"] = config.pod_cidr.clone().into();
        }
        let member = new_object(peers::RESOURCE, &config.name)?
            .with_field("spec", &spec)
            .with_field("status", &config.build.status());
        let key = Key::new(peers::RESOURCE, "", &config.name);
        plans.push(Plan::from(Write::new(key, Operation::Create(member))));
    }
    if state.get(&features::key()).is_none() && members(&state).is_empty() {
        plans.push(Plan::from(features::first(&config.build)?));
    }
    for (builtin, digest) in config.builtin_plugins.iter().zip(digests) {
        let key = Key::new(plugin::RESOURCE, "", builtin.name);
        match state.get(&key) {
            None => plans.push(Plan::from(Write::new(
                key,
                Operation::Create(new_plugin(builtin, &digest)?),
            ))),
            Some(stored) => plans.extend(newer(&key, &stored, builtin, &digest)),
        }
    }
    for result in replica.commit(plans).await? {
        match result {
            // Somebody else of the group was faster.
            Err(error) if matches!(error.reason, Reason::AlreadyExists | Reason::Conflict) => {}
            other => drop(other?),
        }
    }
    Ok(())
}

fn status(builtin: &BuiltinPlugin) -> PluginStatus {
    PluginStatus {
        phase: "Ready".to_owned(),
        name: builtin.name.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        summary: "built in".to_owned(),
        size: builtin.bytes.len() as u64,
        ..PluginStatus::default()
    }
}

fn new_plugin(builtin: &BuiltinPlugin, digest: &str) -> Result<Object, ApiError> {
    let kind = kinds::of_resource(plugin::RESOURCE).ok_or_else(|| ApiError::internal("plugins are no kind"))?;
    let spec = PluginSpec {
        world: builtin.world,
        digest: digest.to_owned(),
        slot: builtin.slot.to_owned(),
        mode: builtin.mode,
        ..PluginSpec::default()
    };
    let mut object = Object::new(kind, "", builtin.name)
        .with_field("spec", &spec)
        .with_field("status", &status(builtin));
    object
        .metadata
        .annotations
        .insert(BUILTIN.to_owned(), digest.to_owned());
    Ok(object)
}

/// The plan that gives a built-in plugin the bytes of this binary, unless it has them or a user has put in others.
fn newer(key: &Key, stored: &Object, builtin: &BuiltinPlugin, digest: &str) -> Option<Plan> {
    let spec: PluginSpec = stored.field("spec").ok()?;
    let came_with = stored.metadata.annotations.get(BUILTIN)?;
    if spec.digest == digest || spec.digest != *came_with {
        return None;
    }
    let patch = json!({"metadata": {"annotations": {BUILTIN: digest}}, "spec": {"digest": digest}});
    let write = Write::new(key.clone(), Operation::Merge(patch)).expecting(stored.metadata.resource_version);
    let status = Write::new(
        key.clone(),
        Operation::MergeStatus(json!({ "status": status(builtin) })),
    );
    Some(Plan {
        writes: vec![write, status],
    })
}
