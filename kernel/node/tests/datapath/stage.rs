//! A node with pods, and a host outside, each a network namespace.
use crate::traffic::Servers;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use sampan_node::{
    datapath::{KernelDatapath, PodLink, Settings},
    net::{Bandwidth, Wire},
};
use sampan_sandbox::network::{Entry, Op, PodKey, Range};
use std::{
    collections::BTreeMap,
    fs::File,
    net::{IpAddr, Ipv4Addr},
    os::fd::AsFd,
    process::{Command, Output},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Instant,
};

/// The node's address towards the host outside, and that host's.
pub const NODE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);
/// The node's address towards its pods.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 42, 1, 1);
pub const TABLE: &str = "sampan-test";

/// Why the tests cannot run here.
pub fn lacking() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("it takes root".to_owned());
    }
    if Command::new("ip").arg("-V").output().is_err() {
        return Some("it takes the command ip".to_owned());
    }
    sampan_node::datapath::available().err().map(|error| error.to_string())
}

/// Ends a test that cannot run here, aloud.
#[macro_export]
macro_rules! or_skip {
    () => {
        if let Some(lacking) = $crate::stage::lacking() {
            let name = std::thread::current().name().unwrap_or("a test").to_owned();
            eprintln!("SKIPPED {name}: {lacking}");
            return;
        }
    };
}

fn ip(arguments: &str) -> Output {
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
    fn new(name: String) -> Self {
        must(&format!("netns add {name}"));
        let namespace = Namespace(name);
        namespace.ip("link set lo up");
        namespace
    }

    pub fn ip(&self, arguments: &str) {
        must(&format!("-n {} {arguments}", self.0));
    }

    /// What `ip` prints.
    pub fn show(&self, arguments: &str) -> String {
        let output = ip(&format!("-n {} {arguments}", self.0));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn handle(&self) -> File {
        File::open(format!("/run/netns/{}", self.0)).unwrap()
    }

    /// Does something inside.
    pub fn within<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let handle = self.handle();
        let inside = || {
            move_into_link_name_space(handle.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            act()
        };
        thread::scope(|scope| scope.spawn(inside).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Runs `nft` there; nothing where there is no such program.
    pub fn nft(&self, arguments: &[&str]) -> Option<String> {
        let all = ["netns", "exec", &self.0, "nft"];
        Command::new("nft").arg("--version").output().ok()?;
        let output = Command::new("ip").args(all).args(arguments).output().unwrap();
        assert!(
            output.status.success(),
            "nft {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        ip(&format!("netns del {}", self.0));
    }
}

/// A pod: `10.42.1.N`.
pub struct Pod {
    pub key: PodKey,
    pub link: PodLink,
    pub namespace: Namespace,
}

impl Pod {
    pub fn address(&self) -> IpAddr {
        self.link.addresses[0]
    }
}

/// A node with its datapath. What is declared first goes first: servers, then namespaces.
pub struct Lab {
    pub servers: Servers,
    pub datapath: Option<KernelDatapath>,
    pub settings: Settings,
    pub pods: Vec<Pod>,
    pub node: Namespace,
    pub outside: Namespace,
}

static LABS: AtomicUsize = AtomicUsize::new(0);

pub fn range(text: &str) -> Range {
    Range::parse(text).unwrap()
}

impl Lab {
    /// So many pods, each of which serves at port 8080 by TCP and UDP and says who it is, and a datapath of nothing.
    pub fn of(pods: u8) -> Self {
        Self::with(pods, |_| {})
    }

    pub fn with(pods: u8, set: impl FnOnce(&mut Settings)) -> Self {
        let name = format!("sdp{}-{}", std::process::id(), LABS.fetch_add(1, Ordering::Relaxed));
        let node = Namespace::new(format!("{name}-node"));
        let outside = Namespace::new(format!("{name}-out"));
        let there = &outside.0;
        node.ip(&format!("link add out0 type veth peer name eth0 netns {there}"));
        node.ip(&format!("addr add {NODE}/24 dev out0"));
        node.ip("link set out0 up");
        outside.ip(&format!("addr add {OUTSIDE}/24 dev eth0"));
        outside.ip("link set eth0 up");
        node.ip(&format!("route add default via {OUTSIDE}"));
        let mut settings = Settings {
            table: TABLE.to_owned(),
            pod_ranges: vec![range("10.42.1.0/24")],
            cluster_ranges: vec![range("10.42.0.0/16")],
            service_ranges: vec![range("10.96.0.0/12")],
            node_addresses: vec![GATEWAY.into()],
            ..Settings::default()
        };
        set(&mut settings);
        let mut lab = Lab {
            servers: Servers::default(),
            datapath: None,
            settings,
            pods: Vec::new(),
            node,
            outside,
        };
        (0..pods).for_each(|_| lab.add_pod(&name));
        lab.servers.start(&lab.outside, "outside", 8080);
        lab.open();
        let pods = lab.links();
        lab.act(|datapath| datapath.replace_with(&[], &pods)).unwrap();
        lab
    }

    fn add_pod(&mut self, lab: &str) {
        let number = u8::try_from(self.pods.len() + 2).unwrap();
        let namespace = Namespace::new(format!("{lab}-{number}"));
        let wire = Wire {
            owner: format!("/test/{lab}"),
            uid: format!("pod-{number}"),
            addresses: Ipv4Addr::new(10, 42, 1, number).into(),
            node: GATEWAY.into(),
            mtu: 1500,
            bandwidth: Bandwidth::default(),
        };
        let (handle, connected) = (namespace.handle(), wire.clone());
        self.node.within(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(connected.connect(handle)).unwrap();
        });
        self.servers.start(&namespace, &format!("pod{number}"), 8080);
        self.pods.push(Pod {
            key: PodKey {
                namespace: "default".to_owned(),
                name: format!("pod{number}"),
            },
            link: PodLink {
                interface: wire.name(),
                addresses: wire.addresses.iter().collect(),
            },
            namespace,
        });
    }

    /// Opens the datapath, as after a start of the agent.
    pub fn open(&mut self) {
        self.datapath = None;
        let settings = self.settings.clone();
        self.datapath = Some(self.node.within(|| KernelDatapath::open(settings)).unwrap());
    }

    pub fn links(&self) -> BTreeMap<PodKey, PodLink> {
        let links = self.pods.iter().map(|pod| (pod.key.clone(), pod.link.clone()));
        links.collect()
    }

    /// Does something with the datapath, where it is.
    pub fn act<T: Send>(&mut self, act: impl FnOnce(&mut KernelDatapath) -> T + Send) -> T {
        let datapath = self.datapath.as_mut().unwrap();
        self.node.within(|| act(datapath))
    }

    /// Sets entries.
    pub fn set(&mut self, entries: &[Entry]) {
        let ops: Vec<Op> = entries.iter().cloned().map(Op::Set).collect();
        self.act(|datapath| datapath.change(&ops)).unwrap();
    }

    /// Gives the datapath the time to look which connections led where none does any more.
    pub fn settle(&mut self) {
        while let Some(due) = self.act(|datapath| datapath.due()) {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            self.act(|datapath| datapath.forget());
        }
    }

    /// The table as `nft` lists it, without what packets have done to it.
    pub fn listing(&self) -> Option<String> {
        let listing = self.node.nft(&["-s", "list", "ruleset"])?;
        // Tables take turns in their priorities.
        let lines = listing.lines().filter(|line| !line.contains(" hook "));
        Some(lines.collect::<Vec<_>>().join("\n"))
    }
}
