//! Pods of two nodes and what is between them, beside a bare cable, the kernel's VXLAN in plain text, and WireGuard in user
//! space.
use crate::{
    figure::{Figure, beside, percentile, perhaps_beside},
    lab::{
        HOSTS, Lab, Place,
        iperf::{self, Run, Traffic},
        said, until,
    },
    peer::{Process, have},
};
use anyhow::{Result, ensure};
use std::{fs, process::Command};

/// Gb/s of TCP that are to be reached.
const TARGET: f64 = 6.0;
/// Times the best encrypted peer in user space.
const TARGET_OF_PEER: f64 = 1.5;
/// Of the cable's speed, on one node.
const TARGET_SAME_NODE: f64 = 0.9;

const WIREGUARD: &str = "wireguard-go";

/// Each is measured so often, in turn with the others; the median counts.
const ROUNDS: usize = 3;

/// What is sent, and how it is called.
const TRAFFIC: [(Traffic, &str); 3] = [
    (Traffic::Tcp(1), "TCP, 1 flow"),
    (Traffic::Tcp(8), "TCP, 8 flows"),
    (Traffic::Udp, "UDP"),
];

pub fn run(mtu: u16) -> Result<Vec<Figure>> {
    ensure!(have("iperf3"), "iperf3 is needed: apt-get install iperf3");
    let lab = Lab::start(mtu)?;
    let (a, b, beside_a) = (lab.pod("a", 0)?, lab.pod("b", 1)?, lab.pod("beside", 0)?);
    let reached = || iperf::round_trips(&a, &b.address).is_ok_and(|trips| !trips.is_empty());
    until("pods of two nodes reach each other", reached)?;
    let cable = (lab.host(0), lab.host(1));
    let vxlan = vxlan(&lab)?;
    let wireguard = match have("wireguard-go") && have("wg") {
        true => Some(WireGuard::start(&lab)?),
        false => None,
    };
    let mut figures = Vec::new();
    let (ours, cable) = ((&a, &b), (&cable.0, &cable.1));
    for (traffic, name) in TRAFFIC {
        let ways = [ours, cable, (&vxlan.0, &vxlan.1)];
        let encrypted = wireguard.iter().map(|wg| (&wg.from, &wg.to));
        let ways: Vec<(&Place, &Place)> = ways.into_iter().chain(encrypted).collect();
        let runs = in_turn(&ways, traffic)?;
        figures.extend(of(name, runs[0], runs[1], runs[2], runs.get(3).copied()));
    }
    let runs = in_turn(&[(&a, &beside_a), cable], Traffic::Tcp(1))?;
    let (same, plain) = (runs[0], runs[1]);
    figures.push(Figure {
        peer: beside("a cable", plain.speed),
        target: Some(plain.speed * TARGET_SAME_NODE),
        ..speed("two pods of one node, TCP, 1 flow", same.speed)
    });
    figures.extend(latency(ours, cable)?);
    Ok(figures)
}

/// The median run of each way.
fn in_turn(ways: &[(&Place, &Place)], traffic: Traffic) -> Result<Vec<Run>> {
    let mut runs: Vec<Vec<Run>> = vec![Vec::new(); ways.len()];
    for _ in 0..ROUNDS {
        for (way, runs) in ways.iter().zip(&mut runs) {
            runs.push(iperf::run(way.0, way.1, traffic)?);
        }
    }
    let median = |mut runs: Vec<Run>| {
        runs.sort_by(|one, other| one.speed.total_cmp(&other.speed));
        runs[ROUNDS / 2]
    };
    Ok(runs.into_iter().map(median).collect())
}

fn speed(case: &str, value: f64) -> Figure {
    Figure {
        lower_is_better: false,
        ..Figure::new("overlay", case, value, "Gb/s")
    }
}

