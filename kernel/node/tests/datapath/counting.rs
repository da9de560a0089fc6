//! Connections are counted by the frontend that led them to a backend.
use crate::{or_skip, stage::*, traffic::*, wanted::*};
use sampan_sandbox::network::{EntryKey, Fallback, Frontend, FrontendKey, Op, Protocol};

fn count(lab: &mut Lab, key: FrontendKey) -> Option<u64> {
    let all = lab.act(|datapath| datapath.connections()).unwrap();
    all.get(&key).copied()
}

#[test]
fn each_connection_counts_once() {
    or_skip!();
    let mut lab = Lab::of(3);
    let [one, other] = [1, 2].map(|pod: usize| lab.pods[pod].address());
    let both = pool(&[one, other]);
    let sticky = Frontend {
        affinity_seconds: 60,
        ..at("10.96.0.11", Protocol::Tcp, both.clone())
    };
    let all = [
        tcp(both.clone()),
        udp(both.clone()),
        node_port(Protocol::Tcp, both, None),
        sticky,
        at("10.96.0.12", Protocol::Tcp, nobody(Fallback::Reject)),
    ];
    lab.set(&entries(all.clone()));
    for _ in 0..3 {
        ask(&lab.pods[0].namespace, SERVICE, 80);
        ask(&lab.pods[0].namespace, "10.96.0.11", 80);
    }
    ask(&lab.node, SERVICE, 80);
    ask(&lab.outside, NODE, NODE_PORT);
    ask(&lab.node, NODE, NODE_PORT);
    let asking = Asking::of(&lab.pods[0].namespace, SERVICE, 80).unwrap();
    for _ in 0..5 {
        asking.ask(PATIENCE).unwrap();
    }
    ask_udp(&lab.pods[0].namespace, SERVICE, 80);
    assert_refused(&lab.pods[0].namespace, "10.96.0.12", 80);
    let counted = all.each_ref().map(|frontend| count(&mut lab, frontend.key));
    assert_eq!(counted, [4, 2, 2, 3, 0].map(Some));
    // Other backends are still the same Service; one that goes and comes back is not.
    lab.set(&entries([tcp(pool(&[other]))]));
    ask(&lab.pods[0].namespace, SERVICE, 80);
    assert_eq!(count(&mut lab, all[0].key), Some(5));
    lab.act(|datapath| datapath.change(&[Op::Remove(EntryKey::Frontend(all[0].key))]))
        .unwrap();
    assert_eq!(count(&mut lab, all[0].key), None);
    lab.set(&entries([tcp(pool(&[other]))]));
    assert_eq!(count(&mut lab, all[0].key), Some(0));
}
