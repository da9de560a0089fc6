//! A group of replicas in one process: messages, disks and crashes are the test's, so every seed repeats.
#![allow(clippy::unwrap_used, reason = "a panic in a test is the test failing")]
mod cluster;

use cluster::Cluster;
use sampan_state::{LEAP, Role};

#[test]
fn a_group_of_one_leads_at_once_and_goes_on_after_a_crash() {
    let mut cluster = Cluster::new(&[1]);
    assert_eq!(
        cluster.member(1).replica.role(),
        Role::Leader,
        "without waiting for a tick"
    );
    for _ in 0..20 {
        cluster.write(1).unwrap();
        cluster.settle();
    }
    let digest = cluster.member(1).replica.store().digest();
    cluster.crash_and_restart(1);
    cluster.settle();
    assert_eq!(cluster.member(1).replica.store().digest(), digest);
    assert_eq!(cluster.member(1).replica.role(), Role::Leader);
}

#[test]
fn what_is_committed_survives_any_one_member() {
    for seed in 1..=10 {
        let mut cluster = Cluster::new(&[1, 2, 3]);
        cluster.loss = seed % 4;
        cluster.dice = seed * 7919;
        cluster.elect();
        for round in 0..60 {
            let leader = cluster.elect();
            let _ = cluster.write(leader);
            cluster.steps(3);
            if round % 9 == 5 {
                let victim = 1 + cluster.roll(3);
                cluster.crash_and_restart(victim);
            }
        }
        cluster.loss = 0;
        cluster.elect();
        cluster.steps(60);
        cluster.assert_agreement();
        cluster.assert_nothing_lost();
    }
}

#[test]
fn who_leads_has_applied_all_that_was_acknowledged_before() {
    let mut leaders = 0;
    for seed in 1..=10 {
        let mut cluster = Cluster::new(&[1, 2, 3]);
        cluster.loss = seed % 4;
        cluster.dice = seed * 104_729;
        let mut led = std::collections::BTreeMap::new();
        for round in 0..400 {
            let on = 1 + cluster.roll(3);
            let _ = cluster.write(on);
            cluster.steps(1);
            let leading = (1..=3).filter_map(|id| cluster.member(id).replica.leads().map(|term| (term, id)));
            let leading: Vec<_> = leading.collect();
            for (term, id) in &leading {
                assert_eq!(led.entry(*term).or_insert(*id), id, "two lead in term {term}");
            }
            if let Some((_, id)) = leading.iter().max() {
                cluster.assert_knows_all(*id);
            }
            if round % 60 == 59 {
                let victim = leading.iter().max().map_or(1, |(_, id)| *id);
                cluster.crash_and_restart(victim);
            }
        }
        leaders += led.len();
    }
    assert!(leaders > 20, "only {leaders} terms were led");
}

#[test]
fn a_member_far_behind_gets_the_state_itself() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let leader = cluster.elect();
    let away = if leader == 3 { 2 } else { 3 };
    cluster.cut(away);
    for _ in 0..5000 {
        cluster.write(leader).unwrap();
        cluster.settle();
    }
    cluster.checkpoint(leader);
    cluster.heal();
    cluster.steps(100);
    assert!(cluster.member(away).snapshots > 0, "it came as a snapshot");
    cluster.assert_agreement();
    // And again, after the log went on beyond the snapshot that was made for it.
    cluster.cut(away);
    let leader = cluster.elect();
    for _ in 0..5000 {
        cluster.write(leader).unwrap();
        cluster.settle();
    }
    cluster.checkpoint(leader);
    cluster.heal();
    cluster.steps(100);
    cluster.assert_agreement();
    cluster.crash_and_restart(away);
    cluster.steps(50);
    cluster.assert_agreement();
}

#[test]
fn who_lost_the_end_of_its_log_is_given_it_again() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let leader = cluster.elect();
    for _ in 0..20 {
        cluster.write(leader).unwrap();
        cluster.settle();
    }
    cluster.steps(10);
    let damaged = if leader == 3 { 2 } else { 3 };
    cluster.lose_the_end(damaged, 5);
    // The leader's heartbeats speak of a commit that it had confirmed.
    cluster.steps(10);
    cluster.write(leader).unwrap();
    cluster.steps(30);
    cluster.assert_agreement();
    cluster.assert_nothing_lost();
}

