//! Backups: a checkpoint outside of its cluster, what is in it, and how a new cluster begins with it.
//!
//! A restored cluster has an identity of its own: another id, another authority, a group of one. So what is left of the old
//! one, should it still run, and the new one cannot take each other for themselves.
use crate::{
    features::Build,
    peers::{self, Peer, members},
    pki::{private_dir, read_small, write_private},
    replica::{ReadError, read_checkpoint, write_checkpoint},
    server::FIRST_MEMBER,
    token,
};
use sampan_api::{Key, Object, Selection};
pub use sampan_state::Check;
use sampan_state::{CheckpointError, Header, Store, refound};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// What a restore writes until it is complete; that of one that was cut short may be thrown away.
const ASIDE: &str = ".restoring";

/// The server's directory in a data directory.
const SERVER: &str = "server";

const NAMES: &str = "names.json";
const MAX_NAMES: u64 = 64 << 10;

/// Why a snapshot cannot be read or restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{} is no file: a snapshot is one that `sampan snapshot save` wrote", .0.display())]
    NoFile(PathBuf),
    #[error("{} is no snapshot that can be used: {reason}", path.display())]
    Unusable { path: PathBuf, reason: CheckpointError },
    #[error(
        "{} is not empty, there is {found}: a snapshot is restored into a directory of its own, choose another with \
         --data-dir", path.display()
    )]
    NotEmpty { path: PathBuf, found: String },
    #[error("{}: {reason}", path.display())]
    TooOld { path: PathBuf, reason: String },
    #[error("{} cannot be read ({reason}): restore it, or remove it", path.display())]
    Names { path: PathBuf, reason: String },
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> BackupError {
    let path = path.to_owned();
    move |source| BackupError::Io {
        path: path.clone(),
        source,
    }
}

/// How a restored cluster and its first machine are called where `up` is not told otherwise.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Names {
    pub name: Option<String>,
    pub cluster_name: Option<String>,
}

/// What is in a snapshot.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contents {
    /// The id of the cluster, and its name in it.
    pub cluster: String,
    pub cluster_name: String,
    pub revision: u64,
    /// The entry of the log that it includes last.
    pub index: u64,
    pub term: u64,
    pub voters: Vec<u64>,
    pub members: Vec<Peer>,
    /// How many, by resource.
    pub objects: BTreeMap<String, u64>,
    pub blobs: u64,
    pub blob_bytes: u64,
    /// Of the file.
    pub bytes: u64,
}

/// What became of a restore.
#[derive(Clone, Debug, PartialEq)]
pub struct Restored {
    /// The id of the new cluster, and its name.
    pub cluster: String,
    pub cluster_name: String,
    /// What was restored.
    pub contents: Contents,
}

/// An id unlike any other cluster's.
pub(crate) fn new_cluster(name: &str) -> String {
    format!("{name}-{:032x}", rand::random::<u128>())
}

/// The name in a cluster's id.
fn name_in(cluster: &str) -> &str {
    match cluster.rsplit_once('-') {
        Some((name, id)) if id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) => name,
        _ => cluster,
    }
}

/// Reads a snapshot to its end, and says what is in it.
///
/// # Errors
/// If it cannot be read, is cut short, or was changed.
pub fn inspect(path: &Path) -> Result<Contents, BackupError> {
    let (store, header, bytes) = read(path)?;
    Ok(contents(&store, header, bytes))
}

/// The state in a snapshot, what it is of, and how long the file is.
pub(crate) fn read(path: &Path) -> Result<(Store, Header, u64), BackupError> {
    let meta = fs::metadata(path).map_err(io_error(path))?;
    if !meta.is_file() {
        return Err(BackupError::NoFile(path.to_owned()));
    }
    read_checkpoint(path).map_err(|error| match error {
        ReadError::Io(source) => io_error(path)(source),
        ReadError::Checkpoint(reason) => BackupError::Unusable {
            path: path.to_owned(),
            reason,
        },
    })
}

