//! The state at one revision: the kernel's through the contract, or one in memory for tests.
use super::{Key, Object, Operation, Plan, plan::merge, read};
use serde_json::{Value, json};

/// What a list selects; all that is given must hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Query {
    /// `*` is every resource.
    pub resource: String,
    /// All where absent.
    pub namespace: Option<String>,
    /// An owner's uid.
    pub owner: Option<String>,
    /// The node that a pod is bound to.
    pub on_node: Option<String>,
    /// Labels each object must have.
    pub labels: Vec<(String, String)>,
    /// The fields to read of each object, as in `status.phase`; the others are as if they were not there. All if empty.
    pub fields: &'static [&'static str],
}

impl Query {
    pub fn all(resource: &str) -> Self {
        Query {
            resource: resource.to_owned(),
            ..Query::default()
        }
    }

    /// Of a resource in a namespace.
    pub fn within(resource: &str, namespace: &str) -> Self {
        Query {
            namespace: Some(namespace.to_owned()),
            ..Query::all(resource)
        }
    }

    /// Of a resource, belonging to an owner.
    pub fn owned(resource: &str, owner: &Object) -> Self {
        Query {
            owner: Some(owner.uid().to_owned()),
            ..Query::all(resource)
        }
    }

    /// The pods bound to a node.
    pub fn on_node(node: &str) -> Self {
        Query {
            on_node: Some(node.to_owned()),
            ..Query::all("pods")
        }
    }

    /// Those that a manifest's `matchLabels` takes.
    #[must_use]
    pub fn labelled(self, labels: &Value) -> Self {
        let label = |(name, value): (&String, &Value)| (name.clone(), value.as_str().unwrap_or_default().to_owned());
        Query {
            labels: labels.as_object().into_iter().flatten().map(label).collect(),
            ..self
        }
    }

    /// Reads no more than these fields of each object: much faster where there are thousands.
    #[must_use]
    pub fn only(self, fields: &'static [&'static str]) -> Self {
        Query { fields, ..self }
    }
}

/// What a controller reads.
pub trait Snapshot {
    fn get(&self, key: &Key) -> Option<Object>;
    fn list(&self, query: &Query) -> Vec<Object>;
    fn count(&self, query: &Query) -> usize;
}

/// A snapshot in memory, which plans can be carried out on.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    objects: Vec<Object>,
    given: u64,
}

/// Kinds and their resources, as far as tests name them.
const RESOURCES: &[(&str, &str)] = &[
    ("Pod", "pods"),
    ("Node", "nodes"),
    ("Namespace", "namespaces"),
    ("ConfigMap", "configmaps"),
    ("Deployment", "deployments.apps"),
    ("ReplicaSet", "replicasets.apps"),
    ("Job", "jobs.batch"),
    ("Service", "services"),
    ("EndpointSlice", "endpointslices.discovery.k8s.io"),
    ("Ingress", "ingresses.networking.k8s.io"),
    ("PodDisruptionBudget", "poddisruptionbudgets.policy"),
    ("IngressClass", "ingressclasses.networking.k8s.io"),
    ("Cluster", "clusters.sampan.dev"),
];

impl Memory {
    pub fn new(objects: Vec<Object>) -> Self {
        Memory { objects, given: 0 }
    }

    /// From a JSON list of objects.
    pub fn from_json(objects: &Value) -> Self {
        let read = |json: &Value| {
            let kind = json["kind"].as_str().unwrap_or_default();
            let resource = RESOURCES
                .iter()
                .find(|(known, _)| *known == kind)
                .map_or(kind, |(_, resource)| *resource);
            let text = |field: &str| json["metadata"][field].as_str().unwrap_or_default();
            let revision = text("resourceVersion").parse().unwrap_or(1);
            Object::new(
                Key::new(resource, text("namespace"), text("name")),
                revision,
                json.clone(),
            )
        };
        Memory::new(objects.as_array().into_iter().flatten().map(read).collect())
    }

    /// Does what a plan says, roughly as the kernel would.
    pub fn carry_out(&mut self, plan: &Plan) {
        for write in &plan.writes {
            match &write.operation {
                Operation::Create(json) => self.create(&write.key, json),
                Operation::Patch(patch) | Operation::PatchStatus(patch) => {
                    if let Some(object) = self.objects.iter_mut().find(|object| object.key == write.key) {
                        merge(&mut object.json, patch);
                        object.revision += 1;
                        if patch.get("spec").is_some() {
                            object.json["metadata"]["generation"] = json!(object.generation() + 1);
                        }
                        let gone = object.is_deleting() && object.finalizers().is_empty();
                        if gone && object.key.resource != "pods" {
                            self.objects.retain(|object| object.key != write.key);
                        }
                    }
                }
                Operation::Delete => self.objects.retain_mut(|object| {
                    let deleted = object.key == write.key;
                    if deleted && !object.finalizers().is_empty() {
                        object.json["metadata"]["deletionTimestamp"] = json!("2026-03-01T12:00:00Z");
                        return true;
                    }
                    !deleted
                }),
            }
        }
    }

    fn create(&mut self, key: &Key, json: &Value) {
        self.given += 1;
        let (mut key, mut json) = (key.clone(), json.clone());
        if key.name.is_empty() {
            key.name = format!(
                "{}{:05}",
                json["metadata"]["generateName"].as_str().unwrap_or_default(),
                self.given
            );
        }
        let metadata = json!({"name": key.name, "namespace": key.namespace, "uid": format!("given-{}", self.given),
            "generation": 1, "creationTimestamp": "2026-03-01T12:00:00Z"});
        merge(&mut json["metadata"], &metadata);
        self.objects.push(Object::new(key, 1, json));
    }
}

impl Snapshot for Memory {
    fn get(&self, key: &Key) -> Option<Object> {
        self.objects.iter().find(|object| object.key == *key).cloned()
    }

    fn list(&self, query: &Query) -> Vec<Object> {
        let owned = |object: &&Object| {
            query
                .owner
                .as_ref()
                .is_none_or(|uid| object.owners().iter().any(|owner| owner["uid"] == uid.as_str()))
        };
        let mut found: Vec<Object> = self
            .objects
            .iter()
            .filter(|object| query.resource == "*" || object.key.resource == query.resource)
            .filter(|object| {
                query
                    .namespace
                    .as_ref()
                    .is_none_or(|namespace| object.key.namespace == *namespace)
            })
            .filter(owned)
            .filter(|object| {
                query
                    .on_node
                    .as_ref()
                    .is_none_or(|node| object.key.resource == "pods" && object.spec()["nodeName"] == node.as_str())
            })
            .filter(|object| {
                query
                    .labels
                    .iter()
                    .all(|(name, v)| object.labels().get(name).is_some_and(|l| l == v))
            })
            .map(|object| {
                Object::new(
                    object.key.clone(),
                    object.revision,
                    read::prune(&object.json, query.fields),
                )
            })
            .collect();
        found.sort_by(|a, b| a.key.cmp(&b.key));
        found
    }

    fn count(&self, query: &Query) -> usize {
        self.list(query).len()
    }
}
