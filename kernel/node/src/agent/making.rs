//! What a container is made of: its pod's spec and its image's word, put together as the shim takes it.
use super::{node::Node, wasm};
use crate::{
    net,
    pod::{
        ConfigError, Facts, Sources, command, env,
        limits::{self, Limits},
        security::{self, Rights},
        volumes,
    },
    probing,
    reconcile::{Desired, ProbeKind},
};
use k8s_openapi::api::core::v1::Container;
use sampan_container::{ImageConfig, Prepared, resolve_user};
use sampan_shim::{ContainerSpec, Log, Mount, Rootfs, Source, User};
use std::{collections::BTreeMap, fs, path::PathBuf, sync::Arc};

/// Why a container was not made, where the pod's spec is not to blame.
pub fn not_created(message: impl std::fmt::Display) -> ConfigError {
    ConfigError {
        reason: "CreateContainerError",
        message: message.to_string(),
    }
}

/// All that a container's spec is made of.
pub struct Making {
    pub node: Arc<Node>,
    pub desired: Desired,
    pub container: Container,
    pub attempt: u32,
    pub facts: Facts,
    pub sources: Sources,
}

impl Making {
    /// The spec for the shim. Blocks.
    ///
    /// # Errors
    /// Says what of the pod's spec cannot be had.
    pub fn spec(&self, prepared: Prepared) -> Result<ContainerSpec, ConfigError> {
        let node = &self.node;
        let places = volumes::set_up(&self.desired.pod, &self.facts, &self.sources, &self.volumes_dir()?)?;
        let variables = env::variables(&self.desired.pod, &self.container, &self.facts, &self.sources)?;
        let limits = limits::limits(&self.desired.pod, &self.container, node.identity.memory)?;
        let log = self.log()?;
        let base = ContainerSpec {
            name: self.container.name.clone(),
            attempt: self.attempt,
            oom_score_adj: limits.oom_score_adj.max(node.oom_floor),
            log: Some(log),
            ..ContainerSpec::default()
        };
        match prepared {
            Prepared::Container {
                config, lowers, lease, ..
            } => {
                let spec = self.container_spec(base, &config, lowers, &places, &variables, limits);
                drop(lease);
                spec
            }
            Prepared::Wasm { module_path, lease, .. } => {
                let spec = wasm::spec(self, base, module_path, &places, &variables, limits);
                drop(lease);
                spec
            }
        }
    }

    fn volumes_dir(&self) -> Result<PathBuf, ConfigError> {
        let dir = self.node.volumes_dir(&self.desired.uid);
        fs::create_dir_all(&dir).map_err(|error| not_created(format!("{}: {error}", dir.display())))?;
        Ok(dir)
    }

    fn container_spec(
        &self,
        base: ContainerSpec,
        image: &ImageConfig,
        lowers: Vec<PathBuf>,
        places: &volumes::Places,
        variables: &BTreeMap<String, String>,
        limits: Limits,
    ) -> Result<ContainerSpec, ConfigError> {
        let container = &self.container;
        let rights = security::rights(&self.desired.pod, container)?;
        let (user, home) = user(&rights, image, &lowers)?;
        security::check_user(&rights, user.uid, &container.name)?;
        let args = command::arguments(container, (&image.entrypoint, &image.cmd), variables);
        if args.is_empty() {
            let message = "no command specified: neither the image nor the pod says what to run";
            return Err(not_created(message));
        }
        let hostname = net::hostname(&self.desired.pod, &self.node.dns);
        let mut environment = env::environment(&image.env, variables, &hostname);
        if let Some(home) = home.filter(|_| !environment.iter().any(|line| line.starts_with("HOME="))) {
            environment.push(format!("HOME={home}"));
        }
        let cwd = container.working_dir.clone().filter(|dir| !dir.is_empty());
        let cwd = cwd.or_else(|| Some(image.workdir.clone()).filter(|dir| !dir.is_empty()));
        let (upper, work) = self.upper()?;
        Ok(ContainerSpec {
            rootfs: Rootfs::Overlay {
                lower: lowers,
                upper,
                work,
            },
            args,
            env: environment,
            cwd,
            user,
            capabilities: rights.capabilities,
            privileged: rights.privileged,
            readonly_rootfs: rights.read_only_root,
            no_new_privileges: rights.no_new_privileges,
            unconfined: rights.unconfined,
            mounts: self.mounts(places, variables)?,
            limits: shim_limits(&limits),
            ..base
        })
    }

    /// Files about the network, then volumes, those nearer to the root first.
    fn mounts(
        &self,
        places: &volumes::Places,
        variables: &BTreeMap<String, String>,
    ) -> Result<Vec<Mount>, ConfigError> {
        let mut of_volumes = volumes::mounts(&self.container, places, variables)?;
        of_volumes.sort_by_key(|mount| mount.target.trim_end_matches('/').matches('/').count());
        let files = self.files(&["hosts", "hostname", "resolv.conf"]);
        let volumes = of_volumes.into_iter().map(|mount| Mount {
            target: mount.target,
            source: Source::Bind(mount.source),
            readonly: mount.read_only,
        });
        Ok(files.chain(volumes).collect())
    }

