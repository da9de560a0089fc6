//! Pods placed anew by the default policy: who makes room, who comes in a group, who stays where he is.
use super::*;
use crate::replica::{ReplicaConfig, ReplicaHandle};
use sampan_api::{Object, Operation, Write, plugin::World as PluginWorld};
use sampan_sandbox::{Limits, PluginEngine, scheduler::SchedulerPlugin};
use serde_json::{Value, json};

/// A state, as a server keeps it.
struct State {
    replica: ReplicaHandle,
    _dir: tempfile::TempDir,
    made: std::cell::Cell<u32>,
}

impl State {
    /// With nodes that have room for two pods each.
    fn of(nodes: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let replica = ReplicaHandle::open(&ReplicaConfig {
            dir: dir.path().to_owned(),
            cluster: "test".to_owned(),
            member: 1,
            joins: false,
            alone: false,
            quota_bytes: crate::QUOTA,
        });
        let state = State {
            replica: replica.unwrap(),
            _dir: dir,
            made: Default::default(),
        };
        state.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}}));
        for name in nodes {
            let status = json!({"allocatable": {"cpu": "200m", "memory": "1Gi", "pods": "10"},
                "conditions": [{"type": "Ready", "status": "True"}]});
            state.create(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": status}));
        }
        state
    }

    fn create(&self, value: Value) {
        let object = Object::from_value(&value).unwrap();
        let write = Write::new(object.key().unwrap(), Operation::Create(object));
        self.replica
            .commit_blocking(vec![write.into()])
            .unwrap()
            .remove(0)
            .unwrap();
    }

    /// Half of a node's CPU, with more in its spec. Of those that are made in one millisecond the name decides.
    fn pod(&self, name: &str, labels: Value, more: Value) {
        let container = json!({"name": "c", "image": "i", "resources": {"requests": {"cpu": "100m"}}});
        let mut spec = json!({ "containers": [container] });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let number = self.made.get();
        self.made.set(number + 1);
        let metadata = json!({"name": format!("{number:02}-{name}"), "namespace": "default", "labels": labels});
        self.create(json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}));
    }

    fn scene(&self) -> Scene {
        scene_of(&self.replica.snapshot(), "default-scheduler")
    }
}

fn plugin(name: &str) -> SchedulerPlugin {
    let bytes = sampan_builtin::component(sampan_builtin::PLUGINS, name).unwrap();
    let limits = Limits {
        deadline: Duration::from_secs(30),
        ..Limits::default()
    };
    let engine = PluginEngine::new(None).unwrap();
    let loaded = engine.load(PluginWorld::Scheduler, bytes, &Value::Null, limits);
    loaded.unwrap().scheduler().unwrap()
}

fn answer(scene: &Scene, outcome: &Outcome, name: &str) -> Answer {
    let at = scene.pods.iter().position(|pod| pod.name.ends_with(name)).unwrap();
    outcome.answers[at].clone()
}

#[test]
fn the_less_important_make_room_and_come_again() {
    let state = State::of(&["n"]);
    state.pod("low", json!({}), json!({"priority": 1}));
    state.pod("middle", json!({}), json!({"priority": 5}));
    state.pod("high", json!({}), json!({"priority": 9}));
    let scene = state.scene();
    let outcome = place_anew(&scene, plugin("scheduler")).unwrap();
    let all = (outcome.placed, outcome.waiting, outcome.preemptors, outcome.victims);
    assert_eq!(all, (2, 1, 1, 1), "{:?}", outcome.answers);
    assert_eq!(answer(&scene, &outcome, "high").node, "n");
    assert_eq!(answer(&scene, &outcome, "middle").node, "n");
    let low = answer(&scene, &outcome, "low");
    assert!(low.node.is_empty() && low.why.contains("1 Insufficient cpu"), "{low:?}");
    let figures = scene.figures(&outcome);
    assert_eq!(
        (figures.cpu.mean, figures.cpu.deviation, figures.used_nodes),
        (100.0, 0.0, 1)
    );
    // Where they are now: nowhere.
    assert_eq!(scene.now().cpu.mean, 0.0);
}

