//! A policy's configuration, through the kernel: it decides where pods go, another is in force without a restart, and what
//! the policy refuses changes nothing.
use crate::{control_plane, rules};
use cluster::ControlPlane;
use sampan_api::{
    plugin::{Mode, RESOURCE},
    rpc::{Key, PatchRequest, WriteResponse, objects_client::ObjectsClient},
};
use serde_json::{Value, json};
use tonic::{Status, transport::Channel};

/// Changes the configuration of the policy that decides, as `sampan patch` does.
async fn configure(objects: &mut ObjectsClient<Channel>, config: &Value) -> Result<WriteResponse, Status> {
    let key = Key {
        resource: RESOURCE.to_owned(),
        name: "scheduler".to_owned(),
        ..Key::default()
    };
    let patch = json!({"spec": {"config": config}}).to_string().into_bytes().into();
    let request = PatchRequest {
        key: Some(key),
        patch,
        ..PatchRequest::default()
    };
    objects.patch(request).await.map(tonic::Response::into_inner)
}

/// Two nodes of which one is half full, and where the next pods go.
async fn preferred(plane: &ControlPlane, prefix: &str) -> Vec<String> {
    for n in 0..3 {
        rules::pod(plane, &format!("{prefix}{n}"), json!({}), json!({})).await;
    }
    plane.until_bound(prefix).await;
    let mut nodes: Vec<String> = plane.bindings(prefix).into_iter().map(|(_, node, _)| node).collect();
    nodes.sort();
    nodes.dedup();
    nodes
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_change_placements_without_a_restart_and_a_bad_one_is_refused_by_name() {
    let plane = control_plane().await;
    rules::nodes(&plane, &[("empty", "a"), ("full", "a")], 40).await;
    rules::until_active(&plane).await;
    for n in 0..20 {
        let there = json!({"nodeSelector": {"kubernetes.io/hostname": "full"}});
        rules::pod(&plane, &format!("there{n}"), json!({}), there).await;
    }
    plane.until_bound("there").await;
    assert_eq!(
        preferred(&plane, "least").await,
        ["empty"],
        "LeastAllocated is the default"
    );

    let mut objects = plane.objects();
    let only_fit = json!({"NodeResourcesFit": 10, "NodeResourcesBalancedAllocation": 0, "PodTopologySpread": 0});
    let most = json!({"scoringStrategy": {"type": "MostAllocated"}, "weights": only_fit});
    configure(&mut objects, &most).await.unwrap();
    until_follows(&plane, "full").await;
    assert_eq!(preferred(&plane, "most").await, ["full"]);

    // The same strategy, with a weight that leaves it out: what decides is something else again.
    for (bad, names) in [
        (
            json!({"weights": {"NodeResourcesFit": 101}}),
            "weights.NodeResourcesFit: 101",
        ),
        (
            json!({"weights": {"NodeResourcesFit": "much"}}),
            "weights.NodeResourcesFit: invalid type",
        ),
        (
            json!({"weights": {"NodeResourceFit": 1}}),
            "unknown field `NodeResourceFit`",
        ),
        (json!({"scoringStrategy": {"type": "Best"}}), "scoringStrategy.type"),
    ] {
        let refused = configure(&mut objects, &bad).await.unwrap_err();
        let words = String::from_utf8_lossy(refused.details()).into_owned() + refused.message();
        assert!(words.contains(names) && words.contains("spec.config"), "{bad}: {words}");
    }
    let (spec, status) = plane.plugin("scheduler");
    assert_eq!((spec.mode, &spec.config), (Mode::Active, &most), "{status}");
    assert_eq!(preferred(&plane, "still").await, ["full"]);

    let even = json!({"scoringStrategy": null, "weights": {"NodeResourcesFit": 0}});
    configure(&mut objects, &even).await.unwrap();
    until_follows(&plane, "empty").await;
    plane.server.shutdown().await;
}

/// Waits until the next pods go there: the loop takes another configuration between two decisions.
async fn until_follows(plane: &ControlPlane, node: &str) {
    for round in 0..500 {
        let prefix = format!("follow-{node}-{round}-");
        rules::pod(plane, &prefix, json!({}), json!({})).await;
        plane.until_bound(&prefix).await;
        let now = rules::node_of(plane, &prefix);
        let key = rules::pod_key(&prefix);
        let gone = sampan_api::plan::Deletion {
            final_: true,
            ..Default::default()
        };
        let delete = sampan_api::Operation::Delete(gone);
        plane.commit(vec![sampan_api::Write::new(key, delete)]).await;
        if now == node {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("pods never go to {node}");
}
