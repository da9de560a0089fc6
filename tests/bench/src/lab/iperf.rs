//! `iperf3` and `ping` between two places.
use super::{Place, said};
use anyhow::{Context, Result};
use serde_json::Value;
use std::{
    fs,
    process::{Child, Stdio},
    time::Duration,
};

/// How long a run takes, in seconds.
const SECONDS: f64 = 5.0;

/// How TCP finds out what the way carries: as on a Linux that nobody set up otherwise.
const CONGESTION_CONTROL: &str = "cubic";

/// What a run came to.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Gb/s that arrived.
    pub speed: f64,
    /// Processor time of the whole machine, in seconds a gigabyte.
    pub cpu: f64,
}

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub enum Traffic {
    /// By so many flows.
    Tcp(u32),
    /// As much as can be.
    Udp,
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends from one to the other.
///
/// # Errors
/// What iperf3 says.
pub fn run(from: &Place, to: &Place, traffic: Traffic) -> Result<Run> {
    let mut server = to.command("iperf3");
    let server = server.args(["-s", "-1"]).stdout(Stdio::null()).stderr(Stdio::null());
    let _server = Server(server.spawn().context("iperf3")?);
    std::thread::sleep(Duration::from_millis(300));
    let mut client = from.command("iperf3");
    let seconds = SECONDS.to_string();
    client.args(["-c", &to.address, "-J", "-t", &seconds]);
    match traffic {
        Traffic::Tcp(flows) => client.args(["-C", CONGESTION_CONTROL, "-P", &flows.to_string()]),
        Traffic::Udp => client.args(["-u", "-b", "0"]),
    };
    let before = busy()?;
    let report: Value = serde_json::from_str(&said(&mut client)?)?;
    let spent = busy()? - before;
    let end = &report["end"];
    let (bits, share) = match traffic {
        Traffic::Tcp(_) => (&end["sum_received"]["bits_per_second"], 1.0),
        Traffic::Udp => {
            let lost = end["sum"]["lost_percent"].as_f64().unwrap_or_default();
            (&end["sum"]["bits_per_second"], 1.0 - lost / 100.0)
        }
    };
    let speed = bits.as_f64().context("iperf3 says no speed")? * share / 1e9;
    Ok(Run {
        speed,
        cpu: spent / (speed / 8.0 * SECONDS),
    })
}

/// The time that all processors were busy, in seconds.
fn busy() -> Result<f64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let fields: Vec<u64> = stat
        .split_whitespace()
        .skip(1)
        .take(8)
        .filter_map(|field| field.parse().ok())
        .collect();
    // Neither idle nor waiting for a disk.
    let waits: u64 = fields.iter().skip(3).take(2).sum();
    let busy = fields.iter().sum::<u64>() - waits;
    Ok(busy as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// Round trips, in microseconds.
///
/// # Errors
/// What ping says.
pub fn round_trips(from: &Place, to: &str) -> Result<Vec<f64>> {
    let text = said(from.command("ping").args(["-c", "500", "-i", "0.002", to]))?;
    let times = text
        .lines()
        .filter_map(|line| line.split("time=").nth(1)?.split(' ').next()?.parse::<f64>().ok());
    Ok(times.map(|millis| millis * 1000.0).collect())
}
