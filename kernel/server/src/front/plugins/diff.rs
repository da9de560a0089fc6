//! A shadow held against who decides: what was counted on live traffic, and all pods placed anew by each of both. Plugins that
//! run on nodes are held against each other there.
use super::{Plugins, found};
use crate::policies::{
    Differing, MOST_DIFFERING, Policies, Side,
    replay::{self, Scene, scene_of},
};
use sampan_api::{
    ApiError, Reason, Selection,
    plugin::{self, Mode, PluginSpec, World},
    rpc::{self, PlacedAnew, PluginDiff, PluginDiffSide},
};
use sampan_state::Snapshot;

impl Plugins {
    pub(super) async fn diff_of(&self, request: &rpc::PluginDiffRequest) -> Result<PluginDiff, ApiError> {
        let state = self.front.replica.snapshot();
        let (_, object) = found(&state, &request.name)?;
        let candidate: PluginSpec = object.field("spec").unwrap_or_default();
        compares(&request.name, &candidate)?;
        if candidate.world.runs_on_nodes() {
            return self.diff_on_nodes(&state, &candidate, request).await;
        }
        if !request.node.is_empty() {
            let world = candidate.world;
            let message = format!("plugins of the world {world} run on the servers: no node is asked");
            return Err(ApiError::new(Reason::Invalid, message));
        }
        let (active, digest) = active_of(&state, &candidate).unwrap_or_else(|| (BUILT_IN.to_owned(), String::new()));
        let most = match request.most as usize {
            0 => MOST_DIFFERING,
            most => most.min(MOST_DIFFERING),
        };
        let report = self.front.policies.compared(&request.name, most).unwrap_or_default();
        // What was counted against another is of no use any more; the loop begins anew with its next decision.
        let report = match report.active == (active.clone(), digest.clone()) {
            true => report,
            false => Default::default(),
        };
        let placed_anew = match request.what_if && candidate.world == World::Scheduler {
            true => Some(self.placed_anew(state, &candidate.slot, &active, &request.name).await?),
            false => None,
        };
        let [active_side, candidate_side] = report.sides.map(|one| Some(side(&one)));
        Ok(PluginDiff {
            world: candidate.world.to_string(),
            slot: candidate.slot,
            candidate: request.name.clone(),
            candidate_digest: candidate.digest,
            active,
            active_digest: digest,
            since_ms: report.since_ms,
            same: report.tally.same,
            otherwise: report.tally.otherwise,
            only_candidate: report.tally.only_candidate,
            only_active: report.tally.only_active,
            neither: report.tally.neither,
            active_side,
            candidate_side,
            differences: report.differing.into_iter().map(difference).collect(),
            placed_anew,
            nodes: Vec::new(),
        })
    }

    /// One at a time, and aside: it takes a whole core for as long as a policy thinks.
    async fn placed_anew(
        &self,
        state: Snapshot,
        slot: &str,
        active: &str,
        candidate: &str,
    ) -> Result<PlacedAnew, ApiError> {
        let permit = self.placing.clone().acquire_owned().await;
        let permit = permit.map_err(|error| ApiError::internal(error.to_string()))?;
        let policies = self.front.policies.clone();
        let (slot, active, candidate) = (slot.to_owned(), active.to_owned(), candidate.to_owned());
        let placing = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let scene = scene_of(&state, &slot);
            place_anew(&policies, &scene, &active, &candidate)
        });
        placing.await.map_err(|error| ApiError::internal(error.to_string()))
    }
}

/// Who decides where no plugin does.
const BUILT_IN: &str = "built-in";

/// Whether a plugin is compared with the active one.
fn compares(name: &str, spec: &PluginSpec) -> Result<(), ApiError> {
    let refused = |why: String| Err(ApiError::new(Reason::Invalid, why));
    match spec.world {
        World::Filter => {
            return refused(format!(
                "plugin \"{name}\" is a filter: it answers requests, and what it would answer to those to come is not known"
            ));
        }
        World::Ipam => {
            return refused(format!(
                "plugin \"{name}\" gives pods their addresses: those that have one keep it, and which pods come is not known"
            ));
        }
        _ => {}
    }
    match spec.mode {
        Mode::Shadow => Ok(()),
        Mode::Active => refused(format!(
            "plugin \"{name}\" decides: name {}, and it is held against this one",
            match spec.world.runs_on_nodes() {
                true => "another of its slot",
                false => "a shadow",
            }
        )),
        // Nodes need no warning: they ask it when they are asked.
        Mode::Standby | Mode::LastGood if spec.world.runs_on_nodes() => Ok(()),
        Mode::Standby | Mode::LastGood => refused(format!(
            "plugin \"{name}\" is no shadow: nothing was asked of it; sampan plugin shadow {name}"
        )),
    }
}

/// Name and digest of who decides in a plugin's slot.
pub(super) fn active_of(state: &Snapshot, of: &PluginSpec) -> Option<(String, String)> {
    let plugins = Selection::of(plugin::RESOURCE);
    let mut specs = state.list(&plugins).filter_map(|(key, object)| {
        let spec: PluginSpec = object.field("spec").ok()?;
        Some((key.name.to_string(), spec))
    });
    let decides = |spec: &PluginSpec| spec.slot == of.slot && spec.world == of.world && spec.mode == Mode::Active;
    let (name, spec) = specs.find(|(_, spec)| decides(spec))?;
    Some((name, spec.digest))
}

fn side(side: &Side) -> PluginDiffSide {
    PluginDiffSide {
        decisions: side.decisions,
        preemptions: side.preemptions,
        micros_each: side.took.as_secs_f64() * 1e6 / side.decisions.max(1) as f64,
    }
}

fn difference(one: Differing) -> rpc::PluginDifference {
    rpc::PluginDifference {
        resource: one.resource,
        namespace: one.namespace,
        name: one.name,
        active: one.active,
        candidate: one.candidate,
        why: one.why,
        at_ms: one.at_ms,
    }
}

fn place_anew(policies: &Policies, scene: &Scene, active: &str, candidate: &str) -> PlacedAnew {
    let names = [active, candidate].into_iter().filter(|name| *name != BUILT_IN);
    let placed: Vec<_> = names.map(|name| (name, policies.place_anew(name, scene))).collect();
    replay::told(scene, &placed)
}
