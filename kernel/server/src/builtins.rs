//! The plugins that the binary carries: what a cluster begins with, and what an upgrade brings. A newer build's come into
//! force once all servers are of that build, since any of them may come to lead.
use crate::{
    features::{self, Build, Feature},
    membership::changed,
    peers,
    replica::{ReplicaHandle, leads},
};
use bytes::Bytes;
use sampan_api::{
    ApiError, Key, Object, Operation, Plan, Selection, Write, kinds,
    plugin::{self, DEFAULT_SCHEDULER, Mode, PluginSpec, PluginStatus, World},
};
use sampan_state::Snapshot;
use serde_json::json;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Before it is tried again.
const PAUSE: Duration = Duration::from_secs(1);

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
            "scheduler" => (World::Scheduler, DEFAULT_SCHEDULER, Mode::Active),
            "spread" | "binpack" => (World::Scheduler, DEFAULT_SCHEDULER, Mode::Standby),
            "routes" | "service" | "network-policy" => (World::Network, name, Mode::Active),
            "ingress" => (World::Ingress, name, Mode::Active),
            "ipam" => (World::Ipam, plugin::IPAM, Mode::Active),
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

/// Brings their bytes into the state; their digests, in order.
///
/// # Errors
/// Why they cannot be written.
pub async fn bring(replica: &ReplicaHandle, builtins: &[BuiltinPlugin]) -> Result<Vec<String>, ApiError> {
    let bring = |plugin: &BuiltinPlugin| replica.put_blob(Bytes::from_static(plugin.bytes));
    futures::future::try_join_all(builtins.iter().map(bring)).await
}

/// What makes the cluster's built-in plugins these: creates those that are missing, and gives others their bytes.
///
/// # Errors
/// None that a user could cause.
pub fn plans(state: &Snapshot, builtins: &[BuiltinPlugin], digests: &[String]) -> Result<Vec<Plan>, ApiError> {
    let mut plans = Vec::new();
    for (builtin, digest) in builtins.iter().zip(digests) {
        let key = Key::new(plugin::RESOURCE, "", builtin.name);
        match state.get(&key) {
            None => {
                let object = new_plugin(builtin, digest, mode_in(state, builtin))?;
                plans.push(Plan::from(Write::new(key, Operation::Create(object))));
            }
            Some(stored) => plans.extend(newer(&key, &stored, builtin, digest)),
        }
    }
    Ok(plans)
}

/// While this member leads: brings the plugins of its build into force as soon as all members are of that build.
pub async fn keep(replica: ReplicaHandle, builtins: Vec<BuiltinPlugin>, build: Build, closing: CancellationToken) {
    let mut leadership = replica.leadership();
    let work = async {
        while let Some(term) = leads(&mut leadership).await {
            let state = replica.snapshot();
            let renewed = match all_are(&build, &state) {
                true => renew(&replica, &builtins, term).await,
                false => Ok(()),
            };
            if let Err(error) = renewed {
                tracing::debug!(%error, "the built-in plugins cannot be renewed now");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            tokio::select! {
                () = changed(&replica, &state) => {}
                gone = leadership.changed() => if gone.is_err() { return },
            }
        }
    };
    tokio::select! {
        () = closing.cancelled() => {}
        () = work => {}
    }
}

fn all_are(build: &Build, state: &Snapshot) -> bool {
    let selection = Selection::of(peers::RESOURCE);
    let mut members = state.list(&selection).peekable();
    members.peek().is_some() && members.all(|(_, member)| Build::of(&member) == *build)
}

async fn renew(replica: &ReplicaHandle, builtins: &[BuiltinPlugin], term: u64) -> Result<(), ApiError> {
    let digests: Vec<String> = builtins
        .iter()
        .map(|builtin| sampan_state::digest_of(builtin.bytes))
        .collect();
    let state = replica.snapshot();
    if plans(&state, builtins, &digests)?.is_empty() {
        return Ok(());
    }
    // Until their level is in force, a server of an older build could still be let in that cannot read them.
    for builtin in builtins.iter().filter(|builtin| builtin.world.runs_on_nodes()) {
        features::require(&state, Feature::of_world(builtin.world))?;
    }
    bring(replica, builtins).await?;
    let plans = plans(&replica.snapshot(), builtins, &digests)?;
    let count = plans.len();
    for result in replica.commit_in(term, plans).await? {
        result?;
    }
    tracing::info!(count, "the built-in plugins are those of this build now");
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

/// Where another decides in its slot already, which a user may have chosen, a plugin that is new stands by.
fn mode_in(state: &Snapshot, builtin: &BuiltinPlugin) -> Mode {
    let plugins = Selection::of(plugin::RESOURCE);
    let decides = |object: &Object| {
        let spec: PluginSpec = object.field("spec").unwrap_or_default();
        spec.world == builtin.world && spec.slot == builtin.slot && spec.mode == Mode::Active
    };
    match state.list(&plugins).any(|(_, object)| decides(&object)) {
        true => Mode::Standby,
        false => builtin.mode,
    }
}

fn new_plugin(builtin: &BuiltinPlugin, digest: &str, mode: Mode) -> Result<Object, ApiError> {
    let kind = kinds::of_resource(plugin::RESOURCE).ok_or_else(|| ApiError::internal("plugins are no kind"))?;
    let spec = PluginSpec {
        world: builtin.world,
        digest: digest.to_owned(),
        slot: builtin.slot.to_owned(),
        mode,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::ReplicaConfig;

    /// A cluster of a build before `scheduler` came: what decides there goes on deciding.
    #[test]
    fn a_slot_keeps_who_is_active_when_a_newer_build_brings_another() {
        let dir = tempfile::tempdir().unwrap();
        let replica = ReplicaHandle::open(&ReplicaConfig {
            dir: dir.path().to_owned(),
            cluster: "test".to_owned(),
            member: 1,
            joins: false,
            alone: false,
            quota_bytes: crate::QUOTA,
        })
        .unwrap();
        let bring = |names: &[&'static str]| {
            let builtins: Vec<_> = names
                .iter()
                .map(|name| BuiltinPlugin::named(name, name.as_bytes()))
                .collect();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let digests = runtime.block_on(bring(&replica, &builtins)).unwrap();
            let plans = plans(&replica.snapshot(), &builtins, &digests).unwrap();
            for result in replica.commit_blocking(plans).unwrap() {
                result.unwrap();
            }
        };
        let mode = |name: &str| {
            let object = replica.snapshot().get(&Key::new(plugin::RESOURCE, "", name)).unwrap();
            object.field::<PluginSpec>("spec").unwrap().mode
        };
        bring(&["spread"]);
        let activate = Operation::Merge(json!({"spec": {"mode": Mode::Active}}));
        let write = Write::new(Key::new(plugin::RESOURCE, "", "spread"), activate);
        replica
            .commit_blocking(vec![Plan::from(write)])
            .unwrap()
            .remove(0)
            .unwrap();
        bring(&["scheduler", "spread", "binpack", "job"]);
        let found = ["scheduler", "spread", "binpack", "job"].map(mode);
        assert_eq!(found, [Mode::Standby, Mode::Active, Mode::Standby, Mode::Active]);
    }
}
