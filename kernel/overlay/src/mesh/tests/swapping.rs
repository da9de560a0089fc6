//! Ranges that move from one peer to another, at different times on different nodes, while everybody speaks with everybody.
use super::*;
use crate::packet::{Ip, finish, set_length};
use quinn_proto::ConnectionError;
use std::collections::HashSet;

const MESH: Option<usize> = None;

/// Longer than anything is kept.
const OVER: Duration = Duration::from_secs(11);

/// Whom a node is told to have as peers: everybody, or only the hub, which leads to everybody.
fn plan(at: usize, hub: Option<usize>, count: usize) -> Vec<Peer> {
    let others = (1..=count).filter(|other| *other != at);
    match hub.filter(|hub| *hub != at) {
        None => others.map(peer).collect(),
        Some(hub) => {
            let ranges = others.flat_map(|other| peer(other).ranges).collect();
            vec![Peer { ranges, ..peer(hub) }]
        }
    }
}

fn numbered(from: usize, to: usize, number: u32) -> Vec<u8> {
    let mut packet = Sample::udp(8).made();
    (packet[14], packet[18]) = (u8::try_from(from).unwrap(), u8::try_from(to).unwrap());
    packet[28..32].copy_from_slice(&number.to_be_bytes());
    let length = packet.len();
    set_length(&mut packet, 20, length);
    let ip = Ip::of(&packet).unwrap();
    finish(&mut packet, &ip);
    packet
}

/// Nodes that all speak with each other.
struct Talk {
    net: Net,
    /// From whom to whom.
    sent: Vec<(usize, usize)>,
    /// How often.
    each: Duration,
    silent: Vec<usize>,
}

impl Talk {
    fn of(count: usize, hub: Option<usize>) -> Self {
        let net = Net::of(count);
        let mut talk = Talk {
            net,
            sent: Vec::new(),
            each: Duration::from_millis(70),
            silent: Vec::new(),
        };
        (1..=count).for_each(|at| talk.swap(at, hub));
        talk.run(OVER);
        talk
    }

    fn swap(&mut self, at: usize, hub: Option<usize>) {
        let (peers, now) = (plan(at, hub, self.net.hosts.len()), self.net.now);
        self.net.hosts[at - 1].mesh.set_peers(peers, now);
    }

    /// For so long and no longer.
    fn run(&mut self, time: Duration) {
        let end = self.net.now + time;
        while self.net.now < end {
            self.net.step();
            self.net.now = self.net.now.min(end);
        }
    }

    /// One ends its connection with another.
    fn part(&mut self, one: usize, other: usize) {
        let (now, mesh) = (self.net.now, &mut self.net.hosts[one - 1].mesh);
        let at = mesh.by_name[&format!("n{other}")];
        let link = mesh.neighbours[at].as_ref().unwrap().link.unwrap();
        mesh.links[link].as_mut().unwrap().close(now, Farewell::Leaving);
        mesh.wait(link);
        mesh.lost(link, &ConnectionError::LocallyClosed, now);
        self.run(Duration::from_millis(20));
    }

    /// One after the other.
    fn swap_all(&mut self, order: &[usize], hub: Option<usize>, gap: Duration) {
        for at in order {
            self.swap(*at, hub);
            self.goes_on(gap);
        }
    }

    /// Everybody sends to everybody, again and again.
    fn goes_on(&mut self, time: Duration) {
        let end = self.net.now + time;
        while self.net.now < end {
            let count = self.net.hosts.len();
            let talk: Vec<usize> = (1..=count).filter(|at| !self.silent.contains(at)).collect();
            for (from, to) in talk.iter().flat_map(|from| talk.iter().map(move |to| (*from, *to))) {
                if from != to {
                    let packet = numbered(from, to, u32::try_from(self.sent.len()).unwrap());
                    self.sent.push((from, to));
                    self.net.submit(from, Offload::default(), packet);
                }
            }
            self.run(self.each.min(end - self.net.now));
        }
    }

    /// What was sent and did not arrive, since it was last asked; from whom to whom.
    fn lost(&mut self) -> Vec<(usize, usize)> {
        self.run(Duration::from_millis(50));
        let number = |packet: &Vec<u8>| u32::from_be_bytes(packet[28..32].try_into().unwrap());
        let mut got = HashSet::new();
        for (at, host) in self.net.hosts.iter_mut().enumerate() {
            got.extend(host.given.drain(..).map(|packet| (at + 1, number(&packet))));
        }
        let numbers = (0..).zip(std::mem::take(&mut self.sent));
        let lost = numbers.filter(|(number, (_, to))| !got.contains(&(*to, *number)));
        lost.map(|(_, pair)| pair).collect()
    }

