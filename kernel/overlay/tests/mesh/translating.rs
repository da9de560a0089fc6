//! A node behind a router that translates addresses: nobody can dial it, and what others see of it changes under traffic.
use crate::{
    or_skip,
    stage::{Host, Lab, Namespace, until},
    traffic::{Transfer, ping},
};
use std::{
    net::IpAddr,
    process::{Command, Stdio},
    time::Instant,
};

const RULES: &str = "add table ip nat
add chain ip nat out { type nat hook postrouting priority srcnat; }
add rule ip nat out oifname outside masquerade
";

/// The addresses that the router has towards the others, one after the other.
const SEEN_AS: [u8; 2] = [100, 101];

/// Puts a router between a host, whose overlay is not started, and the others.
fn shield(lab: &mut Lab, at: usize) -> Namespace {
    let Lab { hosts, hub, .. } = lab;
    let host = &mut hosts[at];
    let router = Namespace::new(format!("{}-router", host.namespace.0));
    let (port, inside) = (format!("port{}", at + 1), &router.0);
    host.namespace.ip("addr flush dev eth0");
    hub.ip(&format!("link set {port} nomaster"));
    hub.ip(&format!("link set {port} netns {inside} name inside"));
    hub.ip(&format!("link add {port} type veth peer name outside netns {inside}"));
    hub.ip(&format!("link set {port} master br0 up"));
    router.ip("addr add 10.99.0.1/24 dev inside");
    router.ip(&format!("addr add 192.0.2.{}/24 dev outside", SEEN_AS[0]));
    router.ip("link set inside up");
    router.ip("link set outside up");
    host.namespace.ip("addr add 10.99.0.2/24 dev eth0");
    host.namespace.ip("route add default via 10.99.0.1");
    host.underlay = IpAddr::from([10, 99, 0, 2]);
    router.within(|| {
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        let mut nft = Command::new("nft")
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut nft.stdin.take().unwrap(), RULES.as_bytes()).unwrap();
        assert!(nft.wait().unwrap().success(), "the router's rules");
    });
    router
}

/// Gives the router another address towards the others; the kernel forgets what it has translated so far.
fn renumber(router: &Namespace) {
    let [old, new] = SEEN_AS.map(|last| format!("192.0.2.{last}/24 dev outside"));
    router.ip(&format!("addr del {old}"));
    router.ip(&format!("addr add {new}"));
}

fn seen_at(by: &Host, of: &str) -> Option<IpAddr> {
    by.status(of).connected.map(|connected| connected.address.ip())
}

#[test]
fn a_transfer_lives_through_a_change_of_what_a_router_translates_to() {
    or_skip!();
    if Command::new("nft").arg("-v").output().is_err() {
        return eprintln!("SKIPPED: it takes the command nft; `.ci/packages` installs it");
    }
    // In each place once: who of two dials first goes by their names.
    for shielded in [1, 0] {
        let mut lab = Lab::of(2, 1500);
        let router = shield(&mut lab, shielded);
        lab.hosts.iter_mut().for_each(Host::start);
        lab.introduce();
        lab.connected();
        let connected = Instant::now();
        let other = &lab.hosts[1 - shielded];
        let shielded = &lab.hosts[shielded];
        assert_eq!(
            seen_at(other, &shielded.name),
            Some(IpAddr::from([192, 0, 2, SEEN_AS[0]]))
        );
        assert!(ping(other, shielded.address()), "it is reached from outside");
        // To it: what comes from it is acknowledgements alone, and those end with what they are for.
        let transfer = Transfer::begin(other, shielded);
        transfer.goes_on("the transfer begins");
        renumber(&router);
        let renumbered = Instant::now();
        transfer.goes_on("the transfer goes on");
        println!("{}: it goes on after {:?}", shielded.name, renumbered.elapsed());
        until("the other sees it elsewhere", || {
            seen_at(other, &shielded.name) == Some(IpAddr::from([192, 0, 2, SEEN_AS[1]]))
        });
        // QUIC moves the connection; where silence lasts on a busy machine, the mesh makes another. The flow knows of neither.
        let lasting = shielded.status(&other.name).connected.unwrap().lasting;
        println!("the connection lasts since {lasting:?} of {:?}", connected.elapsed());
        transfer.end();
    }
}
