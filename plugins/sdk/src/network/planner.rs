//! Between a [`Network`] and the contract: keeps what was told and what was answered, and answers with what differs.
use super::{Delta, Entry, EntryKey, Identity, Network, Op, View};
use std::collections::{BTreeMap, BTreeSet};

/// A plugin as the contract wants it.
pub struct Planner<N: Network> {
    policy: N,
    view: View,
    /// What is desired for each key now.
    desired: BTreeMap<N::Key, BTreeMap<EntryKey, Entry>>,
    /// Who wants an entry of a key: the first has it, whoever came first.
    claims: BTreeMap<EntryKey, BTreeSet<N::Key>>,
}

impl<N: Network> Default for Planner<N> {
    fn default() -> Self {
        Planner {
            policy: N::default(),
            view: View::default(),
            desired: BTreeMap::new(),
            claims: BTreeMap::new(),
        }
    }
}

impl<N: Network> Planner<N> {
    /// Hands the policy its config.
    ///
    /// # Errors
    /// If it is not JSON, or the policy refuses it.
    pub fn configure(&mut self, config: &str) -> Result<(), String> {
        let config = serde_json::from_str(config).map_err(|error| format!("the config is not JSON: {error}"))?;
        self.policy.configure(&config)
    }

    /// Says where it runs.
    pub fn start(&mut self, me: Identity) {
        self.view = View::new(me);
        self.desired.clear();
        self.claims.clear();
    }

    /// All that it was told.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Takes in changes; says what differs in the datapath.
    pub fn plan(&mut self, deltas: Vec<Delta>) -> Vec<Op> {
        let mut touched = BTreeSet::new();
        for delta in deltas {
            let policy = &self.policy;
            self.view
                .take_in(delta, &mut |view, change| policy.touched(change, view, &mut touched));
        }
        let mut before = BTreeMap::new();
        for key in touched {
            self.decide(key, &mut before);
        }
        let op = |(key, before): (EntryKey, Option<Entry>)| match self.entry(&key) {
            after if after == before.as_ref() => None,
            Some(entry) => Some(Op::Set(entry.clone())),
            None => Some(Op::Remove(key)),
        };
        before.into_iter().filter_map(op).collect()
    }

    /// Decides about a key again; notes what the entries were that are no longer as they were.
    fn decide(&mut self, key: N::Key, before: &mut BTreeMap<EntryKey, Option<Entry>>) {
        let wanted = self.policy.desired(&key, &self.view);
        let wanted: BTreeMap<EntryKey, Entry> = wanted.into_iter().map(|entry| (entry.key(), entry)).collect();
        let was = self.desired.get(&key);
        let differs = |entry: &&EntryKey| was.and_then(|was| was.get(*entry)) != wanted.get(*entry);
        let changed = was
            .into_iter()
            .flat_map(BTreeMap::keys)
            .chain(wanted.keys())
            .filter(differs);
        let changed: BTreeSet<EntryKey> = changed.cloned().collect();
        for entry in &changed {
            if !before.contains_key(entry) {
                before.insert(entry.clone(), self.entry(entry).cloned());
            }
        }
        for entry in changed {
            let claims = self.claims.entry(entry.clone()).or_default();
            if wanted.contains_key(&entry) {
                claims.insert(key.clone());
            } else {
                claims.remove(&key);
            }
            if claims.is_empty() {
                self.claims.remove(&entry);
            }
        }
        if wanted.is_empty() {
            self.desired.remove(&key);
        } else {
            self.desired.insert(key, wanted);
        }
    }

    /// The entry of a key: that of the first who wants it.
    fn entry(&self, key: &EntryKey) -> Option<&Entry> {
        let first = self.claims.get(key)?.first()?;
        self.desired.get(first)?.get(key)
    }
}
