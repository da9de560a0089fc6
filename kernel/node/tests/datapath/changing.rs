//! Changes under way: what stands goes on, what is refused changes nothing, what others break is mended.
use crate::{or_skip, stage::*, traffic::*, wanted::*};
use sampan_node::datapath::DatapathError;
use sampan_sandbox::network::{Entry, EntryKey, Op, Protocol, Route};
use std::net::SocketAddr;

fn service() -> SocketAddr {
    SocketAddr::new(SERVICE.parse().unwrap(), 80)
}

#[test]
fn another_endpoint_is_for_new_connections_only() {
    or_skip!();
    let mut lab = Lab::of(3);
    lab.set(&entries([tcp(pool(&[lab.pods[1].address()]))]));
    let mut old = Connection::open(&lab.pods[0].namespace, service(), PATIENCE).unwrap();
    assert_eq!(old.seen.0, "pod3");
    lab.set(&entries([tcp(pool(&[lab.pods[2].address()]))]));
    for _ in 0..5 {
        assert_eq!(ask(&lab.pods[0].namespace, SERVICE, 80).0, "pod4");
    }
    assert!(old.is_alive());
    // Nor does it end when nobody serves, or when nothing is wanted any more.
    lab.set(&entries([tcp(pool(&[]))]));
    assert!(old.is_alive());
    assert_refused(&lab.pods[0].namespace, SERVICE, 80);
    let pods = lab.links();
    lab.act(|datapath| datapath.replace_with(&[], &pods)).unwrap();
    assert!(old.is_alive());
}

#[test]
fn a_whole_in_place_of_another_drops_no_flow() {
    or_skip!();
    let mut lab = Lab::of(3);
    lab.outside.ip(&format!("route add 10.96.0.0/12 via {NODE}"));
    let wanted = entries([
        tcp(pool(&[lab.pods[1].address(), lab.pods[2].address()])),
        node_port(Protocol::Tcp, pool(&[lab.pods[2].address()]), None),
    ]);
    lab.set(&wanted);
    let mut inside = Connection::open(&lab.pods[0].namespace, service(), PATIENCE).unwrap();
    let mut outside = Connection::open(&lab.outside, SocketAddr::new(NODE.into(), NODE_PORT), PATIENCE).unwrap();
    let pods = lab.links();
    for _ in 0..10 {
        // As after a start of the agent.
        lab.open();
        lab.act(|datapath| datapath.replace_with(&wanted, &pods)).unwrap();
        assert!(inside.is_alive() && outside.is_alive());
        ask(&lab.pods[0].namespace, SERVICE, 80);
    }
}

#[test]
fn no_connection_fails_while_wholes_come_and_go() {
    or_skip!();
    let mut lab = Lab::of(2);
    let wanted = entries([tcp(pool(&[lab.pods[1].address()]))]);
    lab.set(&wanted);
    let (pods, asking) = (lab.links(), &lab.pods[0].namespace.0);
    let asking = std::mem::ManuallyDrop::new(Namespace(asking.clone()));
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| {
            for _ in 0..500 {
                assert_eq!(ask(&asking, SERVICE, 80).0, "pod3");
            }
        });
        while !asked.is_finished() {
            lab.act(|datapath| datapath.replace_with(&wanted, &pods)).unwrap();
        }
    });
}

fn route(to: &str) -> Entry {
    Entry::Route(Route {
        range: range(to),
        peer: "there".to_owned(),
        via: "there".to_owned(),
        underlay: std::net::IpAddr::from(OUTSIDE).into(),
    })
}

const OVERLAY: &str = "overlay0";

fn with_overlay(pods: u8) -> Lab {
    let mut lab = Lab::with(pods, |settings| settings.overlay_interface = Some(OVERLAY.to_owned()));
    lab.node.ip(&format!("tuntap add {OVERLAY} mode tun"));
    lab.node.ip(&format!("link set {OVERLAY} up"));
    lab.act(|datapath| datapath.set_pods(&Default::default())).unwrap();
    lab
}

#[test]
fn routes_are_those_that_are_wanted_and_no_other_of_ours() {
    or_skip!();
    let mut lab = with_overlay(1);
    lab.node.ip("route add 10.50.0.0/16 dev overlay0 proto static");
    lab.set(&[route("10.42.2.0/24"), route("10.42.3.0/24"), route("fd42:2::/32")]);
    let shown = lab.node.show("route show dev overlay0");
    for to in ["10.42.2.0/24", "10.42.3.0/24"] {
        assert!(
            shown.contains(&format!("{to} proto 201 scope link src {GATEWAY}")),
            "{shown}"
        );
    }
    assert!(
        lab.node
            .show("-6 route show dev overlay0")
            .contains("fd42:2::/32 proto 201")
    );
    lab.act(|datapath| datapath.change(&[Op::Remove(EntryKey::Route(range("10.42.3.0/24")))]))
        .unwrap();
    // One that goes behind our back is missed, and comes back.
    assert!(lab.act(|datapath| datapath.is_intact()).unwrap());
    lab.node.ip("route del 10.42.2.0/24");
    assert!(!lab.act(|datapath| datapath.is_intact()).unwrap());
    assert!(lab.act(|datapath| datapath.mend()).unwrap().mended);
    // Another start finds those of the last.
    lab.open();
    let pods = lab.links();
    lab.act(|datapath| datapath.replace_with(&[route("10.42.2.0/24")], &pods))
        .unwrap();
    let shown = lab.node.show("route show dev overlay0");
    assert!(
        shown.contains("10.42.2.0/24") && !shown.contains("10.42.3.0/24"),
        "{shown}"
    );
    assert!(shown.contains("10.50.0.0/16"), "{shown}");
    assert!(!lab.node.show("-6 route show").contains("fd42:2::"));
}

