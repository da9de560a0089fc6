//! Filters before an Ingress: components that refuse, change what goes by, trap, and are swapped while requests go on.
use crate::{
    churning::set_up_on,
    group::{Group, NODES, play},
    network::ip,
    nodes::{ended_on, until},
    tools::have,
};
use serde_json::Value;
use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::Duration,
};

const INGRESSES: &str = r#"
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: gated, annotations: {ingress.sampan.dev/filter: gate}}
spec:
  rules:
  - host: gated.example
    http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: open}
spec:
  rules:
  - host: open.example
    http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}
"#;

/// Status, head and body of what a node answers; none where nothing was.
fn ask(host: usize, name: &str, path: &str, header: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect((ip(host), 80)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n{header}\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    Some((status, answer))
}

fn status(host: usize, name: &str, path: &str, header: &str) -> u16 {
    ask(host, name, path, header).map_or(0, |(status, _)| status)
}

/// What events say of an object.
fn events(group: &Group, of: &str, reason: &str) -> Vec<String> {
    let list: Value = serde_json::from_str(&group.ok(0, "get events -o json")).unwrap();
    let about = |event: &&Value| event["involvedObject"]["name"] == of && event["reason"] == reason;
    let found = list["items"].as_array().unwrap().iter().filter(about);
    found
        .map(|event| event["message"].as_str().unwrap().to_owned())
        .collect()
}

const TOKEN: &str = "X-Token: any\r\n";

#[test]
fn a_filter_stands_before_an_ingress_and_is_swapped_under_requests() {
    if !have(&["busybox", "nsenter"]) {
        return;
    }
    play(None, async |group| {
        let (_wipe, _) = set_up_on(group, &NODES).await;
        let file = group.dir.path().join("ingresses.yaml");
        std::fs::write(&file, INGRESSES).unwrap();
        group.ok(0, &format!("apply -f {}", file.display()));
        let [host, other] = NODES;
        until(group, "the open one is served", || {
            status(host, "open.example", "/", "") == 200
        })
        .await;
        assert_eq!(
            status(host, "gated.example", "/", TOKEN),
            503,
            "nobody is served without the filter"
        );
        until(group, "an event says so", || {
            !events(group, "gated", "FilterMissing").is_empty()
        })
        .await;

        let gate = group.dir.path().join("gate.wasm");
        std::fs::write(&gate, sampan_builtin::GATE).unwrap();
        let load = |name: &str, config: &str| {
            let line = format!("plugin load {} --name {name} --slot gate --activate", gate.display());
            group.ok(0, &format!("{line} --plugin-config {config}"));
        };
        load("gate", "{}");
        for host in NODES {
            until(group, "the filter lets through", || {
                status(host, "gated.example", "/", TOKEN) == 200
            })
            .await;
            let (status, told) = ask(host, "gated.example", "/", TOKEN).unwrap();
            assert!(status == 200 && told.to_lowercase().contains("x-gated: yes"), "{told}");
            let (status, told) = ask(host, "gated.example", "/", "").unwrap();
            assert!(status == 401 && told.contains("show the token"), "{told}");
        }
        let (_, told) = ask(host, "gated.example", "/gate/away", "").unwrap();
        assert!(told.contains("HttpRequestDenied"), "{told}");
        assert_eq!(status(host, "gated.example", "/gate/trap", ""), 502);
        until(group, "an event says that it trapped", || {
            events(group, "gate", "PluginFailed")
                .iter()
                .any(|why| why.contains("it trapped"))
        })
        .await;
        assert_eq!(
            status(host, "gated.example", "/", TOKEN),
            200,
            "it goes on for the next"
        );

        swapped_under_requests(group, host, &load).await;
        assert_eq!(status(other, "open.example", "/", ""), 200);
        group.ok(0, "delete ingress gated open");
        group.ok(0, "delete deployment web client");
        group.ok(0, "delete service web");
        ended_on(group, &NODES).await;
    });
}

/// No request fails while another filter takes the place, and while it is rolled back; one that loops slows nobody who has none.
async fn swapped_under_requests(group: &Group, host: usize, load: &dyn Fn(&str, &str)) {
    let (stop, done, failed) = (AtomicBool::new(false), AtomicU32::new(0), AtomicU32::new(0));
    let sealed = |is: bool| {
        let now = status(host, "gated.example", "/", TOKEN);
        now == if is { 401 } else { 200 }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                // Before, the token is any; after, it is another: both are answers of a filter.
                match status(host, "gated.example", "/", TOKEN) {
                    200 | 401 => done.fetch_add(1, Ordering::Relaxed),
                    _ => failed.fetch_add(1, Ordering::Relaxed),
                };
            }
        });
        let wait = |is: bool| {
            for _ in 0..300 {
                if sealed(is) {
                    return true;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
            false
        };
        load("gate-2", r#"{"TOKEN":"another"}"#);
        let taken = wait(true);
        group.ok(0, "plugin rollback gate-2");
        let back = wait(false);
        stop.store(true, Ordering::Relaxed);
        assert!(
            taken && back,
            "the other took the place: {taken}, and gave it back: {back}"
        );
    });
    let (done, failed) = (done.into_inner(), failed.into_inner());
    println!("{done} requests while filters were swapped, {failed} failed");
    assert!(done > 20 && failed == 0, "{done} done, {failed} failed");

    let alone = slowest(host);
    std::thread::scope(|scope| {
        let loops: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| status(host, "gated.example", "/gate/loop", "")))
            .collect();
        let beside = slowest(host);
        println!("without a filter the slowest took {alone:?}, and {beside:?} beside four that loop");
        assert!(loops.into_iter().all(|asked| asked.join().unwrap() == 504));
    });
}

/// Of some requests to the Ingress that has no filter, all of which are answered.
fn slowest(host: usize) -> Duration {
    let took = |_| {
        let begun = std::time::Instant::now();
        assert_eq!(status(host, "open.example", "/", ""), 200);
        begun.elapsed()
    };
    (0..100).map(took).max().unwrap_or_default()
}
