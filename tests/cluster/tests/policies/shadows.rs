//! A shadow is held against who decides: on live traffic decision by decision, and with all pods placed anew by each of both.
use crate::{PROBES, control_plane, until_decides};
use cluster::{ControlPlane, PATIENCE, group::Group};
use sampan_api::{
    Key, Object, Operation, Plan, Write, kinds,
    plugin::{Mode, PluginSpec, RESOURCE, World},
    rpc::{
        PlacedAnew, PlacementFigures, PluginDiff, PluginDiffRequest, PluginDifference, PluginRequest, RecordRequest,
        plugins_client::PluginsClient,
    },
};
use sampan_server::{BuiltinPlugin, features::Build, policies::replay::Writer};
use serde_json::json;
use std::{collections::BTreeMap, sync::atomic::Ordering, time::Instant};
use tonic::transport::Channel;

fn named(name: &str) -> PluginRequest {
    PluginRequest { name: name.to_owned() }
}

async fn diff(client: &mut PluginsClient<Channel>, name: &str, what_if: bool) -> PluginDiff {
    let request = PluginDiffRequest {
        name: name.to_owned(),
        what_if,
        most: 0,
        ..PluginDiffRequest::default()
    };
    client.diff(request).await.expect("a diff").into_inner()
}

async fn refusal(client: &mut PluginsClient<Channel>, name: &str) -> String {
    let request = PluginDiffRequest {
        name: name.to_owned(),
        ..PluginDiffRequest::default()
    };
    client
        .diff(request)
        .await
        .expect_err("it is refused")
        .message()
        .to_owned()
}

