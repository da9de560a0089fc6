//! Who belongs to the group: Member objects say who should, and the leader brings Raft's members there, one step at a time.
//!
//! A server that joins becomes a learner and, once it has caught up, a voter; one whose object is gone is taken out, the
//! leader itself only after another has taken over. Each step is decided on what is, so any server can go on with it.
use crate::{
    features,
    peers::{Peer, members},
    replica::{ReplicaHandle, ReplicaStatus},
};
use sampan_api::ApiError;
use sampan_state::{
    Snapshot,
    eraftpb::{ConfChangeSingle, ConfChangeType, ConfChangeV2},
};
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// A learner may be so many entries behind when it becomes a voter: it has them in a moment.
const CAUGHT_UP: u64 = 200;

/// Between two looks while something is to be done.
const PAUSE: Duration = Duration::from_millis(100);

/// The next step towards the members that the state names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Learn(u64),
    Promote(u64),
    Remove(u64),
    /// Leadership goes to another first.
    HandOver(u64),
    /// Something is left to do, but not now.
    Wait,
}

/// What is to be done now, if anything. `wanted` are all members that the state names, this one among them if it is.
pub fn next_step(wanted: &[Peer], status: &ReplicaStatus) -> Option<Step> {
    let own = status.member;
    let named = |id: &u64| wanted.iter().any(|peer| peer.id == *id);
    let voters = &status.voters;
    let is_in = |id: &u64| voters.contains(id) || status.learners.contains(id);
    if let Some(gone) = status.learners.iter().find(|id| !named(id)) {
        return Some(Step::Remove(*gone));
    }
    if let Some(gone) = voters.iter().find(|id| !named(id) && **id != own) {
        return Some(Step::Remove(*gone));
    }
    if let Some(new) = wanted.iter().find(|peer| !is_in(&peer.id)) {
        return Some(Step::Learn(new.id));
    }
    let progress = |id: u64| status.progress.iter().find(|progress| progress.member == id);
    let rising = |id: &&u64| wanted.iter().any(|peer| peer.id == **id && !peer.standby);
    for learner in status.learners.iter().filter(rising) {
        let caught_up = progress(*learner)
            .is_some_and(|progress| progress.active && progress.matched + CAUGHT_UP >= status.last_index);
        if caught_up {
            return Some(Step::Promote(*learner));
        }
    }
    if !named(&own) && voters.contains(&own) {
        return Some(status.heir().map_or(Step::Wait, Step::HandOver));
    }
    status.learners.iter().any(|id| rising(&id)).then_some(Step::Wait)
}

fn change(kind: ConfChangeType, member: u64) -> ConfChangeV2 {
    ConfChangeV2 {
        changes: vec![ConfChangeSingle {
            change_type: kind.into(),
            node_id: member,
        }],
        ..ConfChangeV2::default()
    }
}

/// Keeps the address book and, while this member leads, Raft's members as the state names them.
pub async fn keep(replica: ReplicaHandle, peers: Arc<crate::peers::Peers>, closing: CancellationToken) {
    let mut leading = replica.leadership();
    let mut known = None;
    loop {
        let state = replica.snapshot();
        let wanted = members(&state);
        // Before the first state has come, the book is what was said at the join.
        if !wanted.is_empty() && known.as_ref() != Some(&wanted) {
            peers.book().replace(wanted.clone());
            known = Some(wanted.clone());
        }
        let term = *leading.borrow_and_update();
        let step = match term {
            // A group that names nobody is one of an older version, or not begun: nobody is taken out of it.
            Some(_) if !wanted.is_empty() => next_step(&wanted, &replica.status()),
            _ => None,
        };
        let risen = match term {
            Some(term) => raise(&replica, &state, term).await,
            None => true,
        };
        if let Some(step) = &step {
            carry_out(&replica, step).await;
        }
        let pause = async {
            match step {
                None if risen => changed(&replica, &state).await,
                _ => tokio::time::sleep(PAUSE).await,
            }
        };
        tokio::select! {
            () = closing.cancelled() => return,
            gone = leading.changed() => if gone.is_err() { return },
            () = pause => {}
        }
    }
}

