//! What pods ask for and nodes have, by Kubernetes' rules: requests, init containers, sidecars, overhead, extended resources.
use crate::policies::scheduling::mirror::symbols::Symbols;
use k8s_openapi::{
    api::core::v1::{Container, PodSpec},
    apimachinery::pkg::api::resource::Quantity,
};
use sampan_api::quantity::{NotAQuantity, millis, units};
use sampan_sandbox::scheduler::{Amount, PodClass, Resources};
use std::collections::BTreeMap;

/// Amounts stay below this, so that a hundred times as much is a number still.
const MOST: u64 = (1 << 56) - 1;

/// What scores go by where a container does not say.
const SCORED_CPU: u64 = 100;
const SCORED_MEMORY: u64 = 200 << 20;

/// Amounts by name.
#[derive(Clone, Debug)]
pub struct Amounts {
    pub resources: Resources,
    pub pods: u32,
    others: BTreeMap<String, u64>,
}

/// What the pods of a node ask for together.
#[derive(Clone, Debug, Default)]
pub struct Demand {
    pub milli_cpu: u64,
    pub memory: u64,
    pub ephemeral_storage: u64,
    pub pods: u32,
    pub extended: BTreeMap<u32, u64>,
}

const NOTHING: Resources = Resources {
    milli_cpu: 0,
    memory: 0,
    ephemeral_storage: 0,
};

impl Default for Amounts {
    fn default() -> Self {
        Amounts {
            resources: NOTHING,
            pods: 0,
            others: BTreeMap::new(),
        }
    }
}

impl Amounts {
    /// From Kubernetes' map of resource names to quantities.
    ///
    /// # Errors
    /// At the first that is no quantity.
    pub fn of(map: BTreeMap<String, Quantity>) -> Result<Self, NotAQuantity> {
        let mut amounts = Amounts::default();
        let bounded = |value: i64| u64::try_from(value).unwrap_or_default().min(MOST);
        for (name, Quantity(text)) in map {
            match name.as_str() {
                "cpu" => amounts.resources.milli_cpu = bounded(millis(&text)?),
                "memory" => amounts.resources.memory = bounded(units(&text)?),
                "ephemeral-storage" => amounts.resources.ephemeral_storage = bounded(units(&text)?),
                "pods" => amounts.pods = u32::try_from(units(&text)?).unwrap_or(u32::MAX),
                _ => drop(amounts.others.insert(name, bounded(units(&text)?))),
            }
        }
        Ok(amounts)
    }

    /// What a container asks for: its requests, and a limit where it says no more.
    fn asked(container: &Container) -> Result<Self, NotAQuantity> {
        let resources = container.resources.as_ref();
        let mut both = resources.and_then(|r| r.limits.clone()).unwrap_or_default();
        both.extend(resources.and_then(|r| r.requests.clone()).unwrap_or_default());
        Amounts::of(both)
    }

    pub fn extended(&self, symbols: &mut Symbols) -> Vec<Amount> {
        let others = self.others.iter();
        others
            .map(|(name, amount)| Amount {
                name: symbols.number(name),
                amount: *amount,
            })
            .collect()
    }

    /// Both, by a rule for each amount.
    fn with(mut self, other: &Amounts, rule: impl Fn(u64, u64) -> u64) -> Self {
        let rule = |a: u64, b: u64| rule(a, b).min(MOST);
        let (mine, theirs) = (&mut self.resources, other.resources);
        mine.milli_cpu = rule(mine.milli_cpu, theirs.milli_cpu);
        mine.memory = rule(mine.memory, theirs.memory);
        mine.ephemeral_storage = rule(mine.ephemeral_storage, theirs.ephemeral_storage);
        for (name, amount) in &other.others {
            let mine = self.others.entry(name.clone()).or_default();
            *mine = rule(*mine, *amount);
        }
        self
    }
}

