//! A scheduler that eats all the memory it can get.
use sampan_sdk::scheduler_01::{Description, Node, Pod, Scheduler, description};

#[derive(Default)]
pub struct Memory;

impl Scheduler for Memory {
    fn describe() -> Description {
        description("memory", env!("CARGO_PKG_VERSION"), "Eats memory.")
    }

    fn score(&self, _pod: &Pod, _node: &Node) -> i64 {
        let mut eaten: Vec<Vec<u8>> = Vec::new();
        loop {
            eaten.push(std::hint::black_box(Vec::with_capacity(16 << 20)));
        }
    }
}

sampan_sdk::export_scheduler_01!(Memory);
