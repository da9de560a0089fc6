//! What the state machine reads of pods and nodes: no more of their JSON than that, and in this one place.
use sampan_api::{Object, quantity::Resources};
use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};
use std::{borrow::Cow, fmt};

/// What is read of a pod's spec.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodView {
    /// The node it is bound to; empty if none.
    pub node: String,
    /// What its containers ask for together, and one pod.
    pub asks: Resources,
    pub tolerations: Vec<Toleration>,
    /// Seconds it wants to have to end.
    pub grace: Option<u32>,
}

/// What is read of a node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeView {
    pub cordoned: bool,
    pub taints: Vec<Taint>,
    /// All it has for pods.
    pub has: Resources,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Taint {
    pub key: String,
    pub value: Option<String>,
    pub effect: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Toleration {
    key: Option<String>,
    operator: Option<String>,
    value: Option<String>,
    effect: Option<String>,
}

impl Toleration {
    /// Kubernetes' rule: an absent key matches all with `Exists`, an absent effect matches all.
    pub fn tolerates(&self, taint: &Taint) -> bool {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let exists = self.operator.as_deref() == Some("Exists");
        let (key, effect) = (text(&self.key), text(&self.effect));
        (effect.is_empty() || effect == taint.effect)
            && (if key.is_empty() { exists } else { key == taint.key })
            && (exists || text(&self.value) == text(&taint.value))
    }
}

impl PodView {
    /// Reads a pod's spec.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn of(pod: &Object) -> Result<Self, String> {
        let Some(spec) = pod.fields.get("spec") else {
            return Ok(PodView {
                asks: one_pod(),
                ..PodView::default()
            });
        };
        let spec: Option<PodSpec<'_>> = serde_json::from_str(spec.get()).map_err(|error| error.to_string())?;
        let spec = spec.unwrap_or_default();
        let asks = spec.asks()?;
        Ok(PodView {
            node: spec.node_name.map(|name| name.0.into_owned()).unwrap_or_default(),
            asks,
            tolerations: spec.tolerations.unwrap_or_default(),
            grace: spec.termination_grace_period_seconds,
        })
    }
}

impl NodeView {
    /// Reads a node; what cannot be read of it counts as absent, and room that is absent holds nothing.
    pub fn of(node: &Object) -> Self {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Spec {
            unschedulable: Option<bool>,
            taints: Option<Vec<Taint>>,
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Status<'a> {
            #[serde(borrow)]
            allocatable: Option<Amounts<'a>>,
            #[serde(borrow)]
            capacity: Option<Amounts<'a>>,
        }
        let (spec, status) = (field::<Spec>(node, "spec"), field::<Status<'_>>(node, "status"));
        let amounts = status.allocatable.or(status.capacity).unwrap_or_default();
        NodeView {
            cordoned: spec.unschedulable == Some(true),
            taints: spec.taints.unwrap_or_default(),
            has: amounts.resources().unwrap_or_default(),
        }
    }
}

/// Whether a pod has ended for good.
pub fn is_finished(pod: &Object) -> bool {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Status {
        phase: Option<String>,
    }
    matches!(
        field::<Status>(pod, "status").phase.as_deref(),
        Some("Succeeded" | "Failed")
    )
}

fn field<'a, T: Deserialize<'a> + Default>(object: &'a Object, name: &str) -> T {
    let raw = object.fields.get(name);
    raw.and_then(|raw| serde_json::from_str::<Option<T>>(raw.get()).ok().flatten())
        .unwrap_or_default()
}

fn one_pod() -> Resources {
    Resources {
        pods: 1,
        ..Resources::default()
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodSpec<'a> {
    #[serde(borrow)]
    node_name: Option<Text<'a>>,
    tolerations: Option<Vec<Toleration>>,
    termination_grace_period_seconds: Option<u32>,
    #[serde(borrow)]
    containers: Option<Vec<Container<'a>>>,
    #[serde(borrow)]
    init_containers: Option<Vec<Container<'a>>>,
    #[serde(borrow)]
    overhead: Option<Amounts<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Container<'a> {
    #[serde(borrow)]
    restart_policy: Option<Text<'a>>,
    #[serde(borrow)]
    resources: Option<Demands<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Demands<'a> {
    #[serde(borrow)]
    limits: Option<Amounts<'a>>,
    #[serde(borrow)]
    requests: Option<Amounts<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Amounts<'a> {
    #[serde(borrow)]
    cpu: Option<Text<'a>>,
    #[serde(borrow)]
    memory: Option<Text<'a>>,
    #[serde(borrow)]
    ephemeral_storage: Option<Text<'a>>,
    #[serde(borrow)]
    pods: Option<Text<'a>>,
}

impl PodSpec<'_> {
    /// As `api::quantity::pod_requests`; a test holds the two together.
    fn asks(&self) -> Result<Resources, String> {
        let mut sum = Resources::default();
        for container in self.containers.iter().flatten() {
            sum = sum.plus(container.asks()?);
        }
        for container in self.init_containers.iter().flatten() {
            let sidecar = container
                .restart_policy
                .as_ref()
                .is_some_and(|policy| policy.0 == "Always");
            let asks = container.asks()?;
            sum = if sidecar { sum.plus(asks) } else { sum.max(asks) };
        }
        if let Some(overhead) = &self.overhead {
            sum = sum.plus(overhead.resources()?);
        }
        Ok(Resources { pods: 1, ..sum })
    }
}

impl Container<'_> {
    fn asks(&self) -> Result<Resources, String> {
        let Some(demands) = &self.resources else {
            return Ok(Resources::default());
        };
        let none = Amounts::default();
        let limits = demands.limits.as_ref().unwrap_or(&none);
        let requests = demands.requests.as_ref().unwrap_or(&none);
        // A limit without a request is the request.
        fn or<'b>(request: &'b Option<Text<'b>>, limit: &'b Option<Text<'b>>) -> Option<Text<'b>> {
            request
                .as_ref()
                .or(limit.as_ref())
                .map(|text| Text(Cow::Borrowed(&text.0)))
        }
        let both = Amounts {
            cpu: or(&requests.cpu, &limits.cpu),
            memory: or(&requests.memory, &limits.memory),
            ephemeral_storage: or(&requests.ephemeral_storage, &limits.ephemeral_storage),
            pods: None,
        };
        both.resources()
    }
}

