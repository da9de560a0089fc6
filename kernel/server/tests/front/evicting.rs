//! PriorityClasses, and evictions that PodDisruptionBudgets have a say in.
use crate::bench::{Bench, Client, config, json_of, key, pod, written};
use sampan_api::{ApiError, Reason, rpc};
use sampan_server::{Server, features::Build};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const CLASSES: &str = "priorityclasses.scheduling.k8s.io";
const BUDGETS: &str = "poddisruptionbudgets.policy";

fn class(name: &str, value: i32, default: bool) -> Value {
    json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": value,
        "globalDefault": default})
}

fn of_class(name: &str, class: &str) -> Value {
    let mut pod = pod(name, "");
    pod["spec"]["priorityClassName"] = class.into();
    pod
}

#[tokio::test]
async fn classes_give_new_pods_their_priority() {
    let bench = Bench::start().await;
    let mut client = bench.objects();
    let system = client.get(CLASSES, "system-node-critical").await.unwrap();
    assert_eq!(system["value"], 2_000_001_000);
    let error = client.delete(CLASSES, "system-cluster-critical").await.unwrap_err();
    assert_eq!(error.reason, Reason::Forbidden, "{error}");
    let made = written(&client.create(class("high", 1000, false)).await.unwrap());
    assert_eq!(made["preemptionPolicy"], "PreemptLowerPriority");

    let error = client.create(of_class("p", "hihg")).await.unwrap_err();
    assert_eq!(error.reason, Reason::Forbidden);
    assert_eq!(
        error.message,
        "pods \"p\" is forbidden: no PriorityClass with name hihg was found"
    );
    let dry = |json: Value| rpc::CreateRequest {
        json: json.to_string().into(),
        dry_run: true,
        ..Default::default()
    };
    let refused = client.0.create(dry(of_class("p", "hihg"))).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::PermissionDenied, "a dry run says so, too");
    let would = client.0.create(dry(of_class("p", "high"))).await.unwrap().into_inner();
    assert_eq!(written(&would)["spec"]["priority"], 1000);
    let made = written(&client.create(of_class("p", "high")).await.unwrap());
    assert_eq!(made["spec"]["priority"], 1000);

    // It keeps what it was given, whatever becomes of the class, and nobody gives it more.
    client.delete(CLASSES, "high").await.unwrap();
    let kept = written(&client.replace(of_class("p", "high")).await.unwrap());
    assert_eq!(kept["spec"]["priority"], 1000);
    let more = json!({"spec": {"priority": 2000}});
    let error = client
        .patch("pods", "p", rpc::PatchType::Merge, more)
        .await
        .unwrap_err();
    assert_eq!(error.causes[0].field, "spec.priority");
    let none = rpc::Write {
        key: Some(key("pods", "p")),
        operation: Some(rpc::write::Operation::Merge(
            json!({"spec": {"priority": null}}).to_string().into(),
        )),
        ..Default::default()
    };
    let results = client.commit(vec![rpc::Plan { writes: vec![none] }], "").await.unwrap();
    assert_eq!(results[0].as_ref().unwrap_err().causes[0].field, "spec.priority");

    client.create(class("usual", 5, true)).await.unwrap();
    let error = client.create(class("other", 4, true)).await.unwrap_err();
    assert!(
        error
            .message
            .contains("PriorityClass usual is already marked as default"),
        "{error}"
    );
    let more = json!({"value": 6});
    let error = client
        .patch(CLASSES, "usual", rpc::PatchType::Merge, more)
        .await
        .unwrap_err();
    assert_eq!(error.causes[0].field, "value");
    let made = written(&client.create(pod("q", "")).await.unwrap());
    assert_eq!(
        (&made["spec"]["priority"], &made["spec"]["priorityClassName"]),
        (&json!(5), &json!("usual"))
    );
    bench.stop().await;
}

/// Pods on a node, and how they are.
async fn pods(client: &mut Client, of: &[(&str, &str, &str)]) {
    for (name, phase, ready) in of {
        let mut pod = pod(name, "n");
        pod["metadata"]["labels"] = json!({"app": "web"});
        client.create(pod).await.unwrap();
        let status = json!({"status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]}});
        set_status(client, "pods", name, status).await;
    }
}

async fn set_status(client: &mut Client, resource: &str, name: &str, status: Value) {
    let request = rpc::PatchRequest {
        key: Some(key(resource, name)),
        r#type: rpc::PatchType::Merge.into(),
        patch: status.to_string().into(),
        status: true,
        ..Default::default()
    };
    client.0.patch(request).await.unwrap();
}

/// A budget of which somebody has counted that so many may go.
async fn budget(client: &mut Client, name: &str, spec: Value, allowed: i64) {
    let budget =
        json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name}, "spec": spec});
    client.create(budget).await.unwrap();
    let counted = json!({"status": {"observedGeneration": 1, "disruptionsAllowed": allowed, "currentHealthy": 1,
        "desiredHealthy": 2}});
    set_status(client, BUDGETS, name, counted).await;
}

async fn evict(client: &Client, name: &str) -> Result<rpc::WriteResponse, ApiError> {
    let request = rpc::DeleteRequest {
        key: Some(key("pods", name)),
        evict: true,
        ..Default::default()
    };
    Ok(client.0.clone().delete(request).await?.into_inner())
}

