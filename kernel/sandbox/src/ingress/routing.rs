//! The routing table that is wanted: the sum of operations; and how its keys are shown.
use super::{Entry, EntryKey, HostName, Op, Table};
use crate::tables::{Tables, tabled};
use std::fmt::{Display, Formatter, Result};

/// Entries by key, table by table.
pub type Routing = Tables<Entry>;

impl Entry {
    /// What it is found by in its table.
    pub fn key(&self) -> EntryKey {
        match self {
            Entry::Pool(pool) => EntryKey::Pool(pool.name.clone()),
            Entry::Host(host) => EntryKey::Host(host.host.clone()),
            Entry::Certificate(certificate) => EntryKey::Certificate(certificate.host.clone()),
        }
    }
}

impl EntryKey {
    pub fn table(&self) -> Table {
        match self {
            EntryKey::Pool(_) => Table::Pools,
            EntryKey::Host(_) => Table::Hosts,
            EntryKey::Certificate(_) => Table::Certificates,
        }
    }
}

tabled!();

impl Display for HostName {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            HostName::Exact(name) => write!(f, "{}", name.escape_debug()),
            HostName::Wildcard(name) => write!(f, "*.{}", name.escape_debug()),
            HostName::Any => f.write_str("*"),
        }
    }
}

impl Display for EntryKey {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            EntryKey::Pool(name) => write!(f, "pool {}", name.escape_debug()),
            EntryKey::Host(host) => write!(f, "routes of host {host}"),
            EntryKey::Certificate(host) => write!(f, "certificate of host {host}"),
        }
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            Table::Pools => "pools",
            Table::Hosts => "hosts",
            Table::Certificates => "certificates",
        })
    }
}
