//! A scheduler that traps whenever it is asked.
use sampan_sdk::scheduler_01::{Description, Node, Pod, Scheduler, description};

#[derive(Default)]
pub struct Trap;

impl Scheduler for Trap {
    fn describe() -> Description {
        description("trap", env!("CARGO_PKG_VERSION"), "Traps.")
    }

    fn score(&self, _pod: &Pod, _node: &Node) -> i64 {
        panic!("as intended")
    }
}

sampan_sdk::export_scheduler_01!(Trap);
