//! How much of the node a container may use.
use super::ConfigError;
use crate::reconcile::qos_class;
use k8s_openapi::api::core::v1::{self as core, Pod};
use sampan_api::quantity;

/// A container's share of the node. None is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Thousandths of a core.
    pub milli_cpu: Option<u64>,
    /// What it asked for, for its weight against others. Thousandths of a core.
    pub requested_milli_cpu: u64,
    /// Bytes.
    pub memory: Option<u64>,
    /// Who goes first when the node itself is out of memory: -1000 (last) to 1000.
    pub oom_score_adj: i32,
}

/// Reads a container's resources.
///
/// # Errors
/// Where a quantity is none.
pub fn limits(pod: &Pod, container: &core::Container, node_memory: u64) -> Result<Limits, ConfigError> {
    let resources = container.resources.clone().unwrap_or_default();
    let (limits, requests) = (
        resources.limits.unwrap_or_default(),
        resources.requests.unwrap_or_default(),
    );
    let read = |name: &str, own: &std::collections::BTreeMap<_, _>| -> Result<Option<u64>, ConfigError> {
        let Some(quantity) = own.get(name) else { return Ok(None) };
        let quantity: &k8s_openapi::apimachinery::pkg::api::resource::Quantity = quantity;
        let value = if name == "cpu" {
            quantity::millis(&quantity.0)
        } else {
            quantity::units(&quantity.0)
        };
        let value = value.map_err(|e| ConfigError::config(format!("container {}: {name}: {e}", container.name)))?;
        Ok(u64::try_from(value).ok().filter(|value| *value > 0))
    };
    let milli_cpu = read("cpu", &limits)?;
    let memory = read("memory", &limits)?;
    let requested_milli_cpu = read("cpu", &requests)?.or(milli_cpu).unwrap_or(0);
    let requested_memory = read("memory", &requests)?.or(memory).unwrap_or(0);
    let oom_score_adj = match qos_class(pod) {
        "Guaranteed" => -997,
        "BestEffort" => 1000,
        // The more it asked for, the later it goes.
        _ => {
            let share = (1000 * u128::from(requested_memory) / u128::from(node_memory.max(1))).min(1000);
            (1000 - i32::try_from(share).unwrap_or(1000)).clamp(3, 999)
        }
    };
    Ok(Limits {
        milli_cpu,
        requested_milli_cpu,
        memory,
        oom_score_adj,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(resources: serde_json::Value) -> Result<Limits, ConfigError> {
        let spec = json!({"containers": [{"name": "c", "resources": resources}]});
        let pod: Pod = serde_json::from_value(json!({"spec": spec})).unwrap();
        let container = pod.spec.as_ref().unwrap().containers[0].clone();
        limits(&pod, &container, 1 << 30)
    }

    #[test]
    fn limits_and_requests() {
        let limits = of(json!({"limits": {"cpu": "500m", "memory": "64Mi"}})).unwrap();
        let all = Limits {
            milli_cpu: Some(500),
            requested_milli_cpu: 500,
            memory: Some(64 << 20),
            oom_score_adj: -997,
        };
        assert_eq!(limits, all);
        let burstable = of(json!({"requests": {"memory": "512Mi", "cpu": "100m"}})).unwrap();
        assert_eq!(
            (burstable.memory, burstable.requested_milli_cpu, burstable.oom_score_adj),
            (None, 100, 500)
        );
        assert_eq!(
            of(json!({})).unwrap(),
            Limits {
                oom_score_adj: 1000,
                ..Limits::default()
            }
        );
        assert!(
            of(json!({"limits": {"memory": "lots"}}))
                .unwrap_err()
                .message
                .contains("\"lots\" is no quantity")
        );
    }
}
