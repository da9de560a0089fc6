//! Tests of policies of the world 0.1, natively: a small cluster.
use super::{Delta, Effect, Engine, Node, Outcome, Pod, Resources, Scheduler, Taint};

/// A node with these thousandths of CPU and bytes of memory, ready, with room for 110 pods.
pub fn node(id: u32, milli_cpu: u64, memory: u64) -> Node {
    let none = Resources {
        milli_cpu: 0,
        memory: 0,
        ephemeral_storage: 0,
        pods: 0,
    };
    Node {
        id,
        name: 0,
        allocatable: Resources {
            milli_cpu,
            memory,
            pods: 110,
            ..none
        },
        requested: none,
        labels: Vec::new(),
        taints: Vec::new(),
        unschedulable: false,
        ready: true,
    }
}

/// A pod that asks for these thousandths of CPU and bytes of memory. Its class follows from them.
pub fn pod(milli_cpu: u64, memory: u64) -> Pod {
    Pod {
        id: 0,
        requests: Resources {
            milli_cpu,
            memory,
            ephemeral_storage: 0,
            pods: 1,
        },
        node_selector: Vec::new(),
        tolerations: Vec::new(),
        priority: 0,
        class: u32::try_from((milli_cpu ^ memory) % 65_521).unwrap_or(0),
    }
}

pub fn taint(key: u32, effect: Effect) -> Taint {
    Taint { key, value: 0, effect }
}

/// A scheduler with its nodes.
pub struct Cluster<S> {
    pub engine: Engine<S>,
}

impl<S: Scheduler> Cluster<S> {
    pub fn new(nodes: Vec<Node>) -> Self {
        let mut engine = Engine::default();
        let deltas = nodes.into_iter().map(Delta::Node).collect();
        assert_eq!(engine.sync(0, 1, deltas), Ok(()));
        Cluster { engine }
    }

    /// Where each pod goes; `None` where no node will do.
    pub fn place(&mut self, pods: &[Pod]) -> Vec<Option<u32>> {
        let numbered: Vec<Pod> = pods
            .iter()
            .zip(0..)
            .map(|(pod, id)| Pod { id, ..pod.clone() })
            .collect();
        let outcomes = self
            .engine
            .place(&numbered)
            .into_iter()
            .map(|assignment| assignment.outcome);
        outcomes
            .map(|outcome| {
                if let Outcome::Bind(id) = outcome {
                    Some(id)
                } else {
                    None
                }
            })
            .collect()
    }
}
