//! A scheduler that sends every pod to a node that nobody has.
#[cfg(target_arch = "wasm32")]
mod liar {
    use sampan_sdk::scheduler_01::{
        Delta, Description, Placement, PodClass, Waiting,
        bindings::{self, exports},
        description,
    };

    struct Liar;

    impl exports::sampan::lifecycle::lifecycle::Guest for Liar {
        fn describe() -> Description {
            description("liar", env!("CARGO_PKG_VERSION"), "Names nodes that do not exist.")
        }
        fn configure(_config: String) -> Result<(), String> {
            Ok(())
        }
    }

    impl exports::sampan::scheduler::policy::Guest for Liar {
        fn sync(_base: u64, _next: u64, _deltas: Vec<Delta>) -> Result<(), String> {
            Ok(())
        }
        fn place(_classes: Vec<PodClass>, pods: Vec<Waiting>) -> Placement {
            Placement {
                nodes: vec![u32::MAX; pods.len()],
                refusals: Vec::new(),
            }
        }
    }

    bindings::export_world!(Liar with_types_in bindings);
}
