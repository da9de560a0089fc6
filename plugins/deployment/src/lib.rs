//! The controller `deployment`: one ReplicaSet for each template, and pods moved from the old to the new as the strategy
//! says. Rolling back is applying an old template again: the ReplicaSet that has it is taken up anew.
mod rollout;
mod status;
mod template;

use sampan_sdk::{
    controller::{Controller, Description, Key, Object, Plan, Query, Snapshot, Watch, description},
    serde_json::json,
};

/// Numbers the rollouts of a deployment.
const REVISION: &str = "deployment.kubernetes.io/revision";

/// Old ReplicaSets kept for rolling back, where the deployment says nothing.
const HISTORY: i64 = 10;

#[derive(Default)]
pub struct Deployment;

impl Controller for Deployment {
    fn describe() -> Description {
        description(
            "deployment",
            env!("CARGO_PKG_VERSION"),
            "Rolls a Deployment's pods from template to template.",
        )
    }

    fn watches() -> Vec<Watch> {
        vec![Watch::Itself("deployments.apps"), Watch::Owner("replicasets.apps")]
    }

    fn reconcile(&self, key: &Key, snapshot: &dyn Snapshot, now_ms: u64) -> Result<Plan, String> {
        let mut plan = Plan::default();
        let Some(deployment) = snapshot.get(key) else {
            return Ok(plan);
        };
        if deployment.is_deleting() {
            return Ok(plan);
        }
        let mut sets = snapshot.list(&Query::owned("replicasets.apps", &deployment));
        sets.retain(|set| set.controller() == Some(deployment.uid()) && !set.is_deleting());
        adopt(&mut plan, &deployment, &mut sets, snapshot);
        let current = template::current(&deployment, &sets);
        let paused = deployment.spec()["paused"] == true;
        let mut created = None;
        match current {
            None if !paused => created = Some(create(&mut plan, &deployment, &sets, snapshot)),
            _ => {
                let revision = take_up(&mut plan, &deployment, &sets, current);
                if paused || rollout::is_rescaled(&deployment, &sets) {
                    rollout::scale_in_proportion(&mut plan, &deployment, &sets, current);
                } else {
                    rollout::advance(&mut plan, &deployment, &sets, current);
                    clean_up(&mut plan, &deployment, &sets, current);
                }
                if let Some(revision) = revision {
                    plan.patch(&deployment, json!({"metadata": {"annotations": {REVISION: revision}}}));
                }
            }
        }
        let shown = status::Shown {
            sets: &sets,
            current,
            created,
        };
        status::report(&mut plan, &deployment, &shown, now_ms);
        Ok(plan)
    }
}

fn revision_of(set: &Object) -> i64 {
    set.annotation(REVISION).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Takes ReplicaSets that belong to nobody and match the selector: those of a deployment that was deleted without them.
fn adopt(plan: &mut Plan, deployment: &Object, sets: &mut Vec<Object>, snapshot: &dyn Snapshot) {
    // Only a deployment that is new, or changed, looks for them.
    if deployment.status()["observedGeneration"].as_i64() == Some(deployment.generation()) {
        return;
    }
    let selector = &deployment.spec()["selector"];
    let within = Query::within("replicasets.apps", &deployment.key.namespace).labelled(&selector["matchLabels"]);
    for set in snapshot.list(&within) {
        if set.controller().is_none() && !set.is_deleting() && set.matches(selector) {
            let mut owners = set.owners().to_vec();
            owners.push(deployment.as_controller());
            plan.patch(&set, json!({"metadata": {"ownerReferences": owners}}));
            sets.push(set);
        }
    }
}

/// Makes the ReplicaSet of a template that is new, with no pods yet more than the strategy allows; its name.
fn create(plan: &mut Plan, deployment: &Object, sets: &[Object], snapshot: &dyn Snapshot) -> String {
    let template = &deployment.spec()["template"];
    // Another template may have the same short hash: then it is hashed with a count.
    let collisions = deployment.status()["collisionCount"].as_i64().unwrap_or(0);
    let (name, hash, collisions) = (collisions..collisions + 16)
        .map(|count| {
            let hash = template::hash(template, count);
            (format!("{}-{hash}", deployment.name()), hash, count)
        })
        .find(|(name, _, _)| {
            snapshot
                .get(&Key::new("replicasets.apps", &deployment.key.namespace, name))
                .is_none()
        })
        .unwrap_or_default();
    let revision = (sets.iter().map(revision_of).max().unwrap_or(0) + 1).to_string();
    let mut template = template.clone();
    template["metadata"]["labels"][template::HASH_LABEL] = json!(hash);
    let mut selector = deployment.spec()["selector"].clone();
    selector["matchLabels"][template::HASH_LABEL] = json!(hash);
    let replicas = rollout::first_replicas(deployment, sets);
    let mut spec = json!({"replicas": replicas, "selector": selector, "template": template});
    if let Some(seconds) = deployment.spec()["minReadySeconds"].as_i64() {
        spec["minReadySeconds"] = json!(seconds);
    }
    let set = json!({
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": name,
            "namespace": deployment.key.namespace,
            "labels": template["metadata"]["labels"],
            "annotations": annotations(deployment, &revision),
            "ownerReferences": [deployment.as_controller()],
        },
        "spec": spec,
    });
    plan.create("replicasets.apps", &deployment.key.namespace, set);
    plan.patch(deployment, json!({"metadata": {"annotations": {REVISION: revision}}}));
    if collisions > 0 {
        plan.patch_status(deployment, json!({"collisionCount": collisions}));
    }
    plan.normal(
        deployment,
        "ScalingReplicaSet",
        format!("Scaled up replica set {name} from 0 to {replicas}"),
    );
    name
}