#[test]
fn a_group_comes_whole_or_not_and_others_stay() {
    let state = State::of(&["m", "n"]);
    let member = |group: &str| json!({"scheduling.x-k8s.io/pod-group": group, "scheduling.x-k8s.io/min-member": "3"});
    state.pod("other", json!({}), json!({"schedulerName": "mine", "nodeName": "m"}));
    state.pod(
        "gated",
        json!({}),
        json!({"schedulingGates": [{"name": "example.com/wait"}]}),
    );
    for n in 0..2 {
        state.pod(&format!("few{n}"), member("few"), json!({}));
    }
    for n in 0..3 {
        state.pod(&format!("all{n}"), member("all"), json!({}));
    }
    state.pod("late", json!({}), json!({"nodeName": "n"}));
    let scene = state.scene();
    assert_eq!((scene.staying(), scene.pods.len()), (1, 6));
    let outcome = place_anew(&scene, plugin("scheduler")).unwrap();
    assert_eq!(
        (outcome.placed, outcome.waiting, outcome.refused),
        (3, 3, 0),
        "{:?}",
        outcome.answers
    );
    for n in 0..3 {
        assert!(!answer(&scene, &outcome, &format!("all{n}")).node.is_empty());
    }
    // There was no room left for who came last, whatever node it has now.
    let late = answer(&scene, &outcome, "late");
    assert!(
        late.node.is_empty() && late.why.contains("2 Insufficient cpu"),
        "{late:?}"
    );
    assert_eq!(scene.pods.last().unwrap().on, "n");
}

#[test]
fn what_is_free_is_fragmented_where_a_large_pod_has_no_room() {
    let state = State::of(&["m", "n", "o"]);
    for n in 0..3 {
        state.pod(&format!("p{n}"), json!({}), json!({"priority": n}));
    }
    let container = json!({"name": "c", "image": "i", "resources": {"requests": {"cpu": "150m"}}});
    state.pod("large", json!({}), json!({"containers": [container]}));
    let scene = state.scene();
    assert_eq!((scene.large().milli_cpu, scene.pods.len()), (150, 4));
    let outcome = place_anew(&scene, plugin("scheduler")).unwrap();
    // One on each, and then it has room nowhere; packed, a node and a half are left.
    assert_eq!((outcome.placed, outcome.waiting), (3, 1));
    assert_eq!(scene.figures(&outcome).cpu_fragmented, 100.0);
    let outcome = place_anew(&scene, plugin("binpack")).unwrap();
    assert_eq!((outcome.placed, outcome.waiting), (4, 0), "{:?}", outcome.answers);
    let figures = scene.figures(&outcome);
    assert_eq!((figures.cpu_fragmented, figures.used_nodes), (100.0, 3));
    assert_eq!(scene.now().cpu_fragmented, 0.0);
}

#[test]
fn a_policy_that_fails_says_over_whom() {
    let state = State::of(&["n"]);
    state.pod("web", json!({}), json!({}));
    let scene = state.scene();
    let failure = |name: &str| {
        let bytes = sampan_builtin::component(sampan_builtin::HOSTILE, name).unwrap();
        let engine = PluginEngine::new(None).unwrap();
        let loaded = engine.load(PluginWorld::Scheduler, bytes, &Value::Null, Limits::default());
        let failed = place_anew(&scene, loaded.unwrap().scheduler().unwrap()).unwrap_err();
        failed.to_string()
    };
    for (name, words) in [("hostile-liar", "which does not exist"), ("hostile-trap", "trapped")] {
        let failed = failure(name);
        assert!(failed.contains(words) && failed.contains("default/00-web"), "{failed}");
    }
}
