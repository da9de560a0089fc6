//! Backends that leave: what was on its way to them goes elsewhere, and what stands stays.
use crate::{or_skip, stage::*, traffic::*, wanted::*};
use sampan_sandbox::network::{Backend, EntryKey, Frontend, Op, Pool, Protocol};
use std::{
    io,
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

/// By then the first packet of a connection has come to where it goes.
const UNDERWAY: Duration = Duration::from_millis(200);

/// A client's own port, of which the kernel still knows where it led.
const PORT: u16 = 40_000;

fn service() -> SocketAddr {
    SocketAddr::new(SERVICE.parse().unwrap(), 80)
}

fn set(lab: &mut Lab, wanted: &[Frontend]) {
    lab.set(&entries(wanted.to_vec()));
    lab.settle();
}

fn name(asked: io::Result<Seen>) -> String {
    asked.unwrap().0
}

#[test]
fn a_connection_that_was_tried_to_a_backend_that_left_is_tried_to_another() {
    or_skip!();
    let mut lab = Lab::of(3);
    let [client, one, other] = [0, 1, 2].map(|pod: usize| lab.pods[pod].address());
    set(&mut lab, &[tcp(pool(&[one]))]);
    let mut stands = Connection::open(&lab.pods[0].namespace, service(), PATIENCE).unwrap();
    // The backend is gone: nothing of it comes back.
    let blackhole = format!("blackhole {client}/32");
    lab.pods[1].namespace.ip(&format!("route add {blackhole}"));
    let tried = Connection::open_from(&lab.pods[0].namespace, PORT, service(), SILENCE);
    assert_eq!(tried.err().map(|error| error.kind()), Some(io::ErrorKind::TimedOut));
    set(&mut lab, &[tcp(pool(&[other]))]);
    let again = Connection::open_from(&lab.pods[0].namespace, PORT, service(), SILENCE);
    assert_eq!(again.unwrap().seen.0, "pod4");
    lab.pods[1].namespace.ip(&format!("route del {blackhole}"));
    assert!(stands.is_alive());
}

/// A backend leaves between a connection's first packet and the answer to it, which it still gives.
#[test]
fn a_connection_whose_answer_is_on_its_way_when_the_backend_leaves_stays() {
    or_skip!();
    let mut lab = Lab::of(3);
    let [client, one, other] = [0, 1, 2].map(|pod: usize| lab.pods[pod].address());
    set(&mut lab, &[tcp(pool(&[one]))]);
    // It answers when the client's first packet comes for the second time, a second after the first.
    let blackhole = format!("blackhole {client}/32");
    lab.pods[1].namespace.ip(&format!("route add {blackhole}"));
    let began = Instant::now();
    let opening = || TcpStream::connect_timeout(&service(), PATIENCE);
    let opened = lab.pods[0].namespace.within(|| thread::spawn(opening));
    thread::sleep(UNDERWAY);
    // With the first look, and not the second.
    lab.set(&entries([tcp(pool(&[other]))]));
    lab.pods[1].namespace.ip(&format!("route del {blackhole}"));
    let mut connection = Connection::greeted(opened.join().unwrap().unwrap(), PATIENCE).unwrap();
    assert_eq!(connection.seen.0, "pod3", "after {:?}", began.elapsed());
    lab.settle();
    assert!(connection.is_alive());
}

#[test]
fn a_socket_that_keeps_sending_moves_with_the_backends() {
    or_skip!();
    let mut lab = Lab::of(3);
    let [one, other] = [1, 2].map(|pod: usize| lab.pods[pod].address());
    set(&mut lab, &[udp(pool(&[one]))]);
    let asking = Asking::of(&lab.pods[0].namespace, SERVICE, 80).unwrap();
    assert_eq!(name(asking.ask(PATIENCE)), "pod3");
    // It stays where it is while that is there.
    set(&mut lab, &[udp(pool(&[one, other]))]);
    for _ in 0..8 {
        assert_eq!(name(asking.ask(PATIENCE)), "pod3");
    }
    set(&mut lab, &[udp(pool(&[other]))]);
    assert_eq!(name(asking.ask(SILENCE)), "pod4");
    // Nobody serves, or there is no Service any more, and then there is one.
    for nobody in [Some(udp(pool(&[]))), None] {
        let op = match nobody {
            Some(frontend) => Op::Set(entries([frontend]).remove(0)),
            None => Op::Remove(EntryKey::Frontend(udp(pool(&[])).key)),
        };
        lab.act(|datapath| datapath.change(&[op])).unwrap();
        lab.settle();
        for _ in 0..2 {
            let kind = asking.ask(SILENCE).map_err(|error| error.kind());
            assert_eq!(kind, Err(io::ErrorKind::ConnectionRefused));
        }
        set(&mut lab, &[udp(pool(&[one]))]);
        assert_eq!(name(asking.ask(SILENCE)), "pod3");
    }
}

#[test]
fn one_that_is_on_its_way_out_keeps_the_sockets_it_has() {
    or_skip!();
    let mut lab = Lab::of(3);
    let [one, other] = [1, 2].map(|pod: usize| lab.pods[pod].address());
    set(&mut lab, &[udp(pool(&[one]))]);
    let asking = Asking::of(&lab.pods[0].namespace, SERVICE, 80).unwrap();
    assert_eq!(name(asking.ask(PATIENCE)), "pod3");
    let mut leaving = pool(&[other]);
    leaving.backends.push(Backend {
        terminating: true,
        ..backend(one, 0)
    });
    set(&mut lab, &[udp(leaving)]);
    assert_eq!(name(asking.ask(PATIENCE)), "pod3");
    assert_eq!(ask_udp(&lab.pods[0].namespace, SERVICE, 80).0, "pod4");
    set(&mut lab, &[udp(pool(&[other]))]);
    assert_eq!(name(asking.ask(SILENCE)), "pod4");
}

#[test]
fn what_left_while_the_agent_was_away_is_found_at_its_start() {
    or_skip!();
    let mut lab = Lab::of(3);
    let [one, other] = [1, 2].map(|pod: usize| lab.pods[pod].address());
    let gone = "10.96.0.11";
    set(&mut lab, &[udp(pool(&[one])), at(gone, Protocol::Udp, pool(&[one]))]);
    let asking = [SERVICE, gone].map(|service| Asking::of(&lab.pods[0].namespace, service, 80).unwrap());
    for one in &asking {
        assert_eq!(name(one.ask(PATIENCE)), "pod3");
    }
    lab.open();
    let (pods, wanted) = (lab.links(), entries([udp(pool(&[other]))]));
    lab.act(|datapath| datapath.replace_with(&wanted, &pods)).unwrap();
    lab.settle();
    assert_eq!(name(asking[0].ask(SILENCE)), "pod4");
    let kind = asking[1].ask(SILENCE).map_err(|error| error.kind());
    assert_eq!(kind, Err(io::ErrorKind::ConnectionRefused));
}

fn node_ports(serving: Pool) -> Vec<Frontend> {
    vec![node_port(Protocol::Udp, serving, None)]
}

#[test]
fn who_asked_at_a_node_port_before_it_was_there_gets_to_it() {
    or_skip!();
    let mut lab = Lab::of(3);
    let [one, other] = [1, 2].map(|pod: usize| lab.pods[pod].address());
    let asking = Asking::of(&lab.outside, NODE, NODE_PORT).unwrap();
    let kind = asking.ask(SILENCE).map_err(|error| error.kind());
    assert_eq!(kind, Err(io::ErrorKind::ConnectionRefused));
    set(&mut lab, &node_ports(pool(&[one])));
    assert_eq!(name(asking.ask(SILENCE)), "pod3");
    set(&mut lab, &node_ports(pool(&[other])));
    assert_eq!(name(asking.ask(SILENCE)), "pod4");
}

#[test]
fn what_the_node_itself_has_answered_stays_with_it() {
    or_skip!();
    let mut lab = Lab::of(2);
    lab.servers.start(&lab.node, "node", NODE_PORT);
    let asking = Asking::of(&lab.outside, NODE, NODE_PORT).unwrap();
    assert_eq!(name(asking.ask(PATIENCE)), "node");
    let pod = lab.pods[1].address();
    set(&mut lab, &node_ports(pool(&[pod])));
    assert_eq!(ask_udp(&lab.outside, NODE, NODE_PORT).0, "pod3");
    assert_eq!(name(asking.ask(PATIENCE)), "node");
}

#[test]
fn what_others_translate_is_theirs() {
    or_skip!();
    let mut lab = Lab::of(3);
    let [one, other] = [1, 2].map(|pod: usize| lab.pods[pod].address());
    set(&mut lab, &node_ports(pool(&[one])));
    // Somebody else's address with the same port, which leads to a pod.
    let elsewhere = "198.51.100.1";
    lab.outside.ip(&format!("route add {elsewhere}/32 via {NODE}"));
    let hook = "{ type nat hook prerouting priority -110; }";
    if lab.node.nft(&["add", "table", "ip", "theirs"]).is_none() {
        eprintln!("SKIPPED what_others_translate_is_theirs: it takes the program nft");
        return;
    }
    lab.node.nft(&["add", "chain", "ip", "theirs", "c", hook]);
    let rule = format!("ip daddr {elsewhere} udp dport {NODE_PORT} dnat to {one}:8080");
    lab.node.nft(&["add", "rule", "ip", "theirs", "c", &rule]);
    let asking = Asking::of(&lab.outside, elsewhere, NODE_PORT).unwrap();
    assert_eq!(name(asking.ask(PATIENCE)), "pod3");
    // From here on only the kernel's memory of it leads there.
    lab.node.nft(&["delete", "table", "ip", "theirs"]);
    set(&mut lab, &node_ports(pool(&[other])));
    assert_eq!(ask_udp(&lab.outside, NODE, NODE_PORT).0, "pod4");
    assert_eq!(name(asking.ask(PATIENCE)), "pod3");
}
