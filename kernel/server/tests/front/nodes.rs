//! Nodes that fall silent, and what is passed on to them.
use crate::bench::{Bench, pod};
use sampan_api::{
    ApiError, Reason,
    rpc::{self, nodes_client::NodesClient, runtime_client::RuntimeClient},
};
use serde_json::{Value, json};
use std::time::Duration;
use tokio_stream::StreamExt;

fn ready(node: &Value) -> Option<&str> {
    let conditions = node["status"]["conditions"].as_array()?;
    conditions.iter().find(|condition| condition["type"] == "Ready")?["status"].as_str()
}

async fn register(bench: &Bench, name: &str) {
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": {
        "conditions": [{"type": "Ready", "status": "True"}], "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 1}}}});
    let operation = Some(rpc::write::Operation::Create(node.to_string().into()));
    let write = rpc::Write {
        key: Some(crate::bench::key("nodes", name)),
        operation,
        expect: 0,
    };
    bench
        .objects()
        .commit(vec![rpc::Plan { writes: vec![write] }], "")
        .await
        .unwrap()
        .remove(0)
        .unwrap();
}

#[tokio::test]
async fn silence_is_written_down_and_heartbeats_are_not() {
    let bench = Bench::start().await;
    register(&bench, "quiet").await;
    register(&bench, "loud").await;
    let beats = tokio_stream::iter(std::iter::repeat_with(|| rpc::HeartbeatRequest {
        node: "loud".to_owned(),
    }))
    .throttle(Duration::from_millis(100));
    let mut answers = NodesClient::new(bench.agent("loud"))
        .heartbeat(beats)
        .await
        .unwrap()
        .into_inner();
    tokio::spawn(async move { while let Ok(Some(_)) = answers.message().await {} });
    let before = bench.server().replica().snapshot().revision();
    let mut client = bench.objects();
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        if ready(&client.get("nodes", "quiet").await.unwrap()) == Some("Unknown") {
            break;
        }
    }
    let quiet = client.get("nodes", "quiet").await.unwrap();
    assert_eq!(ready(&quiet), Some("Unknown"));
    assert_eq!(quiet["status"]["conditions"][0]["reason"], "NodeStatusUnknown");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(ready(&client.get("nodes", "loud").await.unwrap()), Some("True"));
    assert_eq!(
        bench.server().replica().snapshot().revision(),
        before + 1,
        "one write in all"
    );
    bench.stop().await;
}

#[tokio::test]
async fn what_cannot_be_passed_on_says_why() {
    let bench = Bench::start().await;
    let mut runtime = RuntimeClient::new(bench.admin());
    let mut client = bench.objects();
    let logs = |pod: &str| rpc::LogsRequest {
        pod: pod.to_owned(),
        ..Default::default()
    };
    let error = ApiError::from(
        runtime
            .list_images(rpc::ListImagesRequest::default())
            .await
            .unwrap_err(),
    );
    assert!(error.message.contains("no node yet"), "{error}");
    let error = ApiError::from(runtime.logs(logs("none")).await.unwrap_err());
    assert_eq!(error.reason, Reason::NotFound);
    client.create(pod("waiting", "")).await.unwrap();
    let error = ApiError::from(runtime.logs(logs("waiting")).await.unwrap_err());
    assert!(error.message.contains("not bound to a node yet"), "{error}");
    register(&bench, "away").await;
    client.create(pod("there", "away")).await.unwrap();
    let error = ApiError::from(runtime.logs(logs("there")).await.unwrap_err());
    assert_eq!(error.reason, Reason::Unavailable);
    assert!(
        error.message.contains("node \"away\" cannot be reached at 127.0.0.1:1"),
        "{error}"
    );
    bench.stop().await;
}