#[tokio::test]
async fn a_budget_that_is_used_up_refuses_and_the_last_one_is_taken_once() {
    let bench = Bench::start().await;
    let mut client = bench.objects();
    let names: Vec<String> = (0..8).map(|n| format!("p{n}")).collect();
    let all: Vec<(&str, &str, &str)> = names.iter().map(|name| (name.as_str(), "Running", "True")).collect();
    pods(&mut client, &all).await;
    let selector = json!({"matchLabels": {"app": "web"}});
    budget(&mut client, "web", json!({"minAvailable": 2, "selector": selector}), 3).await;
    // Eight drains at once, and three may go.
    let results = futures::future::join_all(names.iter().map(|name| evict(&client, name))).await;
    let (gone, refused): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert_eq!(gone.len(), 3, "{refused:?}");
    for error in refused.into_iter().filter_map(Result::err) {
        assert_eq!(error.reason, Reason::TooManyRequests, "{error}");
        assert_eq!(
            error.message,
            "Cannot evict pod as it would violate the pod's disruption budget."
        );
        assert_eq!(
            error.causes[0].message,
            "The disruption budget web needs 2 healthy pods and has 1 currently"
        );
    }
    let left = client.get(BUDGETS, "web").await.unwrap();
    assert_eq!(left["status"]["disruptionsAllowed"], 0);
    let ending = gone[0].as_ref().unwrap().object.as_ref().unwrap();
    let ending = json_of(ending);
    assert!(ending["metadata"]["deletionTimestamp"].is_string());
    let conditions = ending["status"]["conditions"].as_array().unwrap();
    let target = conditions.iter().find(|one| one["type"] == "DisruptionTarget");
    assert_eq!(target.unwrap()["reason"], "EvictionByEvictionAPI");
    // A plain deletion asks no budget.
    let still = names
        .iter()
        .zip(0..)
        .find(|(name, _)| !ending["metadata"]["name"].eq(name.as_str()));
    client.delete("pods", still.unwrap().0).await.unwrap();
    bench.stop().await;
}

#[tokio::test]
async fn who_disturbs_nobody_may_go() {
    let bench = Bench::start().await;
    let mut client = bench.objects();
    let all = [
        ("pending", "Pending", "False"),
        ("ended", "Succeeded", "False"),
        ("unready", "Running", "False"),
        ("ready", "Running", "True"),
        ("stranger", "Running", "True"),
    ];
    pods(&mut client, &all).await;
    let label = json!({"metadata": {"labels": {"app": "db"}}});
    client
        .patch("pods", "stranger", rpc::PatchType::Merge, label)
        .await
        .unwrap();
    let spec = json!({"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}});
    budget(&mut client, "web", spec, 0).await;
    for name in ["pending", "ended", "stranger"] {
        evict(&client, name).await.unwrap();
    }
    // One that is not ready is kept while there are too few, unless the budget says otherwise.
    for name in ["unready", "ready"] {
        assert_eq!(evict(&client, name).await.unwrap_err().reason, Reason::TooManyRequests);
    }
    let always = json!({"spec": {"unhealthyPodEvictionPolicy": "AlwaysAllow"}});
    client
        .patch(BUDGETS, "web", rpc::PatchType::Merge, always)
        .await
        .unwrap();
    evict(&client, "unready").await.unwrap();
    // What has changed is counted again first.
    set_status(
        &mut client,
        BUDGETS,
        "web",
        json!({"status": {"disruptionsAllowed": 1}}),
    )
    .await;
    let error = evict(&client, "ready").await.unwrap_err();
    assert!(error.causes[0].message.contains("still being processed"), "{error}");
    set_status(
        &mut client,
        BUDGETS,
        "web",
        json!({"status": {"observedGeneration": 2}}),
    )
    .await;
    budget(&mut client, "second", json!({"selector": {}}), 1).await;
    let error = evict(&client, "ready").await.unwrap_err();
    assert!(error.message.contains("more than one PodDisruptionBudget"), "{error}");
    client.delete(BUDGETS, "second").await.unwrap();
    evict(&client, "ready").await.unwrap();
    assert_eq!(evict(&client, "nobody").await.unwrap_err().reason, Reason::NotFound);
    bench.stop().await;
}

#[tokio::test]
async fn a_cluster_that_is_upgraded_gets_the_classes_of_the_system() {
    let dir = tempfile::tempdir().unwrap();
    let mut older = config(dir.path());
    older.build = Build {
        version: "0.0.9".to_owned(),
        level: 3,
    };
    let server = Server::start(older).await.unwrap();
    let mut bench = Bench {
        server: Some(server),
        dir,
    };
    let group = json!({"apiVersion": "scheduling.x-k8s.io/v1alpha1", "kind": "PodGroup", "metadata": {"name": "g"}});
    for object in [class("a", 1, false), group] {
        let error = bench.objects().create(object).await.unwrap_err();
        assert!(error.message.contains("needs the features of level 4"), "{error}");
    }
    let missing = bench.objects().get(CLASSES, "system-node-critical").await.unwrap_err();
    assert_eq!(missing.reason, Reason::NotFound);
    bench.restart().await.unwrap();
    let until = Instant::now() + Duration::from_secs(30);
    while bench.objects().get(CLASSES, "system-node-critical").await.is_err() {
        assert!(Instant::now() < until, "the classes of the system never come");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bench.objects().create(class("a", 1, false)).await.unwrap();
    bench.stop().await;
}
