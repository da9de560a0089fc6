//! A scheduler that heeds no rule, so that the committer has to, and that traps over pods that ask for 113m.
use sampan_sdk::scheduler_01::{Description, Node, Pod, Reason, Scheduler, description};

#[derive(Default)]
pub struct Careless;

impl Scheduler for Careless {
    fn describe() -> Description {
        description(
            "careless",
            env!("CARGO_PKG_VERSION"),
            "Sends every pod to the first node.",
        )
    }

    fn filter(&self, pod: &Pod, _node: &Node) -> Result<(), Reason> {
        assert!(pod.requests.milli_cpu != 113, "of all numbers");
        Ok(())
    }

    fn score(&self, _pod: &Pod, _node: &Node) -> i64 {
        0
    }
}

sampan_sdk::export_scheduler_01!(Careless);
