//! The wire between the node and a pod: a veth pair, put up in about a millisecond.
use super::{
    address::Addresses,
    bandwidth::{self, Bandwidth},
    family,
    netlink::{CREATE, Netlink},
    step::{Step, WireError},
};
use rtnetlink::packet_route::{
    RouteNetlinkMessage,
    link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage},
};
use std::{
    fs::{self, File},
    hash::{Hash, Hasher},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsFd, AsRawFd},
};

/// The gateway that pods see. It is in no network: they know it as a fixed neighbour.
const GATEWAY: Addresses = Addresses {
    v4: Ipv4Addr::new(169, 254, 1, 1),
    v6: Some(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1)),
};

/// A pod's wire.
#[derive(Clone, Debug)]
pub struct Wire {
    /// Whose it is: the node's directory, so that several nodes on one machine leave each other's alone.
    pub owner: String,
    pub uid: String,
    /// The pod's addresses.
    pub addresses: Addresses,
    /// The node's addresses towards it.
    pub node: Addresses,
    pub mtu: u32,
    /// How fast it may be.
    pub bandwidth: Bandwidth,
}

/// The name of something of a node's: a prefix and a hash, 12 letters long.
pub fn owned_name(prefix: &str, owner: &str, of: &str) -> String {
    format!("{prefix}{}", hex(hash((owner, of, "name")), 6))
}

/// What the names of a node's pods' interfaces begin with, and those of no other node on this machine, most likely: `sp` and
/// a hash of the node.
pub fn pod_prefix(owner: &str) -> String {
    format!("sp{}", hex(hash((owner, "pods")), 2))
}

fn hex(hash: [u8; 8], bytes: usize) -> String {
    hash.iter().take(bytes).map(|byte| format!("{byte:02x}")).collect()
}

fn hash(of: impl Hash) -> [u8; 8] {
    let mut hasher = std::hash::DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish().to_be_bytes()
}

impl Wire {
    /// The name of the node's end.
    pub fn name(&self) -> String {
        format!(
            "{}{}",
            pod_prefix(&self.owner),
            hex(hash((&self.owner, &self.uid, "name")), 4)
        )
    }

    /// A locally administered address.
    fn hardware(&self, end: &str) -> [u8; 6] {
        let [a, b, c, d, e, ..] = hash((&self.owner, &self.uid, end));
        [0x02, a, b, c, d, e]
    }

    fn alias(&self) -> String {
        format!("{}{}", alias_prefix(&self.owner), self.uid)
    }

    /// Puts it up, into the network namespace that `namespace` is a handle of.
    ///
    /// # Errors
    /// Names the step that was refused. Nothing is left in that case but what goes with the namespace.
    pub async fn connect(self, namespace: File) -> Result<(), WireError> {
        let (done, wait) = tokio::sync::oneshot::channel();
        // A thread that changes its namespace is of no use for anything else, so it is one of its own.
        let thread = std::thread::Builder::new().name("wire".to_owned());
        let spawned = thread.spawn(move || {
            let _ = done.send(self.connect_here(&namespace));
        });
        spawned.step("start a thread")?;
        wait.await.map_err(io::Error::other).step("finish")?
    }

