//! A pod's sandbox: its address, its network, its directory and its shim; made together, and taken away together.
use super::{node::Node, record::Record, table::Input};
use crate::{
    net,
    pod::volumes,
    reconcile::{Desired, Report},
    runtime::{self, Link},
};
use sampan_shim::{PodSpec, Request};
use std::{fs, io, net::Ipv4Addr, os::unix::fs::DirBuilderExt, path::Path, sync::Arc, time::Duration};
use tokio::{task::spawn_blocking, time::timeout};

/// How long a shim may take to end its containers by force.
const PATIENCE: Duration = Duration::from_secs(10);

/// Makes it, and reports.
pub async fn create(node: Arc<Node>, desired: Desired) {
    let report = match try_create(&node, &desired).await {
        Ok(ips) => Report::SandboxReady { ips },
        Err(message) => {
            // What was made of it is not left lying about until the next try.
            take_down(&node, &desired, None).await;
            Report::SandboxFailed { message }
        }
    };
    node.report(&desired.uid, report);
}

async fn try_create(node: &Arc<Node>, desired: &Desired) -> Result<Vec<String>, String> {
    let uid = &desired.uid;
    let dir = node.pod_dir(uid);
    if dir.exists() {
        // It was there before: what its shim held may still be.
        clear_remains(node, uid).await.map_err(|error| error.to_string())?;
    }
    let host_network = desired.is_on_host();
    if host_network && node.config.rootless {
        return Err("hostNetwork needs root".to_owned());
    }
    let annotations = desired.pod.metadata.annotations.clone().unwrap_or_default();
    let bandwidth = net::Bandwidth::of(&annotations)?;
    let addresses = if host_network {
        node_addresses(node)
    } else {
        node.claim(desired).await?
    };
    prepare_dir(node, desired, addresses).map_err(|error| format!("{}: {error}", dir.display()))?;
    if !node.config.rootless {
        volumes::set_up_memory(&desired.pod, &node.volumes_dir(uid)).map_err(|error| error.message)?;
    }
    let spec = PodSpec {
        hostname: net::hostname(&desired.pod, &node.dns),
        namespaces: !node.config.rootless,
        host_network,
        cgroup: (!node.config.rootless).then(|| node.cgroup(uid)),
        sysctls: sysctls(desired),
    };
    let shim_dir = node.shim_dir(uid);
    let info = runtime::launch(&node.config.shim, &shim_dir, &spec)
        .await
        .map_err(|error| error.to_string())?;
    let wire = async {
        if node.config.rootless || host_network {
            return Ok(());
        }
        let namespace =
            fs::File::open(format!("/proc/{}/ns/net", info.pid)).map_err(|e| format!("the shim is gone: {e}"))?;
        let wire = net::Wire {
            bandwidth,
            ..node.wire(uid, addresses)
        };
        wire.connect(namespace).await.map_err(|error| error.to_string())?;
        if let Some(network) = &node.network {
            network.pod_up(node.local_pod(desired, addresses)).await;
        }
        Ok(())
    };
    let link = async {
        connect(node, uid, &shim_dir)
            .await
            .map_err(|error| format!("the pod's shim: {error}"))
    };
    let (link, ()) = futures::try_join!(link, wire)?;
    let _ = node.inputs.send(Input::Linked {
        uid: uid.clone(),
        link: link.0,
    });
    Ok(addresses.texts())
}

/// Connects to the pod's shim; what it says goes to the table.
///
/// # Errors
/// If nobody answers.
pub async fn connect(node: &Arc<Node>, uid: &str, dir: &Path) -> io::Result<(Link, Vec<sampan_shim::ContainerState>)> {
    let (inputs, of) = (node.inputs.clone(), uid.to_owned());
    Link::connect(dir, move |heard| {
        drop(inputs.send(Input::Heard { uid: of.clone(), heard }))
    })
    .await
}

/// With `hostNetwork` a pod has the node's addresses.
fn node_addresses(node: &Node) -> net::Addresses {
    let all = node.whereabouts.texts();
    net::Addresses::of_texts(&all).unwrap_or_else(|| Ipv4Addr::LOCALHOST.into())
}

/// The directory with the record comes first: whatever is made after it is found again by it.
fn prepare_dir(node: &Node, desired: &Desired, addresses: net::Addresses) -> io::Result<()> {
    let dir = node.pod_dir(&desired.uid);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
    let record = Record {
        pod: (*desired.pod).clone(),
        ..Record::default()
    };
    record.write_first(&dir)?;
    net::write_files(&desired.pod, addresses, &node.dns, &node.etc_dir(&desired.uid))
}

fn sysctls(desired: &Desired) -> std::collections::BTreeMap<String, String> {
    let context = desired
        .pod
        .spec
        .as_ref()
        .and_then(|spec| spec.security_context.as_ref());
    let list = context.and_then(|context| context.sysctls.as_ref());
    list.into_iter()
        .flatten()
        .map(|sysctl| (sysctl.name.clone(), sysctl.value.clone()))
        .collect()
}

/// Takes it away, and reports. It is gone whatever went wrong: what was left is swept when the agent starts again.
pub async fn remove(node: Arc<Node>, desired: Desired, link: Option<Link>) {
    take_down(&node, &desired, link).await;
    node.report(&desired.uid, Report::SandboxRemoved);
}

async fn take_down(node: &Arc<Node>, desired: &Desired, link: Option<Link>) {
    let uid = &desired.uid;
    if let Some(link) = link {
        let _ = timeout(PATIENCE, link.call(Request::Shutdown)).await;
    }
    if let Err(error) = clear_remains(node, uid).await {
        tracing::warn!(pod = desired.name, uid, %error, "something of a pod is left");
    }
    if let Some(network) = &node.network {
        network.pod_down(uid);
    }
    node.release(uid).await;
    node.images.release(uid);
}

/// Ends whatever the pod's shim held and takes down what is outside of its namespaces. Volumes stay until the pod goes.
///
/// # Errors
/// If something will not go.
pub async fn clear_remains(node: &Arc<Node>, uid: &str) -> io::Result<()> {
    let (node, uid) = (node.clone(), uid.to_owned());
    let work = move || {
        let uid = uid.as_str();
        let shim_dir = node.shim_dir(uid);
        if let Some(info) = runtime::alive(&shim_dir) {
            end_shim(info)?;
        }
        if node.config.rootless {
            return remove_dirs(&node, uid);
        }
        sampan_shim::sweep_cgroups(&node.cgroup(uid))?;
        node.wire(uid, Ipv4Addr::UNSPECIFIED.into())
            .disconnect()
            .map_err(io::Error::other)?;
        remove_dirs(&node, uid)
    };
    spawn_blocking(work).await.map_err(io::Error::other)?
}

/// A shim that did not end when it was asked to. One that was is given a moment.
fn end_shim(info: sampan_shim::ShimInfo) -> io::Result<()> {
    for wait in 0..200 {
        if !info.is_alive() {
            return Ok(());
        }
        if wait == 100
            && let Some(pid) = rustix::process::Pid::from_raw(info.pid)
        {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Err(io::Error::new(
        io::ErrorKind::TimedOut,
        format!("the shim {} does not end", info.pid),
    ))
}

fn remove_dirs(node: &Node, uid: &str) -> io::Result<()> {
    for dir in [node.shim_dir(uid), node.rootfs_dir(uid)] {
        match fs::remove_dir_all(dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