/// Raises the level of features, if all members have reached a higher one; whether it is as high as it can be.
async fn raise(replica: &ReplicaHandle, state: &Snapshot, term: u64) -> bool {
    let raised = match features::raise(state) {
        Ok(None) => return true,
        Ok(Some(plan)) => replica.commit_in(term, vec![plan]).await.and_then(|mut results| {
            let result = results.pop();
            result.unwrap_or_else(|| Err(ApiError::unavailable("nothing is known of it")))
        }),
        Err(error) => Err(error),
    };
    match &raised {
        Ok(_) => tracing::info!(
            level = features::in_force(&replica.snapshot()),
            "features of a new level are in force"
        ),
        // Somebody came before: it is looked at again.
        Err(error) => tracing::debug!(%error, "the level of features was not raised"),
    }
    raised.is_ok()
}

async fn carry_out(replica: &ReplicaHandle, step: &Step) {
    let done = match step {
        Step::Learn(id) => {
            replica
                .change_members(change(ConfChangeType::AddLearnerNode, *id))
                .await
        }
        Step::Promote(id) => replica.change_members(change(ConfChangeType::AddNode, *id)).await,
        Step::Remove(id) => replica.change_members(change(ConfChangeType::RemoveNode, *id)).await,
        Step::HandOver(id) => {
            replica.transfer_leadership(*id);
            Ok(())
        }
        Step::Wait => return,
    };
    match done {
        Ok(()) => tracing::info!(?step, "the members change"),
        Err(error) => tracing::debug!(?step, %error, "the members cannot be changed now"),
    }
}

/// Waits until a Member object changes.
pub async fn changed(replica: &ReplicaHandle, since: &Snapshot) {
    let members = vec![crate::peers::RESOURCE.to_owned()];
    let Ok(mut changes) = replica.watch_only(since.revision(), members) else {
        return;
    };
    if changes.next().await.is_some() {
        return;
    }
    // Forgotten history, or the end: the state is looked at anew.
    tokio::time::sleep(PAUSE).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use sampan_state::Progress;

    fn peers(ids: &[u64]) -> Vec<Peer> {
        let peer = |id: &u64| Peer {
            id: *id,
            name: format!("s{id}"),
            address: String::new(),
            standby: false,
        };
        ids.iter().map(peer).collect()
    }

    fn status(voters: &[u64], learners: &[u64], matched: &[(u64, u64)]) -> ReplicaStatus {
        let progress = |(member, matched): &(u64, u64)| Progress {
            member: *member,
            matched: *matched,
            active: true,
        };
        ReplicaStatus {
            member: 1,
            voters: voters.to_vec(),
            learners: learners.to_vec(),
            progress: matched.iter().map(progress).collect(),
            last_index: 1000,
            ..ReplicaStatus::default()
        }
    }

    #[test]
    fn a_member_comes_as_learner_and_is_promoted_when_it_has_caught_up() {
        let wanted = peers(&[1, 2]);
        assert_eq!(next_step(&wanted, &status(&[1], &[], &[])), Some(Step::Learn(2)));
        assert_eq!(next_step(&wanted, &status(&[1], &[2], &[(2, 0)])), Some(Step::Wait));
        assert_eq!(
            next_step(&wanted, &status(&[1], &[2], &[(2, 950)])),
            Some(Step::Promote(2))
        );
        assert_eq!(next_step(&wanted, &status(&[1, 2], &[], &[])), None);
    }

    #[test]
    fn a_standby_stays_a_learner_until_it_is_none() {
        let mut wanted = peers(&[1, 2]);
        wanted[1].standby = true;
        let caught_up = status(&[1], &[2], &[(2, 1000)]);
        assert_eq!(next_step(&wanted, &caught_up), None);
        wanted[1].standby = false;
        assert_eq!(next_step(&wanted, &caught_up), Some(Step::Promote(2)));
    }

    #[test]
    fn who_is_not_named_goes_and_a_leader_hands_over_first() {
        assert_eq!(
            next_step(&peers(&[1, 2]), &status(&[1, 2, 3], &[], &[])),
            Some(Step::Remove(3))
        );
        let rest = status(&[1, 2, 3], &[], &[(1, 1000), (2, 900), (3, 990)]);
        assert_eq!(next_step(&peers(&[2, 3]), &rest), Some(Step::HandOver(3)));
    }
}
