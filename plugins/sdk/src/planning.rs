//! What the worlds whose plugins run on nodes have in common: between a policy and its contract, the planner keeps what was
//! told and what was answered, and answers with what differs.
use crate::{
    Value,
    network::{Change, Delta, Identity, View},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
};

/// An entry of a world's tables.
pub trait Tabled: Clone + Debug + PartialEq + 'static {
    /// What it is found by.
    type Key: Clone + Debug + Ord;
    /// What is answered.
    type Op;

    fn key(&self) -> Self::Key;
    fn set(self) -> Self::Op;
    fn remove(key: Self::Key) -> Self::Op;
    /// What an operation sets, or the key of what it removes.
    fn said(op: &Self::Op) -> Result<&Self, &Self::Key>;
}

/// Makes the generated types `Entry`, `EntryKey` and `Op` of a world [`Tabled`].
macro_rules! tabled {
    () => {
        impl $crate::planning::Tabled for Entry {
            type Key = EntryKey;
            type Op = Op;

            fn key(&self) -> EntryKey {
                Entry::key(self)
            }

            fn set(self) -> Op {
                Op::Set(self)
            }

            fn remove(key: EntryKey) -> Op {
                Op::Remove(key)
            }

            fn said(op: &Op) -> Result<&Self, &EntryKey> {
                match op {
                    Op::Set(entry) => Ok(entry),
                    Op::Remove(key) => Err(key),
                }
            }
        }
    };
}
pub(crate) use tabled;

/// A policy of one of these worlds.
pub trait Policy: Default + 'static {
    type Key: Ord + Clone;
    type Entry: Tabled;

    /// # Errors
    /// In words for the operator.
    fn configure(&mut self, config: &Value) -> Result<(), String>;
    fn touched(&self, change: &Change<'_>, view: &View, keys: &mut BTreeSet<Self::Key>);
    fn desired(&self, key: &Self::Key, view: &View) -> Vec<Self::Entry>;
}

/// Makes what implements the trait of a world (`$trait`, with the world's type `Entry`) a [`Policy`]: a policy is of one world,
/// which the name of the wrapper says.
macro_rules! policy {
    ($wrapper:ident, $trait:ident) => {
        #[doc(hidden)]
        #[derive(Default)]
        pub struct $wrapper<P>(P);

        impl<P: $trait> $crate::planning::Policy for $wrapper<P> {
            type Key = P::Key;
            type Entry = Entry;

            fn configure(&mut self, config: &$crate::Value) -> Result<(), String> {
                self.0.configure(config)
            }

            fn touched(
                &self,
                change: &$crate::network::Change<'_>,
                view: &$crate::network::View,
                keys: &mut ::std::collections::BTreeSet<P::Key>,
            ) {
                self.0.touched(change, view, keys);
            }

            fn desired(&self, key: &P::Key, view: &$crate::network::View) -> Vec<Entry> {
                self.0.desired(key, view)
            }
        }
    };
}
pub(crate) use policy;

type EntryKey<P> = <<P as Policy>::Entry as Tabled>::Key;
type Op<P> = <<P as Policy>::Entry as Tabled>::Op;

/// A plugin as its contract wants it.
pub struct Planner<P: Policy> {
    policy: P,
    view: View,
    /// What is desired for each key now.
    desired: BTreeMap<P::Key, BTreeMap<EntryKey<P>, P::Entry>>,
    /// Who wants an entry of a key: the first has it, whoever came first.
    claims: BTreeMap<EntryKey<P>, BTreeSet<P::Key>>,
}

impl<P: Policy> Default for Planner<P> {
    fn default() -> Self {
        Planner {
            policy: P::default(),
            view: View::default(),
            desired: BTreeMap::new(),
            claims: BTreeMap::new(),
        }
    }
}

impl<P: Policy> Planner<P> {
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

    /// Takes in changes; says what differs in the tables.
    pub fn plan(&mut self, deltas: Vec<Delta>) -> Vec<Op<P>> {
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
        let op = |(key, before): (EntryKey<P>, Option<P::Entry>)| match self.entry(&key) {
            after if after == before.as_ref() => None,
            Some(entry) => Some(entry.clone().set()),
            None => Some(P::Entry::remove(key)),
        };
        before.into_iter().filter_map(op).collect()
    }

    /// Decides about a key again; notes what the entries were that are no longer as they were.
    fn decide(&mut self, key: P::Key, before: &mut BTreeMap<EntryKey<P>, Option<P::Entry>>) {
        let wanted = self.policy.desired(&key, &self.view);
        let wanted: BTreeMap<EntryKey<P>, P::Entry> = wanted.into_iter().map(|entry| (entry.key(), entry)).collect();
        let was = self.desired.get(&key);
        let differs = |entry: &&EntryKey<P>| was.and_then(|was| was.get(*entry)) != wanted.get(*entry);
        let changed = was
            .into_iter()
            .flat_map(BTreeMap::keys)
            .chain(wanted.keys())
            .filter(differs);
        let changed: BTreeSet<EntryKey<P>> = changed.cloned().collect();
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
    fn entry(&self, key: &EntryKey<P>) -> Option<&P::Entry> {
        let first = self.claims.get(key)?.first()?;
        self.desired.get(first)?.get(key)
    }
}

/// Makes a policy the plugin that this crate is; of which world, `export_network!` and `export_ingress!` say.
#[doc(hidden)]
#[macro_export]
macro_rules! export_on_nodes {
    ($policy:ty, $world:ident, $trait:ident) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::$world::{
                Delta, Identity, Op, Planner, Table,
                bindings::exports::sampan::{lifecycle::lifecycle, $world::policy},
            };
            std::thread_local! {
                static PLANNER: std::cell::RefCell<Planner<$policy>> = Default::default();
            }
            struct Export;
            impl lifecycle::Guest for Export {
                fn describe() -> lifecycle::Description {
                    let said = <$policy as $crate::$world::$trait>::describe();
                    lifecycle::Description {
                        name: said.name,
                        version: said.version,
                        summary: said.summary,
                    }
                }
                fn configure(config: String) -> Result<(), String> {
                    PLANNER.with_borrow_mut(|planner| planner.configure(&config))
                }
            }
            impl policy::Guest for Export {
                fn watches() -> Vec<String> {
                    <$policy as $crate::$world::$trait>::watches()
                        .iter()
                        .map(|&name| name.to_owned())
                        .collect()
                }
                fn tables() -> Vec<Table> {
                    <$policy as $crate::$world::$trait>::tables().to_vec()
                }
                fn start(me: Identity) -> Result<(), String> {
                    PLANNER.with_borrow_mut(|planner| planner.start(me));
                    Ok(())
                }
                fn plan(deltas: Vec<Delta>) -> Result<Vec<Op>, String> {
                    PLANNER.with_borrow_mut(|planner| Ok(planner.plan(deltas)))
                }
            }
    $crate::$world::bindings::export_world!(Export with_types_in $crate::$world::bindings);
        };
    };
}
