//! Wasm containers: the pod's shim runs `sampan __wasm`, a process of its own that runs the one component.
use super::making::{Making, shim_limits};
use crate::{
    net,
    pod::{
        ConfigError, command, env,
        limits::Limits,
        volumes::{self, Places},
    },
};
use k8s_openapi::api::core::v1::Container;
use sampan_sandbox::workload::{Mount, WorkloadSpec};
use sampan_shim::{ContainerSpec, Rootfs};
use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

/// What the runner itself may take beside the component's memory, so that a limit is the component's own. Bytes.
const RUNNER: u64 = 64 << 20;
/// Where an HTTP component is served whose container names no port.
const PORT: u16 = 8080;

/// The spec of the runner.
///
/// # Errors
/// Where its file cannot be written.
pub fn spec(
    making: &Making,
    base: ContainerSpec,
    module: PathBuf,
    places: &Places,
    variables: &BTreeMap<String, String>,
    limits: Limits,
) -> Result<ContainerSpec, ConfigError> {
    let node = &making.node;
    let name = making.container.name.clone();
    let mounts = volumes::mounts(&making.container, places, variables)?
        .into_iter()
        .map(|mount| Mount {
            host: mount.source,
            guest: mount.target,
            readonly: mount.read_only,
        });
    let runner = WorkloadSpec {
        digest: digest_of(&module),
        module,
        cache: Some(node.config.cache.clone()),
        // A component has no program to name: what the pod calls command and args are all arguments.
        args: command::arguments(&making.container, (&[], &[]), variables),
        env: env::environment(&[], variables, &net::hostname(&making.desired.pod, &node.dns)),
        mounts: mounts.collect(),
        memory_limit: limits.memory,
        listen: listen(&making.container, &making.facts.pod_ips, node.config.rootless),
        ..WorkloadSpec::default()
    };
    let dir = node.pod_dir(&making.desired.uid).join("wasm");
    let file = dir.join(format!("{name}.json"));
    let written = fs::create_dir_all(&dir).and_then(|()| fs::write(&file, serde_json::to_vec(&runner)?));
    written.map_err(|error| ConfigError {
        reason: "CreateContainerError",
        message: format!("{}: {error}", file.display()),
    })?;
    let sampan = fs::canonicalize(&node.config.sampan).unwrap_or_else(|_| node.config.sampan.clone());
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    let mut cgroup = shim_limits(&limits);
    cgroup.memory = limits.memory.map(|memory| memory.saturating_add(RUNNER));
    if node.config.rootless {
        cgroup = sampan_shim::Limits::default();
    }
    Ok(ContainerSpec {
        rootfs: Rootfs::Host,
        args: vec![text(sampan), "__wasm".to_owned(), "--spec".to_owned(), text(file)],
        env: env::environment(&[], &BTreeMap::new(), &name),
        capabilities: vec!["CAP_NET_BIND_SERVICE".to_owned()],
        // Names are looked up as by every other container of the pod.
        mounts: match node.config.rootless {
            true => Vec::new(),
            false => making.files(&["hosts", "resolv.conf"]).collect(),
        },
        no_new_privileges: true,
        limits: cgroup,
        ..base
    })
}

/// The digest of a file that is named by it, as those of the image store are.
pub fn digest_of(module: &Path) -> Option<String> {
    let name = module.file_name()?.to_str()?;
    let hex = name.len() == 64 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let in_store = module.parent()?.components().any(|part| part.as_os_str() == "blobs");
    (hex && in_store).then(|| format!("sha256:{name}"))
}

/// Where it serves: on all addresses of the pod's network, or on the pod's own where it shares the node's.
fn listen(container: &Container, pod_ips: &[String], rootless: bool) -> Vec<SocketAddr> {
    let tcp = |protocol: Option<&str>| matches!(protocol, None | Some("" | "TCP"));
    let named = container
        .ports
        .iter()
        .flatten()
        .filter(|port| tcp(port.protocol.as_deref()));
    let mut ports: Vec<u16> = named
        .filter_map(|port| u16::try_from(port.container_port).ok())
        .collect();
    if ports.is_empty() {
        ports.push(PORT);
    }
    let own: Vec<IpAddr> = pod_ips.iter().filter_map(|ip| ip.parse().ok()).collect();
    let address = match own.first() {
        _ if rootless => own.first().copied().unwrap_or(Ipv4Addr::LOCALHOST.into()),
        // What listens on all of IPv6's addresses takes those of IPv4, too.
        _ if own.iter().any(IpAddr::is_ipv6) => Ipv6Addr::UNSPECIFIED.into(),
        _ => Ipv4Addr::UNSPECIFIED.into(),
    };
    ports.into_iter().map(|port| SocketAddr::new(address, port)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn served_on_the_containers_ports() {
        let of = |ips: &[&str], ports: serde_json::Value, rootless| {
            let container = serde_json::from_value(json!({"name": "c", "ports": ports})).unwrap();
            let ips: Vec<String> = ips.iter().map(ToString::to_string).collect();
            listen(&container, &ips, rootless)
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(" ")
        };
        let ports = json!([{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 8000}, {"containerPort": 8001}]);
        assert_eq!(of(&["10.42.0.7"], ports, false), "0.0.0.0:8000 0.0.0.0:8001");
        assert_eq!(of(&["127.5.6.7"], json!([]), true), "127.5.6.7:8080");
        assert_eq!(of(&["10.42.0.7", "fd42::7"], json!([]), false), "[::]:8080");
    }

    #[test]
    fn files_of_the_store_are_known_by_name() {
        let hex = "0".repeat(64);
        assert_eq!(
            digest_of(Path::new(&format!("/x/blobs/sha256/{hex}"))),
            Some(format!("sha256:{hex}"))
        );
        assert_eq!(digest_of(Path::new(&format!("/x/modules/{hex}"))), None);
        assert_eq!(digest_of(Path::new("/x/blobs/module.wasm")), None);
    }
}
