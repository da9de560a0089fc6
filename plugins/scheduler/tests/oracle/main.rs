//! The oracle: Kubernetes' rules written a second time, slowly and plainly, and the plugin held against them.
//!
//! Nothing here is shared with the plugin but the types of the contract. `filters`, `neighbours`, `scores` and `evict` are
//! the rules; `properties` runs random clusters (`random`, `pair`); `golden` has one case for each rule; `scan` holds
//! the index against a scan of all nodes on larger clusters; `benchmarks` are the cases that are measured.
mod benchmarks;
mod checks;
mod draw;
mod evict;
mod filters;
mod golden;
mod model;
mod neighbours;
mod pair;
mod properties;
mod random;
mod scan;
mod scores;