    fn connect_here(&self, namespace: &File) -> Result<(), WireError> {
        let mut node = Netlink::open().step("open a netlink socket")?;
        let name = self.name();
        if let Ok(index) = node.index_of(&name) {
            // Left over by a pod sandbox that was not taken down in order.
            node.delete_link(index).step("remove a stale interface")?;
        }
        node.request(RouteNetlinkMessage::NewLink(self.pair(&name, namespace)), CREATE)
            .step("create its interfaces")?;
        self.node_end(&mut node, &name)?;
        rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(rustix::thread::LinkNameSpaceType::Network))
            .map_err(io::Error::from)
            .step("enter its namespace")?;
        self.pod_end()
    }

    fn node_end(&self, node: &mut Netlink, name: &str) -> Result<(), WireError> {
        let index = node.index_of(name).step("find its interface")?;
        node.set_alias(index, &self.alias()).step("mark its interface")?;
        if self.addresses.v6.is_some() {
            family::enable(name).step("let its interface have IPv6")?;
        }
        for (own, pod) in self.node.iter().zip(self.addresses.iter()) {
            let alone = if pod.is_ipv4() { 32 } else { 128 };
            node.add_address(index, own).step("set the node's address")?;
            node.add_neighbour(index, pod, self.hardware("pod"))
                .step("set its neighbour")?;
            node.add_route(index, (pod, alone), own).step("set its route")?;
        }
        if let Some(rate) = self.bandwidth.to_pod {
            bandwidth::limit(node, index, rate)?;
        }
        // Packets from the pod may go on to others, whatever the node does elsewhere.
        fs::write(format!("/proc/sys/net/ipv4/conf/{name}/forwarding"), "1").step("let it forward")
    }

    fn pod_end(&self) -> Result<(), WireError> {
        let mut pod = Netlink::open().step("open a netlink socket inside")?;
        if self.addresses.v6.is_some() {
            family::enable("lo").step("let the loopback have IPv6")?;
            family::enable_in_pod("eth0").step("let eth0 have IPv6")?;
        }
        let loopback = pod.index_of("lo").step("find the loopback")?;
        pod.set_up(loopback).step("set the loopback up")?;
        let index = pod.index_of("eth0").step("find eth0")?;
        pod.set_up(index).step("set eth0 up")?;
        if let Some(rate) = self.bandwidth.from_pod {
            bandwidth::limit(&mut pod, index, rate)?;
        }
        let ways: Vec<(IpAddr, IpAddr)> = self.addresses.iter().zip(GATEWAY.iter()).collect();
        for (address, gateway) in ways {
            pod.add_address(index, address).step("set its address")?;
            pod.add_neighbour(index, gateway, self.hardware("node"))
                .step("set its gateway's neighbour")?;
            pod.add_default_route(index, gateway).step("set its default route")?;
        }
        Ok(())
    }

    /// The request that makes both ends, each in its place.
    fn pair(&self, name: &str, namespace: &File) -> LinkMessage {
        let end = |name: &str, hardware: [u8; 6]| {
            let mut link = LinkMessage::default();
            link.attributes.push(LinkAttribute::IfName(name.to_owned()));
            link.attributes.push(LinkAttribute::Address(hardware.to_vec()));
            link.attributes.push(LinkAttribute::Mtu(self.mtu));
            link
        };
        let mut pod = end("eth0", self.hardware("pod"));
        pod.attributes.push(LinkAttribute::NetNsFd(namespace.as_raw_fd()));
        let mut node = end(name, self.hardware("node"));
        // The other end cannot be up before it has its peer.
        node.header.flags = LinkFlags::Up;
        node.header.change_mask = LinkFlags::Up;
        let data = InfoData::Veth(InfoVeth::Peer(pod));
        node.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(data),
        ]));
        node
    }

    /// Takes it down, if it is there. Blocks.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn disconnect(&self) -> Result<(), WireError> {
        let mut node = Netlink::open().step("open a netlink socket")?;
        match node.index_of(&self.name()) {
            Ok(index) => match node.delete_link(index) {
                // It went with the pod's namespace meanwhile.
                Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
                result => result.step("remove its interface"),
            },
            Err(_) => Ok(()),
        }
    }
}

fn alias_prefix(owner: &str) -> String {
    // The kernel keeps 255 bytes.
    let tail: String = owner
        .chars()
        .rev()
        .take(180)
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .collect();
    format!("sampan:{tail}:")
}

/// Takes down the wires of `owner` whose pod is not in `keep`. Blocks.
///
/// # Errors
/// If the kernel refuses.
pub fn sweep(owner: &str, keep: impl Fn(&str) -> bool) -> Result<usize, WireError> {
    let mut node = Netlink::open().step("open a netlink socket")?;
    let prefix = alias_prefix(owner);
    let mut swept = 0;
    for (index, alias) in node.aliases().step("list interfaces")? {
        if alias.strip_prefix(&prefix).is_some_and(|uid| !keep(uid)) && node.delete_link(index).is_ok() {
            swept += 1;
        }
    }
    Ok(swept)
}

