//! What a Service is given: an address, node ports, and the fields that users leave out.
use crate::bench::{Bench, written};
use sampan_api::{Reason, rpc::PatchType};
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn service(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec})
}

#[tokio::test]
async fn a_service_gets_an_address_of_its_own_and_keeps_it() {
    let bench = Bench::start().await;
    let mut client = bench.objects();
    let mut addresses = BTreeSet::new();
    for number in 0..20 {
        let manifest = service(
            &format!("s{number}"),
            json!({"selector": {"app": "a"}, "ports": [{"port": 80}]}),
        );
        let made = written(&client.create(manifest).await.unwrap());
        let address = made["spec"]["clusterIP"].as_str().unwrap().to_owned();
        assert!(address.starts_with("10."), "{address}");
        assert_eq!(made["spec"]["clusterIPs"], json!([address]));
        assert!(addresses.insert(address));
        assert_eq!(
            made["spec"]["ports"],
            json!([{"port": 80, "protocol": "TCP", "targetPort": 80}])
        );
        assert_eq!(
            (&made["spec"]["type"], &made["spec"]["sessionAffinity"]),
            (&json!("ClusterIP"), &json!("None"))
        );
    }
    let before = client.get("svc", "s0").await.unwrap();
    let patch = json!({"spec": {"type": "NodePort"}});
    let changed = written(&client.patch("services", "s0", PatchType::Merge, patch).await.unwrap());
    assert_eq!(changed["spec"]["clusterIP"], before["spec"]["clusterIP"]);
    let port = changed["spec"]["ports"][0]["nodePort"].as_u64().unwrap();
    assert!((30_000..=32_767).contains(&port), "{port}");
    // A manifest that names neither takes neither away.
    let again = service("s0", json!({"type": "NodePort", "ports": [{"port": 80}]}));
    let applied = written(&client.apply(again).await.unwrap());
    assert_eq!(applied["spec"]["clusterIP"], before["spec"]["clusterIP"]);
    assert_eq!(applied["spec"]["ports"][0]["nodePort"], port);

    let taken = service(
        "t",
        json!({"clusterIP": before["spec"]["clusterIP"], "ports": [{"port": 80}]}),
    );
    let error = client.create(taken).await.unwrap_err();
    assert_eq!(error.reason, Reason::Invalid);
    assert_eq!(error.causes[0].field, "spec.clusterIP");
    assert!(error.causes[0].message.contains("\"s0\""), "{error}");
    let taken = service(
        "t",
        json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]}),
    );
    assert!(client.create(taken).await.unwrap_err().causes[0].message.contains("s0"));

    // Back to what it was: the ports that it was given go, although the stored object names them.
    let patch = json!({"spec": {"type": "ClusterIP"}});
    let changed = written(&client.patch("services", "s0", PatchType::Merge, patch).await.unwrap());
    assert_eq!(changed["spec"]["ports"][0]["nodePort"], Value::Null);
    assert_eq!(changed["spec"]["clusterIP"], before["spec"]["clusterIP"]);
    let patch = json!({"spec": {"clusterIP": "10.96.0.200"}});
    let error = client
        .patch("services", "s0", PatchType::Merge, patch)
        .await
        .unwrap_err();
    assert!(error.causes[0].message.contains("immutable"), "{error}");
}

#[tokio::test]
async fn headless_and_external_ones_get_none() {
    let bench = Bench::start().await;
    let mut client = bench.objects();
    let headless = service("h", json!({"clusterIP": "None", "selector": {"app": "a"}}));
    assert_eq!(
        written(&client.create(headless).await.unwrap())["spec"]["clusterIP"],
        "None"
    );
    let external = service("e", json!({"type": "ExternalName", "externalName": "example.org"}));
    assert!(written(&client.create(external).await.unwrap())["spec"]["clusterIP"].is_null());
}

