//! Hosts made of network namespaces, with a bridge between them. The test's own threads are in a namespace on the same
//! bridge, so nothing of it is seen on the machine.
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::{
    fs::File,
    os::fd::AsFd,
    path::Path,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

/// The number of the namespace that the test's threads are in.
const OURS: usize = 250;

/// The network; it goes when it is dropped.
pub struct Network {
    /// What the names of its namespaces begin with.
    prefix: String,
    made: Vec<String>,
}

/// The address of a host.
pub fn ip(host: usize) -> String {
    format!("10.231.0.{}", host + 1)
}

/// The address of IPv6 that it may be given.
pub fn ip_v6(host: usize) -> String {
    format!("fd00:231::{:x}", host + 1)
}

/// Whether there can be one here; said loudly where not.
pub fn possible() -> bool {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: needs root, to make network namespaces");
        return false;
    }
    let there = Command::new("ip").args(["netns", "list"]).output();
    let can = there.is_ok_and(|output| output.status.success());
    if !can {
        eprintln!("SKIPPED: needs `ip netns`; `.ci/packages` installs it");
    }
    can
}

#[track_caller]
fn run(line: &str) {
    let output = Command::new("ip").args(line.split_whitespace()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {line}: {said}");
}

impl Network {
    /// Hosts `0..count`, each with an address. The calling thread, and those that it starts, are on it from now on.
    pub fn new(count: usize) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut network = Network {
            prefix: format!("sampan-{}-{number}", std::process::id()),
            made: Vec::new(),
        };
        let bridge = network.namespace("bridge");
        run(&format!("-n {bridge} link add br0 type bridge"));
        run(&format!("-n {bridge} link set br0 up"));
        for host in (0..count).chain([OURS]) {
            let name = network.namespace(&host.to_string());
            run(&format!(
                "-n {bridge} link add p{host} type veth peer name eth0 netns {name}"
            ));
            run(&format!("-n {bridge} link set p{host} master br0 up"));
            run(&format!("-n {name} link set lo up"));
            run(&format!("-n {name} addr add {}/24 dev eth0", ip(host)));
            run(&format!("-n {name} link set eth0 up"));
        }
        let ours = network.outside();
        move_into_link_name_space(ours.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        network
    }

    /// The network of a machine that belongs to no cluster: the one that the test itself is on.
    pub fn outside(&self) -> File {
        self.of(OURS)
    }

    /// The network in which all that goes between hosts is seen.
    pub fn bridge(&self) -> File {
        self.open("bridge")
    }

    fn of(&self, host: usize) -> File {
        self.open(&host.to_string())
    }

    fn open(&self, part: &str) -> File {
        File::open(format!("/run/netns/{}", self.name(part))).unwrap()
    }

    fn name(&self, part: &str) -> String {
        format!("{}-{part}", self.prefix)
    }

    fn namespace(&mut self, part: &str) -> String {
        let name = self.name(part);
        run(&format!("netns add {name}"));
        self.made.push(name.clone());
        name
    }

    /// A command on that host: it sees everything of the machine but its network.
    pub fn command(&self, host: usize, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        let name = self.name(&host.to_string());
        command.arg(format!("--net=/run/netns/{name}")).arg(program);
        command
    }

    /// Gives a host another address in the place of the one it has.
    pub fn readdress(&self, host: usize, ip: &str) {
        let name = self.name(&host.to_string());
        run(&format!("-n {name} addr flush dev eth0"));
        run(&format!("-n {name} addr add {ip}/24 dev eth0"));
    }

    /// Gives a host an address of IPv6 beside the one it has; without a number the test's own.
    pub fn add_v6(&self, host: Option<usize>) {
        let host = host.unwrap_or(OURS);
        let name = self.name(&host.to_string());
        run(&format!("-n {name} addr add {}/64 dev eth0 nodad", ip_v6(host)));
    }

    /// From where the test itself is, a range of either family is reached through an address.
    pub fn lead(&self, range: &str, via: &str) {
        let name = self.name(&OURS.to_string());
        run(&format!("-n {name} route add {range} via {via}"));
    }

    /// Takes IPv6 away from a host.
    pub fn without_v6(&self, host: usize) {
        let name = self.name(&host.to_string());
        run(&format!(
            "netns exec {name} sysctl -qw net.ipv6.conf.all.disable_ipv6=1"
        ));
    }

    /// Pulls the plug of a host: nothing goes in or out, for clients neither.
    pub fn cut(&self, host: usize) {
        run(&format!("-n {} link set p{host} down", self.name("bridge")));
    }

    pub fn mend(&self, host: usize) {
        run(&format!("-n {} link set p{host} up", self.name("bridge")));
    }

    /// What one host sends to the other goes nowhere; the other way stays open, as far as TCP can do with that.
    pub fn block(&self, from: usize, to: usize) {
        let from = self.name(&from.to_string());
        run(&format!("-n {from} route add blackhole {}/32", ip(to)));
    }

    pub fn unblock(&self, from: usize, to: usize) {
        let from = self.name(&from.to_string());
        run(&format!("-n {from} route del blackhole {}/32", ip(to)));
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in &self.made {
            let _ = Command::new("ip").args(["netns", "del", name]).status();
        }
    }
}
