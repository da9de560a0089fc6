//! What others' tools make of it, and how fast it is.
use crate::support::*;
use hickory_proto::rr::RecordType::A;
use std::{
    net::UdpSocket,
    process::Command,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};
use tokio::task::spawn_blocking;

#[tokio::test(flavor = "multi_thread")]
async fn dig_understands_it() {
    if Command::new("dig").arg("-v").output().is_err() {
        eprintln!("SKIPPED: needs dig (bind9-dnsutils)");
        return;
    }
    let upstream = Server::new(|request, _| vec![address(request, 1)]).await;
    let dns = dns(&[upstream.address]);
    let port = dns.addresses()[0].port().to_string();
    let dig = async |args: &str| {
        let mut command = Command::new("dig");
        command.args(["@127.0.0.1", "-p", &port, "+timeout=10"]);
        command.args(args.split(' '));
        let output = spawn_blocking(move || command.output().unwrap()).await.unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(dig("+short web.prod.svc.cluster.local").await, "10.96.0.10\n");
    assert_eq!(dig("+short -x 10.96.0.10").await, "web.prod.svc.cluster.local.\n");
    assert_eq!(
        dig("+short _http._tcp.web.prod.svc.cluster.local SRV").await,
        "0 100 80 web.prod.svc.cluster.local.\n"
    );
    assert_eq!(dig("+short dns-version.cluster.local TXT").await, "\"1.1.0\"\n");
    assert_eq!(
        dig("+short away.prod.svc.cluster.local").await,
        "far.example.org.\n192.0.2.1\n"
    );
    // By TCP on its own, since it does not fit.
    assert_eq!(dig("+short db.prod.svc.cluster.local").await.lines().count(), 200);
    let none = dig("none.prod.svc.cluster.local").await;
    assert!(
        none.contains("status: NXDOMAIN") && none.contains("SOA") && none.contains("flags: qr aa rd ra"),
        "{none}"
    );
    assert!(!none.contains("alformed"), "{none}");
    let kept = dig("web.prod.svc.cluster.local AAAA +tcp").await;
    assert!(
        kept.contains("status: NOERROR") && kept.contains("ANSWER: 0, AUTHORITY: 1"),
        "{kept}"
    );
    // Cookies and other options it may send are nothing to it.
    assert!(
        dig("+ednsopt=65001:0102 +dnssec web.prod.svc.cluster.local")
            .await
            .contains("10.96.0.10")
    );
}

/// `cargo test -p sampan-node --test dns -- --ignored --nocapture` prints how many questions a second are answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, not a test"]
async fn questions_a_second() {
    let upstream = Server::new(|request, _| vec![address(request, 1)]).await;
    let dns = dns(&[upstream.address]);
    let server = dns.addresses()[0];
    by_udp(server, "example.org.", A).await;
    for (what, of) in [
        ("the cluster's", "web.prod.svc.cluster.local."),
        ("kept", "example.org."),
    ] {
        let (stop, count) = (AtomicBool::new(false), AtomicU64::new(0));
        let packet = query(of, A).to_vec().unwrap();
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let socket = UdpSocket::bind(anywhere()).unwrap();
                    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
                    while !stop.load(Ordering::Relaxed) {
                        socket.send_to(&packet, server).unwrap();
                        if socket.recv(&mut [0; 512]).is_ok() {
                            count.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
            std::thread::sleep(Duration::from_secs(2));
            stop.store(true, Ordering::Relaxed);
        });
        let rate = count.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64();
        println!("{what} names: {rate:.0} questions/s, 4 clients that wait for each answer");
    }
}
