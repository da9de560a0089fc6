//! Connections to Services, beside connections to their pods: what a Service costs with ten, a thousand and ten thousand of
//! them, and how soon a new endpoint is connected to.
use crate::{
    figure::{Figure, percentile},
    lab::{Lab, MTU, Place, until},
};
use anyhow::{Context, Result, ensure};
use sampan_api::{Key, Operation, Plan, Write};
use sampan_cli::session::Session;
use serde_json::{Value, json};
use std::{
    io::{Read, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

const COUNTS: [u32; 3] = [10, 1_000, 10_000];
/// Connections of which each figure is made.
const CONNECTIONS: usize = 2_000;
/// Between two of them.
const PAUSE: Duration = Duration::from_micros(300);
/// How often the endpoint changes.
const CHANGES: usize = 20;
/// Milliseconds that the first connection after a change may take.
const TARGET_MS: f64 = 100.0;
/// The port of the server in the pods.
const PORT: u16 = 8080;
const PATIENCE: Duration = Duration::from_secs(30);

pub fn run() -> Result<Vec<Figure>> {
    let lab = Lab::start(MTU)?;
    let (client, first, second) = (lab.pod("client", 0)?, lab.pod("first", 0)?, lab.pod("second", 0)?);
    let direct: SocketAddr = format!("{}:{PORT}", first.address).parse()?;
    let mut figures = Vec::new();
    let mut made = 0;
    for count in COUNTS {
        let manifest: Vec<Value> = (made..count)
            .flat_map(|number| service(number, &first.address))
            .collect();
        for part in manifest.chunks(2_000) {
            lab.apply(&json!({"apiVersion": "v1", "kind": "List", "items": part}).to_string())?;
        }
        made = count;
        let last: SocketAddr = (address(count - 1), 80).into();
        until("the last Service answers", || client.inside(|| connect(last)).is_ok())?;
        let (mut plain, mut through) = (measure(&client, direct)?, measure(&client, last)?);
        for (name, share) in [("median", 0.5), ("p99", 0.99)] {
            figures.push(Figure {
                floor: Some(percentile(&mut plain, share)),
                ..Figure::new(
                    "service",
                    &format!("{count} Services, connecting, {name}"),
                    percentile(&mut through, share),
                    "us",
                )
            });
        }
        let mut turns = turns(&lab, &client, count - 1, [&first, &second])?;
        for (name, share) in [("median", 0.5), ("slowest", 1.0)] {
            figures.push(Figure {
                target: Some(TARGET_MS),
                ..Figure::new(
                    "service",
                    &format!(
                        "{count} Services, from the change of an endpoint to a connection to it, {name} of {CHANGES}"
                    ),
                    percentile(&mut turns, share),
                    "ms",
                )
            });
        }
    }
    Ok(figures)
}

fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(10, 97, 0, 0).to_bits() + number)
}

/// A Service without a selector, and its one endpoint.
fn service(number: u32, endpoint: &str) -> [Value; 2] {
    let name = format!("s{number}");
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"clusterIP": address(number).to_string(), "ports": [{"port": 80, "targetPort": PORT}]},
    });
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
        "ports": [{"port": PORT, "protocol": "TCP"}],
        "endpoints": [{"addresses": [endpoint], "conditions": {"ready": true}}],
    });
    [service, slice]
}

fn connect(to: SocketAddr) -> Result<TcpStream> {
    Ok(TcpStream::connect_timeout(&to, Duration::from_secs(5))?)
}

/// How long connections take, in microseconds.
fn measure(client: &Place, to: SocketAddr) -> Result<Vec<f64>> {
    client.inside(|| {
        let one = || -> Result<f64> {
            let began = Instant::now();
            drop(connect(to)?);
            let took = began.elapsed();
            // The server is to take them as they come.
            std::thread::sleep(PAUSE);
            Ok(took.as_secs_f64() * 1e6)
        };
        (0..CONNECTIONS).map(|_| one()).collect()
    })
}

/// Who answers.
fn answers(to: SocketAddr) -> Result<String> {
    let mut stream = connect(to)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")?;
    let (mut text, mut piece) = (String::new(), [0; 1024]);
    while !text.contains("hello") {
        match stream.read(&mut piece)? {
            0 => break,
            length => text.push_str(&String::from_utf8_lossy(&piece[..length])),
        }
    }
    Ok(text)
}

/// Moves the endpoint of a Service there and back: milliseconds from the write until the new one answers.
fn turns(lab: &Lab, client: &Place, number: u32, pods: [&Place; 2]) -> Result<Vec<f64>> {
    let access = lab.access()?;
    let to: SocketAddr = (address(number), 80).into();
    let mut samples = Vec::new();
    for turn in 0..CHANGES {
        let next = pods[(turn + 1) % 2];
        let name = ["first", "second"][(turn + 1) % 2];
        let key = Key::new("endpointslices.discovery.k8s.io", "default", &format!("s{number}"));
        let endpoints = json!([{"addresses": [next.address], "conditions": {"ready": true}}]);
        let plan = Plan::from(Write::new(key, Operation::Merge(json!({"endpoints": endpoints}))));
        let began = lab.host(0).inside(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let session = Session::open(&access, PATIENCE)?;
                let writer = session.writer();
                // The connection is not part of it.
                session.get(&Key::new("nodes", "", "h0")).await?;
                let began = Instant::now();
                let changed = writer.commit((&plan).into()).await;
                changed.context("the endpoint cannot be changed")?;
                Ok(began)
            })
        })?;
        client.inside(|| {
            while !answers(to).is_ok_and(|answer| answer.contains(name)) {
                ensure!(began.elapsed() < PATIENCE, "the new endpoint is not connected to");
            }
            Ok(())
        })?;
        samples.push(began.elapsed().as_secs_f64() * 1e3);
    }
    Ok(samples)
}
