//! Apply: three-way, as users of Kubernetes know it.
use crate::bench::{Bench, config_map, deployment, written};
use sampan_api::{
    Reason,
    rpc::{PatchType, write_response::Outcome},
};
use serde_json::json;

#[tokio::test]
async fn creates_configures_and_leaves_alone() {
    let bench = Bench::start().await;
    let mut client = bench.objects();
    let mut manifest = deployment("web", 2, "nginx:1");
    manifest["metadata"]["labels"]["old"] = "1".into();
    assert_eq!(
        client.apply(manifest.clone()).await.unwrap().outcome(),
        Outcome::Created
    );
    assert_eq!(
        client.apply(manifest.clone()).await.unwrap().outcome(),
        Outcome::Unchanged
    );

    // Others: a scale by hand, a sidecar, a label.
    let others = json!({"metadata": {"labels": {"theirs": "1"}}, "spec": {"replicas": 9,
        "template": {"spec": {"containers": [{"name": "side", "image": "s"}]}}}});
    client
        .patch("deploy", "web", PatchType::Strategic, others)
        .await
        .unwrap();

    manifest["metadata"]["labels"] = json!({"app": "web"});
    manifest["spec"].as_object_mut().unwrap().remove("replicas");
    manifest["spec"]["template"]["spec"]["containers"][0]["image"] = "nginx:2".into();
    let applied = client.apply(manifest.clone()).await.unwrap();
    assert_eq!(applied.outcome(), Outcome::Configured);
    let object = written(&applied);
    assert_eq!(object["metadata"]["labels"], json!({"app": "web", "theirs": "1"}));
    assert!(object["spec"]["replicas"].is_null(), "withdrawn: {object}");
    let containers = object.pointer("/spec/template/spec/containers").unwrap();
    assert_eq!(
        (&containers[0]["image"], &containers[1]["name"]),
        (&json!("nginx:2"), &json!("side"))
    );
    assert_eq!(client.apply(manifest).await.unwrap().outcome(), Outcome::Unchanged);
    bench.stop().await;
}

#[tokio::test]
async fn what_was_not_applied_before_is_kept_and_said() {
    let bench = Bench::start().await;
    let mut client = bench.objects();
    let mut first = config_map("c", "1");
    first["data"]["other"] = "x".into();
    client.create(first).await.unwrap();
    let applied = client.apply(config_map("c", "2")).await.unwrap();
    assert!(
        applied.warnings[0].contains("not made by apply"),
        "{:?}",
        applied.warnings
    );
    assert_eq!(written(&applied)["data"], json!({"key": "2", "other": "x"}));
    assert!(client.apply(config_map("c", "2")).await.unwrap().warnings.is_empty());
    let mut stale = config_map("c", "3");
    stale["metadata"]["resourceVersion"] = "1".into();
    assert_eq!(client.apply(stale).await.unwrap_err().reason, Reason::Conflict);
    // What `get -o yaml` gave can be applied as it is.
    let now = client.get("cm", "c").await.unwrap();
    assert_eq!(
        client.apply(now).await.unwrap().outcome(),
        Outcome::Configured,
        "it owns all of it from now on"
    );
    let now = client.get("cm", "c").await.unwrap();
    assert_eq!(client.apply(now.clone()).await.unwrap().outcome(), Outcome::Unchanged);
    let mut other = now;
    other["metadata"]["uid"] = "another".into();
    assert_eq!(client.apply(other).await.unwrap_err().reason, Reason::Conflict);
    bench.stop().await;
}

#[tokio::test]
async fn many_at_once_all_get_in() {
    let bench = Bench::start().await;
    let client = bench.objects();
    let applies = (0..16).map(|i| {
        let mut client = client.clone();
        tokio::spawn(async move {
            let mut manifest = config_map("shared", "1");
            manifest["data"] = json!({(format!("k{i}")): "v"});
            client.apply(manifest).await
        })
    });
    for result in futures::future::join_all(applies).await {
        let result = result.unwrap();
        assert!(
            result.as_ref().is_ok() || result.as_ref().unwrap_err().reason == Reason::Conflict,
            "{result:?}"
        );
    }
    bench.stop().await;
}
