//! Which features may be used: only what every server of the cluster understands.
//!
//! A build has a *level*: which commands in the log, and what in checkpoints and objects, it understands. The level *in
//! force* is part of the state, in the one Cluster object. The leader raises it when the builds of all members have reached a
//! higher one, and nobody lowers it: from then on there may be things in the state that a build of a lower level would get
//! wrong. Such a build is not let in, does not start on that state, and stops serving should it meet it.
//!
//! To add a feature that older servers would get wrong: raise [`LEVEL`] by one, add a [`Feature`] of that level that says what
//! an older server would do, and ask [`enabled`] before it is first used. [`Feature::Standbys`] is an example.
use crate::{
    new_object,
    peers::{self, Peer},
    ranges,
};
use sampan_api::{
    ApiError, Key, Object, Operation, Plan, Reason, Selection, Write, dual::ClusterRanges, plugin::World,
    validate::scheduling::SYSTEM_CLASSES,
};
use sampan_state::{Snapshot, priority};
use serde_json::json;

/// The resource of the Cluster object.
pub const RESOURCE: &str = sampan_state::claims::CLUSTER.0;

/// The name of the only one.
const NAME: &str = sampan_state::claims::CLUSTER.1;

/// The level of this build.
pub const LEVEL: u32 = 6;

/// That of builds that knew of none, and of a state that says none.
const FIRST: u32 = 1;

/// What a build is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Build {
    pub version: String,
    pub level: u32,
}

impl Build {
    /// This one.
    pub fn this() -> Self {
        Build {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            level: LEVEL,
        }
    }

    /// What a Member object says of its server's.
    pub fn of(member: &Object) -> Self {
        let status = member.field_value("status");
        let level = status["level"].as_u64().and_then(|level| u32::try_from(level).ok());
        Build {
            version: status["version"].as_str().unwrap_or_default().to_owned(),
            level: level.unwrap_or(FIRST).max(FIRST),
        }
    }

    /// The status of a Member object that says so.
    pub fn status(&self) -> serde_json::Value {
        json!({"version": self.version, "level": self.level})
    }

    /// Whether it may be part of a cluster with this state.
    ///
    /// # Errors
    /// `Invalid`, with both levels and what to do.
    pub fn check(&self, state: &Snapshot) -> Result<(), ApiError> {
        let in_force = in_force(state);
        if self.level >= in_force {
            return Ok(());
        }
        Err(ApiError::new(Reason::Invalid, self.too_old(in_force)))
    }

    /// Why it may not.
    pub fn too_old(&self, in_force: u32) -> String {
        format!(
            "the build {} understands features up to level {}, and level {in_force} is in force in this cluster: install a \
             newer sampan on this machine, as the other servers have it (`sampan member list -o wide`)",
            self.version, self.level
        )
    }
}

/// What older servers would get wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// Members that stay learners until they are promoted. A leader of level 1 makes every learner a voter.
    Standbys,
    /// EndpointSlices, NetworkPolicies, Ingresses, IngressClasses, and plugins of the worlds `network` and `ingress`. A server
    /// of level 2 refuses such objects when it applies them, and so comes to another state.
    Networking,
    /// PriorityClasses, PodDisruptionBudgets and PodGroups, and what the committer does of them: it gives new pods their priority and the
    /// word of their gates, and counts extended resources. A server of level 3 refuses such objects when it applies them, and
    /// binds what others refuse.
    Scheduling,
    /// Ranges of pods and of Services that are not the usual ones, those of IPv6 among them. A server of level 4 gives Services and
    /// nodes addresses of the usual ones, and an agent takes those for the cluster's.
    Ranges,
    /// Plugins of the world `filter`. A server of level 4 cannot read them: it gives no node their bytes, and lets go of bytes that
    /// they share with a plugin that is removed.
    Filters,
    /// Plugins of the world `ipam`. A server of level 5 cannot read them, and does of them what one of level 4 does of filters.
    Ipam,
}

impl Feature {
    /// What plugins are of that nodes run.
    pub fn of_world(world: World) -> Self {
        match world {
            World::Filter => Feature::Filters,
            World::Ipam => Feature::Ipam,
            _ => Feature::Networking,
        }
    }

    /// From which level on it may be used.
    pub fn level(self) -> u32 {
        match self {
            Feature::Standbys => 2,
            Feature::Networking => sampan_state::claims::LEVEL,
            Feature::Scheduling => priority::LEVEL,
            Feature::Ranges | Feature::Filters => 5,
            Feature::Ipam => 6,
        }
    }
}

pub fn key() -> Key {
    Key::new(RESOURCE, "", NAME)
}

/// The level in force.
pub fn in_force(state: &Snapshot) -> u32 {
    let said = state.get(&key()).and_then(|cluster| {
        let level = cluster.field_value("status")["level"].as_u64()?;
        u32::try_from(level).ok()
    });
    said.unwrap_or(FIRST)
}

