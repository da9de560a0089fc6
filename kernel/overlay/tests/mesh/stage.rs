//! Hosts for tests: network namespaces on one bridge, each with an overlay, and certificates of a real authority.
#![allow(dead_code)] // The tests and the measurement use different parts.
#![allow(unused_macros)]
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair as Key,
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use sampan_overlay::{Config, Overlay, Peer, PeerStatus};
use sampan_tls::{Credentials, KeyPair};
use std::{
    fs::File,
    net::{IpAddr, SocketAddr},
    os::fd::AsFd,
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Long enough for a machine that is busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub const TUN: &str = "sampan0";
pub const PORT: u16 = 7473;

/// Why the tests cannot run here.
pub fn lacking() -> Option<&'static str> {
    let root = rustix::process::geteuid().is_root();
    let ip = Command::new("ip").arg("-V").output().is_ok();
    match (root, ip, File::open("/dev/net/tun").is_ok()) {
        (false, ..) => Some("it takes root"),
        (_, false, _) => Some("it takes the command ip"),
        (.., false) => Some("it takes /dev/net/tun"),
        _ => None,
    }
}

/// Ends a test that cannot run here, aloud.
#[macro_export]
macro_rules! or_skip {
    () => {
        if let Some(lacking) = $crate::stage::lacking() {
            eprintln!(
                "SKIPPED {}: {lacking}",
                std::thread::current().name().unwrap_or("a test")
            );
            return;
        }
    };
}

/// Waits until it is so.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "it never came about: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// An authority, and what it issues.
pub struct Authority {
    issuer: Issuer<'static, Key>,
    pem: String,
}

impl Authority {
    pub fn new() -> Self {
        let key = Key::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, "sampan cluster test");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let pem = params.self_signed(&key).unwrap().pem();
        Authority {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// Of a node, as the cluster's authority issues them.
    pub fn node(&self, name: &str) -> Arc<Credentials> {
        self.issue(name, &format!("system:node:{name}"), "system:nodes")
    }

    pub fn issue(&self, host: &str, user: &str, group: &str) -> Arc<Credentials> {
        let key = Key::generate().unwrap();
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, user);
        params.distinguished_name.push(DnType::OrganizationName, group);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let own = KeyPair {
            cert_pem: params.signed_by(&key, &self.issuer).unwrap().pem(),
            key_pem: key.serialize_pem(),
        };
        Credentials::new(&self.pem, &own).unwrap()
    }
}

/// Runs `ip`.
pub fn ip(arguments: &str) -> Output {
    Command::new("ip").args(arguments.split(' ')).output().unwrap()
}

