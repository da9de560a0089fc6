//! What the state machine reads of pods and nodes: no more of their JSON than that, and in this one place.
use crate::room::Room;
use sampan_api::{
    Object,
    quantity::{Resources, units},
};
use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;
use std::{borrow::Cow, collections::BTreeMap, fmt};

/// What is read of a pod's spec.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodView {
    /// The node it is bound to; empty if none.
    pub node: String,
    /// What its containers ask for together, and one pod.
    pub asks: Room,
    /// An extended resource of which it asks for what is no quantity; it counts as none.
    pub unreadable: Option<String>,
    /// Whether it has scheduling gates.
    pub gated: bool,
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
    pub has: Room,
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
        let mut unreadable = None;
        let asks = spec.asks(&mut unreadable)?;
        Ok(PodView {
            gated: spec.scheduling_gates.is_some_and(|gates| !gates.is_empty()),
            unreadable,
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
            has: amounts.room(&mut None).unwrap_or_default(),
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

fn one_pod() -> Room {
    Room::from(Resources {
        pods: 1,
        ..Resources::default()
    })
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
    scheduling_gates: Option<Vec<IgnoredAny>>,
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

/// A map of resource names to quantities.
#[derive(Default)]
struct Amounts<'a> {
    cpu: Option<Text<'a>>,
    memory: Option<Text<'a>>,
    ephemeral_storage: Option<Text<'a>>,
    pods: Option<Text<'a>>,
    /// As it is written, whatever it is.
    others: BTreeMap<Cow<'a, str>, &'a RawValue>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Amounts<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AmountsVisitor;
        impl<'de> Visitor<'de> for AmountsVisitor {
            type Value = Amounts<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("quantities by the names of resources")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Amounts<'de>, A::Error> {
                let mut amounts = Amounts::default();
                while let Some(Text(name)) = map.next_key()? {
                    let amount = match &*name {
                        "cpu" => &mut amounts.cpu,
                        "memory" => &mut amounts.memory,
                        "ephemeral-storage" => &mut amounts.ephemeral_storage,
                        "pods" => &mut amounts.pods,
                        _ => {
                            amounts.others.insert(name, map.next_value()?);
                            continue;
                        }
                    };
                    if amount.is_some() {
                        return Err(Error::custom(format!("duplicate field `{name}`")));
                    }
                    *amount = map.next_value()?;
                }
                Ok(amounts)
            }
        }
        deserializer.deserialize_map(AmountsVisitor)
    }
}

impl PodSpec<'_> {
    /// As `api::quantity::pod_requests`; a test holds the two together.
    fn asks(&self, unreadable: &mut Option<String>) -> Result<Room, String> {
        let mut sum = Room::default();
        for container in self.containers.iter().flatten() {
            sum = sum.plus(&container.asks(unreadable)?);
        }
        for container in self.init_containers.iter().flatten() {
            let sidecar = container
                .restart_policy
                .as_ref()
                .is_some_and(|policy| policy.0 == "Always");
            let asks = container.asks(unreadable)?;
            sum = if sidecar { sum.plus(&asks) } else { sum.max(&asks) };
        }
        if let Some(overhead) = &self.overhead {
            sum = sum.plus(&overhead.room(unreadable)?);
        }
        sum.usual.pods = 1;
        Ok(sum)
    }
}

impl Container<'_> {
    fn asks(&self, unreadable: &mut Option<String>) -> Result<Room, String> {
        let Some(demands) = &self.resources else {
            return Ok(Room::default());
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
        let others = limits.others.iter().chain(&requests.others);
        let both = Amounts {
            cpu: or(&requests.cpu, &limits.cpu),
            memory: or(&requests.memory, &limits.memory),
            ephemeral_storage: or(&requests.ephemeral_storage, &limits.ephemeral_storage),
            pods: None,
            others: others.map(|(name, amount)| (Cow::Borrowed(&**name), *amount)).collect(),
        };
        both.room(unreadable)
    }
}

impl Amounts<'_> {
    /// All of them; of the others, those that are no quantities count as none, and one is named.
    fn room(&self, unreadable: &mut Option<String>) -> Result<Room, String> {
        let named = [
            ("cpu", &self.cpu),
            ("memory", &self.memory),
            ("ephemeral-storage", &self.ephemeral_storage),
            ("pods", &self.pods),
        ];
        let given = named
            .into_iter()
            .filter_map(|(name, text)| Some((name, &*text.as_ref()?.0)));
        let mut room = Room::from(Resources::from_quantities(given).map_err(|error| error.to_string())?);
        for (name, amount) in &self.others {
            match amount_of(amount) {
                Some(0) => {}
                Some(amount) => drop(room.others.insert(name.to_string(), amount)),
                None => *unreadable = Some(name.to_string()),
            }
        }
        Ok(room)
    }
}

/// A quantity in whole units.
fn amount_of(json: &RawValue) -> Option<u64> {
    let text: Text<'_> = serde_json::from_str(json.get()).ok()?;
    units(&text.0).ok()?.try_into().ok()
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
            assert_eq!(PodView::of(&pod(spec.clone())).unwrap().asks.usual, expected, "{spec}");
        }
    }

    #[test]
    fn numbers_nulls_and_escapes_are_read() {
        let spec = json!({"nodeName": "a\"b", "containers": [{"resources": {"requests": {"cpu": 2, "memory": 1024}}}]});
        let view = PodView::of(&pod(spec)).unwrap();
        assert_eq!(
            (view.node.as_str(), view.asks.usual.milli_cpu, view.asks.usual.memory),
            ("a\"b", 2000, 1024)
        );
        let spec = json!({"nodeName": null, "containers": null, "tolerations": null});
        assert_eq!(PodView::of(&pod(spec)).unwrap().node, "");
        assert!(PodView::of(&pod(json!("text"))).is_err());
        assert!(
            PodView::of(&pod(json!({"schedulingGates": [{"name": "a"}]})))
                .unwrap()
                .gated
        );
        assert!(!PodView::of(&pod(json!({"schedulingGates": []}))).unwrap().gated);
        assert!(PodView::of(&pod(json!({"containers": [{"resources": {"requests": {"cpu": "x"}}}]}))).is_err());
    }
    #[test]
    fn extended_resources_are_summed_by_name() {
        let container = |demands: serde_json::Value| json!({"name": "c", "resources": demands});
        let view = PodView::of(&pod(json!({
            "containers": [
                container(json!({"limits": {"example.com/gpu": 2}})),
                container(json!({"requests": {"example.com/gpu": "1", "hugepages-2Mi": "4Mi"}, "limits": {"example.com/gpu": "9"}})),
            ],
            "initContainers": [container(json!({"requests": {"example.com/gpu": "1", "example.com/nic": "1"}}))],
        })))
        .unwrap();
        let expected = [
            ("example.com/gpu", 3),
            ("example.com/nic", 1),
            ("hugepages-2Mi", 4 << 20),
        ];
        assert_eq!(
            view.asks.others,
            expected.map(|(name, amount)| (name.to_owned(), amount)).into()
        );
        assert_eq!(view.unreadable, None);
        // What is no quantity is said, and hides nothing else.
        for amount in [json!("x"), json!([]), json!("-1"), json!(null)] {
            let demands = json!({"requests": {"example.com/gpu": amount, "example.com/nic": "1", "cpu": "1"}});
            let view = PodView::of(&pod(json!({"containers": [container(demands)]}))).unwrap();
            assert_eq!(view.unreadable.as_deref(), Some("example.com/gpu"), "{amount}");
            assert_eq!((view.asks.usual.milli_cpu, view.asks.others.len()), (1000, 1));
        }
    }
}
