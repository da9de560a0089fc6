//! A node whose certificate lives for seconds: it renews again and again, while it watches and its pods run.
use crate::{
    issuing::LIFE,
    serving::{client, logs_of},
    support::Bench,
};
use sampan_api::rpc;
use sampan_tls::{Certificate, Credentials, KeyPair, Request, Tcp, files::read_pair};
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};
use tower::Service;

const PATIENCE: Duration = Duration::from_secs(60);

/// What the node shows to who comes now.
async fn shown(bench: &Bench) -> Certificate {
    let (cert_pem, key_pem) = bench.plane.authority.issue("admin", "system:masters");
    let credentials = Credentials::new(&bench.config.ca_pem, &KeyPair { cert_pem, key_pem }).unwrap();
    let address = bench.agent.as_ref().unwrap().serves().to_string();
    let mut dialer = credentials.dialer(Tcp(address), "localhost").unwrap();
    let stream = dialer.call("http://any".parse().unwrap()).await.unwrap().into_inner();
    Certificate::of_der(&stream.get_ref().1.peer_certificates().unwrap()[0]).unwrap()
}

/// The pieces of a log until there was another, or patience ends.
async fn piece(stream: &mut tonic::Streaming<rpc::LogsResponse>) {
    let next = tokio::time::timeout(PATIENCE, stream.message()).await.unwrap();
    assert!(next.unwrap().is_some(), "the stream goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_renews_again_and_again_and_nothing_else_notices() {
    let Some(mut bench) = Bench::start().await else { return };
    drop(bench.agent.take());
    let file = bench.dir.path().join("node.pem");
    let request = Request::new().unwrap();
    let first = bench
        .plane
        .authority
        .sign("system:node:n1", "system:nodes", &request.csr_pem, LIFE);
    let first = request.answered(first);
    bench.config.cert_pem.clone_from(&first.cert_pem);
    bench.config.key_pem.clone_from(&first.key_pem);
    bench.config.identity_file = Some(file.clone());
    bench.start_agent().await;

    let pod = bench.create_script("ticks", "Always", "while true; do echo tick; sleep 0.2; done");
    bench.plane.until_phase("ticks", "Running").await;
    let follow = rpc::LogsRequest {
        follow: true,
        ..logs_of("ticks")
    };
    let mut admin = client(&bench, "admin", "system:masters").await;
    let mut log = admin.logs(follow).await.unwrap().into_inner();

    let (mut seen, started) = (BTreeSet::new(), Instant::now());
    while seen.len() < 4 {
        assert!(started.elapsed() < PATIENCE, "{} certificates were shown", seen.len());
        seen.insert(shown(&bench).await.fingerprint);
        piece(&mut log).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(started.elapsed() > LIFE, "the first has run out meanwhile");
    for _ in 0..5 {
        piece(&mut log).await;
    }
    // It still watches and writes: a new pod comes, and the old one is as it was.
    bench.create_script("late", "Never", "exit 0");
    bench.plane.until_phase("late", "Succeeded").await;
    let now = bench.plane.get("pods", "ticks").unwrap();
    assert_eq!(now["metadata"]["uid"], pod["metadata"]["uid"]);
    assert_eq!(now["status"]["containerStatuses"][0]["restartCount"], 0);

    // What it keeps is whole, private, and good to start with.
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    // A call under way keeps the node's images open.
    drop((log, admin));
    drop(bench.agent.take());
    let kept = read_pair(&file).unwrap().unwrap();
    assert_ne!(kept.cert_pem, first.cert_pem);
    Credentials::new(&bench.config.ca_pem, &kept).expect("the key is the certificate's");
    (bench.config.cert_pem, bench.config.key_pem) = (kept.cert_pem, kept.key_pem);
    bench.start_agent().await;
    bench.finish().await;
}
