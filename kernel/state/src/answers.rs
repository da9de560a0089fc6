//! Answers to commands with a key, remembered so that one that is asked for twice acts once. A retry comes within seconds;
//! what is much older, or far too much, is forgotten, by all replicas alike.
use crate::{Committed, Snapshot};
use imbl::{HashMap, Vector};
use sampan_api::ApiError;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// So many are remembered at the most: some seconds of the busiest cluster.
const MOST: usize = 1 << 18;

/// So long, in milliseconds of the state's time.
const LASTING: u64 = 10 * 60 * 1000;

/// For each plan what came of it, without the objects: those are in the state.
pub type Results = Arc<[Result<Committed, ApiError>]>;

/// The answers, by a digest of their keys; copying them costs nothing.
#[derive(Clone, Default)]
pub struct Answers {
    known: HashMap<u128, Results>,
    /// When each was given, oldest first.
    given: Vector<(u64, u128)>,
}

impl Answers {
    /// What was answered to this key, with the objects as they are now.
    pub fn recall(&self, key: &str, state: &Snapshot) -> Option<Vec<Result<Committed, ApiError>>> {
        let results = self.known.get(&digest(key))?;
        let with_objects = |result: &Result<Committed, ApiError>| {
            let committed = result.as_ref().map_err(ApiError::clone)?;
            Ok(Committed {
                objects: committed.keys.iter().map(|key| state.get(key)).collect(),
                ..committed.clone()
            })
        };
        Some(results.iter().map(with_objects).collect())
    }

    /// Remembers what is answered now.
    pub fn remember(&mut self, key: &str, now_ms: u64, results: &[Result<Committed, ApiError>]) {
        let without_objects = |result: &Result<Committed, ApiError>| {
            let committed = result.as_ref().map_err(ApiError::clone)?;
            Ok(Committed {
                revision: committed.revision,
                keys: committed.keys.clone(),
                objects: Vec::new(),
            })
        };
        self.insert(now_ms, digest(key), results.iter().map(without_objects).collect());
        while self
            .given
            .front()
            .is_some_and(|(at, _)| self.given.len() > MOST || at.saturating_add(LASTING) < now_ms)
        {
            if let Some((_, key)) = self.given.pop_front() {
                self.known.remove(&key);
            }
        }
    }

    /// As it stands in a checkpoint.
    pub fn insert(&mut self, at_ms: u64, digest: u128, results: Results) {
        self.known.insert(digest, results);
        self.given.push_back((at_ms, digest));
    }

    /// When each was given, the digest of its key, and what was answered; oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u128, &Results)> {
        let answer = |(at, key): &(u64, u128)| Some((*at, *key, self.known.get(key)?));
        self.given.iter().filter_map(answer)
    }
}

/// Half of a SHA-256 is enough to tell keys apart, also those that somebody chose.
fn digest(key: &str) -> u128 {
    let bytes: [u8; 32] = Sha256::digest(key).into();
    bytes[..16]
        .iter()
        .fold(0, |digest, byte| digest << 8 | u128::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(revision: u64) -> Vec<Result<Committed, ApiError>> {
        vec![Ok(Committed {
            revision,
            keys: Vec::new(),
            objects: Vec::new(),
        })]
    }

    #[test]
    fn the_oldest_are_forgotten_first() {
        let (mut answers, state) = (Answers::default(), Snapshot::default());
        for number in 0..MOST as u64 + 2 {
            answers.remember(&number.to_string(), 1000, &answer(number));
        }
        assert_eq!((answers.recall("0", &state), answers.recall("1", &state)), (None, None));
        assert_eq!(answers.recall("2", &state), Some(answer(2)));
        answers.remember("late", 1000 + LASTING, &answer(7));
        assert_eq!(answers.recall("2", &state), None, "one more came");
        assert!(answers.recall("100", &state).is_some(), "not older than it may be");
        answers.remember("later", 1001 + LASTING, &answer(8));
        assert_eq!(answers.known.len(), 2);
    }
}