/// The MTU of the node's way out, 1500 where it has none.
pub fn mtu() -> u32 {
    let routes = fs::read_to_string("/proc/thread-self/net/route").unwrap_or_default();
    let uplink = routes.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace();
        let (name, destination) = (fields.next()?, fields.next()?);
        (destination == "00000000").then(|| name.to_owned())
    });
    // Of this network namespace, whichever one is mounted on /sys.
    let of_link = |name: String| Netlink::open().and_then(|mut node| node.mtu_of(&name)).ok()?;
    uplink.and_then(of_link).unwrap_or(1500)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::Write,
        net::{TcpListener, TcpStream, UdpSocket},
        os::unix::process::CommandExt,
        process::Command,
        time::{Duration, Instant},
    };

    /// A process in a network namespace of its own, ended with the test.
    struct Namespace(std::process::Child);

    impl Namespace {
        fn new() -> Option<Self> {
            if !rustix::process::geteuid().is_root() {
                eprintln!("SKIPPED: needs root");
                return None;
            }
            let mut command = Command::new("sleep");
            command.arg("60");
            #[allow(unsafe_code)]
            // SAFETY: between fork and exec only the system call is made.
            unsafe {
                command.pre_exec(|| match libc::unshare(libc::CLONE_NEWNET) {
                    0 => Ok(()),
                    _ => Err(io::Error::last_os_error()),
                });
            }
            Some(Namespace(command.spawn().unwrap()))
        }

        fn handle(&self) -> File {
            File::open(format!("/proc/{}/ns/net", self.0.id())).unwrap()
        }

        /// Runs something inside.
        fn inside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
            let handle = self.handle();
            let thread = std::thread::spawn(move || {
                let kind = Some(rustix::thread::LinkNameSpaceType::Network);
                rustix::thread::move_into_link_name_space(handle.as_fd(), kind).unwrap();
                work()
            });
            thread.join().unwrap()
        }
    }

    impl Drop for Namespace {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn wire(uid: &str, last: u8) -> Wire {
        let owner = format!("/test/{}", std::process::id());
        let node = Ipv4Addr::new(10, 201, 7, 1).into();
        Wire {
            owner,
            uid: uid.into(),
            addresses: Ipv4Addr::new(10, 201, 7, last).into(),
            node,
            mtu: 1400,
            bandwidth: Bandwidth::default(),
        }
    }

    fn links() -> String {
        fs::read_to_string("/proc/net/dev").unwrap()
    }

    #[tokio::test]
    async fn pods_reach_each_other_and_the_node() {
        let Some(a) = Namespace::new() else { return };
        let b = Namespace::new().unwrap();
        let (wire_a, wire_b) = (wire("a", 2), wire("b", 3));
        let begun = Instant::now();
        wire_a.clone().connect(a.handle()).await.unwrap();
        eprintln!("first wire up in {:?}", begun.elapsed());
        let begun = Instant::now();
        wire_b.clone().connect(b.handle()).await.unwrap();
        eprintln!("second wire up in {:?}", begun.elapsed());

        let receive = |socket: &UdpSocket| {
            socket
                .set_read_timeout(Some(std::time::Duration::from_secs(2)))
                .unwrap();
            let mut buffer = [0; 16];
            let (length, from) = socket.recv_from(&mut buffer).unwrap();
            (buffer[..length].to_vec(), from.ip().to_string())
        };
        let at_b = b.inside(|| UdpSocket::bind("10.201.7.3:7001").unwrap());
        a.inside(|| {
            UdpSocket::bind("10.201.7.2:0")
                .unwrap()
                .send_to(b"from a", "10.201.7.3:7001")
                .unwrap()
        });
        assert_eq!(receive(&at_b), (b"from a".to_vec(), "10.201.7.2".to_owned()));
        UdpSocket::bind("0.0.0.0:0")
            .unwrap()
            .send_to(b"node", "10.201.7.3:7001")
            .unwrap();
        assert_eq!(receive(&at_b), (b"node".to_vec(), "10.201.7.1".to_owned()));
        let at_node = UdpSocket::bind("10.201.7.1:0").unwrap();
        let port = at_node.local_addr().unwrap().port();
        b.inside(move || {
            UdpSocket::bind("0.0.0.0:0")
                .unwrap()
                .send_to(b"up", ("10.201.7.1", port))
                .unwrap()
        });
        assert_eq!(receive(&at_node).1, "10.201.7.3");

        assert!(links().contains(&wire_a.name()));
        assert_eq!(sweep(&wire_a.owner, |uid| uid == "a").unwrap(), 1);
        assert!(links().contains(&wire_a.name()) && !links().contains(&wire_b.name()));
        wire_a.disconnect().unwrap();
        wire_a.disconnect().unwrap();
        assert!(!links().contains(&wire_a.name()));
    }

    #[tokio::test]
    async fn both_families_are_there_at_once() {
        if !rustix::process::geteuid().is_root() {
            return eprintln!("SKIPPED: needs root");
        }
        let played = std::thread::spawn(|| {
            crate::net::own_namespace().unwrap();
            if let Err(why) = family::available() {
                return eprintln!("SKIPPED: {why}");
            }
            fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let (a, b) = (Namespace::new().unwrap(), Namespace::new().unwrap());
                let address = |last: u8| Ipv6Addr::new(0xfd42, 0xc9, 7, 0, 0, 0, 0, last.into());
                let with_v6 = |wire: Wire, last: u8| {
                    let mut wire = wire;
                    (wire.addresses.v6, wire.node.v6) = (Some(address(last)), Some(address(1)));
                    wire
                };
                with_v6(wire("a", 2), 2).connect(a.handle()).await.unwrap();
                with_v6(wire("b", 3), 3).connect(b.handle()).await.unwrap();
                // An address that was asked about first could not be bound for a second.
                let listener = b.inside(move || TcpListener::bind((address(3), 7000)).unwrap());
                a.inside(move || {
                    let to = (address(3), 7000).into();
                    TcpStream::connect_timeout(&to, Duration::from_millis(500)).unwrap()
                });
                assert_eq!(listener.accept().unwrap().1.ip(), address(2));
                TcpStream::connect_timeout(&(address(3), 7000).into(), Duration::from_millis(500)).unwrap();
                assert_eq!(listener.accept().unwrap().1.ip(), address(1));
            });
        });
        played.join().unwrap();
    }

    #[test]
    fn names_fit_and_differ() {
        assert_eq!(wire("a", 2).name().len(), 14);
        assert_ne!(wire("a", 2).name(), wire("b", 2).name());
        let other = Wire {
            owner: "/other".into(),
            ..wire("a", 2)
        };
        assert!(!other.name().starts_with(&pod_prefix(&wire("a", 2).owner)));
        assert!(other.name().starts_with(&pod_prefix("/other")));
        assert_ne!(wire("a", 2).hardware("pod"), wire("a", 2).hardware("node"));
        assert!(mtu() >= 576);
    }

    #[test]
    fn the_way_out_is_that_of_this_network() {
        let Some(host) = Namespace::new() else { return };
        host.inside(|| {
            assert_eq!(mtu(), 1500, "there is none");
            let mut node = Netlink::open().unwrap();
            node.set_mtu(1, 8900).unwrap();
            node.set_up(1).unwrap();
            let route = ["route", "add", "default", "dev", "lo"];
            assert!(Command::new("ip").args(route).status().unwrap().success());
            assert_eq!(mtu(), 8900);
        });
    }

    /// How long so many bytes take from one pod to the other.
    fn takes(from: &Namespace, to: &Namespace, address: Ipv4Addr, bytes: usize) -> Duration {
        let listener = to.inside(move || TcpListener::bind((address, 7000)).unwrap());
        let reads = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            io::copy(&mut stream, &mut io::sink()).unwrap()
        });
        let begun = Instant::now();
        from.inside(move || {
            let mut stream = TcpStream::connect((address, 7000)).unwrap();
            stream.write_all(&vec![0; bytes]).unwrap();
        });
        assert_eq!(reads.join().unwrap(), bytes as u64);
        begun.elapsed()
    }

    #[tokio::test]
    async fn a_limited_pod_is_slower_both_ways() {
        if !rustix::process::geteuid().is_root() {
            return eprintln!("SKIPPED: needs root");
        }
        // In a network of its own, as it sends much.
        let played = std::thread::spawn(|| {
            crate::net::own_namespace().unwrap();
            // As the datapath does: what is not for the node itself is passed on.
            fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let (free, slow) = (Namespace::new().unwrap(), Namespace::new().unwrap());
                // 8 Mbit/s.
                let limited = Wire {
                    bandwidth: Bandwidth {
                        to_pod: Some(1_000_000),
                        from_pod: Some(1_000_000),
                    },
                    ..wire("slow", 5)
                };
                let open = wire("free", 4);
                open.clone().connect(free.handle()).await.unwrap();
                if let Err(error) = limited.clone().connect(slow.handle()).await {
                    assert!(error.to_string().contains("sch_tbf"), "{error}");
                    return eprintln!("SKIPPED: {error}");
                }
                // The first 128 KiB go at once; the rest takes 1.4 s, where it takes milliseconds without a limit.
                const BYTES: usize = 1_500_000;
                let to = takes(&free, &slow, limited.addresses.v4, BYTES);
                let from = takes(&slow, &free, open.addresses.v4, BYTES);
                let third = Namespace::new().unwrap();
                let other = wire("third", 6);
                other.clone().connect(third.handle()).await.unwrap();
                let unlimited = takes(&free, &third, other.addresses.v4, BYTES);
                println!("to the limited pod {to:?}, from it {from:?}, without a limit {unlimited:?}");
                for limited in [to, from] {
                    assert!(
                        limited > Duration::from_millis(1000) && limited > 4 * unlimited,
                        "{limited:?}"
                    );
                }
            });
        });
        played.join().unwrap();
    }
}