    #[track_caller]
    fn lost_nothing(&mut self, what: &str) {
        let lost = self.lost();
        assert!(lost.is_empty(), "{what}: {lost:?}");
    }

    /// The connections of each node are those to its peers, and nothing is left of what was.
    fn is_settled(&self, hub: Option<usize>) {
        let count = self.net.hosts.len();
        for at in 1..=count {
            let mesh = &self.net.hosts[at - 1].mesh;
            let names: Vec<String> = plan(at, hub, count).into_iter().map(|peer| peer.name).collect();
            let status = mesh.status(self.net.now);
            assert!(status.iter().map(|peer| &peer.name).eq(&names));
            assert!(status.iter().all(|peer| peer.connected.is_some()));
            assert_eq!(self.net.open(at), names.len(), "n{at}");
            assert!(!mesh.timers.iter().any(|(_, due)| *due == Due::Grace));
            assert!(mesh.neighbours.iter().flatten().all(|known| known.lent.is_empty()));
        }
    }
}

fn orders(of: &[usize]) -> Vec<Vec<usize>> {
    if of.is_empty() {
        return vec![Vec::new()];
    }
    let begun = |first: &usize| {
        let rest: Vec<usize> = of.iter().copied().filter(|other| other != first).collect();
        let rests = orders(&rest).into_iter();
        let all = rests.map(|rest| [vec![*first], rest].concat());
        all.collect::<Vec<_>>()
    };
    of.iter().flat_map(begun).collect()
}

#[test]
fn a_mesh_becomes_a_star_and_a_mesh_again_in_any_order_and_nothing_is_lost() {
    for hub in 1..=3 {
        let mut talk = Talk::of(3, MESH);
        for order in orders(&[1, 2, 3]) {
            for gap in [0, 900].map(Duration::from_millis) {
                for to in [Some(hub), MESH] {
                    talk.swap_all(&order, to, gap);
                    talk.goes_on(OVER);
                    talk.lost_nothing(&format!("{order:?} to {to:?}, one each {gap:?}"));
                    talk.is_settled(to);
                }
            }
        }
    }
}

#[test]
fn another_becomes_the_hub_in_any_order_and_nothing_is_lost() {
    // The first dials everybody, and the last is dialled.
    let mut talk = Talk::of(4, Some(4));
    for order in orders(&[1, 2, 3, 4]) {
        for hub in [1, 4] {
            // They are told the same again and again.
            for _ in 0..5 {
                talk.swap_all(&order, Some(hub), Duration::from_millis(400));
            }
            talk.goes_on(OVER);
            talk.lost_nothing(&format!("{order:?} to {hub}"));
            talk.is_settled(Some(hub));
        }
    }
}

#[test]
fn who_changes_to_and_fro_loses_nothing_and_keeps_nothing() {
    for pause in [100, 1000, 2100, 4000].map(Duration::from_millis) {
        let mut talk = Talk::of(3, MESH);
        for _ in 0..10 {
            for to in [Some(2), MESH] {
                talk.swap_all(&[3, 1, 2], to, Duration::from_millis(50));
                talk.goes_on(pause);
                talk.lost_nothing(&format!("each {pause:?}, to {to:?}"));
                let timers = &talk.net.hosts[0].mesh.timers;
                assert!(timers.iter().filter(|(_, due)| *due == Due::Grace).count() <= 1);
            }
        }
        talk.goes_on(OVER);
        talk.lost_nothing("at last");
        talk.is_settled(MESH);
    }
}

#[test]
fn a_connection_that_the_other_end_does_not_want_yet_is_no_new_way() {
    for order in [[1, 2, 3], [3, 2, 1]] {
        let mut talk = Talk::of(3, Some(2));
        talk.silent.push(2);
        // Less than it takes the one to be told that the other does not know it as a peer.
        talk.each = LATENCY / 2;
        talk.swap_all(&order, MESH, Duration::from_millis(2500));
        talk.lost_nothing(&format!("{order:?}"));
    }
}

