//! Two sums of operations held against each other: how many entries of each table are other, and which.
use super::words::{Words, shown};
use crate::network::{limits::Limits, peers::Peers, planner::Planner, slots::Slots, worker::Worker};
use sampan_sandbox::{
    ingress::{self, IngressPlugin},
    network::{self, Datapath, NetworkPlugin},
    tables::{Tabled, Tables},
};
use std::collections::{BTreeMap, BTreeSet};

/// A world whose plugins are compared.
pub trait Compared:
    Planner<Sum = Tables<Self::Entry>, Table = <Self::Entry as Tabled>::Table> + Send + 'static
{
    type Entry: Tabled<Key: Send, Table: Send + 'static> + Words + Send + 'static;

    const TABLES: &'static [Self::Table];

    fn slots(worker: &Worker) -> &Slots<Self>;

    /// What plans are held against.
    fn bounds(limits: &Limits) -> &Self::Bounds;

    /// Whom the overlay would speak to, and where.
    fn peers(_: &Peers, _: &Self::Sum) -> BTreeMap<String, String> {
        BTreeMap::new()
    }
}

impl Compared for NetworkPlugin {
    type Entry = network::Entry;

    const TABLES: &'static [network::Table] = &[
        network::Table::Routes,
        network::Table::Frontends,
        network::Table::Policies,
    ];

    fn slots(worker: &Worker) -> &Slots<Self> {
        &worker.slots
    }

    fn bounds(limits: &Limits) -> &network::Bounds {
        limits.bounds()
    }

    fn peers(peers: &Peers, datapath: &Datapath) -> BTreeMap<String, String> {
        let peers = peers.of([datapath].into_iter()).into_iter();
        peers
            .map(|(name, peer)| (name, format!("at {}", peer.address)))
            .collect()
    }
}

impl Compared for IngressPlugin {
    type Entry = ingress::Entry;

    const TABLES: &'static [ingress::Table] = &[
        ingress::Table::Hosts,
        ingress::Table::Pools,
        ingress::Table::Certificates,
    ];

    fn slots(worker: &Worker) -> &Slots<Self> {
        &worker.ingresses
    }

    fn bounds(limits: &Limits) -> &ingress::Bounds {
        limits.ingress()
    }
}

/// What becomes of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Added,
    Removed,
    Changed,
}

/// An entry that would be another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub table: String,
    pub key: String,
    pub change: Change,
    /// What is said now and would not be then, and what would be; empty where there is no entry.
    pub now: String,
    pub then: String,
}

/// Entries of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub table: String,
    pub now: usize,
    pub then: usize,
    pub added: usize,
    pub removed: usize,
    pub changed: usize,
}

/// What would be other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Of the tables that have entries, or would have.
    pub tables: Vec<Counts>,
    /// The first of all.
    pub rows: Vec<Row>,
}

impl Difference {
    /// Between what stands and what is wanted, with so many rows at the most.
    pub fn between<P: Compared>(now: &P::Sum, then: &P::Sum, peers: &Peers, most: usize) -> Self {
        let mut difference = Difference::default();
        for table in P::TABLES {
            difference.tables.push(Counts {
                table: table.to_string(),
                now: now.count(*table),
                then: then.count(*table),
                ..Counts::default()
            });
        }
        for (key, (before, after)) in now.differences(then) {
            let table = P::Entry::table_of(key).to_string();
            let row = || {
                let facts = |entry: Option<&P::Entry>| entry.map(Words::facts).unwrap_or_default();
                (key.to_string(), facts(before), facts(after))
            };
            difference.add(&table, before.is_some(), after.is_some(), most, row);
        }
        difference.add_peers(&P::peers(peers, now), &P::peers(peers, then), most);
        difference.tables.retain(|counts| counts.now + counts.then > 0);
        difference
    }

    fn add_peers(&mut self, now: &BTreeMap<String, String>, then: &BTreeMap<String, String>, most: usize) {
        const PEERS: &str = "peers";
        self.tables.push(Counts {
            table: PEERS.to_owned(),
            now: now.len(),
            then: then.len(),
            ..Counts::default()
        });
        let names: BTreeSet<&String> = now.keys().chain(then.keys()).collect();
        for name in names {
            let (before, after) = (now.get(name), then.get(name));
            if before != after {
                let facts = |fact: Option<&String>| fact.cloned().into_iter().collect();
                let row = || (format!("peer {}", name.escape_debug()), facts(before), facts(after));
                self.add(PEERS, before.is_some(), after.is_some(), most, row);
            }
        }
    }

    /// Counts an entry that would be another, and shows it as long as there is room: then it is put in words.
    fn add(
        &mut self,
        table: &str,
        is_now: bool,
        is_then: bool,
        most: usize,
        row: impl FnOnce() -> (String, Vec<String>, Vec<String>),
    ) {
        let change = match (is_now, is_then) {
            (false, _) => Change::Added,
            (true, false) => Change::Removed,
            (true, true) => Change::Changed,
        };
        if let Some(counts) = self.tables.iter_mut().find(|counts| counts.table == table) {
            *match change {
                Change::Added => &mut counts.added,
                Change::Removed => &mut counts.removed,
                Change::Changed => &mut counts.changed,
            } += 1;
        }
        if self.rows.len() >= most {
            return;
        }
        let (key, now, then) = row();
        self.rows.push(Row {
            table: table.to_owned(),
            key: shown([key]),
            change,
            now: shown(without(&now, &then)),
            then: shown(without(&then, &now)),
        });
    }
}

/// The facts that the others are not among.
fn without(facts: &[String], others: &[String]) -> Vec<String> {
    let others: BTreeSet<&String> = others.iter().collect();
    facts.iter().filter(|fact| !others.contains(fact)).cloned().collect()
}

#[cfg(test)]
#[path = "difference_tests.rs"]
mod tests;
