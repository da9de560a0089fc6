//! The generic verbs.
use crate::bench::{Bench, config_map, deployment, key, pod, selection, written};
use sampan_api::{
    Reason,
    rpc::{self, PatchType, write_response::Outcome},
};
use serde_json::json;

#[tokio::test]
async fn an_object_comes_changes_and_goes() {
    let bench = Bench::start().await;
    let mut client = bench.objects();
    let mut manifest = deployment("web", 2, "nginx:1");
    manifest["status"] = json!({"replicas": 99});
    let made = client.create(manifest).await.unwrap();
    assert_eq!(made.outcome(), Outcome::Created);
    let object = written(&made);
    assert_eq!(
        (
            object["metadata"]["namespace"].as_str(),
            object["metadata"]["generation"].as_i64()
        ),
        (Some("default"), Some(1))
    );
    assert!(object["status"].is_null(), "a manifest's status is not taken");
    assert!(!object["metadata"]["uid"].as_str().unwrap().is_empty());

    let error = client.create(deployment("web", 1, "x")).await.unwrap_err();
    assert_eq!(
        (error.reason, error.message.as_str()),
        (Reason::AlreadyExists, "deployments.apps \"web\" already exists")
    );

    // By any name of the kind.
    assert_eq!(client.get("deploy", "web").await.unwrap()["spec"]["replicas"], 2);
    let changed = client
        .patch(
            "deployments.apps",
            "web",
            PatchType::Merge,
            json!({"spec": {"replicas": 5}}),
        )
        .await
        .unwrap();
    assert_eq!(
        (changed.outcome(), written(&changed)["metadata"]["generation"].as_i64()),
        (Outcome::Configured, Some(2))
    );
    let same = client
        .patch(
            "deployments.apps",
            "web",
            PatchType::Merge,
            json!({"spec": {"replicas": 5}}),
        )
        .await
        .unwrap();
    assert_eq!(same.outcome(), Outcome::Unchanged);
    let operations = json!([{"op": "test", "path": "/spec/replicas", "value": 5}, {"op": "replace", "path": "/spec/replicas", "value": 6}]);
    let changed = client
        .patch("deploy", "web", PatchType::Json, operations)
        .await
        .unwrap();
    assert_eq!(written(&changed)["spec"]["replicas"], 6);
    let patch = json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "nginx:2"}, {"name": "side", "image": "s"}]}}}});
    let changed = written(
        &client
            .patch("deploy", "web", PatchType::Strategic, patch)
            .await
            .unwrap(),
    );
    assert_eq!(
        changed.pointer("/spec/template/spec/containers/0/image").unwrap(),
        "nginx:2"
    );

    let gone = client.delete("deployments.apps", "web").await.unwrap();
    assert_eq!(gone.outcome(), Outcome::Deleted);
    let error = client.get("deployments.apps", "web").await.unwrap_err();
    assert_eq!(
        (error.reason, error.message.as_str()),
        (Reason::NotFound, "deployments.apps \"web\" not found")
    );
    bench.stop().await;
}

#[tokio::test]
async fn a_stale_write_conflicts_and_changes_nothing() {
    let bench = Bench::start().await;
    let mut client = bench.objects();
    let first = written(&client.create(config_map("c", "1")).await.unwrap());
    let mut second = first.clone();
    second["data"]["key"] = "2".into();
    client.replace(second.clone()).await.unwrap();
    second["data"]["key"] = "3".into();
    let error = client.replace(second).await.unwrap_err();
    assert_eq!(error.reason, Reason::Conflict, "{error}");
    assert!(error.message.contains("get it again"), "{error}");
    assert_eq!(client.get("configmaps", "c").await.unwrap()["data"]["key"], "2");
    // Who names no revision means what is there.
    client.replace(config_map("c", "4")).await.unwrap();
    let request = rpc::DeleteRequest {
        key: Some(key("configmaps", "c")),
        expect: 1,
        ..Default::default()
    };
    assert_eq!(client.0.delete(request).await.unwrap_err().code(), tonic::Code::Aborted);
    bench.stop().await;
}