fn of(name: &str, ours: Run, plain: Run, vxlan: Run, encrypted: Option<Run>) -> Vec<Figure> {
    vec![
        Figure {
            peer: beside("VXLAN, plain text", vxlan.speed),
            floor: Some(plain.speed),
            target: Some(TARGET).filter(|_| name.starts_with("TCP")),
            ..speed(name, ours.speed)
        },
        Figure {
            peer: perhaps_beside(WIREGUARD, encrypted.map(|run| run.speed)),
            target: encrypted.map(|run| run.speed * TARGET_OF_PEER),
            ..speed(&format!("{name}, encrypted in user space"), ours.speed)
        },
        Figure {
            peer: perhaps_beside(WIREGUARD, encrypted.map(|run| run.cpu)),
            floor: Some(plain.cpu),
            ..Figure::new("overlay", &format!("{name}, processor time"), ours.cpu, "s/GB")
        },
    ]
}

fn latency(ours: (&Place, &Place), cable: (&Place, &Place)) -> Result<Vec<Figure>> {
    let mut ours = iperf::round_trips(ours.0, &ours.1.address)?;
    let mut plain = iperf::round_trips(cable.0, &cable.1.address)?;
    let shares = [("median", 0.5), ("p99", 0.99)];
    let figure = |(name, share): (&str, f64)| Figure {
        floor: Some(percentile(&mut plain, share)),
        ..Figure::new(
            "overlay",
            &format!("round trip, {name}"),
            percentile(&mut ours, share),
            "us",
        )
    };
    Ok(shares.map(figure).into())
}

/// The kernel's overlay between the hosts.
fn vxlan(lab: &Lab) -> Result<(Place, Place)> {
    let place = |host: usize| -> Result<Place> {
        let other = HOSTS[1 - host];
        let address = format!("10.78.0.{}", host + 1);
        let options = format!("type vxlan id 78 dev eth0 remote {other} dstport 4789");
        lab.hosts.ip(host, &format!("link add vx0 {options}"))?;
        lab.hosts.ip(host, &format!("addr add {address}/24 dev vx0"))?;
        lab.hosts.ip(host, "link set vx0 up")?;
        Ok(Place {
            address,
            ..lab.host(host)
        })
    };
    Ok((place(0)?, place(1)?))
}

/// WireGuard in user space between the hosts.
struct WireGuard {
    from: Place,
    to: Place,
    _processes: Vec<Process>,
}

impl WireGuard {
    fn start(lab: &Lab) -> Result<Self> {
        let mut public = Vec::new();
        for host in 0..HOSTS.len() {
            let key = lab.path(&format!("wg-{host}"));
            fs::write(&key, said(lab.host(host).command("wg").arg("genkey"))?)?;
            let mut pubkey = Command::new("wg");
            public.push(
                said(pubkey.arg("pubkey").stdin(fs::File::open(&key)?))?
                    .trim()
                    .to_owned(),
            );
        }
        let mut processes = Vec::new();
        let mut place = |host: usize| -> Result<Place> {
            let (other, address, device) = (1 - host, format!("10.79.0.{}", host + 1), format!("wgb{host}"));
            let mut command = lab.host(host).command(WIREGUARD);
            let log = lab.path(&format!("wg-said-{host}"));
            processes.push(Process::start(command.args(["-f", &device]), &log)?);
            let there = || said(lab.host(host).command("wg").args(["show", &device])).is_ok();
            until("wireguard-go has its device", there)?;
            let key = lab.path(&format!("wg-{host}")).to_string_lossy().into_owned();
            let endpoint = format!("{}:51820", HOSTS[other]);
            let peer = [
                "peer",
                &public[other],
                "endpoint",
                &endpoint,
                "allowed-ips",
                "10.79.0.0/24",
            ];
            let own = ["set", &device, "private-key", &key, "listen-port", "51820"];
            said(lab.host(host).command("wg").args(own).args(peer))?;
            lab.hosts.ip(host, &format!("addr add {address}/24 dev {device}"))?;
            lab.hosts.ip(host, &format!("link set {device} up"))?;
            Ok(Place {
                address,
                ..lab.host(host)
            })
        };
        let (from, to) = (place(0)?, place(1)?);
        Ok(WireGuard {
            from,
            to,
            _processes: processes,
        })
    }
}