/// Places pods one at a time until the shadow was asked about some.
async fn until_compared(plane: &ControlPlane, client: &mut PluginsClient<Channel>, name: &str) {
    let started = Instant::now();
    loop {
        assert!(started.elapsed() < PATIENCE, "{name} is never asked");
        let prefix = format!("wake-{}", PROBES.fetch_add(1, Ordering::Relaxed));
        plane.pods(&prefix, 1).await;
        plane.until_bound(&prefix).await;
        if all(&diff(client, name, false).await) > 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

fn all(diff: &PluginDiff) -> u64 {
    diff.same + diff.otherwise + diff.only_active + diff.only_candidate + diff.neither
}

/// What was counted and remembered of live traffic.
fn told_apart(plane: &ControlPlane, found: &PluginDiff) {
    assert_eq!(
        (found.candidate.as_str(), found.active.as_str()),
        ("binpack", "scheduler")
    );
    assert!(found.neither > 0 && found.otherwise >= 15, "{found:?}");
    assert!(
        found.since_ms > 0 && found.only_active + found.only_candidate == 0,
        "{found:?}"
    );
    let (active, candidate) = (found.active_side.unwrap(), found.candidate_side.unwrap());
    assert!(active.micros_each > 0.0 && candidate.micros_each > 0.0);
    assert_eq!((active.decisions, candidate.decisions), (all(found), all(found)));
    assert_eq!(found.differences.len() as u64, found.otherwise);
    // What it says of the active one is what was done.
    let bound: BTreeMap<String, String> = plane
        .bindings("live")
        .into_iter()
        .map(|(pod, node, _)| (pod, node))
        .collect();
    let live: Vec<_> = found
        .differences
        .iter()
        .filter(|one| one.name.starts_with("live"))
        .collect();
    assert!(live.len() >= 12, "{live:?}");
    for one in live {
        assert_eq!((one.resource.as_str(), one.namespace.as_str()), ("pods", "default"));
        assert_eq!(Some(&one.active), bound.get(&one.name));
        assert!(one.candidate != one.active && one.candidate.starts_with('n'), "{one:?}");
    }
}

/// How all pods would lie.
fn lies_otherwise(plane: &ControlPlane, anew: &PlacedAnew) {
    let pods = plane.bindings("").len() as u32;
    let [now, scheduler, binpack] = anew.figures.as_slice() else {
        panic!("{anew:?}")
    };
    let brief = |one: &PlacementFigures| (one.placed, one.waiting, one.used_nodes, one.nodes);
    assert_eq!((anew.pods, anew.staying), (pods, 0));
    assert_eq!(brief(now), (pods - 1, 1, 5, 5));
    assert_eq!(brief(scheduler), (pods - 1, 1, 5, 5));
    assert_eq!(brief(binpack), (pods - 1, 1, 1, 5));
    // As much is asked for in all, on fewer nodes.
    assert!(
        (scheduler.cpu_mean - binpack.cpu_mean).abs() < 1e-9 && scheduler.cpu_mean > 0.0,
        "{anew:?}"
    );
    assert!(binpack.cpu_deviation > 5.0 * scheduler.cpu_deviation, "{anew:?}");
    assert!(binpack.pods_on_node_deviation > scheduler.pods_on_node_deviation);
    assert!(anew.elsewhere >= pods / 2, "{anew:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduler_beside_another_is_told_apart_pod_by_pod() {
    let plane = control_plane().await;
    for n in 0..5 {
        plane.node(&format!("n{n}"), 2000).await;
    }
    until_decides(&plane, "scheduler").await;
    let mut client = plane.plugins();
    assert!(
        refusal(&mut client, "scheduler")
            .await
            .contains("decides: name a shadow")
    );
    assert!(refusal(&mut client, "binpack").await.contains("is no shadow"));
    assert!(
        refusal(&mut client, "routes")
            .await
            .contains("decides: name another of its slot")
    );
    assert!(
        refusal(&mut client, "binpac")
            .await
            .contains("did you mean \"binpack\"?")
    );

    client.shadow(named("binpack")).await.expect("it shadows");
    until_compared(&plane, &mut client, "binpack").await;
    let before = all(&diff(&mut client, "binpack", false).await);
    plane.pods("live", 20).await;
    plane.until_bound("live").await;
    // No node has room for it: neither places it.
    let huge = json!({"name": "c", "image": "i", "resources": {"requests": {"cpu": "900k"}}});
    let metadata = json!({"name": "huge", "namespace": "default"});
    plane
        .create(json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [huge]}}))
        .await;
    let started = Instant::now();
    let found = loop {
        let found = diff(&mut client, "binpack", true).await;
        if all(&found) >= before + 21 || started.elapsed() > PATIENCE {
            break found;
        }
    };
    told_apart(&plane, &found);
    lies_otherwise(&plane, &found.placed_anew.expect("all pods placed anew"));

    // Who shadows again begins anew.
    client.activate(named("binpack")).await.expect("it is swapped");
    client.shadow(named("scheduler")).await.expect("it shadows");
    until_compared(&plane, &mut client, "scheduler").await;
    let found = diff(&mut client, "scheduler", false).await;
    assert_eq!((found.active.as_str(), found.placed_anew.is_none()), ("binpack", true));
    assert!(all(&found) < 20, "{found:?}");
    plane.server.shutdown().await;
}

