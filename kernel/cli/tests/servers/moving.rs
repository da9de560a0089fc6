//! Servers that come back at another address, and what an operator sees of the group meanwhile.
use crate::{
    group::{Group, PATIENCE, STRANGER, play},
    killing::HELD_UP,
    load::Load,
};
use serde_json::Value;
use std::time::{Duration, Instant};

/// The servers, as a host that is no member of the group sees them by asking one.
fn members(group: &Group, by: usize) -> Vec<Value> {
    let list: Value = serde_json::from_str(&group.ok(by, "member list -o json")).unwrap();
    list.as_array().expect("a list").clone()
}

fn named(members: &[Value], name: &str) -> Value {
    let found = members.iter().find(|member| member["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {members:?}")).clone()
}

#[test]
fn a_server_that_moved_is_found_where_it_is() {
    play(None, async |group| {
        let load = Load::start(group).await;
        // A follower first, then who leads.
        for round in 0..2 {
            let leader = group.leader().await;
            let moving = if round == 0 { (leader + 1) % 3 } else { leader };
            let ip = format!("10.231.0.{}", 101 + moving);
            group.stop(moving).await;
            group.move_to(moving, &ip);
            group.start(moving).await;
            let began = Instant::now();
            let (name, address) = (format!("s{moving}"), format!("{ip}:7443"));
            let by = (moving + 1) % 3;
            while named(&members(group, by), &name)["address"] != address {
                assert!(began.elapsed() < PATIENCE, "{}", group.all_said());
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            group.settled().await;
            println!("s{moving} was found at {address} after {:?}", began.elapsed());
        }
        load.end(group).await;
    });
}

#[test]
fn a_standby_does_not_vote_until_it_is_promoted() {
    play(None, async |group| {
        let token = group.ok(0, "token create --role server --single-use");
        group.join_as_standby(STRANGER, &token, 0).await;
        let began = Instant::now();
        let role = async |group: &Group, wanted: &str, standby: bool| {
            loop {
                let member = named(&members(group, 1), "s3");
                if member["role"] == wanted && member["standby"] == standby && member["lag"] == 0 {
                    return;
                }
                assert!(began.elapsed() < PATIENCE, "it is not a {wanted}: {member}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        role(group, "learner", true).await;
        println!("{}", group.ok(1, "member list"));
        let refused = group.run(1, "member lead s3");
        assert!(refused.err.contains("`sampan member promote s3`"), "{refused:?}");
        // It is what it is after a restart, too.
        group.stop(STRANGER).await;
        group.start_as_it_was(STRANGER).await;
        role(group, "learner", true).await;
        println!("{}", group.ok(1, "member promote s3"));
        role(group, "voter", false).await;
        let refused = group.run(1, "member promote s3");
        assert!(refused.err.contains("is no standby"), "{refused:?}");
    });
}

#[test]
fn the_status_says_of_each_server_how_it_is() {
    play(None, async |group| {
        let leader = group.leader().await;
        let (asked, dead) = ((leader + 1) % 3, (leader + 2) % 3);
        let text = group.ok(asked, "status");
        println!("{text}");
        let level = format!("level {}", sampan_server::features::LEVEL);
        for word in [
            level.as_str(),
            "Leader:",
            "LOG+SNAPSHOTS",
            "active",
            env!("CARGO_PKG_VERSION"),
        ] {
            assert!(text.contains(word), "no {word} in {text}");
        }
        let all = members(group, asked);
        for member in &all {
            assert!(member["applied"].as_u64().unwrap() > 0, "{member}");
            assert!(member["disk"]["usedBytes"].as_u64().unwrap() > 0, "{member}");
            assert!(member["disk"]["freeBytes"].as_u64().unwrap() > 0, "{member}");
            assert_eq!(member["version"], env!("CARGO_PKG_VERSION"), "{member}");
            assert_eq!(member["reachable"], true, "{member}");
            assert!(member["lag"].is_u64(), "{member}");
        }
        assert_eq!(all.iter().filter(|member| member["role"] == "leader").count(), 1);
        // One that does not even refuse a connection holds up the answer once, and not for long.
        group.network.cut(dead);
        let away = format!("s{dead}");
        let began = Instant::now();
        loop {
            let member = named(&members(group, asked), &away);
            if member["reachable"] == false && member["silentMillis"].as_u64().unwrap() > 2000 {
                println!("{member}");
                break;
            }
            assert!(began.elapsed() < PATIENCE, "{member}");
        }
        let text = group.ok(asked, "member list -o wide");
        println!("{text}");
        assert!(text.contains("away for "), "{text}");
        let began = Instant::now();
        group.ok(asked, "status");
        let took = began.elapsed();
        println!("with one cut off, status took {took:?}");
        assert!(took < HELD_UP, "{took:?}");
        group.network.mend(dead);
        group.settled().await;
    });
}
