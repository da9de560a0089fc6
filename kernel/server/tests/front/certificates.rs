//! Certificates that are renewed: by the server itself while streams stay open, and by clients for themselves alone.
use crate::bench::{Bench, config, config_map, selection};
use futures::StreamExt;
use sampan_api::{
    ApiError, Reason,
    rpc::{self, certificates_client::CertificatesClient},
};
use sampan_server::{KeyPair, Server, pki::MASTERS};
use sampan_tls::{Certificate, Credentials, Request, Tcp};
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};
use tonic::transport::Channel;
use tower::Service;

const PATIENCE: Duration = Duration::from_secs(60);

/// What the listener shows to who comes now.
async fn shown(bench: &Bench) -> Certificate {
    let authority = bench.server().authority();
    let credentials = Credentials::new(authority.ca_pem(), &authority.issue_admin().unwrap()).unwrap();
    let address = bench.server().local_addr().to_string();
    let mut dialer = credentials.dialer(Tcp(address), sampan_api::SERVERS_HOST).unwrap();
    let stream = dialer.call("http://any".parse().unwrap()).await.unwrap().into_inner();
    Certificate::of_der(&stream.get_ref().1.peer_certificates().unwrap()[0]).unwrap()
}

/// A watch of config maps, after its first bookmark.
async fn watch(bench: &Bench) -> tonic::Streaming<rpc::WatchEvent> {
    let request = rpc::WatchRequest {
        selection: selection("configmaps"),
        revision: 0,
    };
    let mut stream = bench.objects().0.watch(request).await.unwrap().into_inner();
    while stream.next().await.unwrap().unwrap().r#type() != rpc::EventType::Bookmark {}
    stream
}

async fn sees(stream: &mut tonic::Streaming<rpc::WatchEvent>, bench: &Bench, name: &str) {
    bench.objects().create(config_map(name, "1")).await.unwrap();
    let seen = async {
        loop {
            let event = stream.next().await.expect("the stream stays").unwrap();
            if event.object.is_some_and(|object| object.key.unwrap().name == name) {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, seen).await.unwrap();
}

#[tokio::test]
async fn a_server_renews_by_itself_and_its_streams_stay() {
    let dir = tempfile::tempdir().unwrap();
    let mut short = config(dir.path());
    short.lifetimes.server = Duration::from_secs(6);
    let bench = Bench {
        server: Some(Server::start(short).await.unwrap()),
        dir,
    };
    let mut stream = watch(&bench).await;
    let (mut seen, started) = (BTreeSet::new(), Instant::now());
    while seen.len() < 3 {
        assert!(started.elapsed() < PATIENCE, "{} certificates were shown", seen.len());
        seen.insert(shown(&bench).await.fingerprint);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    sees(&mut stream, &bench, "late").await;
    bench.stop().await;
}

#[tokio::test]
async fn a_server_renews_when_an_administrator_wants_it() {
    let bench = Bench::start().await;
    let mut stream = watch(&bench).await;
    let before = shown(&bench).await;
    let request = |role: &str, name: &str| rpc::RotateRequest {
        role: role.to_owned(),
        name: name.to_owned(),
    };
    let mut client = CertificatesClient::new(bench.admin());
    let answer = client.rotate(request("server", "server")).await.unwrap().into_inner();
    let now = shown(&bench).await;
    assert_eq!(answer.der, now.der());
    assert_ne!(now.fingerprint, before.fingerprint);
    assert_eq!((now.user, now.names), (before.user, before.names));
    sees(&mut stream, &bench, "after").await;
    for (role, name, reason) in [
        ("server", "other", Reason::NotFound),
        ("node", "none", Reason::NotFound),
        ("pod", "x", Reason::BadRequest),
    ] {
        let error = ApiError::from(client.rotate(request(role, name)).await.unwrap_err());
        assert_eq!(error.reason, reason, "{error}");
    }
    bench.stop().await;
}

async fn renew(channel: Channel, addresses: &[&str]) -> Result<KeyPair, ApiError> {
    let request = Request::new().unwrap();
    let asked = rpc::RenewRequest {
        csr_pem: request.csr_pem.clone(),
        addresses: addresses.iter().map(|address| (*address).to_owned()).collect(),
    };
    let answer = CertificatesClient::new(channel).renew(asked).await?.into_inner();
    Ok(request.answered(answer.cert_pem))
}

#[tokio::test]
async fn who_renews_stays_who_he_is() {
    let bench = Bench::start().await;
    let issue = |user: &str, group: &str| bench.server().authority().issue_client(user, group).unwrap();
    let anna = renew(bench.channel(Some(&issue("anna", MASTERS))), &[]).await.unwrap();
    let read = Certificate::of_pem(&anna.cert_pem).unwrap();
    assert_eq!(
        (read.user.as_str(), &read.groups[..]),
        ("anna", &[MASTERS.to_owned()][..])
    );
    assert!(
        read.names.is_empty() && read.addresses.is_empty(),
        "no client is a server"
    );
    let mut client = CertificatesClient::new(bench.channel(Some(&anna)));
    client.list(rpc::ListCertificatesRequest {}).await.expect("it is good");
    let bob = renew(bench.channel(Some(&issue("bob", ""))), &[]).await.unwrap();
    assert!(Certificate::of_pem(&bob.cert_pem).unwrap().groups.is_empty());

    let error = renew(bench.agent("n1"), &["10.0.0.1"]).await.err().unwrap();
    assert!(error.message.contains("must join again"), "{error}");
    let node = serde_json::json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}});
    bench.objects().create(node).await.unwrap();
    let renewed = renew(bench.agent("n1"), &["10.0.0.1"]).await.unwrap();
    let read = Certificate::of_pem(&renewed.cert_pem).unwrap();
    assert_eq!(
        (read.user.as_str(), read.names),
        ("system:node:n1", vec!["n1".to_owned()])
    );
    assert_eq!(read.addresses, ["10.0.0.1".parse::<std::net::IpAddr>().unwrap()]);
    assert!(renew(bench.agent("n1"), &["evil.example"]).await.is_err());

    let server = bench.server().authority().issue_server("s9", &BTreeSet::new()).unwrap();
    let error = renew(bench.channel(Some(&server)), &[]).await.err().unwrap();
    assert_eq!(error.reason, Reason::Forbidden, "{error}");
    bench.stop().await;
}

#[tokio::test]
async fn who_cannot_be_asked_is_listed_with_the_reason() {
    let bench = Bench::start().await;
    let away = serde_json::json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "away"}, "status": {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}], "daemonEndpoints": {"kubeletEndpoint": {"Port": 1}}}});
    bench.objects().create(away).await.unwrap();
    let mut client = CertificatesClient::new(bench.admin());
    let found = client.list(rpc::ListCertificatesRequest {}).await.unwrap().into_inner();
    let roles: Vec<_> = found
        .certificates
        .iter()
        .map(|one| (one.role.as_str(), one.name.as_str()))
        .collect();
    assert_eq!(roles, [("authority", "sampan"), ("server", "server"), ("node", "away")]);
    let node = &found.certificates[2];
    assert!(
        node.der.is_empty() && node.problem.contains("node \"away\""),
        "{node:?}"
    );
    bench.stop().await;
}
