//! What the operator may set, as JSON with the names of Kubernetes' scheduler configuration.
use crate::names::HOSTNAME;
use serde::Deserialize;

/// Weights stay below this, as in Kubernetes.
const MOST_WEIGHT: i64 = 100;
/// Resources that are balanced, at the most.
pub const MOST_BALANCED: usize = 8;
const ZONE: &str = "topology.kubernetes.io/zone";

/// The plugin's configuration; what is not said is Kubernetes' default.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Config {
    pub scoring_strategy: Strategy,
    pub balanced_resources: Balanced,
    pub weights: Weights,
    pub defaulting_type: Defaulting,
    pub default_constraints: Vec<DefaultConstraint>,
    pub hard_pod_affinity_weight: HardWeight,
    pub ignore_preferred_terms_of_existing_pods: bool,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub enum Kind {
    #[default]
    LeastAllocated,
    MostAllocated,
    RequestedToCapacityRatio,
}

/// How full nodes are liked.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Strategy {
    #[serde(rename = "type")]
    pub kind: Kind,
    pub resources: Vec<Resource>,
    /// Of `RequestedToCapacityRatio`: scores from 0 to 10 by utilization in percent, in rising order.
    pub shape: Vec<Point>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resource {
    pub name: String,
    #[serde(default = "one")]
    pub weight: i64,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Point {
    pub utilization: i64,
    pub score: i64,
}

/// The resources that are to be used evenly.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub struct Balanced(pub Vec<Resource>);

/// By the names of Kubernetes' score plugins. 0 leaves one out.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
pub struct Weights {
    pub node_resources_fit: i64,
    pub node_resources_balanced_allocation: i64,
    pub image_locality: i64,
    pub node_affinity: i64,
    pub taint_toleration: i64,
    pub inter_pod_affinity: i64,
    pub pod_topology_spread: i64,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub enum Defaulting {
    /// Over hosts with a skew of 3 and zones with one of 5, both `ScheduleAnyway`.
    #[default]
    System,
    /// What `defaultConstraints` says.
    List,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DefaultConstraint {
    pub max_skew: u32,
    pub topology_key: String,
    pub when_unsatisfiable: WhenUnsatisfiable,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub enum WhenUnsatisfiable {
    DoNotSchedule,
    ScheduleAnyway,
}

/// What a required affinity of a pod that is there counts for.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(transparent)]
pub struct HardWeight(pub i32);

fn one() -> i64 {
    1
}

fn cpu_and_memory() -> Vec<Resource> {
    let resource = |name: &str| Resource {
        name: name.to_owned(),
        weight: 1,
    };
    vec![resource("cpu"), resource("memory")]
}

impl Default for Strategy {
    fn default() -> Self {
        Strategy {
            kind: Kind::default(),
            resources: cpu_and_memory(),
            shape: Vec::new(),
        }
    }
}

impl Default for Balanced {
    fn default() -> Self {
        Balanced(cpu_and_memory())
    }
}

impl Default for Weights {
    fn default() -> Self {
        Weights {
            node_resources_fit: 1,
            node_resources_balanced_allocation: 1,
            image_locality: 1,
            node_affinity: 2,
            taint_toleration: 3,
            inter_pod_affinity: 2,
            pod_topology_spread: 2,
        }
    }
}

impl Default for HardWeight {
    fn default() -> Self {
        HardWeight(1)
    }
}

impl Config {
    /// Reads the Plugin object's config.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn read(text: &str) -> Result<Self, String> {
        let config: Config = serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_str(text))
            .map_err(|error| format!("the config cannot be read: {error}"))?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        let weights = &self.weights;
        let all = [
            ("NodeResourcesFit", weights.node_resources_fit),
            (
                "NodeResourcesBalancedAllocation",
                weights.node_resources_balanced_allocation,
            ),
            ("ImageLocality", weights.image_locality),
            ("NodeAffinity", weights.node_affinity),
            ("TaintToleration", weights.taint_toleration),
            ("InterPodAffinity", weights.inter_pod_affinity),
            ("PodTopologySpread", weights.pod_topology_spread),
        ];
        if let Some((name, weight)) = all.iter().find(|(_, weight)| !(0..=MOST_WEIGHT).contains(weight)) {
            return Err(format!("weights.{name}: {weight} is not from 0 to {MOST_WEIGHT}"));
        }
        let strategy = &self.scoring_strategy;
        let resources = strategy.resources.iter().chain(&self.balanced_resources.0);
        if resources
            .clone()
            .any(|resource| !(1..=MOST_WEIGHT).contains(&resource.weight))
        {
            return Err(format!(
                "scoringStrategy.resources: a weight goes from 1 to {MOST_WEIGHT}"
            ));
        }
        if self.balanced_resources.0.len() > MOST_BALANCED {
            return Err(format!("balancedResources: name {MOST_BALANCED} at the most"));
        }
        if strategy.resources.is_empty() {
            return Err("scoringStrategy.resources: name one at least".to_owned());
        }
        if strategy.kind == Kind::RequestedToCapacityRatio {
            check_shape(&strategy.shape)?;
        }
        if !(0..=100).contains(&self.hard_pod_affinity_weight.0) {
            return Err("hardPodAffinityWeight goes from 0 to 100".to_owned());
        }
        if self.defaulting_type == Defaulting::System && !self.default_constraints.is_empty() {
            return Err("defaultConstraints: set defaultingType to List to give your own".to_owned());
        }
        if self
            .default_constraints
            .iter()
            .any(|constraint| constraint.max_skew == 0)
        {
            return Err("defaultConstraints: maxSkew is 1 at least".to_owned());
        }
        Ok(())
    }

    /// The constraints of pods that have none.
    pub fn defaults(&self) -> Vec<DefaultConstraint> {
        let system = |max_skew, key: &str| DefaultConstraint {
            max_skew,
            topology_key: key.to_owned(),
            when_unsatisfiable: WhenUnsatisfiable::ScheduleAnyway,
        };
        match self.defaulting_type {
            Defaulting::System => vec![system(3, HOSTNAME), system(5, ZONE)],
            Defaulting::List => self.default_constraints.clone(),
        }
    }

    /// The texts whose symbols matter.
    pub fn texts(&self) -> Vec<String> {
        let resources = self.scoring_strategy.resources.iter().chain(&self.balanced_resources.0);
        let keys = self.defaults().into_iter().map(|constraint| constraint.topology_key);
        resources.map(|resource| resource.name.clone()).chain(keys).collect()
    }
}

fn check_shape(shape: &[Point]) -> Result<(), String> {
    if shape.is_empty() {
        return Err("scoringStrategy.shape: RequestedToCapacityRatio needs one point at least".to_owned());
    }
    let within = |point: &Point| (0..=100).contains(&point.utilization) && (0..=10).contains(&point.score);
    if !shape.iter().all(within) {
        return Err("scoringStrategy.shape: utilization goes from 0 to 100, score from 0 to 10".to_owned());
    }
    if shape.windows(2).any(|pair| pair[0].utilization >= pair[1].utilization) {
        return Err("scoringStrategy.shape: utilization must rise from point to point".to_owned());
    }
    Ok(())
}
