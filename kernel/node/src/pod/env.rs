//! The environment of a container.
use super::{ConfigError, Facts, Sources, command::expand, fields, links};
use k8s_openapi::api::core::v1::{self as core, Pod};
use std::collections::BTreeMap;

/// What programs are found by where neither image nor pod says.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The variables that the pod's spec gives, by name: those of Services, then `envFrom` in its order, then `env` in its order,
/// where each may refer to those before it with `$(NAME)`.
///
/// # Errors
/// Where something named does not exist, saying which key of which object.
pub fn variables(
    pod: &Pod,
    container: &core::Container,
    facts: &Facts,
    sources: &Sources,
) -> Result<BTreeMap<String, String>, ConfigError> {
    let mut variables = links::variables(pod, &sources.services);
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        let maps = from
            .config_map_ref
            .iter()
            .map(|source| sources.config_map(&source.name, source.optional));
        let secrets = from
            .secret_ref
            .iter()
            .map(|source| sources.secret(&source.name, source.optional));
        for data in maps.chain(secrets) {
            for (key, value) in data?.into_iter().flatten() {
                variables.insert(format!("{prefix}{key}"), text(value));
            }
        }
    }
    for variable in container.env.iter().flatten() {
        let value = match &variable.value_from {
            Some(from) => value_from(pod, container, facts, sources, from)?,
            None => Some(expand(variable.value.as_deref().unwrap_or_default(), &variables)),
        };
        if let Some(value) = value {
            variables.insert(variable.name.clone(), value);
        }
    }
    Ok(variables)
}

/// None for what is optional and does not exist.
fn value_from(
    pod: &Pod,
    container: &core::Container,
    facts: &Facts,
    sources: &Sources,
    from: &core::EnvVarSource,
) -> Result<Option<String>, ConfigError> {
    if let Some(selector) = &from.field_ref {
        return fields::field(pod, facts, &selector.field_path).map(Some);
    }
    if let Some(selector) = &from.resource_field_ref {
        return fields::resource(pod, Some(container), facts, selector).map(Some);
    }
    let (kind, name, key, optional, data) = if let Some(selector) = &from.config_map_key_ref {
        let data = sources.config_map(&selector.name, selector.optional)?;
        ("ConfigMap", &selector.name, &selector.key, selector.optional, data)
    } else if let Some(selector) = &from.secret_key_ref {
        let data = sources.secret(&selector.name, selector.optional)?;
        ("Secret", &selector.name, &selector.key, selector.optional, data)
    } else {
        return Err(ConfigError::config("valueFrom names no source that is known here"));
    };
    let Some(mut data) = data else { return Ok(None) };
    match (data.remove(key), optional) {
        (Some(value), _) => Ok(Some(text(value))),
        (None, Some(true)) => Ok(None),
        (None, _) => Err(sources.no_key(kind, name, key)),
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// What a program is given: the image's variables, then the pod's over them, as `NAME=value`.
pub fn environment(image: &[String], variables: &BTreeMap<String, String>, hostname: &str) -> Vec<String> {
    let mut all: BTreeMap<&str, &str> = BTreeMap::from([("PATH", PATH), ("HOSTNAME", hostname)]);
    all.extend(image.iter().filter_map(|line| line.split_once('=')));
    all.extend(variables.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    all.iter().map(|(name, value)| format!("{name}={value}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn sources() -> Sources {
        let map = serde_json::from_value(json!({"data": {"level": "debug", "a.b": "c"}})).unwrap();
        let secret = serde_json::from_value(json!({"data": {"password": "aHVudGVyMg=="}})).unwrap();
        Sources {
            namespace: "default".into(),
            config_maps: [("conf".to_owned(), map)].into(),
            secrets: [("db".to_owned(), secret)].into(),
            services: vec![
                serde_json::from_value(json!({"metadata": {"name": "cache", "namespace": "default"},
                "spec": {"clusterIP": "10.96.0.9", "ports": [{"port": 6379}]}}))
                .unwrap(),
            ],
        }
    }

    fn run(container: Value) -> Result<BTreeMap<String, String>, String> {
        let mut container = container;
        container["name"] = json!("c");
        let container: core::Container = serde_json::from_value(container).unwrap();
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "web", "namespace": "default"}})).unwrap();
        let facts = Facts {
            pod_ips: vec!["10.42.0.2".into()],
            ..Facts::default()
        };
        variables(&pod, &container, &facts, &sources()).map_err(|error| error.message)
    }

    #[test]
    fn all_sources_and_references() {
        let got = run(json!({
            "envFrom": [{"configMapRef": {"name": "conf"}, "prefix": "C_"}, {"secretRef": {"name": "none", "optional": true}}],
            "env": [
                {"name": "PW", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}},
                {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                {"name": "URL", "value": "http://u:$(PW)@$(IP)/$(LATER)?l=$(C_level)&d=$$(PW)"},
                {"name": "LATER", "value": "x"},
                {"name": "CACHE_PORT", "value": "$(CACHE_SERVICE_HOST):$(CACHE_SERVICE_PORT)"},
                {"name": "MAYBE", "valueFrom": {"configMapKeyRef": {"name": "conf", "key": "no", "optional": true}}}]}))
        .unwrap();
        assert_eq!(got["URL"], "http://u:hunter2@10.42.0.2/$(LATER)?l=debug&d=$(PW)");
        assert_eq!(got["CACHE_PORT"], "10.96.0.9:6379");
        assert_eq!((got["C_a.b"].as_str(), got.contains_key("MAYBE")), ("c", false));
    }

    #[test]
    fn what_is_missing_is_named() {
        let key = |name: &str, key: &str| json!({"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": name, "key": key}}}]});
        assert_eq!(
            run(key("conf", "colour")).unwrap_err(),
            "couldn't find key colour in ConfigMap default/conf"
        );
        assert_eq!(run(key("none", "colour")).unwrap_err(), "configmap \"none\" not found");
        assert_eq!(
            run(json!({"envFrom": [{"secretRef": {"name": "s"}}]})).unwrap_err(),
            "secret \"s\" not found"
        );
    }

    #[test]
    fn the_pod_is_above_the_image() {
        let image = ["PATH=/app".to_owned(), "A=image".to_owned()];
        let variables = BTreeMap::from([("A".to_owned(), "pod".to_owned())]);
        assert_eq!(
            environment(&image, &variables, "web"),
            ["A=pod", "HOSTNAME=web", "PATH=/app"]
        );
        assert!(environment(&[], &variables, "web")[2].starts_with("PATH=/usr/local/sbin:"));
    }
}
