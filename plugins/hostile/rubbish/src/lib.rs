//! A controller whose plans make no sense.
use sampan_sdk::{
    controller::{Controller, Description, Key, Operation, Plan, Snapshot, Watch, Write, description},
    serde_json::json,
};

#[derive(Default)]
pub struct Rubbish;

impl Controller for Rubbish {
    fn describe() -> Description {
        description("rubbish", env!("CARGO_PKG_VERSION"), "Writes what is no object.")
    }

    fn watches() -> Vec<Watch> {
        vec![Watch::Itself("configmaps")]
    }

    fn reconcile(&self, key: &Key, _snapshot: &dyn Snapshot, _now_ms: u64) -> Result<Plan, String> {
        let operation = Operation::Create(json!("no object at all"));
        Ok(Plan {
            writes: vec![Write {
                key: key.clone(),
                operation,
                expect: 0,
            }],
            ..Plan::default()
        })
    }
}

sampan_sdk::export_controller!(Rubbish);
