//! `status`: how the cluster is, and each of its servers.
use crate::{
    doc::is_true,
    print::{Format, Table, age, tabs},
    progress::size,
    session::Session,
    targets::{self, Scope},
    verbs::about::print,
};
use anyhow::Result;
use clap::Args;
use sampan_api::rpc;
use serde_json::{Value, json};

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  sampan status -o json")]
pub struct StatusArgs {
    /// yaml, json, jsonpath=…
    #[arg(short = 'o', long, value_name = "FORMAT", value_parser = Format::parse)]
    output: Option<Format>,
}

pub async fn run(args: &StatusArgs, session: &Session) -> Result<()> {
    let found = ask(session).await?;
    let nodes = session
        .list(&Scope::default().selection(targets::kind("nodes")?, session))
        .await?
        .objects;
    let ready = nodes.iter().filter(|node| is_true(&node.value, "Ready")).count();
    let next = next_level(&found.members).filter(|next| *next > found.level);
    let value = json!({"cluster": found.cluster_name, "server": session.server, "answeredBy": found.server,
        "version": found.version, "revision": found.revision, "compactedRevision": found.compacted_revision,
        "objects": found.objects, "logBytes": found.log_bytes,
        "raft": {"term": found.raft_term, "index": found.raft_index, "leader": found.leader},
        "features": {"level": found.level, "next": next, "behind": behind(&found.members)},
        "members": found.members.iter().map(to_json).collect::<Vec<_>>(),
        "nodes": {"ready": ready, "all": nodes.len()}});
    print(args.output.as_ref(), &value, || {
        let text = format!(
            "Cluster:\t{}\nServer:\t{}\nVersion:\t{}\nFeatures:\t{}\nLeader:\t{}, term {}\nNodes:\t{ready} of {} ready\n\
             Revision:\t{} (watchable from {})\nObjects:\t{}\nLog:\t{}, index {}\n",
            found.cluster_name,
            session.server,
            found.version,
            features(found.level, &found.members),
            leader(&found),
            found.raft_term,
            nodes.len(),
            found.revision,
            found.compacted_revision,
            found.objects,
            size(found.log_bytes),
            found.raft_index,
        );
        format!("{}\n{}", tabs::align(&text, 2), table(&found.members, true))
    })
}

/// What the servers say.
///
/// # Errors
/// If none of them does.
pub async fn ask(session: &Session) -> Result<rpc::StatusResponse> {
    session
        .again(|| async { session.cluster().status(rpc::StatusRequest::default()).await })
        .await
}

/// The servers as a table; wide, with what each takes of its disk and what its build is.
pub fn table(members: &[rpc::Member], wide: bool) -> String {
    let mut headers = vec!["NAME", "ROLE", "ADDRESS", "APPLIED", "LAG", "STATE"];
    if wide {
        headers.extend(["STATE SIZE", "QUOTA", "LOG+SNAPSHOTS", "DISK FREE", "VERSION", "LEVEL"]);
    }
    headers.push("ID");
    let mut table = Table::new(headers);
    let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    for member in members {
        let mut row = vec![
            member.name.clone(),
            role(member),
            member.address.clone(),
            number(member.applied),
            number(member.lag),
            state(member),
        ];
        if wide {
            let bytes = |of: fn(&rpc::Disk) -> u64| {
                let known = member.disk.as_ref().map(of);
                known.map_or_else(|| "-".to_owned(), size)
            };
            row.extend([bytes(|disk| disk.state_bytes), bytes(|disk| disk.quota_bytes)]);
            row.extend([bytes(|disk| disk.used_bytes), bytes(|disk| disk.free_bytes)]);
            row.extend([member.version.clone(), member.level.to_string()]);
        }
        row.push(format!("{:x}", member.id));
        table.row(row);
    }
    table.to_text(true)
}

