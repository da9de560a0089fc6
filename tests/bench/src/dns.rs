//! Questions for names of the cluster that a node answers in a second.
use crate::{
    figure::Figure,
    lab::{Lab, MTU, until},
};
use anyhow::{Context, Result};
use serde_json::json;
use std::{
    net::UdpSocket,
    time::{Duration, Instant},
};

const SECONDS: f64 = 3.0;
/// Sockets that ask at the same time, and questions that each has under way.
const SOCKETS: usize = 2;
const AHEAD: usize = 32;

pub fn run() -> Result<Vec<Figure>> {
    let lab = Lab::start(MTU)?;
    let client = lab.pod("client", 0)?;
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"ports": [{"port": 80}]},
    });
    lab.apply(&service.to_string())?;
    let server = format!("{}.1:53", client.address.rsplit_once('.').context("no address")?.0);
    let question = question("web.default.svc.cluster.local");
    let asks = || -> Result<usize> {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.connect(&server)?;
        socket.set_read_timeout(Some(Duration::from_millis(500)))?;
        socket.send(&question)?;
        let mut answer = [0; 512];
        let length = socket.recv(&mut answer)?;
        anyhow::ensure!(length > question.len() && answer[3] & 15 == 0, "no answer");
        Ok(length)
    };
    until("the name is known", || client.inside(asks).is_ok())?;
    let load = || -> Result<u64> {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.connect(&server)?;
        socket.set_read_timeout(Some(Duration::from_millis(500)))?;
        for _ in 0..AHEAD {
            socket.send(&question)?;
        }
        let (began, mut answered, mut answer) = (Instant::now(), 0, [0; 512]);
        while began.elapsed().as_secs_f64() < SECONDS {
            // One that was lost is asked anew.
            answered += u64::from(socket.recv(&mut answer).is_ok());
            socket.send(&question)?;
        }
        Ok(answered)
    };
    let answered = std::thread::scope(|scope| {
        let all: Vec<_> = (0..SOCKETS).map(|_| scope.spawn(|| client.inside(load))).collect();
        let each = all.into_iter().map(|one| one.join().unwrap_or(Ok(0)));
        each.sum::<Result<u64>>()
    })?;
    Ok(vec![Figure {
        lower_is_better: false,
        ..Figure::new("dns", "questions for a Service", answered as f64 / SECONDS, "/s")
    }])
}

/// A question for an address (RFC 1035).
fn question(name: &str) -> Vec<u8> {
    let mut bytes = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).unwrap_or_default());
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.extend_from_slice(&[0, 0, 1, 0, 1]);
    bytes
}
