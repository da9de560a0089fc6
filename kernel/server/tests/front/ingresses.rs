//! What is wrong with an Ingress is told as events of it.
use crate::bench::{Bench, Client, json_of, selection};
use sampan_api::rpc;
use sampan_server::KeyPair;
use serde_json::{Value, json};
use std::time::Duration;

fn ingress(name: &str, class: &str, secret: &str, service: &str, port: Value) -> Value {
    let backend = json!({"service": {"name": service, "port": port}});
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": name}, "spec": {
        "ingressClassName": class, "tls": [{"hosts": ["shop.example"], "secretName": secret}],
        "rules": [{"host": "shop.example", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]}})
}

fn service(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": [
        {"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}]}})
}

fn secret(name: &str, kind: &str, pair: &KeyPair) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": kind,
        "stringData": {"tls.crt": pair.cert_pem, "tls.key": pair.key_pem}})
}

/// What is told of each Ingress, in order, with how often.
async fn told(client: &mut Client) -> Vec<String> {
    let request = rpc::ListRequest {
        selection: selection("events"),
        ..Default::default()
    };
    let events = client.list(request).await.unwrap().objects;
    let events = events
        .iter()
        .map(json_of)
        .filter(|event| event["involvedObject"]["kind"] == "Ingress");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let line = |event: Value| {
        let (name, message) = (text(&event["involvedObject"]["name"]), text(&event["message"]));
        format!("{name} {} x{}: {message}", text(&event["reason"]), event["count"])
    };
    let mut lines: Vec<String> = events.map(line).collect();
    lines.sort();
    lines
}

async fn until_told(client: &mut Client, wanted: &[&str]) {
    let mut lines = Vec::new();
    for _ in 0..100 {
        lines = told(client).await;
        let all =
            lines.len() == wanted.len() && lines.iter().zip(wanted).all(|(line, wanted)| line.starts_with(wanted));
        if all {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{lines:#?}\nwanted: {wanted:#?}");
}

#[tokio::test]
async fn what_an_ingress_lacks_is_told_once() {
    let mut bench = Bench::start().await;
    let mut client = bench.objects();
    let pair = bench.server().authority().issue_admin().unwrap();
    let other = bench.server().authority().issue_admin().unwrap();
    let mixed = KeyPair {
        cert_pem: pair.cert_pem.clone(),
        key_pem: other.key_pem,
    };
    let number = |number: u16| json!({"number": number});
    for object in [
        service("web"),
        secret("good", "kubernetes.io/tls", &pair),
        secret("mixed", "kubernetes.io/tls", &mixed),
        secret("opaque", "Opaque", &pair),
        ingress("right", "sampan", "good", "web", json!({"name": "http"})),
        ingress("alien", "nginx", "none", "none", number(80)),
        ingress("bare", "sampan", "none", "none", number(80)),
        ingress("crossed", "sampan", "mixed", "web", number(53)),
        ingress("odd", "sampan", "opaque", "web", json!({"name": "https"})),
    ] {
        client.create(object).await.unwrap();
    }
    let mut wanted = vec![
        "bare SecretMissing x1: no certificate is shown: the Secret \"none\" is not there",
        "bare ServiceMissing x1: its requests are answered with 503: the Service \"none\" is not there",
        "crossed SecretInvalid x1: no new certificate is shown: the Secret \"mixed\" has none: tls.key: the key is not the",
        "crossed ServicePortMissing x1: its requests are answered with 503: the Service \"web\" has no port 53 of TCP",
        "odd SecretInvalid x1: no new certificate is shown: the Secret \"opaque\" has none: it is of the type Opaque",
        "odd ServicePortMissing x1: its requests are answered with 503: the Service \"web\" has no port \"https\" of TCP",
    ];
    until_told(&mut client, &wanted).await;
    // What is put right and what is still wrong is told no more; what goes wrong is told.
    client.create(secret("none", "kubernetes.io/tls", &pair)).await.unwrap();
    client.create(service("none")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(told(&mut client).await.len(), wanted.len());
    client.delete("services", "web").await.unwrap();
    wanted.extend([
        "crossed ServiceMissing x1",
        "odd ServiceMissing x1",
        "right ServiceMissing x1",
    ]);
    wanted.sort();
    until_told(&mut client, &wanted).await;
    // Who leads next tells again what is still wrong, and it is counted; of what was put right nothing more is said.
    bench.restart().await.unwrap();
    let again: Vec<String> = wanted
        .iter()
        .map(|line| match line {
            line if line.starts_with("bare") || line.contains("PortMissing") => (*line).to_owned(),
            line => line.replace("x1", "x2"),
        })
        .collect();
    let again: Vec<&str> = again.iter().map(String::as_str).collect();
    until_told(&mut bench.objects(), &again).await;
    bench.stop().await;
}