/// A decision of which it is said what the deployment controller did.
fn told(found: &PluginDiff) -> Option<&PluginDifference> {
    let mut all = found.differences.iter();
    all.find(|one| one.active.starts_with("create replicasets.apps default/web"))
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_controller_plans_are_compared() {
    let plane = control_plane().await;
    // One that makes other plans than the deployment controller does.
    let job = sampan_builtin::component(sampan_builtin::PLUGINS, "job").expect("a controller");
    let digest = plane.server.replica().put_blob(job.into()).await.expect("it is kept");
    let spec = PluginSpec {
        world: World::Controller,
        digest,
        slot: "deployment".to_owned(),
        mode: Mode::Shadow,
        ..PluginSpec::default()
    };
    let kind = kinds::of_resource(RESOURCE).expect("plugins are a kind");
    let object = Object::new(kind, "", "idle").with_field("spec", &spec);
    let write = Write::new(Key::new(RESOURCE, "", "idle"), Operation::Create(object));
    plane.commit(vec![write]).await;
    let mut client = plane.plugins();
    let started = Instant::now();
    let mut number = 0;
    let found = loop {
        assert!(started.elapsed() < PATIENCE, "no plan is ever compared");
        number += 1;
        let template =
            json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
        let spec = json!({"replicas": 0, "selector": {"matchLabels": {"app": "web"}}, "template": template});
        let metadata = json!({"name": format!("web{number}"), "namespace": "default"});
        let made = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec});
        plane.create(made).await;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        let found = diff(&mut client, "idle", true).await;
        if told(&found).is_some() {
            break found;
        }
    };
    assert_eq!(
        (found.world.as_str(), found.active.as_str()),
        ("controller", "deployment")
    );
    assert!(found.placed_anew.is_none() && found.neither == 0);
    let one = told(&found).expect("a plan");
    assert_eq!(one.resource, "deployments.apps");
    assert!(
        one.candidate
            .starts_with("create pods, status of deployments.apps default/web"),
        "{one:?}"
    );
    plane.server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_answers_whoever_is_asked() {
    let mut group = Group::of(2).await;
    for number in 0..2 {
        let carried = ["scheduler", "binpack"].map(|name| {
            let bytes = sampan_builtin::component(sampan_builtin::PLUGINS, name).expect("a scheduler");
            BuiltinPlugin::named(name, bytes)
        });
        let again = group.change_build_with(number, Build::this(), carried.into()).await;
        again.expect("it starts");
    }
    let follower = 1 - group.leader();
    let mut client = PluginsClient::new(group.channel(follower));
    let commit = async |object: serde_json::Value| {
        let object = Object::from_value(&object).expect("an object");
        let write = Write::new(object.key().expect("a known kind"), Operation::Create(object));
        let committed = group.server(follower).replica().commit_one(Plan::from(write)).await;
        committed.expect("it commits");
    };
    let status = json!({"allocatable": {"cpu": "64", "memory": "64Gi", "pods": "1000"},
        "conditions": [{"type": "Ready", "status": "True"}]});
    commit(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}, "status": status})).await;
    let started = Instant::now();
    while let Err(error) = client.shadow(named("binpack")).await {
        assert!(started.elapsed() < PATIENCE, "{error}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    // Until the policy is compiled nobody decides whom one could record.
    let slot = RecordRequest {
        decisions: 3,
        ..RecordRequest::default()
    };
    let mut stream = loop {
        match client.record(slot.clone()).await {
            Ok(stream) => break stream.into_inner(),
            Err(error) => assert!(started.elapsed() < PATIENCE, "{error}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    let second = client.record(slot).await.expect_err("one at a time");
    assert!(second.message().contains("recorded already"), "{second}");
    let mut writer = Writer::new(Vec::new());
    let mut pods = 0;
    while writer.decisions < 3 {
        pods += 1;
        let metadata = json!({"name": format!("p{pods}"), "namespace": "default"});
        let spec = json!({"containers": [{"name": "c", "image": "i"}]});
        commit(json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})).await;
        while let Ok(Ok(Some(piece))) =
            tokio::time::timeout(std::time::Duration::from_millis(200), stream.message()).await
        {
            assert_eq!(piece.why, "");
            writer.push(&piece.data).expect("it is written");
        }
        assert!(started.elapsed() < PATIENCE, "nothing is recorded");
    }
    // What became of the last decision comes, too, and then it ends by itself.
    while let Some(piece) = stream.message().await.expect("its end") {
        writer.push(&piece.data).expect("it is written");
    }
    assert_eq!(writer.decisions, 3);
    let found = loop {
        let found = diff(&mut client, "binpack", true).await;
        if all(&found) > 0 || started.elapsed() > PATIENCE {
            break found;
        }
        pods += 1;
        let metadata = json!({"name": format!("p{pods}"), "namespace": "default"});
        let spec = json!({"containers": [{"name": "c", "image": "i"}]});
        commit(json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})).await;
    };
    assert!(found.same > 0 && found.placed_anew.is_some_and(|anew| anew.figures.len() == 3));
    group.end().await;
}
