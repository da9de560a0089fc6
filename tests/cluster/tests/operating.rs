//! What an operator does with a group: upgrade it, take servers out, keep standbys, let many machines in at once.
#![allow(clippy::expect_used)] // A panic is the test failing.
use cluster::{PATIENCE, group::Group};
use sampan_api::{
    Key,
    dual::ClusterRanges,
    plugin::{self, Mode, World},
    rpc::{
        PluginChunk, PluginHeader, PromoteMemberRequest, StatusRequest, cluster_client::ClusterClient,
        plugins_client::PluginsClient,
    },
};
use sampan_server::{
    BuiltinPlugin,
    enroll::enrolled,
    features::{self, Build, Feature},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::{Duration, Instant},
};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

fn build(level: u32) -> Build {
    Build {
        version: format!("0.{level}.0"),
        level,
    }
}

/// Whether each server takes a feature to be in force.
fn open(group: &Group) -> BTreeSet<bool> {
    let enabled = |server: &sampan_server::Server| features::enabled(&server.replica().snapshot(), Feature::Standbys);
    group.servers().map(enabled).collect()
}

/// All files below a directory, but caches.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).expect("a directory").flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => drop(found.insert(path.display().to_string(), fs::read(&path).expect("a file"))),
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feature_waits_for_the_last_server_and_then_keeps_old_builds_out() {
    let mut group = Group::of_build(3, build(1)).await;
    let token = group.token("server", true).await;
    for number in 0..3 {
        assert_eq!(open(&group), BTreeSet::from([false]), "before s{number}");
        let closed = group.refusal_as(&token, true, build(2)).await;
        assert!(closed.contains("level 2, and level 1 is in force"), "{closed}");
        group.change_build(number, build(2)).await.expect("it starts");
        // Everybody has heard of it, so whoever would raise the level too early had its chance.
        group
            .until("the upgrade is known", |group| {
                let name = sampan_api::Key::new("members.sampan.dev", "", &format!("s{number}"));
                let level = |server: &sampan_server::Server| {
                    let state = server.replica().snapshot();
                    state.get(&name).is_some_and(|member| Build::of(&member).level == 2)
                };
                group.servers().all(level)
            })
            .await;
    }
    group
        .until("the feature is in force", |group| open(group) == BTreeSet::from([true]))
        .await;
    let status = ClusterClient::new(group.channel(0))
        .status(StatusRequest::default())
        .await;
    let status = status.expect("a status").into_inner();
    assert_eq!(status.level, 2);
    assert!(
        status
            .members
            .iter()
            .all(|member| (member.level, &*member.version) == (2, "0.2.0"))
    );

    // Who is older stays outside, before anything is written.
    let revision = group.server(0).replica().snapshot().revision();
    let refused = group.refusal_as(&token, false, build(1)).await;
    assert!(
        refused.contains("features up to level 1, and level 2 is in force"),
        "{refused}"
    );
    assert_eq!(group.server(0).replica().snapshot().revision(), revision);

    // Who goes back to what it was does not start, and changes nothing. (It is noted within a moment what is in force.)
    let noted = group.dir(2).join("server/level");
    let until = Instant::now() + PATIENCE;
    while fs::read_to_string(&noted).unwrap_or_default() != "2" {
        assert!(Instant::now() < until, "the level is never noted");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    group.kill(2).await;
    let before = files(&group.dir(2).join("server"));
    let refused = group.change_build(2, build(1)).await.expect_err("it is too old");
    assert!(refused.contains("install a newer sampan"), "{refused}");
    assert_eq!(files(&group.dir(2).join("server")), before);
    // Without the note it finds the state itself.
    fs::remove_file(&noted).expect("it is removed");
    let refused = group.change_build(2, build(1)).await.expect_err("it is too old");
    assert!(refused.contains("install a newer sampan"), "{refused}");
    group.change_build(2, build(2)).await.expect("it starts");
    group.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plugins_of_a_newer_build_come_with_its_last_server() {
    // Two builds of one policy: any two components of its world will do.
    let carried = |which: usize| {
        let bytes = sampan_builtin::PLUGINS[which].1;
        vec![BuiltinPlugin {
            name: "policy",
            world: World::Controller,
            slot: "policy",
            bytes,
            mode: Mode::Standby,
        }]
    };
    // The bytes in force, as one server sees them.
    let in_force = |group: &Group| {
        let state = group.servers().next().expect("a server").replica().snapshot();
        let plugin = state.get(&Key::new(plugin::RESOURCE, "", "policy"))?;
        let digest = plugin.field_value("spec")["digest"].as_str()?.to_owned();
        state.blob(&digest)
    };
    let mut group = Group::of_build(3, build(2)).await;
    let mut last = None;
    for (version, which) in [("0.3.0", 0), ("0.4.0", 1)] {
        let newer = Build {
            version: version.to_owned(),
            level: 2,
        };
        for number in 0..3 {
            assert!(in_force(&group) == last, "{version} before s{number}");
            let changed = group.change_build_with(number, newer.clone(), carried(which)).await;
            changed.expect("it starts");
        }
        let wanted = Some(sampan_builtin::PLUGINS[which].1.into());
        group
            .until("the newer plugin is in force", |group| in_force(group) == wanted)
            .await;
        last = wanted;
    }
    group.end().await;
}

/// Loads a plugin that gives addresses, as a user does.
async fn load_addresses(group: &Group) -> Result<(), String> {
    let bytes = sampan_builtin::component(sampan_builtin::PLUGINS, "ipam").expect("a plugin");
    let piece = PluginChunk {
        header: Some(PluginHeader {
            name: "by-hand".to_owned(),
            ..PluginHeader::default()
        }),
        data: bytes.into(),
    };
    let mut client = PluginsClient::new(group.channel(0));
    let loaded = client.load(futures::stream::iter([piece])).await;
    loaded.map(drop).map_err(|status| status.message().to_owned())
}

/// Until the level of its world is in force, a server that cannot read a plugin could still be let in.
#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_of_a_new_world_waits_for_its_level() {
    let carried = || {
        vec![BuiltinPlugin {
            name: "addresses",
            world: World::Ipam,
            slot: plugin::IPAM,
            bytes: sampan_builtin::component(sampan_builtin::PLUGINS, "ipam").expect("a plugin"),
            mode: Mode::Standby,
        }]
    };
    let is_there = |group: &Group| {
        let state = group.servers().next().expect("a server").replica().snapshot();
        state.get(&Key::new(plugin::RESOURCE, "", "addresses")).is_some()
    };
    let level = Feature::Ipam.level();
    let mut group = Group::of_build(3, build(level - 1)).await;
    for (version, level, comes) in [("0.7.0", level - 1, false), ("0.8.0", level, true)] {
        let newer = Build {
            version: version.to_owned(),
            level,
        };
        for number in 0..3 {
            let changed = group.change_build_with(number, newer.clone(), carried()).await;
            changed.expect("it starts");
        }
        match comes {
            true => group.until("the plugin is there", |group| is_there(group)).await,
            false => tokio::time::sleep(Duration::from_secs(3)).await,
        }
        assert_eq!(is_there(&group), comes, "{version}");
        let loaded = load_addresses(&group).await;
        assert_eq!(loaded.is_ok(), comes, "{version}: {loaded:?}");
    }
    group.end().await;
}

/// Waits until a server says to everybody that it was taken out, and nothing else.
async fn until_out(group: &Group, number: usize) -> String {
    let until = Instant::now() + PATIENCE;
    loop {
        let asked = ClusterClient::new(group.channel(number))
            .status(StatusRequest { here: true })
            .await;
        if let Err(status) = asked
            && status.message().contains("was taken out of the cluster")
        {
            assert_eq!(status.code(), tonic::Code::Unavailable);
            return status.message().to_owned();
        }
        assert!(Instant::now() < until, "s{number} never says that it is out");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_taken_out_serves_no_more() {
    let mut group = Group::of(3).await;
    let leader = group.leader();
    let follower = (leader + 1) % 3;
    group.remove(leader, follower).await.expect("removed");
    let why = until_out(&group, follower).await;
    assert!(why.starts_with(&format!("server \"s{follower}\"")), "{why}");
    assert!(why.contains("join again with an empty --data-dir"), "{why}");
    let request = HealthCheckRequest::default();
    let health = HealthClient::new(group.channel(follower)).check(request.clone()).await;
    assert_eq!(
        health.expect("healthy or not").into_inner().status(),
        ServingStatus::NotServing
    );
    // So it is after a restart, though it may not have applied its own removal.
    group.kill(follower).await;
    group.revive(follower).await;
    until_out(&group, follower).await;
    // One that was away when it was taken out, and cannot know it.
    let (other, last) = ((leader + 2) % 3, leader);
    let health = HealthClient::new(group.channel(last)).check(request).await;
    assert_eq!(health.expect("healthy").into_inner().status(), ServingStatus::Serving);
    group.join().await;
    let three = |group: &Group| group.server(last).replica().status().voters.len() == 3;
    group.until("the new one votes", three).await;
    group.kill(other).await;
    let until = Instant::now() + PATIENCE;
    // A leader that has just begun to ask anew who is there may refuse for a moment.
    while let Err(why) = group.remove(last, other).await {
        assert!(why.contains("no majority") && Instant::now() < until, "{why}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    group.revive(other).await;
    until_out(&group, other).await;
    group.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_receives_everything_and_votes_once_it_is_promoted() {
    let mut group = Group::of(1).await;
    group.join_as(true).await;
    let id = group.id(1);
    let caught_up = |group: &Group| {
        let status = group.server(0).replica().status();
        let progress = status.progress.iter().find(|progress| progress.member == id);
        progress.is_some_and(|progress| progress.matched == status.last_index)
    };
    group.until("the standby has everything", caught_up).await;
    // A learner that may rise does within two looks of a tenth of a second.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let status = group.server(0).replica().status();
    assert_eq!((status.voters, status.learners), (vec![1], vec![id]));
    group.server(1).replica().barrier().await.expect("it answers reads");

    let promote = async |name: &str| {
        let name = name.to_owned();
        group.membership(0).promote_member(PromoteMemberRequest { name }).await
    };
    promote("s1").await.expect("it is promoted");
    group
        .until("it votes", |group| {
            group.server(0).replica().status().voters.contains(&id)
        })
        .await;
    let again = promote("s1").await.expect_err("it is none any more");
    assert!(again.message().contains("is no standby"), "{again}");
    let nobody = promote("s7").await.expect_err("nobody has that name");
    assert!(nobody.message().contains("the members are s0, s1"), "{nobody}");
    group.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_come_at_once_through_several_servers_have_ranges_of_their_own() {
    const NODES: usize = 24;
    let group = Group::of(3).await;
    let token = group.token("node", false).await;
    let names: Vec<String> = (0..NODES).map(|number| format!("n{number}")).collect();
    let joins = names.iter().enumerate();
    let joins = joins.map(|(number, name)| group.join_node(number % 3, &token, name));
    let ranges = futures::future::join_all(joins).await;
    let different: BTreeSet<&String> = ranges.iter().collect();
    assert_eq!(different.len(), NODES, "{ranges:?}");
    group.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_of_a_dual_stack_cluster_have_a_range_of_each_family() {
    let ranges = ClusterRanges::read("10.50.0.0/16,fd42::/62", "10.97.0.0/16,fd96::/112").expect("ranges");
    let group = Group::of_ranges(2, ranges).await;
    let token = group.token("node", false).await;
    // The first server has none, as no pods run there, and the second has the first.
    let second = enrolled(group.dir(1)).expect("readable").expect("it has joined");
    assert_eq!(second.pod_cidr, "10.50.0.0/24,fd42::/64");
    assert_eq!(second.ranges(), Ok(ranges));
    for (by, name, expected) in [
        (0, "a", "10.50.1.0/24,fd42:0:0:1::/64"),
        (1, "b", "10.50.2.0/24,fd42:0:0:2::/64"),
        (1, "c", "10.50.3.0/24,fd42:0:0:3::/64"),
    ] {
        assert_eq!(group.join_node(by, &token, name).await, expected);
    }
    let full = group.refusal(&token, "node", "d").await;
    assert!(full.contains("10.50.0.0/16,fd42::/62 are taken"), "{full}");
    // A build that takes the usual ranges for those of every cluster is kept out.
    let old = group.refusal_of_node(&token, build(4)).await;
    assert!(old.contains("features up to level 4"), "{old}");
    group.end().await;
}
