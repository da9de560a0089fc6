//! How the servers are: each answers for itself, and whoever is asked gathers what they say.
use super::Front;
use crate::{
    disk,
    features::{self, Build},
    peers::{self, Peer},
    replica::ReplicaStatus,
};
use sampan_api::{
    ApiError, Key,
    rpc::{self, StatusRequest, StatusResponse, cluster_client::ClusterClient},
};
use sampan_state::Snapshot;
use std::time::Duration;

/// A server that does not answer in this time is away.
const ASKING: Duration = Duration::from_secs(1);

impl Front {
    /// What this server knows, and how it is itself.
    pub(super) fn status_here(&self) -> StatusResponse {
        let (status, state) = (self.replica.status(), self.replica.snapshot());
        let voters = status
            .voters
            .iter()
            .map(|id| (*id, if *id == status.leader { "leader" } else { "voter" }));
        let members = voters.chain(status.learners.iter().map(|id| (*id, "learner")));
        let member = |(id, role)| self.member(id, role, &status, &state);
        StatusResponse {
            cluster_name: self.cluster_name.clone(),
            version: self.build.version.clone(),
            revision: state.revision(),
            compacted_revision: state.compacted(),
            raft_term: status.term,
            raft_index: status.applied,
            leader: status.leader,
            members: members.map(member).collect(),
            objects: state.len() as u64,
            log_bytes: status.log_bytes,
            server: self.peers.own().name.clone(),
            level: features::in_force(&state),
        }
    }

    fn member(&self, id: u64, role: &str, status: &ReplicaStatus, state: &Snapshot) -> rpc::Member {
        let Peer { name, address, .. } = self.peers.book().get(id).unwrap_or_default();
        let object = state.get(&Key::new(peers::RESOURCE, "", &name));
        let build = object.as_deref().map(Build::of);
        let (version, level) = build.map(|build| (build.version, build.level)).unwrap_or_default();
        let progress = status.progress.iter().find(|progress| progress.member == id);
        let silent = (id != status.member).then(|| self.peers.silence(id));
        let mut member = rpc::Member {
            id,
            role: role.to_owned(),
            version,
            level,
            address,
            lag: progress.map(|progress| status.last_index.saturating_sub(progress.matched)),
            active: progress.map_or(id == status.member, |progress| progress.active),
            silent_ms: silent.and_then(|silent| u64::try_from(silent.as_millis()).ok()),
            standby: object.as_deref().and_then(Peer::of).is_some_and(|peer| peer.standby),
            name,
            ..rpc::Member::default()
        };
        if id == status.member {
            self.build.version.clone_into(&mut member.version);
            member.level = self.build.level;
            member.applied = Some(status.applied);
            member.disk = disk::look(&self.data).ok().map(|disk| rpc::Disk {
                state_bytes: status.state_bytes,
                quota_bytes: status.quota_bytes,
                ..disk
            });
            member.stuck = status.stuck.clone().unwrap_or_default();
        }
        member
    }

    /// What the leader knows, and how each server says that it is itself. All are asked at once, so that those that are away
    /// hold up the answer only once.
    pub(super) async fn status_of_all(&self) -> StatusResponse {
        let own = self.peers.own().member;
        let others = self.peers.book().all().into_iter().filter(|peer| peer.id != own);
        let asked = others.map(|peer| async move { (peer.id, self.status_at(peer.id).await) });
        let answers = futures::future::join_all(asked).await;
        merged(own, &self.status_here(), &answers)
    }

    async fn status_at(&self, member: u64) -> Result<StatusResponse, String> {
        let ask = async {
            let mut client = ClusterClient::new(self.peers.channel(member).await?);
            let answer = client.status(StatusRequest { here: true }).await;
            answer.map(tonic::Response::into_inner).map_err(ApiError::from)
        };
        match tokio::time::timeout(ASKING, ask).await {
            Ok(answer) => answer.map_err(|error| error.message),
            Err(_) => Err(format!("no answer within {ASKING:?}")),
        }
    }
}

/// What the leader says of the group, and each member of itself. `own` is the member that was asked, and `here` what it says.
fn merged(own: u64, here: &StatusResponse, answers: &[(u64, Result<StatusResponse, String>)]) -> StatusResponse {
    let said = |id: u64| match answers.iter().find(|(member, _)| *member == id) {
        Some((_, answer)) => answer.as_ref(),
        None => Ok(here),
    };
    // One that still takes itself for the leader is of an older term.
    let leads = |id: u64| said(id).ok().filter(|answer| answer.leader == id);
    let everybody = answers.iter().map(|(id, _)| *id).chain([own]);
    let mut all = everybody
        .filter_map(leads)
        .max_by_key(|answer| answer.raft_term)
        .unwrap_or(here)
        .clone();
    all.server.clone_from(&here.server);
    all.members.sort_by(|one, other| one.name.cmp(&other.name));
    for member in &mut all.members {
        match said(member.id) {
            Err(why) => member.away.clone_from(why),
            Ok(answer) => {
                if let Some(said) = answer.members.iter().find(|said| said.id == member.id) {
                    member.version.clone_from(&said.version);
                    member.level = said.level;
                    member.applied = said.applied;
                    member.disk = said.disk;
                    member.stuck.clone_from(&said.stuck);
                }
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(server: &str, leader: u64, own: u64, applied: u64) -> StatusResponse {
        let member = |id| rpc::Member {
            id,
            applied: (id == own).then_some(applied),
            lag: (leader == own).then_some(100 - id),
            ..rpc::Member::default()
        };
        StatusResponse {
            server: server.to_owned(),
            leader,
            raft_term: 5,
            members: [1, 2, 3].map(member).into(),
            ..StatusResponse::default()
        }
    }

    #[test]
    fn the_leader_speaks_of_the_group_and_each_of_itself() {
        let answers = [
            (2, Ok(answer("s2", 2, 2, 70))),
            (3, Err("connection refused".to_owned())),
        ];
        let all = merged(1, &answer("s1", 2, 1, 60), &answers);
        assert_eq!((all.server.as_str(), all.leader), ("s1", 2));
        let applied: Vec<_> = all.members.iter().map(|member| member.applied).collect();
        assert_eq!(applied, [Some(60), Some(70), None]);
        let lags: Vec<_> = all.members.iter().map(|member| member.lag).collect();
        assert_eq!(lags, [Some(99), Some(98), Some(97)]);
        assert_eq!(all.members[2].away, "connection refused");
    }

    #[test]
    fn without_a_leader_each_still_speaks_of_itself() {
        let away = || Err("away".to_owned());
        let all = merged(1, &answer("s1", 0, 1, 60), &[(2, away()), (3, away())]);
        assert_eq!(all.members[0].applied, Some(60));
        assert_eq!(all.members[1].away, "away");
    }
}
