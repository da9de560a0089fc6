//! A scheduler that traps before it has done anything.
use sampan_sdk::{
    Value,
    scheduler_01::{Description, Node, Pod, Scheduler, description},
};

#[derive(Default)]
pub struct Start;

impl Scheduler for Start {
    fn describe() -> Description {
        description("start", env!("CARGO_PKG_VERSION"), "Traps at its start.")
    }

    fn configure(&mut self, _config: &Value) -> Result<(), String> {
        panic!("as intended")
    }

    fn score(&self, _pod: &Pod, _node: &Node) -> i64 {
        0
    }
}

sampan_sdk::export_scheduler_01!(Start);
