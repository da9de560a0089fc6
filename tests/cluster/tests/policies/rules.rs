//! The default policy in a control plane: the rules between pods, preemption, gates and groups, from object to binding.
use crate::{control_plane, until_decides};
use cluster::ControlPlane;
use sampan_api::{Key, Object, Operation, Selection, Write, plan::Deletion};
use serde_json::{Value, json};

/// Long enough for the loop to do what it should not.
pub const A_WHILE: std::time::Duration = std::time::Duration::from_millis(1500);

/// Nodes in zones, with room for some pods of a tenth of a core each.
pub async fn nodes(plane: &ControlPlane, zones: &[(&str, &str)], pods: u32) {
    for (name, zone) in zones {
        let metadata = json!({"name": name, "labels": {"zone": zone, "kubernetes.io/hostname": name}});
        let status = json!({"allocatable": {"cpu": format!("{}m", pods * 100), "memory": "64Gi", "pods": "100"},
            "conditions": [{"type": "Ready", "status": "True"}]});
        plane
            .create(json!({"apiVersion": "v1", "kind": "Node", "metadata": metadata, "status": status}))
            .await;
    }
}

pub fn pod_key(name: &str) -> Key {
    Key::new("pods", "default", name)
}

/// A pod of a tenth of a core with labels, and with more in its spec.
pub async fn pod(plane: &ControlPlane, name: &str, labels: Value, more: Value) {
    let container = json!({"name": "c", "image": "i", "resources": {"requests": {"cpu": "100m"}}});
    let mut spec = json!({ "containers": [container] });
    if let (Some(spec), Value::Object(more)) = (spec.as_object_mut(), more) {
        spec.extend(more);
    }
    let metadata = json!({"name": name, "namespace": "default", "labels": labels});
    plane
        .create(json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}))
        .await;
}

/// Where a pod is; empty where it waits.
pub fn node_of(plane: &ControlPlane, name: &str) -> String {
    let found = plane.bindings(name).into_iter().find(|(pod, ..)| pod == name);
    found.map(|(_, node, _)| node).unwrap_or_default()
}

pub fn get(plane: &ControlPlane, name: &str) -> Option<std::sync::Arc<Object>> {
    plane.server.replica().snapshot().get(&pod_key(name))
}

/// What the condition `PodScheduled` says.
pub fn told(plane: &ControlPlane, name: &str) -> String {
    let status = get(plane, name)
        .map(|pod| pod.field_value("status"))
        .unwrap_or_default();
    let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    let scheduled = conditions.iter().find(|one| one["type"] == "PodScheduled");
    let message = scheduled.and_then(|one| one["message"].as_str());
    message.unwrap_or_default().to_owned()
}

/// The messages of the events about a pod, of one reason.
pub fn events(plane: &ControlPlane, name: &str, reason: &str) -> Vec<String> {
    let snapshot = plane.server.replica().snapshot();
    let events = Selection::of("events");
    let about = snapshot.list(&events).filter(|(_, event)| {
        event.field_value("involvedObject")["name"] == name && event.field_value("reason") == reason
    });
    about
        .map(|(_, event)| event.field_value("message").as_str().unwrap_or_default().to_owned())
        .collect()
}

/// A PriorityClass.
pub fn class(name: &str, value: i32, preemption: &str) -> Value {
    json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": value,
        "preemptionPolicy": preemption})
}

