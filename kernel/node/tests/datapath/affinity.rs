//! Clients that stay with their backend.
use crate::{or_skip, stage::*, traffic::*, wanted::*};
use sampan_sandbox::network::{Entry, Frontend, Pool};
use std::{collections::BTreeSet, thread, time::Duration};

fn sticky(seconds: u32, inside: Pool) -> Vec<Entry> {
    entries([Frontend {
        affinity_seconds: seconds,
        ..tcp(inside)
    }])
}

fn names(lab: &Lab, client: usize, times: usize) -> BTreeSet<String> {
    let client = &lab.pods[client].namespace;
    (0..times).map(|_| ask(client, SERVICE, 80).0).collect()
}

#[test]
fn a_client_stays_with_its_backend_while_that_is_there() {
    or_skip!();
    let mut lab = Lab::of(6);
    let all: Vec<_> = lab.pods[1..].iter().map(|pod| pod.address()).collect();
    lab.set(&sticky(600, pool(&all)));
    let first = names(&lab, 0, 12);
    assert_eq!(first.len(), 1, "{first:?}");
    let chosen = first.iter().next().unwrap().clone();
    let index = chosen.strip_prefix("pod").unwrap().parse::<usize>().unwrap() - 2;
    // Others come and go.
    let two = [
        lab.pods[index].address(),
        lab.pods[if index == 1 { 2 } else { 1 }].address(),
    ];
    lab.set(&sticky(600, pool(&two)));
    assert_eq!(names(&lab, 0, 12), first);
    // A restart does not forget.
    lab.open();
    let (pods, wanted) = (lab.links(), sticky(600, pool(&all)));
    lab.act(|datapath| datapath.replace_with(&wanted, &pods)).unwrap();
    assert_eq!(names(&lab, 0, 12), first);
    // Its backend goes: another is found, and kept, also when the first is back.
    let rest: Vec<_> = all
        .iter()
        .copied()
        .filter(|address| *address != lab.pods[index].address())
        .collect();
    lab.set(&sticky(600, pool(&rest)));
    let second = names(&lab, 0, 12);
    assert!(second.len() == 1 && second != first, "{second:?}");
    lab.set(&sticky(600, pool(&all)));
    assert_eq!(names(&lab, 0, 12), second);
}

#[test]
fn after_its_time_a_client_is_nobodys() {
    or_skip!();
    let mut lab = Lab::of(9);
    let all: Vec<_> = lab.pods[1..].iter().map(|pod| pod.address()).collect();
    lab.set(&sticky(1, pool(&all)));
    // It is the time since the last connection that counts.
    let begun = std::time::Instant::now();
    let mut seen = BTreeSet::new();
    while begun.elapsed() < Duration::from_millis(2500) {
        seen.extend(names(&lab, 0, 1));
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(seen.len(), 1, "{seen:?}");
    for _ in 0..5 {
        thread::sleep(Duration::from_millis(1300));
        seen.extend(names(&lab, 0, 1));
    }
    // Of eight; that all five fell on the first is one in 32,768.
    assert!(seen.len() > 1, "{seen:?}");
}
