//! What schedulers are asked, and what they answer.
use crate::{pods, scheduler};
use sampan_sandbox::{
    CallError,
    scheduler::{Changes, Rule, TurnedDown},
};

#[test]
fn it_places_what_it_is_asked() {
    let mut plugin = scheduler("").scheduler().unwrap();
    plugin.sync(0, 1, &Changes::default()).unwrap();
    let placed = plugin.place(&pods(1..101), &[]).unwrap();
    assert_eq!(placed.nodes, [0; 100]);
    let positions: Vec<u32> = placed.unplaced.iter().map(|one| one.pod).collect();
    assert_eq!(positions, (0..100).collect::<Vec<_>>());
    let cordoned = TurnedDown {
        rule: Rule::Unschedulable,
        nodes: 1,
    };
    // Equal reasons are said once.
    assert_eq!(placed.refusals.len(), 1);
    assert_eq!(placed.refusals[0].turned_down, [cordoned]);
    let figures = plugin.figures();
    assert_eq!((figures.calls, figures.traps), (4, 0));
    assert!(figures.memory_bytes > 0 && figures.p99_micros >= figures.p50_micros);
}

#[test]
fn nodes_are_given_in_the_order_of_the_pods() {
    let mut plugin = scheduler("bind").scheduler().unwrap();
    assert_eq!(plugin.place(&pods(10..13), &[]).unwrap().nodes, [1, 2, 3]);
}

#[test]
fn a_mirror_out_of_step_is_refused() {
    let mut plugin = scheduler("").scheduler().unwrap();
    plugin.sync(0, 7, &Changes::default()).unwrap();
    let error = plugin.sync(6, 8, &Changes::default()).unwrap_err();
    assert!(
        matches!(&error, CallError::Refused(words) if words == "the mirror is at 7, not 6"),
        "{error}"
    );
}

#[test]
fn it_is_used_from_a_thread_of_its_own() {
    let mut plugin = scheduler("").scheduler().unwrap();
    let placed = std::thread::spawn(move || plugin.place(&pods(1..4), &[]).unwrap().nodes.len())
        .join()
        .unwrap();
    assert_eq!(placed, 3);
}

/// Not a timed test: figures for whoever looks (`cargo test -- --ignored --nocapture`).
#[test]
#[ignore = "prints figures"]
fn figures() {
    let loaded = scheduler("");
    let started = std::time::Instant::now();
    (0..1000).for_each(|_| drop(loaded.scheduler().unwrap()));
    println!(
        "instantiate and configure: {:.1} µs",
        started.elapsed().as_secs_f64() * 1e3
    );
    let mut plugin = loaded.scheduler().unwrap();
    let started = std::time::Instant::now();
    (0..100_000).for_each(|n| plugin.sync(0, n + 1, &Changes::default()).unwrap());
    println!("an empty sync: {:.3} µs", started.elapsed().as_secs_f64() * 10.0);
    let hundred = pods(1..101);
    let started = std::time::Instant::now();
    (0..10_000).for_each(|_| drop(plugin.place(&hundred, &[]).unwrap()));
    println!(
        "place, the boundary alone: {:.3} µs a pod",
        started.elapsed().as_secs_f64()
    );
}