fn contents(store: &Store, header: Header, bytes: u64) -> Contents {
    let state = store.snapshot();
    let mut objects = BTreeMap::new();
    for (key, _) in state.list(&Selection::of("*")) {
        *objects.entry(key.resource.to_string()).or_default() += 1;
    }
    let blobs = state.blobs().filter_map(|digest| state.blob(digest));
    Contents {
        cluster_name: name_in(&header.cluster).to_owned(),
        cluster: header.cluster,
        revision: header.revision,
        index: header.index,
        term: header.term,
        voters: header.members.map(|members| members.voters).unwrap_or_default(),
        members: members(&state),
        objects,
        blobs: state.blobs().count() as u64,
        blob_bytes: blobs.map(|blob| blob.len() as u64).sum(),
        bytes,
    }
}

/// What stays of the old cluster: not who its servers were, and not what lets machines in, which names its authority.
fn stays(key: &Key, _: &Object) -> bool {
    *key.resource != *peers::RESOURCE && *key.resource != *token::RESOURCE
}

/// Makes an empty data directory that of a new cluster, which begins with the snapshot's state.
///
/// # Errors
/// As [`inspect`], or if the directory is not empty or cannot be written; nothing is left in it then.
pub fn restore(path: &Path, data: &Path, names: Names) -> Result<Restored, BackupError> {
    check_empty(data)?;
    let (store, header, bytes) = read(path)?;
    Build::this()
        .check(&store.snapshot())
        .map_err(|error| BackupError::TooOld {
            path: path.to_owned(),
            reason: error.message,
        })?;
    let contents = contents(&store, header, bytes);
    let cluster_name = names.cluster_name.unwrap_or_else(|| contents.cluster_name.clone());
    let cluster = new_cluster(&cluster_name);
    let (store, header) = refound(store, &cluster, FIRST_MEMBER, stays);
    let names = Names {
        cluster_name: Some(cluster_name.clone()),
        name: names.name,
    };
    let aside = data.join(ASIDE);
    let server = aside.join(SERVER);
    let write = || {
        private_dir(data)?;
        if aside.exists() {
            fs::remove_dir_all(&aside)?;
        }
        let checkpoints = server.join("snap");
        private_dir(&checkpoints)?;
        write_checkpoint(&checkpoints, &header, &store)?;
        write_private(&server.join(NAMES), &serde_json::to_vec_pretty(&names)?)?;
        write_private(&server.join("cluster"), cluster.as_bytes())?;
        // From here on it is all there.
        fs::rename(&server, data.join(SERVER))?;
        fs::remove_dir(&aside)?;
        File::open(data)?.sync_all()
    };
    if let Err(error) = write() {
        let _ = fs::remove_dir_all(&aside);
        return Err(io_error(data)(error));
    }
    Ok(Restored {
        cluster,
        cluster_name,
        contents,
    })
}

fn check_empty(data: &Path) -> Result<(), BackupError> {
    let entries = match fs::read_dir(data) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io_error(data)(error)),
    };
    for entry in entries {
        let name = entry.map_err(io_error(data))?.file_name();
        if name != ASIDE {
            return Err(BackupError::NotEmpty {
                path: data.to_owned(),
                found: name.to_string_lossy().into_owned(),
            });
        }
    }
    Ok(())
}

/// How the cluster of a data directory is called, if it was restored there.
///
/// # Errors
/// I/O, or a file that cannot be read.
pub fn names(data: &Path) -> Result<Names, BackupError> {
    let path = data.join(SERVER).join(NAMES);
    let text = read_small(&path, MAX_NAMES).map_err(io_error(&path))?;
    let read = |text: String| serde_json::from_str(&text);
    text.map(read)
        .transpose()
        .map(Option::unwrap_or_default)
        .map_err(|error| {
            let reason = error.to_string();
            BackupError::Names { path, reason }
        })
}

#[cfg(test)]
#[path = "backup_tests.rs"]
mod tests;
