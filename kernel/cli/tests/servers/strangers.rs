//! Who is not let in, who is of another cluster, and who was taken out: none of them disturbs the group.
use crate::{
    group::{Group, STRANGER, address, play},
    killing::HELD_UP,
    load::Load,
};
use std::{
    fs,
    time::{Duration, Instant},
};

/// Tries to join; why it may not.
fn refusal(group: &Group, token: &str, name: &str) -> String {
    let dir = group.dir.path().join("refused");
    let line = format!(
        "join {} --token {token} --role server --no-agent --name {name} --listen {} --data-dir {}",
        address(0),
        address(STRANGER),
        dir.display()
    );
    let done = group.run(STRANGER, &line);
    assert_eq!(done.code, Some(1), "{done:?}");
    let _ = fs::remove_dir_all(dir);
    println!("{name}: {}", done.err.lines().last().unwrap_or_default());
    done.err
}

/// The term, as the others know it.
async fn term(group: &Group, hosts: &[usize]) -> u64 {
    let leader = group.leader_of(hosts).await;
    group.status(leader).await.expect("it answers").raft_term
}

fn bad_tokens(group: &Group) {
    let create = |more: &str| group.ok(0, &format!("token create --role server {more}"));
    let expired = create("--ttl 1s");
    let good = create("");
    let mut parts: Vec<&str> = good.split('.').collect();
    let secret = "0".repeat(32);
    parts[2] = &secret;
    let said = refusal(group, &parts.join("."), "forged");
    assert!(said.contains("not known"), "{said}");
    let said = refusal(group, "sampan1.rubbish", "rubbish");
    assert!(said.contains("this is no token"), "{said}");
    let said = refusal(group, &good, "s1");
    assert!(said.contains("in the cluster already"), "{said}");
    let node = group.ok(0, "token create --role node");
    let said = refusal(group, &node, "as-server");
    assert!(said.contains("is for joining as node, not as server"), "{said}");
    std::thread::sleep(Duration::from_millis(100));
    let said = refusal(group, &expired, "expired");
    assert!(said.contains("has expired"), "{said}");
    // Those that the servers came in with were good for one each.
    let listed = group.ok(0, "token list");
    assert!(listed.contains("s1") && listed.contains("s2"), "{listed}");
}

/// Another cluster is told that one of its servers is where one of ours is.
async fn two_clusters_mixed_up(group: &mut Group) {
    group.start(STRANGER).await;
    let token = group.ok(STRANGER, "token create --role server");
    // It is let in there, and cannot listen on an address that is ours; but the other cluster has noted it.
    let dir = group.dir.path().join("mixed");
    let line = format!(
        "join {} --token {token} --role server --no-agent --name s1 --listen {} --data-dir {}",
        address(STRANGER),
        address(1),
        dir.display()
    );
    let done = group.run(STRANGER, &line);
    assert_eq!(done.code, Some(1), "{done:?}");
    // Who is something there is nobody here.
    let said = group.session_of(STRANGER, 0);
    let said = crate::load::read(&said, "counter").await.unwrap_err();
    println!("a foreign administrator: {said:#}");
    let began = Instant::now();
    while !group.said(STRANGER).contains("a member is away") {
        assert!(began.elapsed() < HELD_UP, "{}", group.said(STRANGER));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let said = group.said(STRANGER);
    let why = said
        .lines()
        .find(|line| line.contains("a member is away"))
        .unwrap_or_default();
    println!("another cluster: {why}");
    assert!(why.contains("certificate"), "{why}");
    tokio::time::sleep(Duration::from_secs(2)).await;
    group.kill(STRANGER);
}

#[test]
fn strangers_stay_outside_and_who_was_removed_disturbs_nobody() {
    play(None, async |group| {
        let load = Load::start(group).await;
        let before = term(group, &[0, 1, 2]).await;
        bad_tokens(group);
        two_clusters_mixed_up(group).await;
        assert_eq!(term(group, &[0, 1, 2]).await, before, "the term has risen");

        let leader = group.leader().await;
        let (removed, other) = ((leader + 1) % 3, (leader + 2) % 3);
        group.remove(leader, removed).await;
        let voters = async |group: &Group| group.status(leader).await.map(|status| status.members.len());
        let began = Instant::now();
        while voters(group).await != Some(2) {
            assert!(began.elapsed() < HELD_UP, "s{removed} is still a member");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        group.kill(removed);
        group.start(removed).await;
        for _ in 0..6 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let held = load.resumed(Instant::now()).await;
            assert!(held < HELD_UP);
        }
        assert_eq!(
            term(group, &[leader, other]).await,
            before,
            "who was removed has raised the term"
        );
        let began = Instant::now();
        let out = format!("server \"s{removed}\" was taken out of the cluster");
        while !group.said(removed).contains(&out) {
            assert!(began.elapsed() < HELD_UP, "it never learns it: {}", group.said(removed));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // Who asks it is told so, and who knows others asks them.
        let said = format!(
            "{:#}",
            crate::load::read(&group.session(removed), "counter").await.unwrap_err()
        );
        println!("it says: {said}");
        assert!(
            said.contains(&out) && said.contains("join again with an empty --data-dir"),
            "{said}"
        );
        let selection = sampan_api::rpc::Selection {
            resource: "namespaces".to_owned(),
            ..Default::default()
        };
        let found = group.session_from(removed).list(&selection).await.unwrap();
        assert!(!found.objects.is_empty());
        group.kill(removed);

        // It is let in again as a new one.
        let token = group.ok(leader, "token create --role server --single-use");
        group.renew(removed);
        group.join(removed, &token, leader).await;
        group.settled().await;
        let used = refusal(group, &token, "used");
        assert!(used.contains("good for one machine and is used"), "{used}");
        load.end(group).await;
    });
}
