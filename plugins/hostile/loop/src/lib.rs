//! A scheduler that never answers: what the deadline is for.
use sampan_sdk::scheduler_01::{Description, Node, Pod, Scheduler, description};

#[derive(Default)]
pub struct Loop;

impl Scheduler for Loop {
    fn describe() -> Description {
        description("loop", env!("CARGO_PKG_VERSION"), "Loops for ever.")
    }

    fn score(&self, _pod: &Pod, _node: &Node) -> i64 {
        loop {
            std::hint::black_box(0);
        }
    }
}

sampan_sdk::export_scheduler_01!(Loop);