#[test]
fn a_plan_of_which_the_kernel_refuses_a_part_changes_nothing() {
    or_skip!();
    let mut lab = with_overlay(3);
    let pods = lab.links();
    lab.act(|datapath| datapath.set_pods(&pods)).unwrap();
    lab.set(&entries([tcp(pool(&[lab.pods[1].address()]))]));
    lab.set(&[route("10.42.2.0/24")]);
    let before = lab.listing();
    // An interface that is down takes no routes.
    lab.node.ip(&format!("link set {OVERLAY} down"));
    let mut plan = entries([tcp(pool(&[lab.pods[2].address()]))]);
    plan.push(route("10.42.9.0/24"));
    let ops: Vec<Op> = plan.into_iter().map(Op::Set).collect();
    let error = lab.act(|datapath| datapath.change(&ops)).unwrap_err().to_string();
    assert!(error.contains("10.42.9.0/24"), "{error}");
    assert_eq!(lab.listing(), before);
    assert_eq!(ask(&lab.pods[0].namespace, SERVICE, 80).0, "pod3");
    // Nor does what comes to too much: the first of it is in no table either.
    let ports: Vec<_> = (0..1000).map(|n| (Protocol::Tcp, n * 2, n * 2)).collect();
    let many = vec![allow(None, Some(&ports)); 60];
    let mut plan = entries([tcp(pool(&[lab.pods[2].address()]))]);
    plan.push(rules(&lab.pods[2].key, Some(many), None));
    let ops: Vec<Op> = plan.into_iter().map(Op::Set).collect();
    let error = lab.act(|datapath| datapath.change(&ops)).unwrap_err();
    assert!(
        matches!(error, DatapathError::Unfit { .. }) && error.to_string().contains("default/pod4"),
        "{error}"
    );
    assert_eq!(lab.listing(), before);
    // And what comes next is as if nothing had been.
    lab.set(&entries([tcp(pool(&[lab.pods[2].address()]))]));
    assert_eq!(ask(&lab.pods[0].namespace, SERVICE, 80).0, "pod4");
}

#[test]
fn what_others_do_is_found_out_and_mended() {
    or_skip!();
    let mut lab = Lab::of(3);
    lab.set(&entries([tcp(pool(&[lab.pods[1].address()]))]));
    let Some(whole) = lab.listing() else {
        eprintln!("SKIPPED what_others_do_is_found_out_and_mended: it takes the program nft");
        return;
    };
    let element = format!("{{ {SERVICE} . tcp . 80 }}");
    let breaking: [&[&str]; 5] = [
        &["flush", "ruleset"],
        &["flush", "chain", "inet", TABLE, "balance-inside4"],
        &["flush", "map", "inet", TABLE, "inside-places4"],
        &["delete", "element", "inet", TABLE, "inside4", &element],
        &["add", "rule", "inet", TABLE, "spoofing", "drop"],
    ];
    for broken in breaking {
        assert!(lab.act(|datapath| datapath.is_intact()).unwrap());
        lab.node.nft(broken);
        assert!(!lab.act(|datapath| datapath.is_intact()).unwrap(), "{broken:?}");
        assert!(lab.act(|datapath| datapath.mend()).unwrap().mended, "{broken:?}");
        assert_eq!(lab.listing().unwrap(), whole, "{broken:?}");
        assert_eq!(ask(&lab.pods[0].namespace, SERVICE, 80).0, "pod3");
        // A change mends, too.
        lab.node.nft(broken);
        let ops: Vec<Op> = entries([udp(pool(&[lab.pods[2].address()]))])
            .into_iter()
            .map(Op::Set)
            .collect();
        assert!(lab.act(|datapath| datapath.change(&ops)).unwrap().mended, "{broken:?}");
        assert_eq!(ask(&lab.pods[0].namespace, SERVICE, 80).0, "pod3");
        assert_eq!(ask_udp(&lab.pods[0].namespace, SERVICE, 80).0, "pod4");
        let back = EntryKey::Frontend(udp(pool(&[])).key);
        assert!(!lab.act(|datapath| datapath.change(&[Op::Remove(back)])).unwrap().mended);
    }
    // What others do elsewhere is their own.
    lab.node.nft(&["add", "table", "inet", "elsewhere"]);
    assert!(lab.act(|datapath| datapath.is_intact()).unwrap());
    lab.node.nft(&["add", "chain", "inet", "elsewhere", "c"]);
    let ops: Vec<Op> = entries([tcp(pool(&[lab.pods[2].address()]))])
        .into_iter()
        .map(Op::Set)
        .collect();
    assert!(!lab.act(|datapath| datapath.change(&ops)).unwrap().mended);
    assert_eq!(ask(&lab.pods[0].namespace, SERVICE, 80).0, "pod4");
}

#[test]
fn nothing_is_left_when_it_is_cleared() {
    or_skip!();
    let mut lab = with_overlay(1);
    lab.set(&entries([tcp(pool(&[lab.pods[0].address()]))]));
    lab.set(&[route("10.42.2.0/24")]);
    let datapath = lab.datapath.take().unwrap();
    lab.node.within(|| datapath.clear()).unwrap();
    assert!(!lab.node.show("route show").contains("proto 201"));
    if let Some(listing) = lab.listing() {
        assert_eq!(listing.trim(), "");
    }
    // And once more, where there is nothing.
    lab.open();
    let datapath = lab.datapath.take().unwrap();
    lab.node.within(|| datapath.clear()).unwrap();
}