/// What a pod asks for, and what scores go by.
///
/// # Errors
/// At the first that is no quantity.
pub fn of_pod(spec: &PodSpec) -> Result<(Amounts, u64, u64), NotAQuantity> {
    let plus = |a: u64, b: u64| a.saturating_add(b);
    let mut sum = Amounts::default();
    for container in &spec.containers {
        sum = sum.with(&Amounts::asked(container)?, plus);
    }
    // Sidecars run from their place on, beside what comes after; the others one at a time.
    let (mut sidecars, mut most) = (Amounts::default(), Amounts::default());
    for container in spec.init_containers.iter().flatten() {
        let asked = Amounts::asked(container)?;
        if container.restart_policy.as_deref() == Some("Always") {
            sum = sum.with(&asked, plus);
            sidecars = sidecars.with(&asked, plus);
            most = most.with(&sidecars, u64::max);
        } else {
            most = most.with(&sidecars.clone().with(&asked, plus), u64::max);
        }
    }
    sum = sum.with(&most, u64::max);
    let said = |amount: u64, silent: u64, usual: u64| amount.saturating_add(silent * usual).min(MOST);
    let asks = |container: &&Container, name: &str| {
        let resources = container.resources.as_ref();
        let given = |map: Option<&BTreeMap<String, Quantity>>| map.is_some_and(|map| map.contains_key(name));
        given(resources.and_then(|r| r.requests.as_ref())) || given(resources.and_then(|r| r.limits.as_ref()))
    };
    let silent = |name: &str| spec.containers.iter().filter(|c| !asks(c, name)).count() as u64;
    let (no_cpu, no_memory) = (silent("cpu"), silent("memory"));
    if let Some(overhead) = &spec.overhead {
        sum = sum.with(&Amounts::of(overhead.clone())?, plus);
    }
    let cpu = said(sum.resources.milli_cpu, no_cpu, SCORED_CPU);
    let memory = said(sum.resources.memory, no_memory, SCORED_MEMORY);
    Ok((sum, cpu, memory))
}

impl Demand {
    /// A pod of a class more, or less.
    pub fn count(&mut self, class: &PodClass, more: bool) {
        let change = |field: &mut u64, amount: u64| {
            *field = match more {
                true => field.saturating_add(amount),
                false => field.saturating_sub(amount),
            }
        };
        change(&mut self.milli_cpu, class.requests.milli_cpu);
        change(&mut self.memory, class.requests.memory);
        change(&mut self.ephemeral_storage, class.requests.ephemeral_storage);
        for extended in &class.extended {
            change(self.extended.entry(extended.name).or_default(), extended.amount);
        }
        self.pods = if more {
            self.pods.saturating_add(1)
        } else {
            self.pods.saturating_sub(1)
        };
    }
}

/// An image's name with its tag: `nginx` is `nginx:latest`, as nodes say it.
pub fn image_name(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or(name);
    match last.contains(':') || last.contains('@') {
        true => name.to_owned(),
        false => format!("{name}:latest"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn asked(spec: serde_json::Value) -> (u64, u64, u64, u64) {
        let (amounts, cpu, memory) = of_pod(&serde_json::from_value(spec).unwrap()).unwrap();
        (amounts.resources.milli_cpu, amounts.resources.memory, cpu, memory)
    }

    fn container(requests: serde_json::Value) -> serde_json::Value {
        json!({"name": "c", "image": "i", "resources": {"requests": requests}})
    }

    #[test]
    fn containers_add_up_and_an_init_container_counts_where_it_is_more() {
        let (one, two) = (
            container(json!({"cpu": "100m", "memory": "1Ki"})),
            container(json!({"cpu": "200m"})),
        );
        let init = container(json!({"cpu": "250m", "memory": "4Ki"}));
        let spec = json!({"containers": [one, two], "initContainers": [init], "overhead": {"cpu": "5m"}});
        assert_eq!(asked(spec), (305, 4096, 305, 4096 + SCORED_MEMORY));
    }

    #[test]
    fn sidecars_run_beside_what_comes_after_them() {
        let sidecar = |cpu| {
            let mut sidecar = container(json!({ "cpu": cpu }));
            sidecar["restartPolicy"] = "Always".into();
            sidecar
        };
        let init = container(json!({"cpu": "300m"}));
        let containers = [container(json!({"cpu": "100m"}))];
        let before = json!({"containers": containers, "initContainers": [sidecar("50m"), init]});
        assert_eq!(asked(before).0, 350);
        let after = json!({"containers": containers, "initContainers": [init, sidecar("50m")]});
        assert_eq!(asked(after).0, 300);
    }

    #[test]
    fn names_of_images_have_a_tag() {
        let names = ["nginx", "r:5000/nginx", "r/nginx:1", "nginx@sha256:0"].map(image_name);
        assert_eq!(
            names,
            ["nginx:latest", "r:5000/nginx:latest", "r/nginx:1", "nginx@sha256:0"]
        );
    }
}
