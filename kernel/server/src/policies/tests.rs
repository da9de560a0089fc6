//! The policies of a member that does not lead, leads, and leads no more: the leadership is the test's own.
use super::*;
use crate::replica::ReplicaConfig;
use sampan_api::{
    Object, Operation, Plan, Selection, Write, kinds,
    plugin::{Mode, PluginSpec},
};
use serde_json::{Value, json};
use std::{path::Path, time::Duration};

/// Long enough for a loop to do what it should not.
const A_WHILE: Duration = Duration::from_millis(400);

fn open(dir: &Path) -> ReplicaHandle {
    ReplicaHandle::open(&ReplicaConfig {
        dir: dir.to_owned(),
        cluster: "test".to_owned(),
        member: 1,
        joins: false,
        alone: false,
        quota_bytes: crate::QUOTA,
    })
    .unwrap()
}

fn commit(replica: &ReplicaHandle, object: Object) {
    commit_write(replica, Write::new(object.key().unwrap(), Operation::Create(object)));
}

fn commit_write(replica: &ReplicaHandle, write: Write) {
    let plans = vec![Plan::from(write)];
    replica.commit_blocking(plans).unwrap().remove(0).unwrap();
}

fn create(replica: &ReplicaHandle, manifest: &Value) {
    commit(replica, Object::from_value(manifest).unwrap());
}

fn create_pod(replica: &ReplicaHandle, name: &str) {
    let metadata = json!({"name": name, "namespace": "default"});
    let spec = json!({"containers": [{"name": "c", "image": "i"}]});
    create(
        replica,
        &json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}),
    );
}

/// A built-in plugin, active; its digest.
fn install(replica: &ReplicaHandle, name: &str, world: World, slot: &str) -> String {
    let bytes = sampan_builtin::component(sampan_builtin::PLUGINS, name).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let digest = runtime.block_on(replica.put_blob(bytes.into())).unwrap();
    let spec = PluginSpec {
        world,
        digest: digest.clone(),
        slot: slot.to_owned(),
        mode: Mode::Active,
        ..PluginSpec::default()
    };
    let kind = kinds::of_resource(RESOURCE).unwrap();
    commit(replica, Object::new(kind, "", name).with_field("spec", &spec));
    digest
}

/// Each pod's node and who placed it.
fn placed(replica: &ReplicaHandle) -> Vec<(Key, Value, Option<String>)> {
    let snapshot = replica.snapshot();
    let pods = Selection::of("pods");
    let pods = snapshot.list(&pods).map(|(key, pod)| {
        let by = pod.metadata.annotations.get("sampan.dev/scheduled-by").cloned();
        (key, pod.field_value("spec")["nodeName"].clone(), by)
    });
    pods.collect()
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "it never came about: {what}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn policies_decide_only_where_and_while_their_member_leads() {
    let dir = tempfile::tempdir().unwrap();
    let replica = open(dir.path());
    let term = replica.leadership().borrow().unwrap();
    commit(&replica, crate::front::namespace("default"));
    let digest = install(&replica, "spread", World::Scheduler, DEFAULT_SCHEDULER);
    install(&replica, "replicaset", World::Controller, "replicaset");
    let (lead, leadership) = watch::channel(None);
    let narrator = Narrator::start(replica.clone(), "test");
    let engine = PluginEngine::new(None).unwrap();
    let policies = Policies::start_led(replica.clone(), leadership, engine, &narrator);

    // A follower loads what is wanted and follows, and no more.
    let loaded = || policies.figures("spread").is_some() && policies.figures("replicaset").is_some();
    until("the plugins are loaded", loaded);
    let status = json!({"allocatable": {"cpu": "4", "memory": "4Gi", "pods": "100"},
        "conditions": [{"type": "Ready", "status": "True"}]});
    create(
        &replica,
        &json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}, "status": status}),
    );
    let template = json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let spec = json!({"replicas": 2, "selector": {"matchLabels": {"app": "a"}}, "template": template});
    let metadata = json!({"name": "a", "namespace": "default"});
    create(
        &replica,
        &json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": metadata, "spec": spec}),
    );
    create_pod(&replica, "first");
    std::thread::sleep(A_WHILE);
    let pods = placed(&replica);
    assert!(
        pods.len() == 1 && pods[0].1.is_null(),
        "decided without leading: {pods:?}"
    );

    // It takes over with all it has seen and with the plugin, not with the built-in policy.
    lead.send_replace(Some(term));
    let all_placed = |count: usize| {
        let pods = placed(&replica);
        pods.len() == count && pods.iter().all(|(_, node, _)| node == "n")
    };
    until("three pods are placed", || all_placed(3));
    let others: Vec<_> = placed(&replica)
        .into_iter()
        .filter(|pod| pod.2.as_ref() != Some(&digest))
        .collect();
    assert!(others.is_empty(), "{others:?}");

    // In a term that is not the replica's nothing is committed, and what was refused is decided again.
    lead.send_replace(Some(term + 1));
    create_pod(&replica, "second");
    std::thread::sleep(A_WHILE);
    assert!(!all_placed(4), "committed in another term");
    lead.send_replace(None);
    create_pod(&replica, "third");
    std::thread::sleep(A_WHILE);
    assert_eq!(placed(&replica).iter().filter(|pod| pod.1.is_null()).count(), 2);
    lead.send_replace(Some(term));
    until("five pods are placed", || all_placed(5));
    policies.shutdown();
}

