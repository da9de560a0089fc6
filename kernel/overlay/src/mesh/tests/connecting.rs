//! Who is connected with whom, and for how long.
use super::*;

#[test]
fn of_two_that_dial_at_once_one_connection_remains() {
    let mut net = Net::of(2);
    // The second does not wait for the first.
    let at = net.hosts[1].mesh.by_name["n1"];
    let now = net.now;
    net.hosts[1].mesh.look(at, now);
    assert_eq!(net.open(2), 1);
    net.seconds(5);
    assert_eq!((net.open(1), net.open(2)), (1, 1));
    assert!(
        net.hosts[0]
            .mesh
            .links
            .iter()
            .flatten()
            .all(|link| link.connection.side().is_client())
    );
    assert!(net.joined(1, 2) && net.carries());
}

#[test]
fn only_one_of_two_dials_if_nothing_is_wrong() {
    let mut net = Net::of(3);
    let took = net.until("all are connected", |net| {
        net.joined(1, 2) && net.joined(1, 3) && net.joined(2, 3)
    });
    assert!(took < Duration::from_millis(100), "{took:?}");
    net.seconds(3);
    assert_eq!([1, 2, 3].map(|at| net.open(at)), [2; 3]);
}

#[test]
fn who_is_no_peer_is_not_heard() {
    let (authority, other) = (Authority::new(), Authority::new());
    let strangers = [
        ("another authority", other.node("n2")),
        ("not among the peers", authority.node("n9")),
        ("a user", authority.issue("n2", "system:node:n2", "devs")),
        ("a server", authority.issue("n2", "system:server:n2", "system:nodes")),
    ];
    for (what, credentials) in strangers {
        let mut net = Net::new();
        net.host(&authority.node("n1"), "10.42.1.0/24");
        net.host(&credentials, "10.42.2.0/24");
        net.introduce();
        for _ in 0..40 {
            net.run(Duration::from_millis(200));
            assert!(net.status(2, 1).connected.is_none(), "{what}");
            assert!(!net.carries(), "{what}");
        }
    }
    // And with the right certificate it is heard.
    let mut net = Net::of(2);
    net.until("they are connected", |net| net.joined(1, 2));
    assert!(net.carries());
}

#[test]
fn an_address_that_changes_is_followed() {
    let mut net = Net::of(2);
    net.until("they are connected", |net| net.joined(1, 2));
    // Of the one that dialled: the other end sees it.
    net.hosts[0].address = address(11);
    let now = net.now;
    net.hosts[0].mesh.moved_here(now);
    net.run(Duration::from_millis(50));
    assert!(net.carries());
    assert_eq!(net.status(1, 2).connected.unwrap().address, address(11));
    // Of the one that was dialled: it dials.
    net.hosts[1].address = address(12);
    let now = net.now;
    net.hosts[1].mesh.moved_here(now);
    let mut moved = peer(1);
    moved.address = address(11);
    net.hosts[1].mesh.set_peers(vec![moved], now);
    net.run(Duration::from_millis(100));
    assert!(net.carries());
    net.seconds(5);
    assert_eq!((net.open(1), net.open(2)), (1, 1));
    // Unnoticed by the one that was dialled, who is dialled where it is said to be.
    net.hosts[0].address = address(21);
    let mut moved = peer(1);
    moved.address = address(21);
    let now = net.now;
    net.hosts[1].mesh.set_peers(vec![moved], now);
    net.run(Duration::from_millis(100));
    assert!(net.joined(1, 2) && net.carries());
}

#[test]
fn a_peer_that_died_is_noticed_and_comes_back() {
    let mut net = Net::of(2);
    net.until("they are connected", |net| net.joined(1, 2));
    net.dead.push(1);
    let took = net.until("it is noticed", |net| net.status(2, 1).connected.is_none());
    assert!(took < Duration::from_secs(8), "{took:?}");
    net.seconds(60);
    // Another process, that knows nothing of connections.
    net.dead.clear();
    let took = net.until("it is back", |net| net.joined(1, 2));
    assert!(took < Duration::from_secs(17), "{took:?}");
    assert!(net.carries());
}

#[test]
fn a_peer_that_starts_anew_is_back_at_once() {
    let authority = Authority::new();
    let mut net = Net::new();
    net.host(&authority.node("n1"), "10.42.1.0/24");
    net.host(&authority.node("n2"), "10.42.2.0/24");
    net.introduce();
    net.until("they are connected", |net| net.joined(1, 2));
    net.seconds(3);
    let now = net.now;
    net.hosts[0].mesh = mesh(1, &authority.node("n1"), "10.42.1.0/24");
    net.hosts[0].mesh.set_peers(vec![peer(2)], now);
    net.run(Duration::from_millis(100));
    assert!(net.joined(1, 2) && net.carries());
    net.seconds(10);
    assert_eq!((net.open(1), net.open(2)), (1, 1));
}

#[test]
fn peers_that_stay_are_left_alone() {
    let mut net = Net::of(3);
    net.until("all are connected", |net| net.joined(1, 2) && net.joined(1, 3));
    net.seconds(10);
    let now = net.now;
    net.hosts[0].mesh.set_peers(vec![peer(2)], now);
    net.seconds(1);
    assert!(net.status(2, 1).connected.unwrap().lasting > Duration::from_secs(10));
    assert_eq!(net.hosts[0].mesh.status(net.now).len(), 1);
    assert!(net.status(1, 3).connected.is_none(), "who is no peer any more is told");
    assert!(net.carries());
    let now = net.now;
    net.hosts[0].mesh.set_peers(vec![peer(2), peer(3)], now);
    net.until("it is a peer again", |net| net.joined(1, 3));
}

#[test]
fn a_peer_is_who_its_name_says() {
    let mut net = Net::of(3);
    // The second is said to be where the third is.
    let mut wrong = peer(2);
    wrong.address = address(3);
    let now = net.now;
    for host in &mut net.hosts {
        host.mesh.set_peers(Vec::new(), now);
    }
    net.hosts[0].mesh.set_peers(vec![wrong], now);
    net.hosts[2].mesh.set_peers(vec![peer(1)], now);
    for _ in 0..50 {
        net.run(Duration::from_millis(100));
        assert!(net.status(2, 1).connected.is_none());
    }
}
