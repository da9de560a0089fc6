//! The downward API: what a pod may ask about itself.
use super::{ConfigError, Facts};
use k8s_openapi::{
    api::core::v1::{self as core, Pod},
    apimachinery::pkg::api::resource::Quantity,
};
use sampan_api::quantity;
use std::collections::BTreeMap;

/// The value of a `fieldRef`.
///
/// # Errors
/// Where the pod has no such field, naming those there are.
pub fn field(pod: &Pod, facts: &Facts, path: &str) -> Result<String, ConfigError> {
    let metadata = &pod.metadata;
    let spec = pod.spec.as_ref();
    if let Some((map, key)) = path.strip_suffix("']").and_then(|path| path.split_once("['")) {
        let map = match map {
            "metadata.labels" => &metadata.labels,
            "metadata.annotations" => &metadata.annotations,
            _ => return Err(unknown(path)),
        };
        return Ok(map.as_ref().and_then(|map| map.get(key)).cloned().unwrap_or_default());
    }
    Ok(match path {
        "metadata.name" => metadata.name.clone().unwrap_or_default(),
        "metadata.namespace" => metadata.namespace.clone().unwrap_or_default(),
        "metadata.uid" => metadata.uid.clone().unwrap_or_default(),
        "metadata.labels" => listed(metadata.labels.as_ref()),
        "metadata.annotations" => listed(metadata.annotations.as_ref()),
        "spec.nodeName" => spec.and_then(|spec| spec.node_name.clone()).unwrap_or_default(),
        "spec.serviceAccountName" => spec
            .and_then(|s| s.service_account_name.clone())
            .unwrap_or_else(|| "default".into()),
        "status.podIP" => facts.pod_ips.first().cloned().unwrap_or_default(),
        "status.podIPs" => facts.pod_ips.join(","),
        "status.hostIP" => facts.host_ips.first().cloned().unwrap_or_default(),
        "status.hostIPs" => facts.host_ips.join(","),
        _ => return Err(unknown(path)),
    })
}

fn unknown(path: &str) -> ConfigError {
    ConfigError::config(format!(
        "unsupported fieldPath \"{path}\": expected metadata.name, metadata.namespace, metadata.uid, \
         metadata.labels['key'], metadata.annotations['key'], spec.nodeName, spec.serviceAccountName, status.podIP or \
         status.hostIP"
    ))
}

/// `key="value"`, one a line, as Kubernetes writes them.
fn listed(map: Option<&BTreeMap<String, String>>) -> String {
    let lines: Vec<String> = map
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={value:?}"))
        .collect();
    lines.join("\n")
}

/// The value of a `resourceFieldRef` of a container; a limit that is not set is what the node has.
///
/// # Errors
/// Where the container, the resource or the divisor makes no sense.
pub fn resource(
    pod: &Pod,
    own: Option<&core::Container>,
    facts: &Facts,
    selector: &core::ResourceFieldSelector,
) -> Result<String, ConfigError> {
    let spec = pod.spec.as_ref();
    let container = match selector.container_name.as_deref().filter(|name| !name.is_empty()) {
        Some(name) => spec.and_then(|spec| {
            spec.containers
                .iter()
                .chain(spec.init_containers.iter().flatten())
                .find(|c| c.name == name)
        }),
        None => own,
    };
    let container = container.ok_or_else(|| {
        let name = selector.container_name.as_deref().unwrap_or_default();
        ConfigError::config(format!("resourceFieldRef names no container of the pod: \"{name}\""))
    })?;
    let resources = container.resources.clone().unwrap_or_default();
    let (kind, name) = selector.resource.split_once('.').unwrap_or(("", ""));
    let find = |map: &Option<BTreeMap<String, Quantity>>| map.as_ref().and_then(|map| map.get(name)).cloned();
    let quantity = match kind {
        "limits" => find(&resources.limits),
        "requests" => find(&resources.requests).or_else(|| find(&resources.limits)),
        _ => return Err(wrong_resource(&selector.resource)),
    };
    let divisor = selector
        .divisor
        .as_ref()
        .map(|q| q.0.as_str())
        .filter(|q| !q.is_empty() && *q != "0")
        .unwrap_or("1");
    let amount = match (name, quantity, kind) {
        (_, Some(quantity), _) => scaled(name, &quantity.0)?,
        ("cpu", None, "limits") => facts.node_milli_cpu,
        ("memory", None, "limits") => facts.node_memory,
        ("cpu" | "memory" | "ephemeral-storage", None, _) => 0,
        _ => return Err(wrong_resource(&selector.resource)),
    };
    // Rounded up, as Kubernetes does.
    Ok(amount.div_ceil(scaled(name, divisor)?.max(1)).to_string())
}

fn wrong_resource(resource: &str) -> ConfigError {
    let message =
        format!("unsupported resource \"{resource}\": expected limits or requests of cpu, memory or ephemeral-storage");
    ConfigError::config(message)
}

/// CPU in thousandths, all else in units.
fn scaled(name: &str, text: &str) -> Result<u64, ConfigError> {
    let value = if name == "cpu" {
        quantity::millis(text)
    } else {
        quantity::units(text)
    };
    let value = value.map_err(|error| ConfigError::config(error.to_string()))?;
    Ok(u64::try_from(value).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod() -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "prod", "uid": "u1", "labels": {"app": "web", "tier": "a\"b"}},
            "spec": {"nodeName": "n1", "containers": [{"name": "c", "resources": {
                "limits": {"cpu": "1500m", "memory": "64Mi"}, "requests": {"cpu": "250m"}}}, {"name": "d"}]}}))
        .unwrap()
    }

    fn facts() -> Facts {
        Facts {
            pod_ips: vec!["10.42.0.2".into(), "fd42::2".into()],
            host_ips: vec!["192.0.2.1".into()],
            node_milli_cpu: 2000,
            node_memory: 1 << 30,
        }
    }

    #[test]
    fn fields_of_the_pod() {
        let get = |path: &str| field(&pod(), &facts(), path).unwrap();
        assert_eq!(get("metadata.name"), "web");
        assert_eq!(get("metadata.labels['app']"), "web");
        assert_eq!(get("metadata.labels['none']"), "");
        assert_eq!(get("metadata.labels"), "app=\"web\"\ntier=\"a\\\"b\"");
        assert_eq!(
            (get("status.podIP"), get("status.hostIP"), get("spec.nodeName")),
            ("10.42.0.2".into(), "192.0.2.1".into(), "n1".into())
        );
        assert_eq!(get("status.podIPs"), "10.42.0.2,fd42::2");
        assert!(
            field(&pod(), &facts(), "spec.replicas")
                .unwrap_err()
                .message
                .contains("metadata.name")
        );
    }

    #[test]
    fn resources_of_a_container() {
        let get = |own: usize, resource: &str, divisor: &str| {
            let pod = pod();
            let selector = serde_json::from_value(json!({"resource": resource, "divisor": divisor})).unwrap();
            let own = pod.spec.as_ref().unwrap().containers.get(own);
            super::resource(&pod, own, &facts(), &selector).map_err(|error| error.message)
        };
        assert_eq!(get(0, "limits.cpu", "1").unwrap(), "2");
        assert_eq!(get(0, "requests.cpu", "1m").unwrap(), "250");
        assert_eq!(get(0, "limits.memory", "1Mi").unwrap(), "64");
        assert_eq!(get(1, "limits.memory", "1Mi").unwrap(), "1024");
        assert_eq!(get(1, "requests.memory", "1").unwrap(), "0");
        assert!(get(0, "limits.gpu", "1").unwrap_err().contains("limits.gpu"));
    }
}
