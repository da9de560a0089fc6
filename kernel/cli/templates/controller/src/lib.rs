//! The policy `policy-name`.
use sampan_sdk::{
    controller::{Controller, Description, Key, Plan, Query, Snapshot, Watch, description},
    serde_json::json,
};

/// Notes in the status of each namespace how many pods it has.
#[derive(Default)]
pub struct PolicyName;

impl Controller for PolicyName {
    fn describe() -> Description {
        let summary = "Notes how many pods a namespace has.";
        description("policy-name", env!("CARGO_PKG_VERSION"), summary)
    }

    fn watches() -> Vec<Watch> {
        vec![Watch::Itself("namespaces")]
    }

    /// What has to be written so that all is as it should be; an empty plan where it is.
    fn reconcile(&self, key: &Key, snapshot: &dyn Snapshot, _now_ms: u64) -> Result<Plan, String> {
        let mut plan = Plan::default();
        let Some(namespace) = snapshot.get(key) else { return Ok(plan) };
        let pods = snapshot.count(&Query::within("pods", namespace.name()));
        plan.patch_status(&namespace, json!({"pods": pods}));
        plan.wake_up(key, 10_000);
        Ok(plan)
    }
}

sampan_sdk::export_controller!(PolicyName);

#[cfg(test)]
mod tests {
    use super::*;
    use sampan_sdk::controller::{Memory, Object};

    #[test]
    fn pods_are_counted_and_what_is_right_is_left_alone() {
        let key = Key::new("namespaces", "", "default");
        let namespace = Object::new(key.clone(), 1, json!({"metadata": {"name": "default", "uid": "d"}}));
        let mut state = Memory::new(vec![namespace]);
        let plan = PolicyName.reconcile(&key, &state, 0).unwrap();
        assert_eq!(plan.writes.len(), 1);
        state.carry_out(&plan);
        assert!(PolicyName.reconcile(&key, &state, 0).unwrap().writes.is_empty());
    }
}
