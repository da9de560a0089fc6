//! Wasm workloads.