impl Amounts<'_> {
    fn resources(&self) -> Result<Resources, String> {
        let named = [
            ("cpu", &self.cpu),
            ("memory", &self.memory),
            ("ephemeral-storage", &self.ephemeral_storage),
            ("pods", &self.pods),
        ];
        let given = named
            .into_iter()
            .filter_map(|(name, text)| Some((name, &*text.as_ref()?.0)));
        Resources::from_quantities(given).map_err(|error| error.to_string())
    }
}

/// A text, borrowed where the JSON has no escapes in it. Numbers are read as their text: `cpu: 1`.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a number")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(number.to_string())))
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(number.to_string())))
            }
            fn visit_f64<E: Error>(self, number: f64) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(number.to_string())))
            }
        }
        deserializer.deserialize_any(TextVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(spec: serde_json::Value) -> Object {
        Object::from_value(&json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}))
            .unwrap()
    }

    #[test]
    fn asks_for_what_the_full_types_say() {
        let container =
            |kind: &str, cpu: &str| json!({"name": "c", "resources": {kind: {"cpu": cpu, "memory": "1Mi"}}});
        let mut sidecar = container("requests", "10m");
        sidecar["restartPolicy"] = "Always".into();
        for spec in [
            json!({"containers": []}),
            json!({"containers": [container("requests", "100m"), container("limits", "2")]}),
            json!({"containers": [container("requests", "1")], "initContainers": [container("limits", "3"), sidecar]}),
            json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}, "limits": {"memory": "1Gi", "cpu": "9"}}}]}),
            json!({"containers": [{"name": "c", "resources": null}], "overhead": {"cpu": "5m", "ephemeral-storage": "1Gi"}}),
        ] {
            let typed = pod(spec.clone()).field("spec").unwrap();
            let expected = sampan_api::quantity::pod_requests(&typed).unwrap();
            assert_eq!(PodView::of(&pod(spec.clone())).unwrap().asks, expected, "{spec}");
        }
    }

    #[test]
    fn numbers_nulls_and_escapes_are_read() {
        let spec = json!({"nodeName": "a\"b", "containers": [{"resources": {"requests": {"cpu": 2, "memory": 1024}}}]});
        let view = PodView::of(&pod(spec)).unwrap();
        assert_eq!(
            (view.node.as_str(), view.asks.milli_cpu, view.asks.memory),
            ("a\"b", 2000, 1024)
        );
        let spec = json!({"nodeName": null, "containers": null, "tolerations": null});
        assert_eq!(PodView::of(&pod(spec)).unwrap().node, "");
        assert!(PodView::of(&pod(json!("text"))).is_err());
        assert!(PodView::of(&pod(json!({"containers": [{"resources": {"requests": {"cpu": "x"}}}]}))).is_err());
    }
}