#[test]
fn a_new_term_begins_with_the_line_up_of_its_state() {
    let dir = tempfile::tempdir().unwrap();
    let replica = open(dir.path());
    let spread = install(&replica, "spread", World::Scheduler, DEFAULT_SCHEDULER);
    let binpack = install(&replica, "binpack", World::Scheduler, "another");
    let engine = PluginEngine::new(None).unwrap();
    let fleet = Fleet::new(replica.clone(), engine, Narrator::start(replica.clone(), "test"));
    let mut line_up = fleet.line_up(DEFAULT_SCHEDULER);
    let follower = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut seen = Vec::new();
        while runtime.block_on(line_up.changed()).is_ok() {
            let now = line_up.borrow_and_update();
            seen.push((now.term, now.active.as_ref().map(|member| member.digest.clone())));
        }
        seen
    });
    let load = |digest: &str| {
        let patch = Operation::Merge(json!({"spec": {"digest": digest}}));
        let plan = Plan::from(Write::new(Key::new(RESOURCE, "", "spread"), patch));
        replica.commit_blocking(vec![plan]).unwrap().remove(0).unwrap();
    };
    fleet.muster(Some(1));
    load(&binpack);
    fleet.muster(Some(1));
    load(&spread);
    fleet.muster(Some(2));
    drop(fleet);
    let expected = [
        // Nobody is loaded yet.
        (Some(1), None),
        (Some(1), Some(spread.clone())),
        // Within a term who sits decides until who comes is loaded.
        (Some(1), Some(binpack)),
        (Some(2), None),
        (Some(2), Some(spread)),
    ];
    assert_eq!(follower.join().unwrap(), expected);
}

/// A pod that runs and is ready, with a label.
fn running_pod(replica: &ReplicaHandle, name: &str, app: &str, ip: &str) {
    let metadata = json!({"name": name, "namespace": "default", "labels": {"app": app}});
    let spec = json!({"nodeName": "n", "containers": [{"name": "c", "image": "i"}]});
    let status = json!({"phase": "Running", "podIP": ip, "conditions": [{"type": "Ready", "status": "True"}]});
    create(
        replica,
        &json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status}),
    );
}

/// The addresses in all EndpointSlices, in order.
fn endpoints(replica: &ReplicaHandle) -> Vec<String> {
    let slices = Selection::of("endpointslices.discovery.k8s.io");
    let snapshot = replica.snapshot();
    let endpoints = snapshot.list(&slices).map(|(_, slice)| slice.field_value("endpoints"));
    let endpoints = endpoints.flat_map(|all| all.as_array().cloned().unwrap_or_default());
    let address = |one: Value| one["addresses"][0].as_str().unwrap_or_default().to_owned();
    let mut addresses: Vec<String> = endpoints.map(address).collect();
    addresses.sort();
    addresses
}

