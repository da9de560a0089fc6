//! A scheduler that answers with ten million assignments.
#[cfg(target_arch = "wasm32")]
mod flood {
    use sampan_sdk::scheduler_01::{
        Delta, Description, Placement, PodClass, Waiting,
        bindings::{self, exports},
        description,
    };

    struct Flood;

    impl exports::sampan::lifecycle::lifecycle::Guest for Flood {
        fn describe() -> Description {
            description("flood", env!("CARGO_PKG_VERSION"), "Answers too much.")
        }
        fn configure(_config: String) -> Result<(), String> {
            Ok(())
        }
    }

    impl exports::sampan::scheduler::policy::Guest for Flood {
        fn sync(_base: u64, _next: u64, _deltas: Vec<Delta>) -> Result<(), String> {
            Ok(())
        }
        fn place(_classes: Vec<PodClass>, _pods: Vec<Waiting>) -> Placement {
            Placement {
                nodes: vec![1; 10_000_000],
                refusals: Vec::new(),
            }
        }
    }

    bindings::export_world!(Flood with_types_in bindings);
}
