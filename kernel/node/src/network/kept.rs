//! The network on disk: what was wanted last, so that a node that starts while no server is there has its peers, its routes
//! and its Services.
use super::{peers::Peers, slot::Slot};
use crate::whole_file;
use sampan_sandbox::network::{Datapath, Entry};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// How the file is written; one of another version is not read.
const VERSION: u32 = 1;

/// Changes of so long are written together: the file of a large cluster has megabytes, and there is always some change.
/// What a kill loses of them, the control plane tells again.
const GATHER: Duration = Duration::from_secs(10);

#[derive(Serialize, Deserialize)]
struct Kept {
    version: u32,
    /// By slot.
    datapaths: BTreeMap<String, Vec<Entry>>,
    /// The overlay's port, by node.
    ports: BTreeMap<String, u16>,
}

/// What was wanted when the agent before this one ended; nothing where no file makes sense.
pub fn restore(path: &Path) -> (BTreeMap<String, Slot>, Peers) {
    let kept = match whole_file::read::<Kept>(path) {
        Ok(kept) if kept.version == VERSION => kept,
        Ok(_) => return Default::default(),
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                let path = path.display();
                tracing::warn!(%path, %error, "the network is not known before a server is there");
            }
            return Default::default();
        }
    };
    let slots = kept.datapaths.into_iter();
    let slots = slots.map(|(name, entries)| (name, Slot::resuming(Datapath::with(entries))));
    (slots.collect(), Peers::resuming(kept.ports))
}

/// Writes the file, some time after each change.
pub struct Keeper {
    path: PathBuf,
    due: Option<Instant>,
}

impl Keeper {
    pub fn new(path: PathBuf) -> Self {
        Keeper { path, due: None }
    }

    /// When the file is to be written.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Something is other than in the file.
    pub fn changed(&mut self) {
        self.due.get_or_insert(Instant::now() + GATHER);
    }

    /// Writes it if it is time.
    pub fn keep(&mut self, slots: &BTreeMap<String, Slot>, peers: &Peers) {
        if self.due.is_some_and(|due| due <= Instant::now()) {
            self.write(slots, peers);
        }
    }

    /// Writes it if it is other than what is there.
    pub fn write(&mut self, slots: &BTreeMap<String, Slot>, peers: &Peers) {
        if self.due.take().is_none() {
            return;
        }
        let entries = |slot: &Slot| slot.datapath.entries().cloned().collect();
        let kept = Kept {
            version: VERSION,
            datapaths: slots.iter().map(|(name, slot)| (name.clone(), entries(slot))).collect(),
            ports: peers.ports().clone(),
        };
        if let Err(error) = whole_file::write(&self.path, &kept) {
            let path = self.path.display();
            tracing::warn!(%path, %error, "cannot keep what the network is");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sampan_sandbox::network::{Range, Route};
    use std::{fs, net::IpAddr, os::unix::fs::PermissionsExt};

    #[test]
    fn what_was_kept_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("network.json");
        assert!(restore(&path).0.is_empty());
        let datapath = Datapath::with([Entry::Route(Route {
            range: Range::parse("10.42.1.0/24").unwrap(),
            peer: "b".into(),
            via: "b".into(),
            underlay: "192.0.2.1".parse::<IpAddr>().unwrap().into(),
        })]);
        let slots = BTreeMap::from([("routes".to_owned(), Slot::resuming(datapath.clone()))]);
        let peers = Peers::resuming(BTreeMap::from([("b".to_owned(), 7000)]));
        let mut keeper = Keeper::new(path.clone());
        keeper.write(&slots, &peers);
        assert!(!path.exists(), "nothing has changed");
        keeper.changed();
        keeper.keep(&slots, &peers);
        assert!(!path.exists(), "it is not time yet");
        keeper.write(&slots, &peers);
        let (found, peers) = restore(&path);
        assert_eq!((&found["routes"].datapath, peers.ports()["b"]), (&datapath, 7000));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, "{\"version\": 1").unwrap();
        assert!(restore(&path).0.is_empty());
    }
}
