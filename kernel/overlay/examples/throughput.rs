//! How fast the overlay is: iperf3 between two hosts on one machine through the overlay, beside the plain veth and the
//! kernel's VXLAN between the same hosts. `cargo run --release -p sampan-overlay --example throughput [SECONDS]`, as root.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A measurement: it ends when something is missing.
#![allow(unsafe_code)] // It asks for the CPU time of processes that have ended.
#[path = "../tests/mesh/stage.rs"]
mod stage;

use stage::{Host, Lab, Namespace};
use std::{
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

/// What is measured, and iperf3's arguments for it.
const RUNS: [(&str, &str); 4] = [
    ("TCP, 1 flow", "-P 1"),
    ("TCP, 8 flows", "-P 8"),
    ("TCP, 1 flow, back", "-P 1 -R"),
    ("UDP, 1 flow", "-u -b 0 -P 1"),
];

struct Measured {
    gigabits: f64,
    /// Of both hosts and the network between them.
    cpu_per_gigabyte: f64,
    /// Of UDP.
    lost: f64,
}

fn main() {
    if let Some(lacking) = stage::lacking() {
        return eprintln!("SKIPPED: {lacking}");
    }
    let seconds = std::env::args().nth(1).unwrap_or_else(|| "5".to_owned());
    let lab = Lab::running(2, 1500);
    for (host, other) in [(0, 1), (1, 0)] {
        vxlan(&lab.hosts[host], &lab.hosts[other]);
    }
    until_settled(&lab.hosts[0]);
    println!(
        "{:<18} {:>8} {:>10} {:>8} {:>10} {:>14} {:>8}",
        "", "way", "Gb/s", "ratio", "CPU s/GB", "Gb/s, 2 CPUs", "lost"
    );
    for (name, arguments) in RUNS {
        let mut plain = None;
        for (way, to) in [("veth", "192.0.2.2"), ("vxlan", "10.99.0.2"), ("overlay", "10.42.2.1")] {
            let arguments = match (way, arguments.contains("-u")) {
                // Datagrams that fit the way.
                ("veth", true) => format!("{arguments} -l 1372"),
                ("vxlan", true) | ("overlay", true) => format!("{arguments} -l 1372"),
                _ => arguments.to_owned(),
            };
            let measured = measure(&lab, to, &format!("{arguments} -t {seconds}"));
            let plain = *plain.get_or_insert(measured.gigabits);
            println!(
                "{name:<18} {way:>8} {:>10.2} {:>8.2} {:>10.2} {:>14.2} {:>7.1}%",
                measured.gigabits,
                measured.gigabits / plain,
                measured.cpu_per_gigabyte,
                // What two that do nothing else would carry.
                2.0 * 8.0 / measured.cpu_per_gigabyte,
                measured.lost
            );
        }
    }
    println!("{:#?}", lab.hosts[0].status("n2"));
    println!("{:#?}", lab.hosts[1].status("n1"));
}

fn vxlan(host: &Host, other: &Host) {
    let number = &host.name[1..];
    let of = format!(
        "id 7 local {} remote {} dstport 4789 dev eth0",
        host.underlay, other.underlay
    );
    host.namespace.ip(&format!("link add vx0 mtu 1450 type vxlan {of}"));
    host.namespace.ip(&format!("addr add 10.99.0.{number}/24 dev vx0"));
    host.namespace.ip("link set vx0 up");
}

/// Waits for the path's MTU to be found.
fn until_settled(host: &Host) {
    stage::until("the MTU is found", || {
        host.status("n2")
            .connected
            .is_some_and(|connected| connected.path_mtu >= 1468)
    });
}

fn iperf(namespace: &Namespace, arguments: &str) -> Child {
    Command::new("ip")
        .args(["netns", "exec", &namespace.0, "iperf3"])
        .args(arguments.split_whitespace())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("iperf3 is installed")
}

fn measure(lab: &Lab, to: &str, arguments: &str) -> Measured {
    let mut server = iperf(&lab.hosts[1].namespace, "-s -1");
    thread::sleep(Duration::from_millis(500));
    let before = busy();
    let client = iperf(&lab.hosts[0].namespace, &format!("-c {to} -f m {arguments}"));
    let output = client.wait_with_output().expect("iperf3 runs");
    let _ = server.kill();
    let _ = server.wait();
    let cpu = busy() - before;
    let text = String::from_utf8_lossy(&output.stdout);
    let total = |line: &&str| line.contains("receiver") && (!arguments.contains("-P 8") || line.contains("SUM"));
    let line = text.lines().rfind(total).unwrap_or_default().to_owned();
    let words: Vec<&str> = line.split_whitespace().collect();
    let unit = words.iter().position(|word| *word == "Mbits/sec");
    let megabits: f64 = unit.and_then(|at| words[at - 1].parse().ok()).unwrap_or_default();
    let seconds: f64 = arguments
        .split_whitespace()
        .next_back()
        .and_then(|word| word.parse().ok())
        .unwrap_or(1.0);
    let lost = words
        .iter()
        .find_map(|word| word.strip_prefix('(')?.strip_suffix("%)")?.parse().ok());
    Measured {
        gigabits: megabits / 1000.0,
        cpu_per_gigabyte: cpu / (megabits * seconds / 8000.0).max(0.001),
        lost: lost.unwrap_or_default(),
    }
}

/// Seconds of CPU that this process has used, in which both overlays are, and the children that have ended. What the
/// kernel does for a packet, it mostly does on the account of whoever sent it.
fn busy() -> f64 {
    let usage = |whose| {
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        unsafe { libc::getrusage(whose, &raw mut usage) };
        let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
        seconds(usage.ru_utime) + seconds(usage.ru_stime)
    };
    usage(libc::RUSAGE_SELF) + usage(libc::RUSAGE_CHILDREN)
}