fn near(kind: &str, app: &str, key: &str) -> Value {
    let term = json!({"topologyKey": key, "labelSelector": {"matchLabels": {"app": app}}});
    json!({"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}})
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_go_near_to_some_and_far_from_others() {
    let plane = control_plane().await;
    nodes(&plane, &[("a1", "a"), ("b1", "b"), ("b2", "b")], 20).await;
    until_decides(&plane, "scheduler").await;
    // Nobody to be near to yet: it waits, and is woken when the other comes.
    pod(&plane, "web", json!({"app": "web"}), near("podAffinity", "db", "zone")).await;
    plane
        .until("it is told why it waits", |plane| {
            told(plane, "web").contains("pod affinity rules")
        })
        .await;
    let message = told(&plane, "web");
    assert!(
        message.starts_with("0/3 nodes are available: 3 node(s) didn't match pod affinity rules."),
        "{message}"
    );
    pod(
        &plane,
        "db",
        json!({"app": "db"}),
        json!({"nodeSelector": {"zone": "b"}}),
    )
    .await;
    plane.until_bound("db").await;
    plane.until_bound("web").await;
    assert!(node_of(&plane, "web").starts_with('b'));
    // One of a kind on each host, and no fourth.
    for n in 0..4 {
        let far = near("podAntiAffinity", "shy", "kubernetes.io/hostname");
        pod(&plane, &format!("shy{n}"), json!({"app": "shy"}), far).await;
    }
    let bound = |plane: &ControlPlane| {
        let nodes = (0..4).map(|n| node_of(plane, &format!("shy{n}")));
        nodes
            .filter(|node| !node.is_empty())
            .collect::<std::collections::BTreeSet<_>>()
    };
    plane
        .until("three hosts have one each", |plane| bound(plane).len() == 3)
        .await;
    plane
        .until("the fourth is told why", |plane| {
            told(plane, "shy3").contains("anti-affinity")
        })
        .await;
    // A host more helps it, by the name of its label alone.
    nodes(&plane, &[("c1", "c")], 20).await;
    plane
        .until("the fourth is bound", |plane| node_of(plane, "shy3") == "c1")
        .await;
    plane.server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_spread_over_zones() {
    let plane = control_plane().await;
    nodes(&plane, &[("a1", "a"), ("a2", "a"), ("a3", "a"), ("b1", "b")], 20).await;
    until_decides(&plane, "scheduler").await;
    let constraint = json!({"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "s"}}});
    for n in 0..10 {
        let spec = json!({"topologySpreadConstraints": [constraint]});
        pod(&plane, &format!("s{n}"), json!({"app": "s"}), spec).await;
    }
    plane.until_bound("s").await;
    let in_b = (0..10).filter(|n| node_of(&plane, &format!("s{n}")) == "b1").count();
    assert_eq!(in_b, 5, "half of them in the zone with one node of four");
    plane.server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_less_important_make_room() {
    let plane = control_plane().await;
    nodes(&plane, &[("n1", "a"), ("n2", "a")], 2).await;
    until_active(&plane).await;
    for (name, value) in [("least", 1), ("low", 5), ("high", 100)] {
        plane.create(class(name, value, "PreemptLowerPriority")).await;
    }
    plane.create(class("never", 50, "Never")).await;
    for n in 0..4 {
        let class = if n == 2 { "least" } else { "low" };
        pod(
            &plane,
            &format!("low{n}"),
            json!({}),
            json!({"priorityClassName": class}),
        )
        .await;
    }
    plane.until_bound("low").await;
    pod(&plane, "never", json!({}), json!({"priorityClassName": "never"})).await;
    plane
        .until("it is told so", |plane| {
            told(plane, "never").contains("preemptionPolicy=Never")
        })
        .await;
    pod(&plane, "high", json!({}), json!({"priorityClassName": "high"})).await;
    let going = |plane: &ControlPlane, name: &str| {
        get(plane, name).is_some_and(|pod| pod.metadata.deletion_timestamp.is_some())
    };
    plane
        .until("the least important is ending", |plane| going(plane, "low2"))
        .await;
    let status = get(&plane, "low2").unwrap().field_value("status");
    let target = status["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .find(|c| c["type"] == "DisruptionTarget");
    assert_eq!(target.unwrap()["reason"], "PreemptionByScheduler");
    let node = node_of(&plane, "low2");
    let nominated = get(&plane, "high").unwrap().field_value("status")["nominatedNodeName"].clone();
    assert_eq!(nominated, json!(node));
    plane
        .until("the victim's event", |plane| {
            !events(plane, "low2", "Preempted").is_empty()
        })
        .await;
    tokio::time::sleep(A_WHILE).await;
    let others = [0, 1, 3]
        .into_iter()
        .filter(|n| going(&plane, &format!("low{n}")))
        .count();
    assert_eq!(
        (others, node_of(&plane, "high")),
        (0, String::new()),
        "one victim, and its grace"
    );
    // The victim is gone: its room is for whom it went, not for another that waits.
    let now = Deletion {
        final_: true,
        ..Deletion::default()
    };
    plane
        .commit(vec![Write::new(pod_key("low2"), Operation::Delete(now))])
        .await;
    plane
        .until("it is bound there", |plane| node_of(plane, "high") == node)
        .await;
    assert_eq!(node_of(&plane, "never"), "");
    plane.server.shutdown().await;
}

/// Waits until the default policy sits, by a pod that no node has room for: its refusals say more than the built-in ones.
pub async fn until_active(plane: &ControlPlane) {
    let term = json!({"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "nobody"}}});
    let spec = json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}});
    pod(plane, "probe", json!({}), spec).await;
    plane
        .until("the policy decides", |plane| {
            told(plane, "probe").contains("affinity rules")
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gated_pod_waits_for_its_gates() {
    let plane = control_plane().await;
    nodes(&plane, &[("n1", "a")], 20).await;
    until_decides(&plane, "scheduler").await;
    pod(
        &plane,
        "gated",
        json!({}),
        json!({"schedulingGates": [{"name": "example.com/wait"}]}),
    )
    .await;
    pod(&plane, "free", json!({}), json!({})).await;
    plane.until_bound("free").await;
    assert_eq!(node_of(&plane, "gated"), "");
    assert_eq!(
        told(&plane, "gated"),
        "Scheduling is blocked due to non-empty scheduling gates"
    );
    let open = Operation::Merge(json!({"spec": {"schedulingGates": []}}));
    plane.commit(vec![Write::new(pod_key("gated"), open)]).await;
    plane.until_bound("gated").await;
    plane.server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_placed_together_or_not_at_all() {
    let plane = control_plane().await;
    nodes(&plane, &[("n1", "a"), ("n2", "a")], 2).await;
    until_active(&plane).await;
    let member = |group: &str| json!({"scheduling.x-k8s.io/pod-group": group, "pod-group.scheduling.sigs.k8s.io/min-available": "3"});
    for n in 0..2 {
        pod(&plane, &format!("first{n}"), member("first"), json!({})).await;
    }
    plane
        .until("they are told whom they wait for", |plane| {
            !events(plane, "first0", "FailedScheduling").is_empty()
        })
        .await;
    let said = events(&plane, "first0", "FailedScheduling").join("; ");
    assert!(said.contains("are placed together or none"), "{said}");
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(node_of(&plane, "first0") + &node_of(&plane, "first1"), "");
    pod(&plane, "first2", member("first"), json!({})).await;
    plane.until_bound("first").await;
    // Of the next group only one would have a place.
    for n in 0..3 {
        pod(&plane, &format!("second{n}"), member("second"), json!({})).await;
    }
    let waits = |plane: &ControlPlane| told(plane, "second0") + &told(plane, "second1") + &told(plane, "second2");
    plane
        .until("they are told why they wait", |plane| {
            waits(plane).contains("of its group")
        })
        .await;
    tokio::time::sleep(A_WHILE).await;
    let bound = (0..3)
        .filter(|n| !node_of(&plane, &format!("second{n}")).is_empty())
        .count();
    assert_eq!(bound, 0);
    nodes(&plane, &[("n3", "a")], 2).await;
    plane.until_bound("second").await;
    plane.server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_group_says_how_many_are_placed() {
    let plane = control_plane().await;
    nodes(&plane, &[("n1", "a")], 9).await;
    until_active(&plane).await;
    let metadata = json!({"name": "g", "namespace": "default"});
    let group = json!({"apiVersion": "scheduling.x-k8s.io/v1alpha1", "kind": "PodGroup", "metadata": metadata,
        "spec": {"minMember": 4}});
    plane.create(group).await;
    for n in 0..2 {
        let labels = json!({"scheduling.x-k8s.io/pod-group": "g"});
        pod(&plane, &format!("g{n}"), labels, json!({})).await;
    }
    plane
        .until("they are told whom they wait for", |plane| {
            events(plane, "g1", "FailedScheduling")
                .join("; ")
                .contains("4 are placed together or none")
        })
        .await;
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(node_of(&plane, "g0") + &node_of(&plane, "g1"), "");
    let fewer = Operation::Merge(json!({"spec": {"minMember": 2}}));
    let key = Key::new("podgroups.scheduling.x-k8s.io", "default", "g");
    plane.commit(vec![Write::new(key, fewer)]).await;
    plane.until_bound("g").await;
    plane.server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_without_a_place_in_its_time_is_told_so_and_tried_again() {
    let plane = control_plane().await;
    nodes(&plane, &[("n1", "a")], 2).await;
    until_active(&plane).await;
    let key = Key::new("podgroups.scheduling.x-k8s.io", "default", "g");
    let status = |plane: &ControlPlane| {
        let group = plane.server.replica().snapshot().get(&key);
        group.map(|group| group.field_value("status")).unwrap_or_default()
    };
    let metadata = json!({"name": "g", "namespace": "default"});
    plane
        .create(
            json!({"apiVersion": "scheduling.x-k8s.io/v1alpha1", "kind": "PodGroup", "metadata": metadata,
            "spec": {"minMember": 3, "scheduleTimeoutSeconds": 2}}),
        )
        .await;
    for n in 0..3 {
        let labels = json!({"scheduling.x-k8s.io/pod-group": "g"});
        pod(&plane, &format!("g{n}"), labels, json!({})).await;
    }
    plane
        .until("it is said that it is tried", |plane| {
            status(plane)["phase"] == "Scheduling"
        })
        .await;
    assert!(status(&plane)["scheduleStartTime"].is_string());
    let over = |plane: &ControlPlane, name: &str| told(plane, name).starts_with("pod group g timed out: 3 of it");
    plane
        .until("all are told that their time is over", |plane| {
            (0..3).all(|n| over(plane, &format!("g{n}")))
        })
        .await;
    let said = told(&plane, "g0");
    assert!(
        said.contains("within 2 s") && said.contains("Before: 0/1 nodes"),
        "{said}"
    );
    plane
        .until("and by events", |plane| {
            ["g", "g0", "g2"]
                .iter()
                .all(|name| !events(plane, name, "PodGroupTimedOut").is_empty())
        })
        .await;
    let now = status(&plane);
    let condition = &now["conditions"][0];
    assert_eq!(now["phase"], "Pending", "{now}");
    assert_eq!(
        (&condition["status"], &condition["reason"]),
        (&json!("False"), &json!("ScheduleTimeout"))
    );
    // It holds nothing.
    for n in 0..2 {
        pod(&plane, &format!("other{n}"), json!({}), json!({})).await;
    }
    plane.until_bound("other").await;
    nodes(&plane, &[("n2", "a"), ("n3", "a")], 2).await;
    plane.until_bound("g").await;
    let now = status(&plane);
    assert_eq!(
        (&now["phase"], &now["conditions"][0]["status"]),
        (&json!("Scheduled"), &json!("True")),
        "{now}"
    );
    plane.server.shutdown().await;
}
