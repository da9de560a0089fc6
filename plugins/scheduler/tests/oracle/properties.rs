//! Random clusters, random changes, random pods: every answer is held against the oracle.
use crate::{
    checks::{Tally, explain, place, place_group},
    draw::Draw,
    filters::{Settings, Strategy},
    model::pod,
    pair::{Pair, keys},
    random::Taste,
};
use scheduler::types::Pod;

fn run(seeds: std::ops::Range<u64>, taste: &Taste, settings: &Settings, config: &str) -> Tally {
    let mut tally = Tally::default();
    for seed in seeds {
        let mut draw = Draw::new(seed);
        let printed = SeedOnPanic(seed);
        let mut pair = Pair::new(&mut draw, taste, config);
        for _ in 0..8 {
            for _ in 0..2 {
                let pods: Vec<Pod> = (0..=draw.below(4)).map(|_| pair.waiting(&mut draw)).collect();
                tally.add(&place(&mut pair.engine, &mut pair.world, settings, &pods));
            }
            if draw.chance(40) {
                let one = pair.waiting(&mut draw);
                let size = 2 + draw.below(3) as u32;
                let pods: Vec<Pod> = (0..size)
                    .map(|more| Pod {
                        id: one.id + more,
                        ..one
                    })
                    .collect();
                pair.next_pod += size;
                let least = size - u32::from(draw.chance(30));
                place_group(&mut pair.engine, &mut pair.world, settings, &pods, least);
            }
            let waiting = keys(&pair.world.nominations);
            if !waiting.is_empty() && draw.chance(60) {
                let nomination = pair.world.nominations[&draw.one(&waiting)];
                let again = pod(nomination.pod, nomination.class);
                place(&mut pair.engine, &mut pair.world, settings, &[again]);
            }
            pair.change(&mut draw, taste);
            let asked = pair.waiting(&mut draw);
            explain(&mut pair.engine, &pair.world, settings, &asked);
        }
        pair.compare_with_a_fresh_one(&mut draw, config);
        std::mem::forget(printed);
    }
    eprintln!("{tally:?}");
    tally
}

/// Says which seed it was.
struct SeedOnPanic(u64);

impl Drop for SeedOnPanic {
    fn drop(&mut self) {
        eprintln!("this was seed {}", self.0);
    }
}

/// How many seeds each test runs; `ORACLE_SEEDS` in the environment for more.
fn seeds() -> std::ops::Range<u64> {
    let given = std::env::var("ORACLE_SEEDS").ok().and_then(|text| text.parse().ok());
    0..given.unwrap_or(60)
}

const PLAIN: Taste = Taste {
    spread: 0,
    affinity: 0,
    preferred: 0,
    priorities: false,
    rough: 30,
};

#[test]
fn nodes_alone() {
    run(seeds(), &PLAIN, &Settings::default(), "{}");
}

#[test]
fn spread() {
    let taste = Taste { spread: 80, ..PLAIN };
    run(seeds(), &taste, &Settings::default(), "{}");
}

#[test]
fn affinity() {
    let taste = Taste { affinity: 60, ..PLAIN };
    run(seeds(), &taste, &Settings::default(), "{}");
}

#[test]
fn preferences() {
    let taste = Taste {
        preferred: 70,
        spread: 30,
        rough: 10,
        ..PLAIN
    };
    run(seeds(), &taste, &Settings::default(), "{}");
}

#[test]
fn preemption() {
    let taste = Taste {
        priorities: true,
        rough: 10,
        ..PLAIN
    };
    run(seeds(), &taste, &Settings::default(), "{}");
}

#[test]
fn everything_together() {
    let taste = Taste {
        spread: 30,
        affinity: 30,
        preferred: 30,
        priorities: true,
        rough: 20,
    };
    let tally = run(seeds(), &taste, &Settings::default(), "{}");
    let rules = [
        "NodeName",
        "Unschedulable",
        "Taint",
        "NodeAffinity",
        "Ports",
        "Pods",
        "Cpu",
        "Memory",
        "Extended",
        "SpreadLabel",
        "Spread",
        "Affinity",
        "AntiAffinity",
        "ExistingAntiAffinity",
    ];
    for rule in rules {
        assert!(
            tally.turned_down.contains_key(rule),
            "{rule} never turned a node down: {tally:?}"
        );
    }
    assert!(
        tally.placed > 100 && tally.victims > 20 && tally.waiting > 0,
        "{tally:?}"
    );
}

#[test]
fn other_settings() {
    let taste = Taste {
        spread: 20,
        affinity: 20,
        preferred: 40,
        ..PLAIN
    };
    let settings = Settings {
        defaults: vec![
            ("rack".to_owned(), 1, true),
            ("topology.kubernetes.io/zone".to_owned(), 2, false),
        ],
        system: false,
        hard_weight: 40,
        count_preferred: false,
        strategy: Strategy::Ratio(vec![(0, 0), (60, 100), (100, 30)]),
        resources: vec![("cpu".to_owned(), 3), ("example.com/gpu".to_owned(), 5)],
        balanced: vec!["cpu".to_owned(), "memory".to_owned(), "ephemeral-storage".to_owned()],
        weights: [4, 2, 3, 1, 1, 7, 5],
    };
    let config = r#"{
        "scoringStrategy": {"type": "RequestedToCapacityRatio",
            "resources": [{"name": "cpu", "weight": 3}, {"name": "example.com/gpu", "weight": 5}],
            "shape": [{"utilization": 0, "score": 0}, {"utilization": 60, "score": 10}, {"utilization": 100, "score": 3}]},
        "balancedResources": [{"name": "cpu"}, {"name": "memory"}, {"name": "ephemeral-storage"}],
        "weights": {"NodeResourcesFit": 4, "NodeResourcesBalancedAllocation": 2, "ImageLocality": 3, "NodeAffinity": 1,
            "TaintToleration": 1, "InterPodAffinity": 7, "PodTopologySpread": 5},
        "defaultingType": "List",
        "defaultConstraints": [
            {"maxSkew": 1, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule"},
            {"maxSkew": 2, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway"}],
        "hardPodAffinityWeight": 40,
        "ignorePreferredTermsOfExistingPods": true
    }"#;
    run(seeds(), &taste, &settings, config);
}

#[test]
fn most_allocated() {
    let settings = Settings {
        strategy: Strategy::Most,
        ..Settings::default()
    };
    run(
        seeds(),
        &PLAIN,
        &settings,
        r#"{"scoringStrategy": {"type": "MostAllocated"}}"#,
    );
}