#[tokio::test]
async fn what_is_wrong_is_named_and_changes_nothing() {
    let bench = Bench::start().await;
    let mut client = bench.objects();
    let before = bench.server().replica().snapshot().revision();
    let error = client.create(deployment("web", -1, "nginx")).await.unwrap_err();
    assert_eq!(
        (error.reason, error.causes[0].field.as_str()),
        (Reason::Invalid, "spec.replicas")
    );
    let mut wrong = deployment("web", 1, "nginx");
    wrong["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = "always".into();
    let error = client.apply(wrong).await.unwrap_err();
    assert_eq!(
        error.causes[0].field,
        "spec.template.spec.containers[0].imagePullPolicy"
    );
    let error = client
        .create(json!({"apiVersion": "apps/v1", "kind": "Deploymnet", "metadata": {"name": "x"}}))
        .await
        .unwrap_err();
    assert!(error.message.contains("did you mean \"Deployment\""), "{error}");
    let error = client.get("pdos", "x").await.unwrap_err();
    assert!(error.message.contains("did you mean \"pods\""), "{error}");
    let mut elsewhere = config_map("c", "1");
    elsewhere["metadata"]["namespace"] = "nowhere".into();
    let error = client.create(elsewhere).await.unwrap_err();
    assert_eq!(
        (error.reason, error.message.as_str()),
        (Reason::NotFound, "namespaces \"nowhere\" not found")
    );
    let error = client.delete("namespaces", "default").await.unwrap_err();
    assert_eq!(error.reason, Reason::Forbidden, "{error}");
    assert_eq!(bench.server().replica().snapshot().revision(), before);

    let mut odd = deployment("web", 1, "nginx");
    odd["spec"]["replica"] = 1.into();
    assert_eq!(
        client.create(odd).await.unwrap().warnings,
        ["unknown field \"spec.replica\""]
    );
    // A patch that would leave it wrong is refused as a manifest is.
    let error = client
        .patch("deploy", "web", PatchType::Merge, json!({"spec": {"replicas": -3}}))
        .await
        .unwrap_err();
    assert_eq!(error.causes[0].field, "spec.replicas");
    bench.stop().await;
}

#[tokio::test]
async fn some_fields_stay() {
    let bench = Bench::start().await;
    let mut client = bench.objects();
    client.create(deployment("web", 1, "nginx")).await.unwrap();
    let mut other = deployment("web", 1, "nginx");
    other["spec"]["selector"]["matchLabels"] = json!({"app": "other"});
    other["spec"]["template"]["metadata"]["labels"] = json!({"app": "other"});
    let error = client.replace(other).await.unwrap_err();
    assert_eq!(error.causes[0].field, "spec.selector");
    assert!(error.causes[0].message.contains("immutable"), "{error}");

    client.create(pod("p", "")).await.unwrap();
    let error = client
        .patch("pods", "p", PatchType::Merge, json!({"spec": {"nodeName": "n1"}}))
        .await
        .unwrap_err();
    assert_eq!(error.causes[0].field, "spec.nodeName");

    let mut secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"a": "hi"}, "immutable": true});
    assert_eq!(
        written(&client.create(secret.clone()).await.unwrap())["data"]["a"],
        "aGk="
    );
    secret["stringData"]["a"] = "ho".into();
    assert_eq!(client.replace(secret).await.unwrap_err().causes[0].field, "data");
    let error = client
        .patch("pods", "p", PatchType::Merge, json!({"kind": "Service"}))
        .await
        .unwrap_err();
    assert!(
        error.message.contains("stays one") || error.message.contains("kind"),
        "{error}"
    );
    bench.stop().await;
}

#[tokio::test]
async fn a_dry_run_computes_and_writes_nothing() {
    let bench = Bench::start().await;
    let mut client = bench.objects();
    let before = bench.server().replica().snapshot().revision();
    let json = config_map("c", "1").to_string();
    let request = rpc::CreateRequest {
        json: json.clone().into(),
        dry_run: true,
        ..Default::default()
    };
    assert_eq!(
        client.0.create(request).await.unwrap().into_inner().outcome(),
        Outcome::Created
    );
    let request = rpc::ApplyRequest {
        json: json.into(),
        dry_run: true,
        ..Default::default()
    };
    assert_eq!(
        client.0.apply(request).await.unwrap().into_inner().outcome(),
        Outcome::Created
    );
    assert_eq!(bench.server().replica().snapshot().revision(), before);
    bench.stop().await;
}

#[tokio::test]
async fn pages_show_one_revision() {
    let bench = Bench::start().await;
    let mut client = bench.objects();
    for i in 0..7 {
        client.create(config_map(&format!("c{i}"), "1")).await.unwrap();
    }
    let mut request = rpc::ListRequest {
        selection: selection("cm"),
        limit: 3,
        ..Default::default()
    };
    let mut names = Vec::new();
    let mut pages = 0;
    let mut revision = None;
    loop {
        let page = client.list(request.clone()).await.unwrap();
        assert_eq!(*revision.get_or_insert(page.revision), page.revision);
        names.extend(page.objects.iter().map(|object| object.key.clone().unwrap().name));
        pages += 1;
        // What changes between two pages is not in them.
        client.create(config_map(&format!("late{pages}"), "1")).await.unwrap();
        client.delete("cm", "c6").await.ok();
        match page.continue_token.is_empty() {
            true => break,
            false => request.continue_token = page.continue_token,
        }
    }
    assert_eq!((pages, names), (3, (0..7).map(|i| format!("c{i}")).collect::<Vec<_>>()));
    request.continue_token = "nonsense".to_owned();
    assert_eq!(client.list(request).await.unwrap_err().reason, Reason::BadRequest);
    let request = rpc::ListRequest {
        selection: Some(rpc::Selection {
            resource: "cm".to_owned(),
            field_selector: "metadata.name=c1".to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    };
    assert_eq!(client.list(request).await.unwrap().objects.len(), 1);
    bench.stop().await;
}