/// Whether a feature may be used.
pub fn enabled(state: &Snapshot, feature: Feature) -> bool {
    in_force(state) >= feature.level()
}

/// # Errors
/// `Conflict`, and what to do, if a feature may not be used yet.
pub fn require(state: &Snapshot, feature: Feature) -> Result<(), ApiError> {
    if enabled(state, feature) {
        return Ok(());
    }
    let message = format!(
        "that needs the features of level {}, and level {} is in force: upgrade all servers first (`sampan status` says \
         which are behind)",
        feature.level(),
        in_force(state)
    );
    Err(ApiError::new(Reason::Conflict, message))
}

/// Whether objects of a resource may be written.
///
/// # Errors
/// As [`require`].
pub fn admits(state: &Snapshot, resource: &str) -> Result<(), ApiError> {
    match resource {
        "endpointslices.discovery.k8s.io"
        | "networkpolicies.networking.k8s.io"
        | "ingresses.networking.k8s.io"
        | "ingressclasses.networking.k8s.io" => require(state, Feature::Networking),
        priority::CLASSES | "poddisruptionbudgets.policy" | "podgroups.scheduling.x-k8s.io" => {
            require(state, Feature::Scheduling)
        }
        _ => Ok(()),
    }
}

/// The Cluster object that a new cluster with these ranges begins with.
///
/// # Errors
/// None that a user could cause.
pub fn first(build: &Build, of: &ClusterRanges) -> Result<Write, ApiError> {
    let mut status = json!({"level": build.level});
    ranges::note(of, &mut status);
    let object = new_object(RESOURCE, NAME)?.with_field("status", &status);
    Ok(Write::new(key(), Operation::Create(object)))
}

/// A plan that raises the level to what all members have, if that is higher. It stands only if they are all as they were:
/// who joins writes to the Cluster object, and who comes with another build to its Member object.
///
/// # Errors
/// None that a user could cause.
pub fn raise(state: &Snapshot) -> Result<Option<Plan>, ApiError> {
    let found: Vec<_> = state
        .list(&Selection::of(peers::RESOURCE))
        .filter(|(_, object)| Peer::of(object).is_some())
        .collect();
    let lowest = found.iter().map(|(_, object)| Build::of(object).level).min();
    let Some(level) = lowest.filter(|level| *level > in_force(state)) else {
        return Ok(None);
    };
    let as_it_was = |(key, object): &(Key, std::sync::Arc<Object>)| {
        let nothing = Operation::MergeStatus(json!({"status": {}}));
        Write::new(key.clone(), nothing).expecting(object.metadata.resource_version)
    };
    let mut writes: Vec<Write> = found.iter().map(as_it_was).collect();
    writes.push(written(state, &json!({"level": level}))?);
    writes.extend(system_classes(state, level)?);
    Ok(Some(Plan { writes }))
}

/// What makes the system's PriorityClasses that are missing, where a level allows of them.
///
/// # Errors
/// None that a user could cause.
pub fn system_classes(state: &Snapshot, level: u32) -> Result<Vec<Write>, ApiError> {
    if level < Feature::Scheduling.level() {
        return Ok(Vec::new());
    }
    let missing = SYSTEM_CLASSES
        .iter()
        .filter(|(name, ..)| state.get(&priority::key(name)).is_none());
    let class = |(name, value, description): &(&str, i32, &str)| {
        let class = new_object(priority::CLASSES, name)?
            .with_field("value", value)
            .with_field("description", description)
            .with_field("preemptionPolicy", priority::PREEMPTS);
        Ok(Write::new(priority::key(name), Operation::Create(class)))
    };
    missing.map(class).collect()
}

/// A write to the Cluster object that no other may come before: what is decided with it is decided on this state.
///
/// # Errors
/// None that a user could cause.
fn written(state: &Snapshot, status: &serde_json::Value) -> Result<Write, ApiError> {
    match state.get(&key()) {
        Some(cluster) => {
            let write = Write::new(key(), Operation::MergeStatus(json!({"status": status})));
            Ok(write.expecting(cluster.metadata.resource_version))
        }
        None => {
            let object = new_object(RESOURCE, NAME)?.with_field("status", status);
            Ok(Write::new(key(), Operation::Create(object)))
        }
    }
}

/// The write with which a machine is let in: of two that were decided on the same state one stands, so that no range of
/// addresses is given twice, and the level is not raised past a build that comes in.
///
/// # Errors
/// None that a user could cause.
pub fn let_in(state: &Snapshot) -> Result<Write, ApiError> {
    let before = state
        .get(&key())
        .map(|cluster| cluster.field_value("status")["joined"].take());
    let joined = before.and_then(|count| count.as_u64()).unwrap_or(0);
    written(state, &json!({"joined": joined + 1}))
}
