//! Keys: what an object is found by.
use std::{cmp::Ordering, fmt, sync::Arc};

/// Names an object in the cluster. Ordered by resource, then namespace, then name, so that the objects of a namespace
/// stand together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The plural with its group: `pods`, `deployments.apps`.
    pub resource: Arc<str>,
    /// Empty for objects of the whole cluster.
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

impl Key {
    pub fn new(resource: &str, namespace: &str, name: &str) -> Self {
        Key {
            resource: intern(resource),
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// The key of another object of the same namespace and resource.
    pub fn sibling(&self, name: &str) -> Self {
        Key {
            resource: self.resource.clone(),
            namespace: self.namespace.clone(),
            name: name.into(),
        }
    }

    /// `default/web`, or `worker-1` for an object of the whole cluster.
    pub fn path(&self) -> String {
        match &*self.namespace {
            "" => self.name.to_string(),
            namespace => format!("{namespace}/{}", self.name),
        }
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        // Keys share the text of their resource, so that it need not be looked at.
        let resource = match Arc::ptr_eq(&self.resource, &other.resource) {
            true => Ordering::Equal,
            false => self.resource.cmp(&other.resource),
        };
        resource
            .then_with(|| self.namespace.cmp(&other.namespace))
            .then_with(|| self.name.cmp(&other.name))
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The names of resources are few and keys are many: they share their text.
fn intern(resource: &str) -> Arc<str> {
    use std::sync::LazyLock;
    static KNOWN: LazyLock<Vec<Arc<str>>> =
        LazyLock::new(|| crate::kinds::all().iter().map(|kind| kind.resource.into()).collect());
    KNOWN
        .iter()
        .find(|known| &***known == resource)
        .cloned()
        .unwrap_or_else(|| resource.into())
}

impl fmt::Display for Key {
    /// As Kubernetes writes it: `deployments.apps "web"`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.namespace {
            "" | crate::DEFAULT_NAMESPACE => write!(f, "{} \"{}\"", self.resource, self.name),
            namespace => write!(f, "{} \"{}\" in namespace \"{namespace}\"", self.resource, self.name),
        }
    }
}
