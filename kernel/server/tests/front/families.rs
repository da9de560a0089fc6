//! A cluster of two address families: what Services and nodes are given, and that it stays so.
use crate::bench::{Bench, config, written};
use sampan_api::{dual::ClusterRanges, rpc::PatchType};
use sampan_server::{Server, ServerConfig, enroll::enrolled};
use serde_json::{Value, json};

fn ranges() -> ClusterRanges {
    ClusterRanges::read("10.42.0.0/16,fd42::/56", "10.97.0.0/16,fd96::/112").unwrap()
}

fn service(name: &str, spec: &Value) -> Value {
    let mut spec = spec.clone();
    spec["ports"] = json!([{"port": 80}]);
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec})
}

/// The families and the beginnings of the addresses of a Service, and its policy.
fn said(service: &Value) -> String {
    let spec = &service["spec"];
    let texts = |field: &str| {
        let all = spec[field].as_array().unwrap().iter();
        all.map(|text| text.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let addresses = texts("clusterIPs");
    assert_eq!(spec["clusterIP"], addresses[0].as_str());
    let beginnings: Vec<&str> = addresses
        .iter()
        .map(|address| match address {
            address if address.starts_with("10.97.") => "v4",
            address if address.starts_with("fd96::") => "v6",
            other => other,
        })
        .collect();
    let policy = spec["ipFamilyPolicy"].as_str().unwrap();
    format!("{policy} {} {}", texts("ipFamilies").join(","), beginnings.join(","))
}

#[tokio::test]
async fn services_have_the_families_that_they_ask_for() {
    let bench = Bench::start_with(Some(ranges())).await;
    let mut client = bench.objects();
    let selector = json!({"app": "a"});
    for (at, (spec, expected)) in [
        (json!({}), "SingleStack IPv4 v4"),
        (
            json!({"ipFamilyPolicy": "PreferDualStack"}),
            "PreferDualStack IPv4,IPv6 v4,v6",
        ),
        (
            json!({"ipFamilyPolicy": "RequireDualStack"}),
            "RequireDualStack IPv4,IPv6 v4,v6",
        ),
        (json!({"ipFamilies": ["IPv6"]}), "SingleStack IPv6 v6"),
        (
            json!({"ipFamilies": ["IPv6", "IPv4"]}),
            "RequireDualStack IPv6,IPv4 v6,v4",
        ),
        (
            json!({"ipFamilies": ["IPv6"], "ipFamilyPolicy": "PreferDualStack"}),
            "PreferDualStack IPv6,IPv4 v6,v4",
        ),
        (json!({"clusterIP": "fd96::99"}), "SingleStack IPv6 v6"),
        (
            json!({"clusterIPs": ["fd96::9a", "10.97.0.9"]}),
            "RequireDualStack IPv6,IPv4 v6,v4",
        ),
        (
            json!({"clusterIP": "None", "selector": selector}),
            "SingleStack IPv4 None",
        ),
        (
            json!({"clusterIP": "None", "selector": selector, "ipFamilyPolicy": "PreferDualStack"}),
            "PreferDualStack IPv4,IPv6 None",
        ),
        // Whoever writes its endpoints may write any.
        (json!({"clusterIP": "None"}), "RequireDualStack IPv4,IPv6 None"),
    ]
    .into_iter()
    .enumerate()
    {
        let made = client.create(service(&format!("s{at}"), &spec)).await;
        assert_eq!(said(&written(&made.unwrap())), expected, "{spec}");
    }
}

#[tokio::test]
async fn families_and_addresses_that_cannot_be_are_said_by_field() {
    let bench = Bench::start_with(Some(ranges())).await;
    let mut client = bench.objects();
    client
        .create(service("has", &json!({"clusterIP": "fd96::99"})))
        .await
        .unwrap();
    for (spec, field, words) in [
        (
            json!({"ipFamilyPolicy": "Both"}),
            "spec.ipFamilyPolicy",
            "expected SingleStack",
        ),
        (
            json!({"ipFamilies": ["IPv5"]}),
            "spec.ipFamilies[0]",
            "expected IPv4 or IPv6",
        ),
        (json!({"ipFamilies": ["IPv4", "IPv4"]}), "spec.ipFamilies[1]", "twice"),
        (
            json!({"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4", "IPv6"]}),
            "spec.ipFamilies",
            "one value only",
        ),
        (
            json!({"ipFamilies": ["IPv6"], "clusterIP": "10.97.0.77"}),
            "spec.clusterIPs[0]",
            "not of IPv6",
        ),
        (
            json!({"clusterIP": "10.96.0.9"}),
            "spec.clusterIP",
            "no address of 10.97.0.0/16",
        ),
        (
            json!({"clusterIPs": ["10.97.0.78", "fd97::1"]}),
            "spec.clusterIPs[1]",
            "no address of fd96::/112",
        ),
        (json!({"clusterIP": "fd96::99"}), "spec.clusterIP", "\"has\""),
    ] {
        let error = client.create(service("x", &spec)).await.unwrap_err();
        assert_eq!(error.causes[0].field, field, "{error}");
        assert!(error.causes[0].message.contains(words), "{error}");
    }
}

#[tokio::test]
async fn a_second_family_comes_and_goes_and_the_first_stays() {
    let bench = Bench::start_with(Some(ranges())).await;
    let mut client = bench.objects();
    let before = written(&client.create(service("s", &json!({}))).await.unwrap());
    let prefer = json!({"spec": {"ipFamilyPolicy": "PreferDualStack"}});
    let both = written(&client.patch("services", "s", PatchType::Merge, prefer).await.unwrap());
    assert_eq!(said(&both), "PreferDualStack IPv4,IPv6 v4,v6");
    assert_eq!(both["spec"]["clusterIP"], before["spec"]["clusterIP"]);
    // A manifest that says nothing of it takes nothing away.
    let again = written(
        &client
            .apply(service("s", &json!({"selector": {"a": "b"}})))
            .await
            .unwrap(),
    );
    assert_eq!(again["spec"]["clusterIPs"], both["spec"]["clusterIPs"]);
    for (patch, field) in [
        (
            json!({"ipFamilies": ["IPv6", "IPv4"], "clusterIPs": null}),
            "spec.ipFamilies[0]",
        ),
        (
            json!({"clusterIPs": [both["spec"]["clusterIP"], "fd96::77"]}),
            "spec.clusterIPs[1]",
        ),
    ] {
        let patch = json!({"spec": patch});
        let error = client
            .patch("services", "s", PatchType::Merge, patch)
            .await
            .unwrap_err();
        assert!(
            error
                .causes
                .iter()
                .any(|cause| cause.field == field && cause.message.contains("immutable")),
            "{error}"
        );
    }
    let single = json!({"spec": {"ipFamilyPolicy": "SingleStack"}});
    let one = written(&client.patch("services", "s", PatchType::Merge, single).await.unwrap());
    assert_eq!(said(&one), "SingleStack IPv4 v4");
    // What was given back is another's to have.
    let address = both["spec"]["clusterIPs"][1].clone();
    client
        .create(service("t", &json!({"clusterIP": address})))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_cluster_of_one_family_says_so() {
    let bench = Bench::start().await;
    let mut client = bench.objects();
    let prefer = client
        .create(service("p", &json!({"ipFamilyPolicy": "PreferDualStack"})))
        .await
        .unwrap();
    assert_eq!(written(&prefer)["spec"]["ipFamilies"], json!(["IPv4"]));
    for (spec, field) in [
        (json!({"ipFamilyPolicy": "RequireDualStack"}), "spec.ipFamilyPolicy"),
        (json!({"ipFamilies": ["IPv6"]}), "spec.ipFamilies[0]"),
        (json!({"clusterIP": "fd96::1"}), "spec.clusterIP"),
    ] {
        let error = client.create(service("x", &spec)).await.unwrap_err();
        assert_eq!(error.causes[0].field, field, "{error}");
    }
}

#[tokio::test]
async fn nodes_have_ranges_of_the_clusters_families_and_the_cluster_keeps_its_own() {
    let mut bench = Bench::start_with(Some(ranges())).await;
    let mut client = bench.objects();
    let node = |name: &str, ranges: &[&str]| json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {"podCIDR": ranges[0], "podCIDRs": ranges}});
    client
        .create(node("a", &["10.42.1.0/24", "fd42:0:0:1::/64"]))
        .await
        .unwrap();
    for (ranges, words) in [
        (&["10.42.2.0/24"][..], "this cluster is dual-stack"),
        (
            &["10.42.2.0/24", "fd42:0:0:1::/64"],
            "overlaps with fd42:0:0:1::/64, which node \"a\" has",
        ),
        (&["10.97.2.0/24", "fd42:0:0:2::/64"], "overlaps with 10.97.0.0/16"),
    ] {
        let error = client.create(node("b", ranges)).await.unwrap_err();
        assert!(error.causes[0].message.contains(words), "{error}");
    }
    // Nobody says the ranges again when it starts, and who says others is told which it has.
    bench.restart().await.unwrap();
    assert_eq!(bench.server().ranges(), ranges());
    bench.server.take().unwrap().shutdown().await;
    let other = ServerConfig {
        ranges: Some(ClusterRanges::default()),
        ..config(bench.dir.path())
    };
    let error = Server::start(other).await.err().unwrap().to_string();
    assert!(
        error.contains("--cluster-cidr 10.42.0.0/16,fd42::/56") && error.contains("cannot be changed"),
        "{error}"
    );
}

#[test]
fn a_machine_that_joined_before_has_the_usual_ranges() {
    let dir = tempfile::tempdir().unwrap();
    let kept = json!({"role": "node", "name": "n1", "cluster": "c", "clusterName": "sampan", "member": 0, "peers": [],
        "servers": ["10.0.0.1:7443"], "podCidr": "10.42.1.0/24"});
    std::fs::write(dir.path().join("enrolled.json"), kept.to_string()).unwrap();
    let enrolled = enrolled(dir.path()).unwrap().unwrap();
    assert_eq!(enrolled.ranges(), Ok(ClusterRanges::default()));
}
