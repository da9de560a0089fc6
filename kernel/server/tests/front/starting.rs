//! How a server starts, fails to start, and starts again.
use crate::bench::{Bench, config, config_map};
use sampan_api::rpc::{self, cluster_client::ClusterClient};
use sampan_server::{Server, StartError, front::NodeLiveness};
use std::{os::unix::fs::PermissionsExt, time::Duration};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

#[tokio::test]
async fn a_restart_keeps_data_authority_and_uids() {
    let mut bench = Bench::start().await;
    let made = bench.objects().create(config_map("c", "1")).await.unwrap();
    let ca = bench.server().authority().ca_pem().to_owned();
    let admin = bench.server().authority().issue_admin().unwrap();
    let revision = bench.server().replica().snapshot().revision();
    bench.restart().await.unwrap();
    assert_eq!(bench.server().authority().ca_pem(), ca);
    assert_eq!(
        bench.server().replica().snapshot().revision(),
        revision,
        "the bootstrap writes nothing twice"
    );
    let mut client = crate::bench::Client(rpc::objects_client::ObjectsClient::new(bench.channel(Some(&admin))));
    assert_eq!(
        client.get("cm", "c").await.unwrap(),
        crate::bench::written(&made),
        "to the letter"
    );
    for name in ["default", "sampan-system"] {
        assert_eq!(
            client.get("ns", name).await.unwrap()["metadata"]["finalizers"][0],
            "kubernetes"
        );
    }
    for file in ["ca.key", "ca.crt", "cluster"] {
        let mode = std::fs::metadata(bench.dir.path().join("server").join(file))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    bench.stop().await;
}

#[tokio::test]
async fn it_ends_at_once() {
    let bench = Bench::start().await;
    let end = tokio::time::timeout(Duration::from_secs(4), bench.stop());
    end.await.expect("nobody waits for a loop that waits for changes");
}

#[tokio::test]
async fn what_stands_in_the_way_is_named() {
    let bench = Bench::start().await;
    let error = Server::start(config(bench.dir.path())).await.err().unwrap();
    assert!(
        error
            .to_string()
            .contains(&format!("in use by process {}", std::process::id())),
        "{error}"
    );

    let elsewhere = tempfile::tempdir().unwrap();
    let mut same_port = config(elsewhere.path());
    same_port.listen = bench.server().local_addr();
    let error = Server::start(same_port).await.err().unwrap();
    assert!(matches!(error, StartError::AddressInUse(_)), "{error}");
    assert!(error.to_string().contains("--listen"), "{error}");
    // A start that failed holds nothing.
    let server = Server::start(config(elsewhere.path())).await.unwrap();
    server.shutdown().await;

    let mut nowhere = config(elsewhere.path());
    nowhere.data = "/proc/self/status/server".into();
    let error = Server::start(nowhere).await.err().unwrap();
    assert!(matches!(error, StartError::NotWritable { .. }), "{error}");

    std::fs::write(elsewhere.path().join("server/ca.key"), "rubbish").unwrap();
    let error = Server::start(config(elsewhere.path())).await.err().unwrap();
    assert!(error.to_string().contains("ca.key cannot be used"), "{error}");
    bench.stop().await;
}

#[tokio::test]
async fn reflection_lists_the_services() {
    let bench = Bench::start().await;
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers = ServerReflectionClient::new(bench.admin())
        .server_reflection_info(tokio_stream::iter([request]))
        .await
        .unwrap()
        .into_inner();
    let Some(MessageResponse::ListServicesResponse(list)) = answers.message().await.unwrap().unwrap().message_response
    else {
        panic!("no list of services");
    };
    let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    for name in [
        "sampan.v1.Objects",
        "sampan.v1.Cluster",
        "sampan.v1.Plugins",
        "sampan.v1.Nodes",
        "sampan.v1.Runtime",
        "grpc.health.v1.Health",
    ] {
        assert!(names.contains(&name), "{name} of {names:?}");
    }
    bench.stop().await;
}

#[tokio::test]
async fn the_cluster_says_how_it_is() {
    let bench = Bench::start().await;
    let mut cluster = ClusterClient::new(bench.admin());
    let status = cluster
        .status(rpc::StatusRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (status.cluster_name.as_str(), status.leader, status.members.len()),
        ("sampan", 1, 1)
    );
    assert!(status.revision >= 2 && status.objects >= 2, "{status:?}");
    let text = cluster.metrics(rpc::MetricsRequest {}).await.unwrap().into_inner().text;
    for name in [
        "sampan_revision ",
        "sampan_call_seconds_count{method=\"Cluster/Status\"}",
        "sampan_leader 1",
    ] {
        assert!(text.contains(name), "{name}: {text}");
    }
    assert_eq!(NodeLiveness::new(Duration::from_secs(4)).interval_ms(), 1000);
    bench.stop().await;
}

#[tokio::test]
async fn old_events_are_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let mut short = config(dir.path());
    short.event_ttl = Duration::from_secs(2);
    let bench = Bench {
        server: Some(Server::start(short).await.unwrap()),
        dir,
    };
    let mut client = bench.objects();
    let event =
        serde_json::json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "involvedObject": {}});
    client.create(event).await.unwrap();
    assert!(client.get("events", "e").await.is_ok());
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if client.get("events", "e").await.is_err() {
            return bench.stop().await;
        }
    }
    panic!("the event is still there");
}
