//! A scene from a state, or from a file: a snapshot of a cluster or a recording.
use super::{Candidate, Recording, RecordingError, Scene, recording, world::World};
use crate::{
    backup::{self, BackupError},
    policies::scheduling::{
        FOLLOWED,
        mirror::{Mirror, touched},
        reading::Facts,
    },
};
use sampan_api::{Key, Object, Selection};
use sampan_state::{CheckpointError, Snapshot};
use std::{fs::File, io::Read, path::Path};

/// What history is read from.
#[derive(Debug)]
pub enum Source {
    /// The pods of a slot, placed anew in the order in which they were made.
    Snapshot(Box<Scene>),
    Recording(Box<Recording>),
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SceneError {
    #[error(transparent)]
    Snapshot(#[from] BackupError),
    #[error(transparent)]
    Recording(#[from] RecordingError),
    #[error(
        "{0} is neither a snapshot nor a recording: `sampan snapshot save` writes the one, `sampan plugin record` the other"
    )]
    Neither(String),
    #[error("no pod in it is of the scheduler \"{slot}\"{others}")]
    NoPods { slot: String, others: String },
}

/// Reads a file that `sampan snapshot save` or `sampan plugin record` wrote, to its end.
///
/// # Errors
/// If it cannot be read, is neither, is cut short or was changed, or a snapshot has no pod of this slot.
pub fn read(path: &Path, slot: &str) -> Result<Source, SceneError> {
    if begins_as_recording(path) {
        return Ok(Source::Recording(Box::new(Recording::read(path)?)));
    }
    let store = match backup::read(path) {
        Ok((store, ..)) => store,
        Err(BackupError::Unusable {
            reason: CheckpointError::NotACheckpoint,
            ..
        }) => {
            return Err(SceneError::Neither(path.display().to_string()));
        }
        Err(error) => return Err(error.into()),
    };
    let snapshot = store.snapshot();
    let scene = scene_of(&snapshot, slot);
    if scene.pods.is_empty() {
        return Err(SceneError::NoPods {
            slot: slot.to_owned(),
            others: others(&snapshot),
        });
    }
    Ok(Source::Snapshot(Box::new(scene)))
}

fn begins_as_recording(path: &Path) -> bool {
    let mut first = [0; recording::BEGINS.len()];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut first));
    read.is_ok() && first == *recording::BEGINS
}

/// The schedulers that pods of a state name.
fn others(snapshot: &Snapshot) -> String {
    let mut mirror = Mirror::default();
    let pods = Selection::of("pods");
    let named = snapshot
        .list(&pods)
        .map(|(_, pod)| mirror.read(&pod).scheduler.to_string());
    let mut named: Vec<String> = named.collect();
    named.sort();
    named.dedup();
    match named.is_empty() {
        true => ": it has no pods".to_owned(),
        false => format!(": its pods name {} (--slot)", named.join(", ")),
    }
}

/// The pods of a scheduler's name, and the cluster without them. Pods that have ended do not count; those that are ending, and
/// those of other schedulers, stay where they are; those that wait for gates are left out.
pub fn scene_of(snapshot: &Snapshot, slot: &str) -> Scene {
    let mut mirror = Mirror::default();
    let mut found: Vec<(u64, Key, u32, Facts)> = Vec::new();
    for resource in FOLLOWED {
        for (key, object) in snapshot.list(&Selection::of(resource)) {
            match resource {
                "pods" => found.extend(pod(&mut mirror, slot, &key, &object)),
                _ => mirror.object(&key, &object, false),
            }
        }
    }
    found.sort_by(|one, other| (one.0, &one.1).cmp(&(other.0, &other.1)));
    let candidate = |(_, key, id, facts): &(u64, Key, u32, Facts)| {
        let pod = mirror.pods.get(*id)?;
        let group = pod.shape.group.as_ref();
        Some(Candidate {
            name: key.path(),
            pod: mirror.waiting(*id)?,
            start: facts.start,
            group: group.map(|group| {
                (
                    format!("{}/{}", group.namespace, group.name),
                    mirror.groups.least(group),
                )
            }),
            on: facts.node.clone(),
        })
    };
    let mut scene = Scene {
        pods: found.iter().filter_map(candidate).collect(),
        revision: snapshot.revision(),
        world: World::default(),
    };
    for changes in touched::changes(&mirror, &mirror.everything(), 1) {
        scene.world.apply(&changes);
    }
    scene
}

/// Takes in a pod as one that waits if it is one of the slot's: when it was made, and its number.
fn pod(mirror: &mut Mirror, slot: &str, key: &Key, object: &Object) -> Option<(u64, Key, u32, Facts)> {
    let facts = Facts::of(object);
    if facts.finished || (facts.node.is_empty() && facts.deleting) {
        return None;
    }
    let shape = mirror.read(object);
    let ours = *shape.scheduler == *slot && !facts.deleting;
    if facts.node.is_empty() && (!ours || shape.gated) {
        return None;
    }
    let at = object.metadata.resource_version;
    if !ours {
        mirror.pod(key, object, &shape, &facts, at);
        return None;
    }
    let waits = Facts {
        node: String::new(),
        nominated: None,
        ..facts.clone()
    };
    let id = mirror.pod(key, object, &shape, &waits, at)?;
    let made = object.metadata.creation_timestamp.map_or(0, |time| time.as_millis());
    // One that says more than schedulers are told is asked about nowhere.
    shape.refused.is_none().then(|| (made, key.clone(), id, facts))
}
