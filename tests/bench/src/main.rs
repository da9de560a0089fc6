//! Benchmarks beside a peer.
fn main() {}
