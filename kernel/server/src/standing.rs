//! Whether this server still has a part in its cluster. One that was taken out, or whose build has become too old, must not
//! go on answering with what it knows.
use crate::{
    StartError,
    features::{self, Build},
    peers::{Peers, member, members},
    pki::{PkiError, read_small, write_private},
    replica::ReplicaHandle,
};
use std::{path::Path, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// Where the level in force is noted, so that an older build finds it before it opens anything.
const FILE: &str = "level";

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// Who has not heard of a leader for so long asks whether it is a member at all.
const SILENCE: Duration = Duration::from_secs(2);

/// Returns once this server has no part in its cluster any more, saying why; None when the server closes.
///
/// A server learns that from the state that it has, or, where that ends before its own removal, from another: the leader of
/// those that are left does not speak to it any more.
pub async fn lost(
    replica: &ReplicaHandle,
    peers: &Arc<Peers>,
    build: &Build,
    data: &Path,
    closing: &CancellationToken,
) -> Option<String> {
    let own = peers.own();
    let mut was_named = false;
    let mut noted = 0;
    loop {
        let (state, status) = (replica.snapshot(), replica.status());
        if let Err(error) = build.check(&state) {
            return Some(error.message);
        }
        let level = features::in_force(&state);
        if noted != level {
            match write_private(&data.join(FILE), level.to_string().as_bytes()) {
                Ok(()) => noted = level,
                // A full disk: it is tried again, and what is opened is looked at, too.
                Err(error) => tracing::debug!(%error, "the level of features cannot be noted"),
            }
        }
        let named = member(&state, own.member).is_some();
        let others = !members(&state).is_empty();
        if was_named && !named && others {
            return Some(taken_out(&own.name, "the state that it has says so"));
        }
        was_named |= named;
        let leads = status.leader == own.member;
        let unheard = status.leader == 0 || peers.silence(status.leader) > SILENCE;
        let look = async {
            if !leads
                && (unheard || !named && others)
                && let Some(why) = peers.refusal().await
            {
                return Some(taken_out(&own.name, &why));
            }
            tokio::time::sleep(PAUSE).await;
            None
        };
        match closing.run_until_cancelled(look).await {
            None => return None,
            Some(Some(why)) => return Some(why),
            Some(None) => {}
        }
    }
}

fn taken_out(name: &str, how: &str) -> String {
    format!(
        "server \"{name}\" was taken out of the cluster ({how}); stop it, and to bring it back join again with an empty \
         --data-dir"
    )
}

/// Whether a server of this build may start in a directory, by what was noted there; nothing is changed.
///
/// # Errors
/// I/O, or why not.
pub fn check(data: &Path, build: &Build) -> Result<(), StartError> {
    let path = data.join(FILE);
    let text = read_small(&path, 64).map_err(|source| PkiError::Io { path, source })?;
    let noted = text.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    match noted > build.level {
        true => Err(StartError::TooOld(build.too_old(noted))),
        false => Ok(()),
    }
}
