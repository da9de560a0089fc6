//! Many writers of one program on one connection.
use crate::stage::{PATIENCE, Stage};
use sampan_api::{Reason, rpc};
use sampan_cli::{contexts::Contexts, session::Session};
use serde_json::json;
use tokio::task::JoinSet;

fn create(name: &str, namespace: &str, replicas: u32) -> rpc::Plan {
    let write = |kind: &str, resource: &str, object: serde_json::Value| rpc::Write {
        key: Some(rpc::Key {
            resource: resource.to_owned(),
            namespace: namespace.to_owned(),
            name: format!("{name}-{kind}"),
        }),
        operation: Some(rpc::write::Operation::Create(object.to_string().into())),
        expect: 0,
    };
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}, "data": {"n": name}});
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {}, "stringData": {"n": name}});
    let wrong = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {}, "spec": {"replicas": "many"}});
    let mut writes = vec![write("map", "configmaps", map), write("secret", "secrets", secret)];
    if replicas > 0 {
        writes.push(write("set", "replicasets.apps", wrong));
    }
    rpc::Plan { writes }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_plan_is_answered_by_itself() {
    let stage = Stage::new();
    let access = Contexts::load(&stage.dir.path().join("config")).unwrap();
    let session = Session::open(&access.access(None).unwrap(), PATIENCE).unwrap();
    let writer = session.writer();
    let mut tasks = JoinSet::new();
    for number in 0..600_u32 {
        let writer = writer.clone();
        let plan = match number % 100 {
            // Nothing of it is written: its last write is not let in.
            7 => create(&format!("wrong{number}"), "default", 1),
            // Refused by the state, not at the gate.
            8 => create(&format!("lost{number}"), "nowhere", 0),
            _ => create(&format!("good{number}"), "default", 0),
        };
        tasks.spawn(async move { (number, writer.commit(plan).await) });
    }
    while let Some(done) = tasks.join_next().await {
        let (number, result) = done.unwrap();
        match (number % 100, result) {
            (7, Err(error)) => assert_eq!(error.reason, Reason::Invalid, "{error}"),
            (8, Err(error)) => assert_eq!(error.reason, Reason::NotFound, "{error}"),
            (_, result) => {
                let committed = result.unwrap();
                let names: Vec<&str> = committed.keys.iter().map(|key| key.name.as_str()).collect();
                assert_eq!(names, [format!("good{number}-map"), format!("good{number}-secret")]);
            }
        }
    }
    let maps = stage.ok("get configmaps -o name");
    assert_eq!(maps.lines().filter(|line| line.contains("/good")).count(), 588);
    assert!(!maps.contains("wrong") && !maps.contains("lost"));
    assert_eq!(stage.ok("get secret good5-secret -o jsonpath={.data.n}"), "Z29vZDU=");
}
