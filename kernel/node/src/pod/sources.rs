//! The config maps and secrets that a pod names, and the Services it is told of.
use super::ConfigError;
use k8s_openapi::api::core::v1::{self as core, Pod};
use std::collections::{BTreeMap, BTreeSet};

/// What a pod names, fetched. What does not exist is not in it.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    pub namespace: String,
    pub config_maps: BTreeMap<String, core::ConfigMap>,
    pub secrets: BTreeMap<String, core::Secret>,
    /// Those of the pod's namespace, and `default/kubernetes`.
    pub services: Vec<core::Service>,
}

/// Names of config maps and of secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    pub config_maps: BTreeSet<String>,
    pub secrets: BTreeSet<String>,
}

impl Wanted {
    /// All that a pod's containers and volumes name.
    pub fn of(pod: &Pod) -> Self {
        let mut wanted = Wanted::default();
        let Some(spec) = &pod.spec else { return wanted };
        for container in spec.init_containers.iter().flatten().chain(&spec.containers) {
            wanted.environment(container);
        }
        for volume in spec.volumes.iter().flatten() {
            wanted
                .config_maps
                .extend(volume.config_map.iter().map(|source| source.name.clone()));
            wanted
                .secrets
                .extend(volume.secret.iter().filter_map(|source| source.secret_name.clone()));
            for part in volume
                .projected
                .iter()
                .flat_map(|projected| projected.sources.iter().flatten())
            {
                wanted
                    .config_maps
                    .extend(part.config_map.iter().map(|source| source.name.clone()));
                wanted
                    .secrets
                    .extend(part.secret.iter().map(|source| source.name.clone()));
            }
        }
        wanted
    }

    fn environment(&mut self, container: &core::Container) {
        for from in container.env_from.iter().flatten() {
            self.config_maps
                .extend(from.config_map_ref.iter().map(|source| source.name.clone()));
            self.secrets
                .extend(from.secret_ref.iter().map(|source| source.name.clone()));
        }
        for from in container
            .env
            .iter()
            .flatten()
            .filter_map(|variable| variable.value_from.as_ref())
        {
            self.config_maps
                .extend(from.config_map_key_ref.iter().map(|source| source.name.clone()));
            self.secrets
                .extend(from.secret_key_ref.iter().map(|source| source.name.clone()));
        }
    }

    pub fn is_empty(&self) -> bool {
        self.config_maps.is_empty() && self.secrets.is_empty()
    }
}

/// What a config map or a secret holds, as bytes by key.
pub type Data = BTreeMap<String, Vec<u8>>;

impl Sources {
    /// The data of a config map; none where it is `optional` and does not exist.
    ///
    /// # Errors
    /// Where it does not exist.
    pub fn config_map(&self, name: &str, optional: Option<bool>) -> Result<Option<Data>, ConfigError> {
        let Some(map) = self.config_maps.get(name) else {
            return missing("configmap", name, optional);
        };
        let text = map
            .data
            .iter()
            .flatten()
            .map(|(key, value)| (key.clone(), value.clone().into_bytes()));
        let binary = map
            .binary_data
            .iter()
            .flatten()
            .map(|(key, value)| (key.clone(), value.0.clone()));
        Ok(Some(text.chain(binary).collect()))
    }

    /// The data of a secret; none where it is `optional` and does not exist.
    ///
    /// # Errors
    /// Where it does not exist.
    pub fn secret(&self, name: &str, optional: Option<bool>) -> Result<Option<Data>, ConfigError> {
        let Some(secret) = self.secrets.get(name) else {
            return missing("secret", name, optional);
        };
        let binary = secret
            .data
            .iter()
            .flatten()
            .map(|(key, value)| (key.clone(), value.0.clone()));
        let text = secret
            .string_data
            .iter()
            .flatten()
            .map(|(key, value)| (key.clone(), value.clone().into_bytes()));
        Ok(Some(binary.chain(text).collect()))
    }

    /// The error for a key that is not in what was found.
    pub fn no_key(&self, kind: &str, name: &str, key: &str) -> ConfigError {
        ConfigError::config(format!("couldn't find key {key} in {kind} {}/{name}", self.namespace))
    }
}

fn missing(kind: &str, name: &str, optional: Option<bool>) -> Result<Option<Data>, ConfigError> {
    match optional {
        Some(true) => Ok(None),
        _ => Err(ConfigError::config(format!("{kind} \"{name}\" not found"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn everything_named_is_wanted() {
        let pod: Pod = serde_json::from_value(json!({"spec": {
            "containers": [{"name": "a", "env": [
                {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "c1", "key": "k"}}},
                {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s1", "key": "k"}}}],
                "envFrom": [{"configMapRef": {"name": "c2"}}, {"secretRef": {"name": "s2"}}]}],
            "initContainers": [{"name": "i", "envFrom": [{"configMapRef": {"name": "c3"}}]}],
            "volumes": [{"name": "v", "configMap": {"name": "c4"}}, {"name": "w", "secret": {"secretName": "s3"}},
                {"name": "p", "projected": {"sources": [{"configMap": {"name": "c5"}}, {"secret": {"name": "s4"}}]}}]}}))
        .unwrap();
        let wanted = Wanted::of(&pod);
        assert_eq!(
            wanted.config_maps.into_iter().collect::<Vec<_>>(),
            ["c1", "c2", "c3", "c4", "c5"]
        );
        assert_eq!(wanted.secrets.into_iter().collect::<Vec<_>>(), ["s1", "s2", "s3", "s4"]);
    }
}