    /// Files about the network.
    pub fn files<'a>(&self, names: &'a [&str]) -> impl Iterator<Item = Mount> + use<'a> {
        let etc = self.node.etc_dir(&self.desired.uid);
        names.iter().map(move |name| Mount {
            target: format!("/etc/{name}"),
            source: Source::Bind(etc.join(name)),
            readonly: false,
        })
    }

    /// Fresh directories for what the container writes. Those of runs before are in nobody's way any more.
    fn upper(&self) -> Result<(PathBuf, PathBuf), ConfigError> {
        let dir = self.node.rootfs_dir(&self.desired.uid).join(&self.container.name);
        let failed = |error: std::io::Error| not_created(format!("{}: {error}", dir.display()));
        match fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        fs::create_dir_all(&dir).map_err(failed)?;
        Ok((dir.join("upper"), dir.join("work")))
    }

    /// Where its output goes. Logs of this run and the one before are kept.
    pub fn log(&self) -> Result<Log, ConfigError> {
        let path = self
            .node
            .log_path(&self.desired.uid, &self.container.name, self.attempt);
        let dir = path.parent().unwrap_or(&path);
        fs::create_dir_all(dir).map_err(|error| not_created(format!("{}: {error}", dir.display())))?;
        let old = |name: &str| {
            name.split('.')
                .next()?
                .parse::<u32>()
                .ok()
                .filter(|attempt| attempt + 1 < self.attempt)
        };
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.file_name().to_str().and_then(old).is_some() {
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(Log {
            path,
            max_size: 0,
            max_files: 0,
        })
    }

    /// What the pod asks for and does not get, for the user to know.
    pub fn unsupported(&self) -> Vec<String> {
        let mut words = Vec::new();
        let Some(spec) = self
            .desired
            .index_of(&self.container.name)
            .and_then(|index| self.desired.containers.get(index))
        else {
            return words;
        };
        for kind in [ProbeKind::Startup, ProbeKind::Liveness, ProbeKind::Readiness] {
            let title = kind.title();
            match spec.probe(kind).map(probing::kind) {
                Some(probing::Ask::Unsupported(why)) => words.push(format!("{title} probe ignored: {why}")),
                Some(probing::Ask::Exec(_)) => {
                    words.push(format!(
                        "{title} probe ignored: exec probes are not supported yet: use httpGet or tcpSocket"
                    ));
                }
                Some(probing::Ask::Network) | None => {}
            }
        }
        let lifecycle = self.container.lifecycle.as_ref();
        if lifecycle.is_some_and(|lifecycle| lifecycle.post_start.is_some() || lifecycle.pre_stop.is_some()) {
            words.push("lifecycle hooks are not supported yet and are not run".to_owned());
        }
        let mut ports = self.container.ports.iter().flatten();
        if self.node.network.is_none() && ports.any(|port| port.host_port.is_some_and(|port| port != 0)) {
            words.push("hostPort needs root: the port is reached on the pod's address".to_owned());
        }
        words
    }
}

/// Whom it runs as: the pod's word before the image's, names looked up in the image.
fn user(rights: &Rights, image: &ImageConfig, lowers: &[PathBuf]) -> Result<(User, Option<String>), ConfigError> {
    let name = match (rights.user, rights.group) {
        (Some(user), Some(group)) => format!("{user}:{group}"),
        (Some(user), None) => user.to_string(),
        (None, _) => image.user.clone(),
    };
    let found = resolve_user(&name, lowers).map_err(|error| ConfigError::config(error.to_string()))?;
    let gid = rights.group.unwrap_or(found.gid);
    let mut groups = found.additional_gids;
    groups.extend(rights.groups.iter().filter(|group| **group != gid));
    groups.sort_unstable();
    groups.dedup();
    Ok((
        User {
            uid: found.uid,
            gid,
            additional_gids: groups,
        },
        found.home,
    ))
}

/// A container's limits as the shim takes them.
pub fn shim_limits(limits: &Limits) -> sampan_shim::Limits {
    const PERIOD: u64 = 100_000;
    sampan_shim::Limits {
        // A thousandth of a core is a thousandth of the period; the kernel takes no less than a millisecond.
        cpu_quota: limits.milli_cpu.map(|milli| (milli * PERIOD / 1000).max(1000)),
        cpu_period: limits.milli_cpu.map(|_| PERIOD),
        cpu_shares: Some((limits.requested_milli_cpu * 1024 / 1000).clamp(2, 262_144)),
        memory: limits.memory,
        pids: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_in_the_kernels_terms() {
        let limits = Limits {
            milli_cpu: Some(500),
            requested_milli_cpu: 250,
            memory: Some(1 << 26),
            oom_score_adj: 0,
        };
        let shim = shim_limits(&limits);
        assert_eq!(
            (shim.cpu_quota, shim.cpu_period, shim.cpu_shares),
            (Some(50_000), Some(100_000), Some(256))
        );
        assert_eq!(shim.memory, Some(1 << 26));
        let none = shim_limits(&Limits::default());
        assert_eq!((none.cpu_quota, none.cpu_shares), (None, Some(2)));
        assert_eq!(
            shim_limits(&Limits {
                milli_cpu: Some(1),
                ..Limits::default()
            })
            .cpu_quota,
            Some(1000)
        );
    }

    #[test]
    fn the_pods_user_is_above_the_images() {
        let image = ImageConfig {
            user: "1000:1001".into(),
            ..ImageConfig::default()
        };
        let of = |rights: Rights| user(&rights, &image, &[]).unwrap().0;
        assert_eq!(
            of(Rights::default()),
            User {
                uid: 1000,
                gid: 1001,
                additional_gids: vec![]
            }
        );
        let own = Rights {
            user: Some(5),
            groups: vec![7, 7],
            ..Rights::default()
        };
        assert_eq!(
            of(own),
            User {
                uid: 5,
                gid: 0,
                additional_gids: vec![7]
            }
        );
        assert_eq!(
            of(Rights {
                group: Some(9),
                ..Rights::default()
            }),
            User {
                uid: 1000,
                gid: 9,
                additional_gids: vec![]
            }
        );
    }
}