/// The slices of a Service follow its pods. Until all servers know what an EndpointSlice is, none is written; and a plugin of
/// the network is the nodes': here it is neither compiled nor asked.
#[test]
fn endpoints_follow_pods_once_all_understand_them() {
    let dir = tempfile::tempdir().unwrap();
    let replica = open(dir.path());
    commit(&replica, crate::front::namespace("default"));
    let (_lead, leadership) = watch::channel(*replica.leadership().borrow());
    let narrator = Narrator::start(replica.clone(), "test");
    let policies = Policies::start_led(replica.clone(), leadership, PluginEngine::new(None).unwrap(), &narrator);
    install(&replica, "service", World::Network, "service");
    install(&replica, "endpoints", World::Controller, "endpoints");
    let spec = json!({"clusterIP": "10.96.0.1", "selector": {"app": "a"}, "ports": [{"port": 80, "targetPort": 8080}]});
    let metadata = json!({"name": "web", "namespace": "default"});
    create(
        &replica,
        &json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}),
    );
    running_pod(&replica, "one", "a", "10.42.0.1");
    let found = || endpoints(&replica);
    let asked = || policies.figures("endpoints").is_some_and(|figures| figures.calls > 4);
    until("the controller is asked", asked);
    assert_eq!(
        found(),
        Vec::<String>::new(),
        "written before all servers understand it"
    );
    let level = crate::features::first(&crate::features::Build::this(), &Default::default()).unwrap();
    commit_write(&replica, level);
    until("the first pod is an endpoint", || found() == ["10.42.0.1"]);
    running_pod(&replica, "two", "a", "10.42.0.2");
    running_pod(&replica, "other", "b", "10.42.0.3");
    until("the second is one", || found() == ["10.42.0.1", "10.42.0.2"]);
    let relabelled = Operation::Merge(json!({"metadata": {"labels": {"app": "b"}}}));
    commit_write(&replica, Write::new(Key::new("pods", "default", "two"), relabelled));
    until("what was relabelled is none", || found() == ["10.42.0.1"]);
    assert!(
        policies.figures("service").is_none(),
        "servers leave the network to the nodes"
    );
    policies.shutdown();
}

/// What the policy says of pods that are there and of one that waits; and that one without an instance says so.
#[test]
fn a_policy_explains_what_it_would_say() {
    let dir = tempfile::tempdir().unwrap();
    let replica = open(dir.path());
    commit(&replica, crate::front::namespace("default"));
    let leadership = replica.leadership();
    let narrator = Narrator::start(replica.clone(), "test");
    let policies = Policies::start_led(replica.clone(), leadership, PluginEngine::new(None).unwrap(), &narrator);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let ask = |scheduler: &str, name: &str, most: u32| {
        runtime.block_on(policies.explain(scheduler, Key::new("pods", "default", name), most))
    };
    let nobody = ask("another", "p", 0).unwrap_err();
    assert!(
        nobody.message.contains("no policy fills the scheduler \"another\""),
        "{nobody}"
    );
    install(&replica, "scheduler", World::Scheduler, DEFAULT_SCHEDULER);
    until("the plugin is loaded", || policies.figures("scheduler").is_some());
    for (name, cpu) in [("large", "4"), ("small", "1")] {
        let status = json!({"allocatable": {"cpu": cpu, "memory": "4Gi", "pods": "100"},
            "conditions": [{"type": "Ready", "status": "True"}]});
        create(
            &replica,
            &json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": status}),
        );
    }
    for (name, cpu) in [("fits", "2"), ("does-not", "8")] {
        let container = json!({"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}});
        let metadata = json!({"name": name, "namespace": "default"});
        create(
            &replica,
            &json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}),
        );
    }
    // The loop follows the state: who asks at once may be told of a pod that is not known yet, or not yet as bound.
    let bound = |pod: &rpc::SchedulingExplanation| pod.bound == "large";
    until("one is known as bound, and the other as waiting", || {
        ask("", "fits", 0).is_ok_and(|fits| bound(&fits)) && ask("", "does-not", 0).is_ok_and(|waits| waits.nodes == 2)
    });
    let waits = ask("", "does-not", 0).unwrap();
    assert_eq!((waits.node.as_str(), waits.bound.as_str(), waits.nodes), ("", "", 2));
    assert!(
        waits
            .message
            .starts_with("0/2 nodes are available: 2 Insufficient cpu."),
        "{}",
        waits.message
    );
    assert_eq!(waits.verdicts[0].against, ["Insufficient cpu"]);
    let there = ask(DEFAULT_SCHEDULER, "fits", 1).unwrap();
    assert_eq!((there.bound.as_str(), there.policy.as_str()), ("large", "scheduler"));
    assert_eq!((there.node.as_str(), there.verdicts.len()), ("large", 1));
    assert!(
        there.verdicts[0]
            .scores
            .iter()
            .any(|score| score.scorer == "NodeResourcesFit")
    );
    policies.shutdown();
}