#[tokio::test]
async fn what_cannot_be_is_said_by_field() {
    let bench = Bench::start().await;
    let mut client = bench.objects();
    for (spec, field, words) in [
        (json!({"ports": []}), "spec.ports", "at least one"),
        (
            json!({"clusterIP": "192.168.0.1", "ports": [{"port": 1}]}),
            "spec.clusterIP",
            "10.96.0.0/12",
        ),
        (
            json!({"ports": [{"port": 1}, {"port": 2}]}),
            "spec.ports[0].name",
            "several ports",
        ),
        (json!({"ports": [{"port": 70000}]}), "spec.ports[0].port", "no port"),
        (
            json!({"ports": [{"port": 1, "nodePort": 30000}]}),
            "spec.ports[0].nodePort",
            "type: NodePort",
        ),
        (
            json!({"type": "NodePort", "ports": [{"port": 1, "nodePort": 80}]}),
            "spec.ports[0].nodePort",
            "30000 to 32767",
        ),
        (json!({"type": "ExternalName"}), "spec.externalName", "required"),
        (
            json!({"externalTrafficPolicy": "Local", "ports": [{"port": 1}]}),
            "spec.externalTrafficPolicy",
            "\"Local\" is about what comes from outside",
        ),
        (
            json!({"type": "ExternalName", "externalName": "a.example", "externalTrafficPolicy": "Cluster"}),
            "spec.externalTrafficPolicy",
            "of the type ExternalName",
        ),
        (
            json!({"ports": [{"port": 1, "protocol": "ICMP"}]}),
            "spec.ports[0].protocol",
            "TCP, UDP, SCTP",
        ),
    ] {
        let error = client.create(service("x", spec)).await.unwrap_err();
        assert_eq!(error.causes[0].field, field, "{error}");
        assert!(error.causes[0].message.contains(words), "{error}");
    }
}

#[tokio::test]
async fn what_is_of_another_type_goes_with_the_type() {
    let bench = Bench::start().await;
    let mut client = bench.objects();
    let spec = json!({"type": "NodePort", "externalTrafficPolicy": "Local", "ports": [{"port": 1, "targetPort": 0}]});
    let made = written(&client.create(service("a", spec)).await.unwrap());
    assert_eq!(made["spec"]["ports"][0]["targetPort"], 1);
    let inner = json!({"spec": {"type": "ClusterIP"}});
    let inner = written(&client.patch("services", "a", PatchType::Merge, inner).await.unwrap());
    assert!(inner["spec"]["externalTrafficPolicy"].is_null(), "{inner}");
    let local = json!({"spec": {"externalTrafficPolicy": "Local"}});
    let error = client
        .patch("services", "a", PatchType::Merge, local)
        .await
        .unwrap_err();
    assert_eq!(error.causes[0].field, "spec.externalTrafficPolicy", "{error}");
    let outer = json!({"spec": {"externalTrafficPolicy": "Local", "externalIPs": ["192.0.2.7"]}});
    let outer = written(&client.patch("services", "a", PatchType::Merge, outer).await.unwrap());
    assert_eq!(outer["spec"]["externalTrafficPolicy"], "Local");
}

#[tokio::test]
async fn apply_says_the_same() {
    let bench = Bench::start().await;
    let mut client = bench.objects();
    let outside = service("x", json!({"clusterIP": "192.168.0.1", "ports": [{"port": 1}]}));
    let error = client.apply(outside).await.unwrap_err();
    assert_eq!(
        (error.reason, &*error.causes[0].field),
        (Reason::Invalid, "spec.clusterIP")
    );
    let one = |name: &str| service(name, json!({"clusterIP": "10.96.0.9", "ports": [{"port": 1}]}));
    client.apply(one("a")).await.unwrap();
    let error = client.apply(one("b")).await.unwrap_err();
    assert_eq!(error.reason, Reason::Invalid, "{error}");
    assert!(error.causes[0].message.contains("\"a\""), "{error}");
}