#[test]
fn members_are_added_and_removed() {
    let mut cluster = Cluster::new(&[1]);
    cluster.write(1).unwrap();
    cluster.settle();
    cluster.join(2);
    cluster.change(1, "v2");
    cluster.steps(30);
    cluster.join(3);
    cluster.change(1, "v3");
    cluster.steps(30);
    assert_eq!(cluster.member(3).replica.members().voters, [1, 2, 3]);
    cluster.write(1).unwrap();
    cluster.steps(30);
    cluster.assert_agreement();
    // Alone and just restarted, the first one must not take itself for the whole group.
    cluster.cut(1);
    cluster.crash_and_restart(1);
    cluster.steps(60);
    assert_ne!(cluster.member(1).replica.role(), Role::Leader);
    cluster.heal();
    let leader = cluster.elect();
    cluster.change(leader, "r2");
    cluster.steps(30);
    assert_eq!(cluster.member(leader).replica.members().voters, [1, 3]);
}

#[test]
fn a_leader_that_is_removed_steps_down() {
    for seed in 1..=5 {
        let mut cluster = Cluster::new(&[1, 2, 3]);
        cluster.dice = seed * 7919;
        let leader = cluster.elect();
        cluster.change(leader, &format!("r{leader}"));
        assert_ne!(
            cluster.member(leader).replica.role(),
            Role::Leader,
            "its heartbeats would keep the others from an election"
        );
        cluster.steps(60);
        let next = cluster.elect();
        assert_ne!(next, leader);
        cluster.write(next).unwrap();
        cluster.steps(10);
        assert!(!cluster.member(next).replica.members().voters.contains(&leader));
    }
}

#[test]
fn the_last_voter_removes_itself_in_favour_of_another() {
    let mut cluster = Cluster::new(&[1]);
    cluster.join(2);
    cluster.change(1, "v2 r1");
    cluster.steps(100);
    assert_eq!(cluster.elect(), 2);
    cluster.write(2).unwrap();
    cluster.settle();
}

#[test]
fn to_remove_the_last_voter_is_refused_and_harms_nothing() {
    let mut cluster = Cluster::new(&[1]);
    cluster.change(1, "r1");
    assert_eq!(cluster.member(1).replica.members().voters, [1]);
    cluster.write(1).unwrap();
    cluster.settle();
    cluster.crash_and_restart(1);
    assert_eq!(cluster.elect(), 1);
}

#[test]
fn one_survivor_goes_on_alone_with_all_that_is_in_its_log() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    for _ in 0..20 {
        let leader = cluster.elect();
        cluster.write(leader).unwrap();
        cluster.steps(2);
    }
    let left = if cluster.elect() == 2 { 3 } else { 2 };
    cluster.checkpoint(left);
    let leader = cluster.elect();
    cluster.write(leader).unwrap();
    cluster.steps(2);
    let before = cluster.member(left).replica.store().snapshot().revision();
    cluster.go_on_alone(left);
    let alone = &cluster.member(left).replica;
    assert_eq!((alone.role(), &alone.members().voters[..]), (Role::Leader, &[left][..]));
    let state = alone.store().snapshot();
    assert_eq!(
        (state.len(), state.revision()),
        (20, before + LEAP),
        "all but the one that was not to stay"
    );
    assert!(
        state.since(before + 5).is_err(),
        "a revision that others gave means nothing here"
    );
    cluster.assert_nothing_lost();
    // It writes, starts again as what it is, and others join it.
    cluster.write(left).unwrap();
    cluster.settle();
    cluster.crash_and_restart(left);
    cluster.settle();
    assert_eq!(cluster.member(left).replica.members().voters, [left]);
    cluster.join(9);
    cluster.change(left, "v9");
    cluster.steps(30);
    cluster.write(left).unwrap();
    cluster.steps(30);
    let mut voters = cluster.member(9).replica.members().voters.clone();
    voters.sort_unstable();
    assert_eq!(voters, [left, 9]);
    cluster.assert_agreement();
}