fn role(member: &rpc::Member) -> String {
    match member.standby && member.role == "learner" {
        true => "standby".to_owned(),
        false => member.role.clone(),
    }
}

/// Whether it answers, else since when the leader has not heard of it.
fn state(member: &rpc::Member) -> String {
    if !member.stuck.is_empty() {
        return "no room".to_owned();
    }
    if member.away.is_empty() {
        // The way out is in what a refused write is told.
        let full = member
            .disk
            .as_ref()
            .is_some_and(|disk| disk.state_bytes >= disk.quota_bytes);
        return if full { "quota reached" } else { "active" }.to_owned();
    }
    match member.silent_ms {
        // The leader hears it, and the server that was asked does not.
        Some(_) if member.active => "unreachable".to_owned(),
        Some(silent) => format!(
            "away for {}",
            age::human(i64::try_from(silent / 1000).unwrap_or(i64::MAX))
        ),
        None => "away".to_owned(),
    }
}

/// A server as `-o` prints it.
pub fn to_json(member: &rpc::Member) -> Value {
    let disk = member.disk.as_ref();
    let disk = disk.map(|disk| {
        json!({"usedBytes": disk.used_bytes, "freeBytes": disk.free_bytes,
        "stateBytes": disk.state_bytes, "quotaBytes": disk.quota_bytes})
    });
    let reachable = member.away.is_empty();
    json!({"id": member.id, "name": member.name, "role": member.role, "standby": member.standby, "address": member.address,
        "applied": member.applied, "lag": member.lag, "active": member.active, "reachable": reachable,
        "away": (!reachable).then_some(&member.away), "silentMillis": member.silent_ms,
        "stuck": (!member.stuck.is_empty()).then_some(&member.stuck), "disk": disk,
        "version": member.version, "level": member.level})
}

fn leader(found: &rpc::StatusResponse) -> String {
    let leader = found.members.iter().find(|member| member.id == found.leader);
    leader.map_or_else(|| "none".to_owned(), |leader| leader.name.clone())
}

/// The level that all have reached.
fn next_level(members: &[rpc::Member]) -> Option<u32> {
    members.iter().map(|member| member.level).min()
}

/// Who keeps the level from what the newest build has.
fn behind(members: &[rpc::Member]) -> Vec<&str> {
    let newest = members.iter().map(|member| member.level).max().unwrap_or(0);
    let old = members.iter().filter(|member| member.level < newest);
    old.map(|member| member.name.as_str()).collect()
}

fn features(level: u32, members: &[rpc::Member]) -> String {
    let newest = members.iter().map(|member| member.level).max().unwrap_or(level);
    match behind(members).as_slice() {
        _ if newest <= level => format!("level {level}"),
        [] => format!("level {level}, about to rise to {newest}"),
        behind => format!(
            "level {level}; {newest} once {} {} a newer build",
            behind.join(", "),
            if behind.len() == 1 { "has" } else { "have" }
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, level: u32) -> rpc::Member {
        rpc::Member {
            name: name.to_owned(),
            level,
            ..rpc::Member::default()
        }
    }

    #[test]
    fn it_says_who_keeps_the_level_low() {
        assert_eq!(features(2, &[member("s1", 2), member("s2", 2)]), "level 2");
        assert_eq!(features(1, &[member("s1", 2)]), "level 1, about to rise to 2");
        let mixed = [member("s1", 3), member("s2", 2), member("s3", 3)];
        assert_eq!(features(2, &mixed), "level 2; 3 once s2 has a newer build");
    }

    #[test]
    fn it_says_since_when_one_is_away() {
        let mut away = member("s1", 1);
        assert_eq!(state(&away), "active");
        away.away = "connection refused".to_owned();
        away.silent_ms = Some(125_000);
        assert_eq!(state(&away), "away for 2m5s");
        away.active = true;
        assert_eq!(state(&away), "unreachable");
        away.stuck = "full".to_owned();
        assert_eq!(state(&away), "no room");
    }
}