fn must(arguments: &str) {
    let output = ip(arguments);
    assert!(
        output.status.success(),
        "ip {arguments}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A network namespace, which goes with this.
pub struct Namespace(pub String);

impl Namespace {
    pub fn new(name: String) -> Self {
        must(&format!("netns add {name}"));
        let namespace = Namespace(name);
        namespace.ip("link set lo up");
        namespace
    }

    pub fn ip(&self, arguments: &str) {
        must(&format!("-n {} {arguments}", self.0));
    }

    /// Does something inside.
    pub fn within<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            let namespace = File::open(format!("/run/netns/{}", self.0)).unwrap();
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            act()
        };
        thread::scope(|scope| scope.spawn(inside).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        ip(&format!("netns del {}", self.0));
    }
}

/// A machine with an overlay.
pub struct Host {
    /// `n1`, `n2`, …
    pub name: String,
    number: u8,
    pub underlay: IpAddr,
    pub overlay: Option<Overlay>,
    pub credentials: Arc<Credentials>,
    pub ranges: Vec<String>,
    pub mtu: u16,
    pub namespace: Namespace,
}

impl Host {
    /// Its own addresses towards its peers.
    pub fn address(&self) -> IpAddr {
        IpAddr::from([10, 42, self.number, 1])
    }

    pub fn address_v6(&self) -> IpAddr {
        IpAddr::from([0xfd42, u16::from(self.number), 0, 0, 0, 0, 0, 1])
    }

    pub fn all_ranges(&self) -> [String; 2] {
        [
            format!("10.42.{}.0/24", self.number),
            format!("fd42:{:x}::/32", self.number),
        ]
    }

    pub fn as_peer(&self) -> Peer {
        Peer {
            name: self.name.clone(),
            address: SocketAddr::new(self.underlay, PORT),
            ranges: self.all_ranges().iter().map(|range| range.parse().unwrap()).collect(),
        }
    }

    /// Starts the overlay, and does what the node does around it.
    pub fn start(&mut self) {
        let config = Config {
            name: self.name.clone(),
            bind: SocketAddr::new([0, 0, 0, 0].into(), PORT),
            credentials: self.credentials.clone(),
            tun: TUN.to_owned(),
            ranges: self.ranges.iter().map(|range| range.parse().unwrap()).collect(),
            mtu: self.mtu,
        };
        let overlay = self.namespace.within(|| Overlay::start(config)).unwrap();
        let (address, address_v6) = (self.address(), self.address_v6());
        self.namespace.ip(&format!("addr add {address}/32 dev {TUN}"));
        self.namespace.ip(&format!("addr add {address_v6}/128 dev {TUN} nodad"));
        self.namespace.ip(&format!("link set {TUN} up mtu {}", overlay.mtu()));
        self.namespace
            .ip(&format!("route add 10.42.0.0/16 dev {TUN} src {address}"));
        self.namespace
            .ip(&format!("route add fd42::/16 dev {TUN} src {address_v6}"));
        self.overlay = Some(overlay);
    }

    pub fn overlay(&self) -> &Overlay {
        self.overlay.as_ref().unwrap()
    }

    pub fn status(&self, of: &str) -> PeerStatus {
        let all = self.overlay().peers().unwrap();
        all.into_iter().find(|status| status.name == of).unwrap()
    }

    pub fn is_connected(&self, to: &str) -> bool {
        self.status(to).connected.is_some()
    }

    /// Gives its interface on the bridge another address.
    pub fn move_to(&mut self, last: u8) {
        let new = IpAddr::from([192, 0, 2, last]);
        self.namespace.ip(&format!("addr add {new}/24 dev eth0"));
        self.namespace.ip(&format!("addr del {}/24 dev eth0", self.underlay));
        // With the first address of its network, the others of it go, too.
        ip(&format!("-n {} addr add {new}/24 dev eth0", self.namespace.0));
        self.underlay = new;
    }
}

/// Hosts on one bridge.
pub struct Lab {
    pub hosts: Vec<Host>,
    pub authority: Authority,
    pub hub: Namespace,
}

static LABS: AtomicUsize = AtomicUsize::new(0);

impl Lab {
    /// So many hosts on a network that carries so much; their overlays are not started.
    pub fn of(count: u8, mtu: u16) -> Self {
        let name = format!("svo{}-{}", std::process::id(), LABS.fetch_add(1, Ordering::Relaxed));
        let hub = Namespace::new(format!("{name}-hub"));
        hub.ip("link add br0 type bridge");
        hub.ip(&format!("link set br0 up mtu {mtu}"));
        let mut lab = Lab {
            hosts: Vec::new(),
            authority: Authority::new(),
            hub,
        };
        for number in 1..=count {
            let namespace = Namespace::new(format!("{name}-{number}"));
            let (there, here) = (&namespace.0, format!("port{number}"));
            lab.hub.ip(&format!(
                "link add {here} mtu {mtu} type veth peer name eth0 mtu {mtu} netns {there}"
            ));
            lab.hub.ip(&format!("link set {here} master br0 up"));
            namespace.ip(&format!("addr add 192.0.2.{number}/24 dev eth0"));
            namespace.ip("link set eth0 up");
            let name = format!("n{number}");
            lab.hosts.push(Host {
                credentials: lab.authority.node(&name),
                ranges: Vec::new(),
                underlay: IpAddr::from([192, 0, 2, number]),
                overlay: None,
                mtu: 1500,
                name,
                number,
                namespace,
            });
            let host = &mut lab.hosts[usize::from(number) - 1];
            host.ranges = host.all_ranges().to_vec();
        }
        lab
    }

    /// As [`Lab::of`], with all overlays started and connected.
    pub fn running(count: u8, mtu: u16) -> Self {
        let mut lab = Self::of(count, mtu);
        lab.hosts.iter_mut().for_each(Host::start);
        lab.introduce();
        lab.connected();
        lab
    }

    /// Tells all who their peers are.
    pub fn introduce(&self) {
        let peers: Vec<Peer> = self.hosts.iter().map(Host::as_peer).collect();
        for host in self.hosts.iter().filter(|host| host.overlay.is_some()) {
            host.overlay().set_peers(peers.clone());
        }
    }

    /// Waits until all are.
    pub fn connected(&self) {
        for host in &self.hosts {
            let all = |status: &[PeerStatus]| {
                status.len() == self.hosts.len() - 1 && status.iter().all(|peer| peer.connected.is_some())
            };
            until("all are connected", || all(&host.overlay().peers().unwrap()));
        }
    }
}
