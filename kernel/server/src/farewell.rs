//! How a server leaves: leadership goes to another first; and one that has no part in its cluster any more says so to
//! everybody, and nothing else.
use crate::{
    front::{Front, say_no_more},
    replica::ReplicaHandle,
    standing,
};
use std::{
    net::TcpListener,
    sync::Arc,
    time::{Duration, Instant},
};

/// So long another is waited for that takes over; then it is left to an election.
const HANDING_OVER: Duration = Duration::from_secs(2);
/// Before it is asked again: the one that was asked may have been behind.
const ATTEMPT: Duration = Duration::from_millis(500);
/// So long calls are answered after no more are taken.
const LAST_ANSWERS: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(10);

/// Gives leadership to the furthest of the others, so that writes do not wait for an election.
pub async fn hand_over(replica: &ReplicaHandle) {
    let until = Instant::now() + HANDING_OVER;
    let mut asked = None;
    while Instant::now() < until {
        let status = replica.status();
        if status.leader != status.member {
            return;
        }
        let Some(heir) = status.heir() else { return };
        if asked.is_none_or(|at: Instant| at.elapsed() > ATTEMPT) {
            tracing::info!(to = heir, "leadership goes to another before this server ends");
            replica.transfer_leadership(heir);
            asked = Some(Instant::now());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Takes no more calls, and answers those that were made: for that it must hear the other servers still.
pub async fn answer_the_last(front: &Front) {
    front.serving.cancel();
    front.calls.close();
    let _ = tokio::time::timeout(LAST_ANSWERS, front.calls.wait()).await;
}

/// Waits until this server has no part in its cluster any more, and from then on says nothing but that.
pub async fn stand_down_when_lost(front: Arc<Front>, listener: TcpListener) {
    let lost = standing::lost(&front.replica, &front.peers, &front.build, &front.data, &front.closing).await;
    let Some(why) = lost else { return };
    tracing::error!("this server serves no more: {why}");
    front.serving.cancel();
    if let Err(error) = say_no_more(&front, listener, why).await {
        tracing::error!(%error, "nobody is told that this server serves no more");
    }
}
