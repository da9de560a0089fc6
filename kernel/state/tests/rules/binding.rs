//! Binding: the committer's check, whatever a policy said.
use crate::fixture::{World, asking, key, node, pod, refused};
use sampan_api::{
    Operation, Reason, Write,
    plan::{Binding, POLICY_ANNOTATION},
};
use serde_json::json;

fn to(node: &str) -> Operation {
    Operation::Bind(Binding {
        node: node.into(),
        policy: "sha256:abc".into(),
    })
}

/// A world with a node of 2 CPUs and room for 3 pods.
fn with_node(spec: serde_json::Value) -> World {
    let mut world = World::new();
    world.create(node("n", spec, "2", "3"));
    world
}

#[test]
fn a_binding_sets_the_node_and_says_who_decided() {
    let mut world = with_node(json!({}));
    world.create(asking("p", "1500m"));
    let bound = world.write(&key("pods", "p"), to("n")).unwrap().objects[0]
        .clone()
        .unwrap();
    assert_eq!(bound.field_value("spec")["nodeName"], "n");
    assert_eq!(
        bound.field_value("spec")["containers"][0]["image"],
        "i",
        "the rest of the spec stays"
    );
    assert_eq!(bound.metadata.annotations[POLICY_ANNOTATION], "sha256:abc");
    let condition = &bound.field_value("status")["conditions"][0];
    assert_eq!(
        (&condition["type"], &condition["status"]),
        (&json!("PodScheduled"), &json!("True"))
    );
    let usage = world.store.snapshot().usage("n");
    assert_eq!((usage.milli_cpu, usage.pods), (1500, 1));
}

#[test]
fn an_earlier_condition_of_the_same_type_is_replaced_and_others_stay() {
    let mut world = with_node(json!({}));
    let mut manifest = asking("p", "1");
    manifest["status"] =
        json!({"conditions": [{"type": "PodScheduled", "status": "False"}, {"type": "Ready", "status": "False"}]});
    world.create(manifest);
    let bound = world.write(&key("pods", "p"), to("n")).unwrap().objects[0]
        .clone()
        .unwrap();
    let status = bound.field_value("status");
    let conditions = status["conditions"].as_array().unwrap();
    assert_eq!(conditions.len(), 2);
    assert!(
        conditions
            .iter()
            .any(|c| c["type"] == "PodScheduled" && c["status"] == "True")
    );
    assert!(conditions.iter().any(|c| c["type"] == "Ready"));
}

#[test]
fn bound_ending_and_missing_pods_are_refused() {
    let mut world = with_node(json!({}));
    world.create(asking("p", "1"));
    refused(
        world.write(&key("pods", "q"), to("n")),
        Reason::NotFound,
        "pods \"q\" not found",
    );
    refused(
        world.write(&key("pods", "p"), to("m")),
        Reason::Conflict,
        "no such node",
    );
    refused(world.write(&key("nodes", "n"), to("n")), Reason::Conflict, "no pod");
    world.write(&key("pods", "p"), to("n")).unwrap();
    refused(world.write(&key("pods", "p"), to("n")), Reason::Conflict, "bound to n");
    let mut ending = asking("e", "1");
    ending["metadata"]["finalizers"] = json!(["one"]);
    world.create(ending);
    world
        .write(&key("pods", "e"), Operation::Delete(Default::default()))
        .unwrap();
    refused(world.write(&key("pods", "e"), to("n")), Reason::Conflict, "ending");
}

#[test]
fn a_bound_pod_stays_on_its_node() {
    let mut world = with_node(json!({}));
    world.create(asking("p", "1"));
    world.write(&key("pods", "p"), to("n")).unwrap();
    let moved = Operation::Merge(json!({"spec": {"nodeName": "m"}}));
    refused(world.write(&key("pods", "p"), moved), Reason::Invalid, "nodeName");
    let freed = Operation::Merge(json!({"spec": {"nodeName": null}}));
    refused(world.write(&key("pods", "p"), freed), Reason::Invalid, "nodeName");
    assert_eq!(world.store.snapshot().usage("n").pods, 1);
}

#[test]
fn cordoned_nodes_are_refused() {
    let mut world = with_node(json!({"unschedulable": true}));
    world.create(asking("p", "1"));
    refused(world.write(&key("pods", "p"), to("n")), Reason::Conflict, "cordoned");
}

