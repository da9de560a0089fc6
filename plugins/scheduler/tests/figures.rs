//! What placing costs, natively: `cargo test --release -p scheduler --test figures -- --ignored --nocapture`.
//!
//! The shapes are those of Kubernetes' scheduler_perf: nodes of 4 CPUs, 32 GiB and 110 pods, pods of 100m and 500Mi.
//! Figures, not tests: nothing here fails because it was slow.
mod shapes;

use shapes::{Cluster, HOST, ZONE, bare};
use std::time::Instant;

const NODES: u32 = 5_000;
/// Pods in a call, as the kernel gives them.
const BATCH: usize = 256;

/// Places pods of some classes in turn, and prints what one of them cost.
fn measure(name: &str, cluster: &mut Cluster, classes: &[u32], pods: usize) {
    let before = cluster.placed;
    let start = Instant::now();
    let mut left = pods;
    while left > 0 {
        let batch = left.min(BATCH);
        cluster.place(classes, batch);
        left -= batch;
    }
    let micros = start.elapsed().as_secs_f64() * 1e6 / pods as f64;
    let placed = cluster.placed - before;
    println!(
        "{name:<38} {micros:>8.2} µs per pod, {:>9.0} pods/s, {placed} of {pods} placed",
        1e6 / micros
    );
}

#[test]
#[ignore = "figures, not a test"]
fn figures() {
    let mut cluster = Cluster::new(NODES, 50);
    let class = cluster.add(bare());
    measure("basic", &mut cluster, &[class], 10_000);
    measure("basic, index there", &mut cluster, &[class], 100_000);

    let mut cluster = Cluster::new(NODES, 50);
    let classes: Vec<u32> = (0..20).map(|index| cluster.owned(index)).collect();
    measure("20 Deployments with defaults, in turn", &mut cluster, &classes, 50_000);
    measure(
        "a Deployment with defaults, 50 zones",
        &mut cluster,
        &classes[..1],
        10_000,
    );

    let mut cluster = Cluster::new(NODES, 3);
    let classes: Vec<u32> = (0..1_000).map(|index| cluster.owned(index)).collect();
    measure("1,000 Deployments with defaults", &mut cluster, &classes, 20_000);
    measure("one of them, 3 zones", &mut cluster, &classes[..1], 10_000);

    let mut cluster = Cluster::new(NODES, 50);
    let class = cluster.in_zones(&["zone-1", "zone-2"]);
    measure("node affinity", &mut cluster, &[class], 10_000);

    let mut cluster = Cluster::new(NODES, 50);
    let class = cluster.preferring("zone-1");
    measure("preferred node affinity", &mut cluster, &[class], 10_000);

    let mut cluster = Cluster::new(NODES, 3);
    let class = cluster.spread(ZONE, true);
    measure("spread over zones", &mut cluster, &[class], 10_000);
    let class = cluster.spread(HOST, true);
    measure("spread over hosts", &mut cluster, &[class], 10_000);
    let class = cluster.spread(ZONE, false);
    measure("spread over zones, preferred", &mut cluster, &[class], 10_000);

    let mut cluster = Cluster::new(NODES, 50);
    let class = cluster.anti_affinity(HOST);
    measure("anti-affinity over hosts", &mut cluster, &[class], 5_000);
    measure("anti-affinity over hosts, refused", &mut cluster, &[class], 5_000);

    let mut cluster = Cluster::new(NODES, 50);
    let class = cluster.affinity(ZONE);
    measure("affinity over zones", &mut cluster, &[class], 10_000);
    let class = cluster.affinity(HOST);
    measure("affinity over hosts", &mut cluster, &[class], 100);

    let mut cluster = Cluster::new(NODES, 1_000);
    let class = cluster.preferring_pods("rack");
    measure("preferred affinity over 1,000 racks", &mut cluster, &[class], 10_000);

    preemption();
    daemons();
    unschedulable();
    large();
}

/// Four pods of 900m on each node, then pods of 3000m that are more important.
fn preemption() {
    let mut cluster = Cluster::new(NODES, 50);
    let (low, high) = (cluster.sized(900, 0), cluster.sized(3000, 10));
    cluster.place(&[low], 4 * NODES as usize);
    measure("preemption: victims named", &mut cluster, &[high], 5_000);
}

/// A pod on each node by its name, each of a class of its own.
fn daemons() {
    let mut cluster = Cluster::new(NODES, 50);
    let classes: Vec<u32> = (1..=1_000).map(|node| cluster.on_node(node)).collect();
    measure("match fields, a class each", &mut cluster, &classes, 1_000);
}

/// Pods that fit nowhere between pods that do.
fn unschedulable() {
    let mut cluster = Cluster::new(NODES, 50);
    let (fits, large) = (cluster.add(bare()), cluster.sized(9_000, 0));
    measure("every other pod fits nowhere", &mut cluster, &[fits, large], 20_000);
}

/// The largest cluster of the contract: what it takes to be told of it, and to place.
fn large() {
    let start = Instant::now();
    let mut cluster = Cluster::new(100_000, 100);
    let class = cluster.add(bare());
    println!("100,000 nodes told in {:.0} ms", start.elapsed().as_secs_f64() * 1e3);
    measure("100,000 nodes: basic", &mut cluster, &[class], 1_000_000);
    let class = cluster.anti_affinity(HOST);
    measure("100,000 nodes: anti-affinity", &mut cluster, &[class], 1_000);
    println!("resident: {} MiB", shapes::resident_mib());
}