#[test]
fn the_old_way_stays_until_the_new_one_is_there() {
    let mut talk = Talk::of(3, MESH);
    talk.part(2, 1);
    talk.part(2, 3);
    talk.net.dead.push(1);
    talk.silent.push(2);
    talk.swap_all(&[1, 3], Some(2), Duration::from_millis(100));
    talk.goes_on(Duration::from_secs(3));
    talk.lost_nothing("the hub is away");
    talk.net.dead.clear();
    talk.goes_on(Duration::from_secs(20));
    talk.lost_nothing("it comes");
    talk.silent.clear();
    talk.is_settled(Some(2));
}

#[test]
fn nothing_is_kept_for_long_if_the_new_way_is_never_there() {
    let mut talk = Talk::of(3, MESH);
    talk.net.dead.push(1);
    talk.silent.push(2);
    talk.net.seconds(8);
    talk.swap_all(&[1, 3], Some(2), Duration::ZERO);
    talk.goes_on(Duration::from_millis(9500));
    talk.lost_nothing("the hub is away");
    talk.goes_on(Duration::from_secs(1));
    assert!(!talk.lost().is_empty());
    let all = talk.net.hosts[0].mesh.neighbours.iter().flatten();
    assert!(all.map(|known| &known.peer.name).eq(["n2"]));
}

#[test]
fn an_old_way_that_ends_is_left_at_once() {
    let mut talk = Talk::of(3, MESH);
    talk.swap_all(&[1, 2, 3], Some(2), Duration::from_millis(50));
    talk.run(Duration::from_millis(50));
    assert_eq!(talk.net.open(1), 2, "the old one and that to the hub");
    talk.part(3, 1);
    talk.goes_on(Duration::from_secs(5));
    talk.lost_nothing("the old way is no more");
    assert_eq!(talk.net.open(1), 1, "it is not made again");
    // Until they are to be peers again.
    talk.swap_all(&[1, 3], MESH, Duration::ZERO);
    talk.run(Duration::from_millis(15));
    assert!(talk.net.joined(1, 3));
}

#[test]
fn who_goes_is_no_peer_to_those_who_ask() {
    let mut talk = Talk::of(3, MESH);
    talk.swap(1, Some(2));
    let names = |net: &Net| {
        let status = net.hosts[0].mesh.status(net.now);
        status.into_iter().map(|peer| peer.name).collect::<Vec<_>>()
    };
    assert_eq!(names(&talk.net), ["n2"]);
    assert_eq!(talk.net.open(1), 2);
    talk.net.seconds(9);
    assert_eq!((names(&talk.net).len(), talk.net.open(1)), (1, 2));
    talk.run(Duration::from_millis(1100));
    assert_eq!(talk.net.open(1), 1);
}

/// Whether a packet arrives that one gives to another, for a third or the other itself.
fn arrives(net: &mut Net, from: usize, by: usize, to: usize) -> bool {
    let mesh = &mut net.hosts[from - 1].mesh;
    let mut ways = Table::default();
    let way = Way {
        to: mesh.by_name[&format!("n{by}")],
        before: None,
    };
    ways.insert(peer(to).ranges[0], way);
    let before = std::mem::replace(&mut mesh.ways, ways);
    net.submit(from, Offload::default(), numbered(from, to, 0));
    net.hosts[from - 1].mesh.ways = before;
    net.run(Duration::from_millis(20));
    !std::mem::take(&mut net.hosts[to - 1].given).is_empty()
}

#[test]
fn what_nobody_has_any_more_is_not_heard_from_that_moment() {
    // What moved is heard in both ways, for a while.
    let mut talk = Talk::of(3, MESH);
    let net = &mut talk.net;
    assert!(arrives(net, 3, 1, 1) && !arrives(net, 3, 2, 1));
    let now = net.now;
    net.hosts[0].mesh.set_peers(plan(1, Some(2), 3), now);
    assert!(arrives(net, 3, 1, 1) && arrives(net, 3, 2, 1));
    // The third is no node of the cluster any more.
    let now = net.now;
    net.hosts[0].mesh.set_peers(vec![peer(2)], now);
    assert_eq!(net.open(1), 1);
    assert!(!arrives(net, 3, 2, 1));
    // And the same of one that is a peer still, and had it.
    let now = net.now;
    net.hosts[0].mesh.set_peers(plan(1, Some(2), 3), now);
    assert!(arrives(net, 3, 2, 1));
    let now = net.now;
    net.hosts[0].mesh.set_peers(plan(1, MESH, 3), now);
    assert!(arrives(net, 3, 2, 1));
    let now = net.now;
    net.hosts[0].mesh.set_peers(vec![peer(2)], now);
    assert!(!arrives(net, 3, 2, 1));
    assert!(net.joined(1, 2));
}