#[test]
fn taints_are_kept() {
    let cases = [
        (json!([]), "NoSchedule", false),
        (json!([]), "NoExecute", false),
        (json!([]), "PreferNoSchedule", true),
        (json!([{"operator": "Exists"}]), "NoExecute", true),
        (json!([{"key": "gpu", "operator": "Exists"}]), "NoSchedule", true),
        (json!([{"key": "gpu", "value": "yes"}]), "NoSchedule", true),
        (
            json!([{"key": "gpu", "operator": "Equal", "value": "no"}]),
            "NoSchedule",
            false,
        ),
        (
            json!([{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]),
            "NoSchedule",
            true,
        ),
        (
            json!([{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]),
            "NoExecute",
            false,
        ),
        (json!([{"key": "disk", "operator": "Exists"}]), "NoSchedule", false),
    ];
    for (tolerations, effect, accepted) in cases {
        let mut world = with_node(json!({"taints": [{"key": "gpu", "value": "yes", "effect": effect}]}));
        world.create(pod("p", json!({"containers": [], "tolerations": tolerations})));
        let result = world.write(&key("pods", "p"), to("n"));
        match accepted {
            true => assert!(result.is_ok(), "{tolerations} against {effect}: {result:?}"),
            false => refused(result, Reason::Conflict, "taint gpu"),
        }
    }
}

#[test]
fn a_full_node_is_refused_and_freed_room_is_used_again() {
    let mut world = with_node(json!({}));
    for name in ["a", "b", "c", "d"] {
        world.create(asking(name, "800m"));
    }
    world.write(&key("pods", "a"), to("n")).unwrap();
    world.write(&key("pods", "b"), to("n")).unwrap();
    refused(world.write(&key("pods", "c"), to("n")), Reason::Conflict, "full");
    world
        .write(
            &key("pods", "a"),
            Operation::MergeStatus(json!({"status": {"phase": "Failed"}})),
        )
        .unwrap();
    world.write(&key("pods", "c"), to("n")).unwrap();
    assert_eq!(world.store.snapshot().usage("n").milli_cpu, 1600);
}

#[test]
fn pods_are_counted_too() {
    let mut world = with_node(json!({}));
    for name in ["a", "b", "c", "d"] {
        world.create(asking(name, "0"));
    }
    for name in ["a", "b", "c"] {
        world.write(&key("pods", name), to("n")).unwrap();
    }
    refused(world.write(&key("pods", "d"), to("n")), Reason::Conflict, "full");
}

#[test]
fn the_bindings_of_one_plan_count_together() {
    let mut world = with_node(json!({}));
    for name in ["a", "b", "c"] {
        world.create(asking(name, "800m"));
    }
    let writes = ["a", "b", "c"].map(|name| Write::new(key("pods", name), to("n")));
    refused(world.plan(writes.to_vec()), Reason::Conflict, "full");
    assert_eq!(world.store.snapshot().usage("n").pods, 0, "whole or not at all");
    world.plan(writes[..2].to_vec()).unwrap();
    assert_eq!(world.store.snapshot().usage("n").milli_cpu, 1600);
}

#[test]
fn a_pod_bound_before_counts_once_when_it_changes_in_a_plan_that_binds_another() {
    let mut world = with_node(json!({}));
    world.create(asking("a", "1"));
    world.create(asking("b", "1"));
    world.write(&key("pods", "a"), to("n")).unwrap();
    let label = Write::new(
        key("pods", "a"),
        Operation::Merge(json!({"metadata": {"labels": {"x": "y"}}})),
    );
    world.plan(vec![label, Write::new(key("pods", "b"), to("n"))]).unwrap();
    assert_eq!(world.store.snapshot().usage("n").milli_cpu, 2000);
}

#[test]
fn sidecars_init_containers_limits_and_overhead_count_as_in_kubernetes() {
    let mut world = World::new();
    world.create(node("n", json!({}), "100", "110"));
    let container = |kind: &str, cpu: &str| json!({"name": "c", "image": "i", "resources": {kind: {"cpu": cpu}}});
    let mut sidecar = container("requests", "10m");
    sidecar["restartPolicy"] = "Always".into();
    let spec = json!({
        "containers": [container("requests", "100m"), container("limits", "200m")],
        "initContainers": [container("requests", "250m"), sidecar],
        "overhead": {"cpu": "5m", "memory": "1Mi"},
    });
    world.create(pod("p", spec));
    world.write(&key("pods", "p"), to("n")).unwrap();
    let usage = world.store.snapshot().usage("n");
    let typed: k8s_openapi::api::core::v1::PodSpec = world.get(&key("pods", "p")).unwrap().field("spec").unwrap();
    assert_eq!(usage, sampan_api::quantity::pod_requests(&typed).unwrap());
}

/// A pod that asks for some of an extended resource.
fn with_gpus(name: &str, amount: &str) -> serde_json::Value {
    let demands = json!({"limits": {"example.com/gpu": amount}});
    pod(
        name,
        json!({"containers": [{"name": "c", "image": "i", "resources": demands}]}),
    )
}

/// A world with a node of four of them.
fn with_gpu_node(level: u64) -> World {
    let mut world = World::at_level(level);
    let mut manifest = node("n", json!({}), "2", "9");
    manifest["status"]["allocatable"]["example.com/gpu"] = json!("4");
    world.create(manifest);
    world
}

#[test]
fn extended_resources_are_counted() {
    let mut world = with_gpu_node(4);
    for (name, amount) in [("a", "3"), ("b", "2"), ("c", "1"), ("d", "0"), ("bad", "x")] {
        world.create(with_gpus(name, amount));
    }
    world.write(&key("pods", "a"), to("n")).unwrap();
    let words = "the node is full: the pod asks for 2 of example.com/gpu, and 1 are free";
    refused(world.write(&key("pods", "b"), to("n")), Reason::Conflict, words);
    refused(
        world.write(&key("pods", "bad"), to("n")),
        Reason::Conflict,
        "no quantity",
    );
    // Of one plan they count together; what asks for none needs none.
    let both = ["c", "b"].map(|name| Write::new(key("pods", name), to("n")));
    refused(world.plan(both.to_vec()), Reason::Conflict, "and 0 are free");
    world.write(&key("pods", "c"), to("n")).unwrap();
    world.write(&key("pods", "d"), to("n")).unwrap();
    // Room that is given back is used again.
    let ended = Operation::MergeStatus(json!({"status": {"phase": "Succeeded"}}));
    world.write(&key("pods", "a"), ended).unwrap();
    world.write(&key("pods", "b"), to("n")).unwrap();
    // A node that has none takes none.
    world.create(node("plain", json!({}), "2", "9"));
    world.create(with_gpus("e", "1"));
    refused(
        world.write(&key("pods", "e"), to("plain")),
        Reason::Conflict,
        "and 0 are free",
    );
}

#[test]
fn while_a_build_is_there_that_does_not_count_them_nobody_does() {
    let mut world = with_gpu_node(3);
    for (name, amount) in [("a", "3"), ("b", "9"), ("bad", "x")] {
        world.create(with_gpus(name, amount));
        world.write(&key("pods", name), to("n")).unwrap();
    }
}
