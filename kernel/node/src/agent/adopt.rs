//! Finding again, when the agent starts, the pods that were here when it ended.
use super::{
    node::{Node, claimant, is_uid},
    record::Record,
    sandbox,
    table::Entry,
};
use crate::{
    net,
    pod::volumes,
    reconcile::{Desired, Survivor, recall},
    runtime,
};
use sampan_shim::ContainerState;
use std::{collections::HashMap, fs, sync::Arc};

/// The pods whose directories are there. What cannot be made sense of, and what was half made, is cleared away.
pub async fn adopt(node: &Arc<Node>) -> HashMap<String, Entry> {
    let mut pods = HashMap::new();
    let entries = fs::read_dir(node.config.pods_dir()).into_iter().flatten().flatten();
    let uids = entries.filter_map(|entry| entry.file_name().into_string().ok());
    for uid in uids.collect::<Vec<_>>() {
        let record =
            Record::read(&node.pod_dir(&uid)).filter(|record| record.pod.metadata.uid.as_deref() == Some(&uid));
        match record {
            Some(record) if is_uid(&uid) => drop(pods.insert(uid.clone(), adopt_one(node, &uid, record).await)),
            _ => clear(node, &uid).await,
        }
    }
    // Nor may one stay of a pod that was half made, or whose shim does not answer: nobody knows its address, so others get it.
    let is_known = |uid: &str| pods.get(uid).is_some_and(|pod| pod.link.is_some());
    if !node.config.rootless
        && let Err(error) = net::sweep(&node.wire_owner(), is_known)
    {
        tracing::warn!(%error, "cannot sweep interfaces that were left over");
    }
    pods
}

async fn adopt_one(node: &Arc<Node>, uid: &str, record: Record) -> Entry {
    let desired = Desired::new(Arc::new(record.pod));
    let status = desired.pod.status.clone().unwrap_or_default();
    let shim_dir = node.shim_dir(uid);
    // A shim whose pod never got as far as having a network is of no use.
    let whole = status.pod_ip.as_deref().is_some_and(|ip| !ip.is_empty());
    let found = match runtime::alive(&shim_dir) {
        Some(_) if whole => sandbox::connect(node, uid, &shim_dir).await.inspect_err(|error| {
            tracing::warn!(pod = desired.name, uid, %error, "a pod's shim lives and does not answer");
        }),
        _ => Err(std::io::Error::other("it is gone")),
    };
    let (link, states) = match found {
        Ok((link, states)) => (Some(link), states),
        Err(_) => (None, left_behind(&desired, &shim_dir)),
    };
    let survivors = survivors(&desired, &states);
    let actual = recall(&desired, &status, survivors, link.is_some(), node.clock.now());
    if link.is_some() {
        node.images
            .keep(uid, record.manifests.iter().filter_map(|digest| digest.parse().ok()));
        if let Some(addresses) = net::Addresses::of_texts(&actual.ips) {
            node.addresses.lock().keep(uid, addresses.v4);
            if let Some(network) = node.network.as_ref().filter(|_| !desired.is_on_host()) {
                network.found(node.local_pod(&desired, addresses), claimant(&desired));
            }
        }
    }
    tracing::info!(pod = desired.name, uid, alive = link.is_some(), "a pod was found again");
    Entry::new(desired, actual, link)
}

fn survivors(desired: &Desired, states: &[ContainerState]) -> Vec<Survivor> {
    let known = states
        .iter()
        .filter_map(|state| Some((desired.index_of(&state.name)?, state)));
    known
        .map(|(index, state)| runtime::survivor(index, &desired.uid, state))
        .collect()
}

/// How containers ended whose shim is gone too.
fn left_behind(desired: &Desired, shim_dir: &std::path::Path) -> Vec<ContainerState> {
    let read = |name: &str| sampan_shim::read_exit(shim_dir, name).ok().flatten();
    desired.containers.iter().filter_map(|spec| read(&spec.name)).collect()
}

/// A directory without a pod.
async fn clear(node: &Arc<Node>, uid: &str) {
    tracing::info!(uid, "the remains of a pod are cleared away");
    if is_uid(uid) {
        sandbox::clear_remains(node, uid).await.unwrap_or_else(|error| {
            tracing::warn!(uid, %error, "something of a pod is left");
        });
    }
    let (volumes, dir) = (node.volumes_dir(uid), node.pod_dir(uid));
    let work = move || volumes::remove(&volumes).and_then(|()| fs::remove_dir_all(dir));
    if let Ok(Err(error)) = tokio::task::spawn_blocking(work).await {
        tracing::warn!(uid, %error, "a pod's directory is left");
    }
}
