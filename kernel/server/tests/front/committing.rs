//! Plans: whole or not at all, and once.
use crate::bench::{Bench, config_map, key, pod};
use sampan_api::{
    Reason,
    rpc::{self, write::Operation},
};
use serde_json::{Value, json};

fn create(value: &Value) -> rpc::Write {
    let resource = if value["kind"] == "Pod" { "pods" } else { "configmaps" };
    let key = key(resource, value["metadata"]["name"].as_str().unwrap());
    rpc::Write {
        key: Some(key),
        operation: Some(Operation::Create(value.to_string().into())),
        expect: 0,
    }
}

fn plan(writes: Vec<rpc::Write>) -> rpc::Plan {
    rpc::Plan { writes }
}

#[tokio::test]
async fn a_plan_is_whole_or_nothing() {
    let bench = Bench::start().await;
    let mut client = bench.objects();
    client.create(config_map("taken", "1")).await.unwrap();
    let plans = vec![
        plan(vec![create(&config_map("a", "1")), create(&config_map("taken", "1"))]),
        plan(vec![create(&config_map("b", "1")), create(&config_map("c", "1"))]),
        // Refused at the door, and no burden to the others.
        plan(vec![
            create(&config_map("d", "1")),
            create(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "E!"}})),
        ]),
        plan(vec![rpc::Write::default()]),
    ];
    let results = client.commit(plans, "").await.unwrap();
    let reasons: Vec<_> = results
        .iter()
        .map(|result| result.as_ref().err().map(|error| error.reason))
        .collect();
    assert_eq!(
        reasons,
        [
            Some(Reason::AlreadyExists),
            None,
            Some(Reason::Invalid),
            Some(Reason::BadRequest)
        ]
    );
    assert_eq!(results[1].as_ref().unwrap().keys.len(), 2);
    for (name, there) in [("a", false), ("b", true), ("c", true), ("d", false)] {
        assert_eq!(client.get("cm", name).await.is_ok(), there, "{name}");
    }
    bench.stop().await;
}

#[tokio::test]
async fn a_key_commits_once() {
    let bench = Bench::start().await;
    let mut client = bench.objects();
    let mut named = pod("p", "");
    named["metadata"] = json!({"generateName": "p-"});
    let write = rpc::Write {
        key: Some(key("pods", "")),
        operation: Some(Operation::Create(named.to_string().into())),
        expect: 0,
    };
    let first = client.commit(vec![plan(vec![write.clone()])], "once").await.unwrap();
    let again = client.commit(vec![plan(vec![write.clone()])], "once").await.unwrap();
    assert_eq!(first, again);
    let other = client.commit(vec![plan(vec![write])], "twice").await.unwrap();
    assert_ne!(first, other);
    assert!(client.commit(vec![plan(vec![])], &"k".repeat(500)).await.is_err());
    bench.stop().await;
}
