//! Addresses that change and peers that die, under traffic.
use crate::{
    or_skip,
    stage::{Lab, PORT, until},
    traffic::{Transfer, ping},
};
use std::net::SocketAddr;

#[test]
fn a_transfer_lives_through_changes_of_address() {
    or_skip!();
    let mut lab = Lab::running(2, 1500);
    let transfer = Transfer::begin(&lab.hosts[0], &lab.hosts[1]);
    transfer.goes_on("the transfer begins");
    // The one that dialled: nobody is told, the other end sees it.
    lab.hosts[0].move_to(11);
    transfer.goes_on("the transfer goes on from another address");
    until("the peer sees it", || {
        let connected = lab.hosts[1].status("n1").connected;
        connected.is_some_and(|connected| connected.address.ip() == lab.hosts[0].underlay)
    });
    // The one that was dialled, whose node says so, and whose peer is told.
    lab.hosts[1].move_to(12);
    let bind = SocketAddr::new([0, 0, 0, 0].into(), PORT);
    lab.hosts[1].overlay.as_mut().unwrap().rebind(bind).unwrap();
    lab.introduce();
    transfer.goes_on("the transfer goes on to another address");
    let lasting = |of: &str, at: usize| lab.hosts[at].status(of).connected.unwrap();
    assert_eq!(lasting("n2", 0).address.ip(), lab.hosts[1].underlay);
    transfer.end();
}

#[test]
fn a_change_that_nobody_mentions_is_found_out() {
    or_skip!();
    let mut lab = Lab::running(2, 1500);
    let transfer = Transfer::begin(&lab.hosts[0], &lab.hosts[1]);
    transfer.goes_on("the transfer begins");
    lab.hosts[1].move_to(12);
    transfer.goes_on("the transfer goes on");
    transfer.end();
}

#[test]
fn a_peer_that_dies_is_noticed_and_comes_back() {
    or_skip!();
    let mut lab = Lab::running(3, 1500);
    // It cannot even say farewell.
    lab.hosts[1].namespace.ip("link set eth0 down");
    lab.hosts[1].overlay = None;
    until("it is noticed", || {
        !lab.hosts[0].is_connected("n2") && !lab.hosts[2].is_connected("n2")
    });
    assert!(ping(&lab.hosts[0], lab.hosts[2].address()), "the others go on");
    lab.hosts[1].namespace.ip("link set eth0 up");
    lab.hosts[1].start();
    lab.introduce();
    lab.connected();
    until("it is reached", || ping(&lab.hosts[0], lab.hosts[1].address()));
    assert!(
        lab.hosts[0].status("n3").connected.unwrap().lasting > lab.hosts[0].status("n2").connected.unwrap().lasting
    );
}