/// The deployment's annotations, as its ReplicaSets carry them.
fn annotations(deployment: &Object, revision: &str) -> sampan_sdk::Value {
    let mut annotations = deployment.json["metadata"]["annotations"].clone();
    if !annotations.is_object() {
        annotations = json!({});
    }
    if let Some(map) = annotations.as_object_mut() {
        map.remove("kubectl.kubernetes.io/last-applied-configuration");
        map.insert(REVISION.to_owned(), json!(revision));
        map.extend(
            rollout::bounds(deployment)
                .annotations()
                .as_object()
                .cloned()
                .unwrap_or_default(),
        );
    }
    annotations
}

/// Gives the current ReplicaSet the highest revision, if an older one is taken up again; the deployment's revision.
fn take_up(plan: &mut Plan, deployment: &Object, sets: &[Object], current: Option<&Object>) -> Option<String> {
    let current = current?;
    let others = sets
        .iter()
        .filter(|set| set.key != current.key)
        .map(revision_of)
        .max()
        .unwrap_or(0);
    let revision = revision_of(current)
        .max(others + i64::from(revision_of(current) <= others))
        .to_string();
    if current.annotation(REVISION) != Some(&revision) {
        let change_cause = deployment.annotation("kubernetes.io/change-cause");
        let annotations = json!({REVISION: revision, "kubernetes.io/change-cause": change_cause});
        plan.patch(current, json!({"metadata": {"annotations": annotations}}));
    }
    plan.patch(
        current,
        json!({"spec": {"minReadySeconds": deployment.spec()["minReadySeconds"]}}),
    );
    Some(revision)
}

/// Deletes the oldest ReplicaSets without pods beyond what is kept for rolling back.
fn clean_up(plan: &mut Plan, deployment: &Object, sets: &[Object], current: Option<&Object>) {
    if !status::is_complete(deployment, sets, current) {
        return;
    }
    let keep = usize::try_from(deployment.spec_number("/revisionHistoryLimit", HISTORY)).unwrap_or(0);
    let empty =
        |set: &&Object| set.spec_number("/replicas", 0) == 0 && set.status()["replicas"].as_i64().unwrap_or(0) == 0;
    let mut old: Vec<&Object> = sets
        .iter()
        .filter(|set| current.is_some_and(|c| c.key != set.key))
        .filter(empty)
        .collect();
    old.sort_by_key(|set| revision_of(set));
    let beyond = old.len().saturating_sub(keep);
    old.into_iter().take(beyond).for_each(|set| plan.delete(set));
}

sampan_sdk::export_controller!(Deployment);

#[cfg(test)]
mod tests {
    #[test]
    fn golden() {
        sampan_sdk::testing::golden::<super::Deployment>(concat!(env!("CARGO_MANIFEST_DIR"), "/golden"));
    }
}
