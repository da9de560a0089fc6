//! Nodes and pods that come and go: what a policy is put through.
use super::{NodeShape, PodShape};
use serde::{Deserialize, Serialize};

/// Lines of a trace at the most.
const MOST_STEPS: usize = 4 << 20;
/// Pods that come at once at the most.
const MOST_PODS: u32 = 1 << 20;

/// Something that happens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Step {
    /// A node comes, or is another from now on.
    Node(NodeShape),
    /// A node goes, with the pods that are there.
    NodeGone(String),
    /// So many pods come, and are placed; together or not at all where that is said.
    Pods {
        count: u32,
        #[serde(default)]
        together: bool,
        pod: PodShape,
    },
    /// Pods end, by the order in which they came, from 1 on. One that waits is not asked for any more.
    Ended(Vec<u32>),
}

/// Steps, in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    pub steps: Vec<Step>,
}

impl Trace {
    /// Reads a trace: JSON, a step to a line; empty lines and those that begin with `#` are passed over.
    ///
    /// # Errors
    /// Which line is wrong, and why.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut steps = Vec::new();
        for (number, line) in (1..).zip(text.lines().map(str::trim)) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let step: Step = serde_json::from_str(line).map_err(|error| format!("line {number}: {error}"))?;
            if let Step::Pods { count, .. } = step
                && count > MOST_PODS
            {
                return Err(format!("line {number}: {count} pods at once; {MOST_PODS} are the most"));
            }
            if steps.len() >= MOST_STEPS {
                return Err(format!("line {number}: more than {MOST_STEPS} steps"));
            }
            steps.push(step);
        }
        Ok(Trace { steps })
    }

    /// The trace as [`Trace::read`] reads it.
    pub fn write(&self) -> String {
        let lines = self
            .steps
            .iter()
            .map(|step| serde_json::to_string(step).unwrap_or_default());
        lines.map(|line| line + "\n").collect()
    }
}
