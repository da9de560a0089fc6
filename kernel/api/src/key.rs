//! Keys: what an object is found by.
use std::{borrow::Cow, cmp::Ordering, fmt, ptr, sync::Arc};

/// Names an object in the cluster. Ordered by resource, then namespace, then name, so that the objects of a namespace
/// stand together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The plural with its group: `pods`, `deployments.apps`. Those that are known are borrowed: keys are copied all the time,
    /// by all threads.
    pub resource: Cow<'static, str>,
    /// Empty for objects of the whole cluster.
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

impl Key {
    pub fn new(resource: &str, namespace: &str, name: &str) -> Self {
        Key {
            resource: known(resource),
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
        compare(&self.resource, &other.resource)
            .then_with(|| compare(&self.namespace, &other.namespace))
            .then_with(|| self.name.cmp(&other.name))
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Keys mostly share the texts of resources and namespaces: then those need not be looked at.
fn compare(one: &str, other: &str) -> Ordering {
    match ptr::eq(one, other) {
        true => Ordering::Equal,
        false => one.cmp(other),
    }
}

fn known(resource: &str) -> Cow<'static, str> {
    match crate::kinds::of_resource(resource) {
        Some(kind) => Cow::Borrowed(kind.resource),
        None => Cow::Owned(resource.to_owned()),
    }
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
