//! Pods reach each other and are reached; and what is left to do where there is no root.
use crate::support::{Bench, SLEEP, container};
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    time::Duration,
};

fn ip(pod: &Value) -> String {
    pod["status"]["podIP"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_pods_talk_by_their_addresses() {
    let Some(bench) = Bench::start().await else { return };
    let serve = "mkdir -p /www; echo content > /www/index.html; exec httpd -f -p 80 -h /www";
    bench.create_script("server", "Always", serve);
    let server = ip(&bench.plane.until_phase("server", "Running").await);
    let script = format!(
        "for i in 1 2 3 4 5 6 7 8 9; do wget -q -O - http://{server}/ && break; sleep 0.2; done; ping -c 1 -W 2 {server}; \
         ip addr show dev eth0"
    );
    let client = bench.create_script("client", "Never", &script);
    let done = bench.plane.until_phase("client", "Succeeded").await;
    let log = bench.log(&client, 0);
    assert!(log.contains("content"), "{log}");
    assert!(log.contains("1 packets received"), "{log}");
    assert!(log.contains(&format!("inet {}/32", ip(&done))), "{log}");
    // And the node.
    let mut stream = TcpStream::connect((server.as_str(), 80)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("content\n"), "{answer}");
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_of_a_pod_share_its_network_and_volumes() {
    let Some(bench) = Bench::start().await else { return };
    let mut server = container("server", "echo shared > /data/x; exec nc -l -p 9000 -e cat /data/x");
    let mut main = container(
        "main",
        "for i in 1 2 3 4 5 6 7 8 9; do nc 127.0.0.1 9000 && exit 0; sleep 0.2; done; exit 1",
    );
    for one in [&mut server, &mut main] {
        one["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
    }
    let volumes = json!([{"name": "data", "emptyDir": {}}]);
    let pod = bench.create_pod(
        "two",
        json!({"restartPolicy": "Never", "containers": [server, main], "volumes": volumes}),
    );
    bench.plane.until_phase("two", "Succeeded").await;
    assert!(bench.log(&pod, 0).contains("shared"), "{}", bench.log(&pod, 0));
    bench.finish().await;
}

/// A stand-in for the runner of Wasm: shows what it was given, and waits.
fn stand_in(bench: &mut Bench) {
    let path = bench.dir.path().join("sampan");
    std::fs::write(
        &path,
        format!("#!/usr/bin/busybox sh\necho \"$1 $2\"; cat \"$3\"; echo; {SLEEP}\n"),
    )
    .unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    bench.config.sampan = path;
}

async fn load_wasm(bench: &Bench) {
    let path = bench.dir.path().join("empty.wasm");
    std::fs::write(&path, b"\0asm\x0d\0\x01\0").unwrap();
    std::fs::create_dir_all(&bench.config.data).unwrap();
    let store = sampan_container::Store::open(bench.config.data.join("images")).unwrap();
    store
        .build(
            &"hello:1".parse().unwrap(),
            sampan_container::BuildSource::Wasm { path },
        )
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_root_wasm_runs_on_the_loopback_and_containers_are_refused() {
    let mut bench = Bench::prepare(true).await;
    stand_in(&mut bench);
    load_wasm(&bench).await;
    bench.load_busybox().await;
    bench.start_agent().await;
    let ports = json!([{"containerPort": 8080}]);
    let pod = bench.create_pod(
        "wasm",
        json!({"containers": [
        {"name": "main", "image": "hello:1", "args": ["x"], "env": [{"name": "A", "value": "1"}], "ports": ports}]}),
    );
    let running = bench.plane.until_phase("wasm", "Running").await;
    let address = ip(&running);
    assert!(address.starts_with("127."), "{address}");
    let log = bench.until_log(&pod, "listen").await;
    assert!(log.starts_with("__wasm --spec\n"), "{log}");
    let spec: Value = serde_json::from_str(log.lines().nth(1).unwrap()).unwrap();
    assert_eq!(
        (&spec["args"], &spec["listen"]),
        (&json!(["x"]), &json!([format!("{address}:8080")]))
    );
    let variables = spec["env"].as_array().unwrap();
    assert!(
        variables.contains(&json!("A=1")) && variables.contains(&json!("HOSTNAME=wasm")),
        "{variables:?}"
    );

    bench.create_script("native", "Always", SLEEP);
    let refused = bench.plane.until("pods", "native", |pod| {
        pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "RootRequired"
    });
    let message = refused.await["status"]["containerStatuses"][0]["state"]["waiting"]["message"].clone();
    assert!(message.as_str().unwrap().contains("as root"), "{message}");
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wasm_runs_beside_containers() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("SKIPPED: needs root");
    }
    let mut bench = Bench::prepare(false).await;
    stand_in(&mut bench);
    load_wasm(&bench).await;
    bench.load_busybox().await;
    bench.start_agent().await;
    let pod = bench.create_pod(
        "both",
        json!({"containers": [
        {"name": "main", "image": "hello:1", "resources": {"limits": {"memory": "32Mi"}}}, container("other", SLEEP)]}),
    );
    bench.plane.until_phase("both", "Running").await;
    let log = bench.until_log(&pod, "listen").await;
    let spec: Value = serde_json::from_str(log.lines().nth(1).unwrap()).unwrap();
    assert_eq!(
        (&spec["memoryLimit"], &spec["listen"]),
        (&json!(33_554_432), &json!(["0.0.0.0:8080"]))
    );
    bench.finish().await;
}
