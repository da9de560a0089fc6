//! Several servers as one group: they join by token, each answers and writes, and the death of any loses nothing.
#![allow(clippy::expect_used)] // A panic is the test failing.
use cluster::group::{Group, namespace};
use sampan_api::{Key, Operation, Plan, Reason, Write};
use serde_json::json;
use std::time::{Duration, Instant};

/// A leader's death holds up writes for no longer, on a machine that has time for us.
const RESUMED: Duration = Duration::from_secs(20);

fn key(name: &str) -> Key {
    Key::new("namespaces", "", name)
}

async fn create(server: &sampan_server::Server, name: &str) {
    let write = Write::new(key(name), Operation::Create(namespace(name)));
    server
        .replica()
        .commit_one(Plan::from(write))
        .await
        .unwrap_or_else(|error| panic!("{name}: {error}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_join_write_anywhere_and_outlive_their_leader() {
    let mut group = Group::of(3).await;
    for (number, server) in group.servers().enumerate() {
        create(server, &format!("by-{number}")).await;
    }
    // Who wrote sees what it wrote; who reads anywhere sees what was acknowledged anywhere.
    for server in group.servers() {
        server.replica().barrier().await.expect("a barrier");
        for number in 0..3 {
            let name = format!("by-{number}");
            assert!(server.replica().snapshot().get(&key(&name)).is_some(), "{name}");
        }
    }
    let leader = group.leader();
    group.kill(leader).await;
    let begun = Instant::now();
    let survivor = group.servers().next().expect("a survivor");
    create(survivor, "after").await;
    assert!(begun.elapsed() < RESUMED);
    println!("written {:?} after the leader's end", begun.elapsed());
    for number in 0..3 {
        assert!(
            survivor
                .replica()
                .snapshot()
                .get(&key(&format!("by-{number}")))
                .is_some()
        );
    }
    // It comes back to the same directory, and catches up.
    group.revive(leader).await;
    let back = group.server(leader);
    back.replica().barrier().await.expect("a barrier");
    assert!(back.replica().snapshot().get(&key("after")).is_some());
    group.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_with_the_same_key_acts_once_wherever_it_is_sent() {
    let group = Group::of(3).await;
    let write = Write::new(key("counter"), Operation::Create(namespace("counter")));
    group
        .server(0)
        .replica()
        .commit_one(write.into())
        .await
        .expect("created");
    let add = || {
        let patch = json!({"metadata": {"labels": {"seen": "once"}}});
        vec![Plan::from(Write::new(key("counter"), Operation::Merge(patch)))]
    };
    let mut revisions = Vec::new();
    for server in group.servers() {
        let answer = server.replica().commit_keyed(add(), "the-same".to_owned()).await;
        let answer = answer.expect("committed").remove(0).expect("committed");
        revisions.push(answer.revision);
    }
    assert!(revisions.windows(2).all(|pair| pair[0] == pair[1]), "{revisions:?}");
    group.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_taken_out_and_a_quorum_is_kept() {
    let mut group = Group::of(3).await;
    let leader = group.leader();
    let follower = (leader + 1) % 3;
    let other = (leader + 2) % 3;
    // The leader itself: it hands over first.
    group.remove(leader, leader).await.expect("removed");
    group
        .until("two voters are left", |group| {
            let status = group.server(follower).replica().status();
            status.voters.len() == 2 && status.leader != 0 && status.leader != group.id(leader)
        })
        .await;
    group.kill(leader).await;
    create(group.server(follower), "two").await;
    // One of the two is dead: without the other there would be no majority.
    let (dead, alive) = if group.leader() == other {
        (follower, other)
    } else {
        (other, follower)
    };
    group.kill(dead).await;
    let refused = tokio::time::timeout(Duration::from_secs(40), group.remove(alive, dead)).await;
    if let Ok(Ok(())) = refused {
        panic!("a group of two went on with one of them");
    }
    group.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_good_token_stays_outside() {
    let group = Group::of(1).await;
    let good = group.token("server", true).await;
    let refusal = async |token: &str, role: &str, name: &str| group.refusal(token, role, name).await;
    let forged = {
        let mut parts: Vec<&str> = good.split('.').collect();
        let secret = "0".repeat(32);
        parts[2] = &secret;
        parts.join(".")
    };
    assert!(refusal(&forged, "server", "x").await.contains("not known"));
    assert!(refusal(&good, "node", "x").await.contains("as server, not as node"));
    let foreign = good
        .rsplit_once('.')
        .map(|(rest, _)| format!("{rest}.{}", "ab".repeat(32)))
        .expect("a token");
    assert!(
        refusal(&foreign, "server", "x")
            .await
            .contains("is not of the cluster that the token is for")
    );
    // A name that is there already.
    let taken = refusal(&good, "server", "s0").await;
    assert!(taken.contains("in the cluster already"), "{taken}");
    // Nobody came in, and the token is still good.
    assert_eq!(group.server(0).replica().status().voters.len(), 1);
    let revoked = group.token("node", false).await;
    group.revoke(&revoked).await;
    assert!(refusal(&revoked, "node", "n").await.contains("revoked"));
    group.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_goes_on_at_another_server_without_gap_or_repeat() {
    let mut group = Group::of(3).await;
    let start = group.server(0).replica().snapshot().revision();
    for number in 0..20 {
        create(group.server(number % 3), &format!("w{number}")).await;
    }
    let first = 1;
    let mut changes = group.server(first).replica().watch(start).expect("a watch");
    let mut seen = Vec::new();
    let mut last = start;
    while seen.len() < 8 {
        let batch = changes.next().await.expect("changes");
        for event in batch.events.iter().filter(|event| event.key.name.starts_with('w')) {
            seen.push(event.key.name.to_string());
        }
        last = batch.events.last().map_or(last, |event| event.revision);
    }
    drop(changes);
    group.kill(first).await;
    let mut changes = group.server(2).replica().watch(last).expect("a watch");
    while seen.len() < 20 {
        let batch = tokio::time::timeout(RESUMED, changes.next())
            .await
            .expect("in time")
            .expect("changes");
        for event in batch.events.iter().filter(|event| event.key.name.starts_with('w')) {
            seen.push(event.key.name.to_string());
        }
    }
    let all: Vec<String> = (0..20).map(|number| format!("w{number}")).collect();
    assert_eq!(seen, all);
    let again = group
        .server(0)
        .replica()
        .commit_one(Plan::from(Write::new(key("w3"), Operation::Create(namespace("w3")))));
    assert_eq!(again.await.expect_err("it is there").reason, Reason::AlreadyExists);
    group.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_survivor_goes_on_alone_and_new_servers_join_it() {
    let mut group = Group::of(3).await;
    for number in 0..9 {
        create(group.server(number % 3), &format!("kept-{number}")).await;
    }
    // Not the one that the cluster began with, which would be easier.
    let survivor = if group.leader() == 1 { 2 } else { 1 };
    let dead = 3 - survivor;
    let server = group.server(survivor);
    server.replica().barrier().await.expect("a barrier");
    let before = server.replica().snapshot().revision();
    for number in 0..3 {
        group.kill(number).await;
    }
    group.go_on_alone(survivor).await.expect("it goes on");
    let id = group.id(survivor);
    let server = group.server(survivor);
    assert_eq!(server.replica().status().voters, [id]);
    create(server, "alone").await;
    let state = server.replica().snapshot();
    for number in 0..9 {
        assert!(state.get(&key(&format!("kept-{number}"))).is_some(), "kept-{number}");
    }
    let named = sampan_server::peers::members(&state);
    assert!(named.len() == 1 && named[0].id == id, "{named:?}");
    let ahead = server
        .replica()
        .watch(before + 3)
        .err()
        .expect("nobody here gave that revision");
    assert_eq!(ahead.reason, Reason::Expired);
    // One of the others comes back with what it had: nobody listens to it.
    group.revive(dead).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(group.server(dead).replica().status().leader, 0);
    let status = group.server(survivor).replica().status();
    assert_eq!((status.voters, status.leader), (vec![id], id));
    create(group.server(survivor), "undisturbed").await;
    group.kill(dead).await;
    // It starts again as what it is, the flag is of no more use, and a new one joins.
    group.kill(survivor).await;
    let again = group.go_on_alone(survivor).await.expect_err("it is alone already");
    assert!(again.contains("without --force-new-cluster"), "{again}");
    group.revive(survivor).await;
    group.join().await;
    group
        .until("the new one is a voter", |group| {
            group
                .servers()
                .all(|server| server.replica().status().voters.len() == 2)
        })
        .await;
    create(group.server(3), "by-the-new-one").await;
    let state = group.server(3).replica().snapshot();
    for name in ["kept-0", "kept-8", "alone", "undisturbed", "by-the-new-one"] {
        assert!(state.get(&key(name)).is_some(), "{name}");
    }
    group.end().await;
}
