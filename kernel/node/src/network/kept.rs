//! The network on disk: what was wanted last, so that a node that starts while no server is there has its peers, its routes
//! and its Services.
use super::{peers::Peers, slots::Slots};
use crate::whole_file;
use sampan_sandbox::{
    ingress::{self, IngressPlugin, Routing},
    network::{Datapath, Entry, NetworkPlugin},
};
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
    #[serde(default)]
    routings: BTreeMap<String, Vec<ingress::Entry>>,
    /// The overlay's port, by node.
    ports: BTreeMap<String, u16>,
}

/// What was wanted when the agent before this one ended; nothing where no file makes sense.
pub fn restore(path: &Path) -> (Slots<NetworkPlugin>, Slots<IngressPlugin>, Peers) {
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
    let datapaths = kept.datapaths.into_iter();
    let datapaths = datapaths.map(|(name, entries)| (name, Datapath::with(entries)));
    let routings = kept.routings.into_iter();
    let routings = routings.map(|(name, entries)| (name, Routing::with(entries)));
    (
        Slots::resuming(datapaths),
        Slots::resuming(routings),
        Peers::resuming(kept.ports),
    )
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
    pub fn keep(&mut self, slots: &Slots<NetworkPlugin>, ingresses: &Slots<IngressPlugin>, peers: &Peers) {
        if self.due.is_some_and(|due| due <= Instant::now()) {
            self.write(slots, ingresses, peers);
        }
    }

    /// Writes it if it is other than what is there.
    pub fn write(&mut self, slots: &Slots<NetworkPlugin>, ingresses: &Slots<IngressPlugin>, peers: &Peers) {
        if self.due.take().is_none() {
            return;
        }
        let datapaths = slots.sums();
        let datapaths = datapaths.map(|(name, sum)| (name.clone(), sum.entries().cloned().collect()));
        let routings = ingresses.sums();
        let routings = routings.map(|(name, sum)| (name.clone(), sum.entries().cloned().collect()));
        let kept = Kept {
            version: VERSION,
            datapaths: datapaths.collect(),
            routings: routings.collect(),
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
        let known = |path: &Path| {
            restore(path)
                .0
                .sums()
                .map(|(name, sum)| (name.clone(), sum.clone()))
                .collect::<Vec<_>>()
        };
        assert!(known(&path).is_empty());
        let datapath = Datapath::with([Entry::Route(Route {
            range: Range::parse("10.42.1.0/24").unwrap(),
            peer: "b".into(),
            via: "b".into(),
            underlay: "192.0.2.1".parse::<IpAddr>().unwrap().into(),
        })]);
        let slots = Slots::resuming([("routes".to_owned(), datapath.clone())]);
        let ingresses = Slots::default();
        let peers = Peers::resuming(BTreeMap::from([("b".to_owned(), 7000)]));
        let mut keeper = Keeper::new(path.clone());
        keeper.write(&slots, &ingresses, &peers);
        assert!(!path.exists(), "nothing has changed");
        keeper.changed();
        keeper.keep(&slots, &ingresses, &peers);
        assert!(!path.exists(), "it is not time yet");
        keeper.write(&slots, &ingresses, &peers);
        assert_eq!(known(&path), [("routes".to_owned(), datapath)]);
        assert_eq!(restore(&path).2.ports()["b"], 7000);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, "{\"version\": 1").unwrap();
        assert!(known(&path).is_empty());
    }
}
