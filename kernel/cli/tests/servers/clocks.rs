//! Clocks that are an hour apart: the state's time does not go back, nobody is taken for lost, and machines join.
use crate::{
    group::{FAKETIME, Group, PATIENCE, STRANGER, play},
    load::{Load, commit, create},
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// When a config map was made, as the state has it.
async fn made(group: &Group, host: usize, name: &str) -> String {
    let write = create(name, &json!({}), &json!({"value": "1"}));
    let session = group.session(host).patient(PATIENCE);
    commit(&session, write, name).await.unwrap().unwrap();
    group.ok(
        host,
        &format!("get configmap {name} -o jsonpath={{.metadata.creationTimestamp}}"),
    )
}

/// Leadership goes to a server.
async fn lead(group: &Group, host: usize) {
    let began = Instant::now();
    while group.leader().await != host {
        let _ = group.run(0, &format!("member lead s{host}"));
        assert!(began.elapsed() < PATIENCE, "s{host} never leads: {}", group.all_said());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[test]
fn clocks_that_are_an_hour_apart_do_no_harm() {
    if !std::path::Path::new(FAKETIME).exists() {
        eprintln!("SKIPPED: needs libfaketime; `.ci/packages` installs it");
        return;
    }
    play(None, async |group| {
        let load = Load::start(group).await;
        let first = made(group, 0, "by-a-true-clock").await;
        // One of the three is an hour ahead, and leads.
        group.stop(1).await;
        group.set_clock(1, Some("+3600s"));
        group.start(1).await;
        group.settled().await;
        lead(group, 1).await;
        let ahead = made(group, 0, "by-a-clock-ahead").await;
        assert!(ahead > first, "{first}, then {ahead}");
        // A node an hour behind joins by it; it is there, and stays.
        group.set_clock(STRANGER, Some("-3600s"));
        let token = group.ok(1, "token create --ttl 10m");
        group.join_as_node(STRANGER, &token, 1).await;
        // Leadership goes back: time does not.
        lead(group, 0).await;
        let again = made(group, 2, "by-a-true-clock-again").await;
        println!("made at {first}, {ahead}, {again}");
        assert!(again >= ahead, "{ahead}, then {again}");
        tokio::time::sleep(Duration::from_secs(3)).await;
        let node: Value = serde_json::from_str(&group.ok(0, "get node n3 -o json")).unwrap();
        let conditions = node["status"]["conditions"].as_array().unwrap();
        let ready = conditions
            .iter()
            .find(|condition| condition["type"] == "Ready")
            .unwrap();
        assert_eq!(ready["status"], "True", "{ready}");
        // A token is judged by the clocks of servers, not by that of who comes.
        let expired = group.ok(0, "token create --ttl 1s");
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let dir = group.dir.path().join("late");
        let line = format!(
            "join {} --token {expired} --name late --data-dir {}",
            crate::group::address(0),
            dir.display()
        );
        let done = group.run(STRANGER, &line);
        assert!(done.err.contains("has expired at"), "{done:?}");
        group.stop(STRANGER).await;
        // A server an hour behind joins those, one of which is an hour ahead.
        group.renew(STRANGER);
        let token = group.ok(1, "token create --role server --single-use");
        group.join(STRANGER, &token, 1).await;
        let began = Instant::now();
        let voters = async |group: &Group| {
            let status = group.status(0).await?;
            Some(status.members.iter().filter(|member| member.role != "learner").count())
        };
        while voters(group).await != Some(4) {
            assert!(began.elapsed() < PATIENCE, "it never votes: {}", group.all_said());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        load.end(group).await;
    });
}
