//! Schedulers of the first edition, driven in the words of the second: it is told sums, and names only nodes.
use crate::{pods, scheduler};
use sampan_sandbox::{
    CallError,
    scheduler::{Bound, Changes, Node, PodClass, PodGroup, Resources, SchedulerPlugin},
};

fn resources(milli_cpu: u64) -> Resources {
    Resources {
        milli_cpu,
        memory: 0,
        ephemeral_storage: 0,
    }
}

fn node(id: u32) -> Node {
    Node {
        id,
        name: 40 + id,
        allocatable: resources(1000),
        pods: 10,
        extended: Vec::new(),
        labels: Vec::new(),
        taints: Vec::new(),
        images: Vec::new(),
        unschedulable: false,
        ready: true,
    }
}

fn class(id: u32, milli_cpu: u64) -> PodClass {
    PodClass {
        id,
        namespace: 0,
        labels: Vec::new(),
        owner: 0,
        siblings: None,
        priority: 0,
        may_preempt: true,
        requests: resources(milli_cpu),
        scored_cpu: milli_cpu,
        scored_memory: 0,
        extended: Vec::new(),
        ports: Vec::new(),
        node_selector: Vec::new(),
        required_nodes: None,
        preferred_nodes: Vec::new(),
        tolerations: Vec::new(),
        affinity: Vec::new(),
        anti_affinity: Vec::new(),
        preferred_affinity: Vec::new(),
        preferred_anti_affinity: Vec::new(),
        spread: Vec::new(),
        images: Vec::new(),
    }
}

fn bound(pod: u32, node: u32, class: u32) -> Bound {
    Bound {
        pod,
        node,
        class,
        start: 0,
    }
}

/// A plugin that says what it was told, after each change; five pods are asked for, which it takes for placed on nodes of
/// those numbers, so each is released again.
struct Told {
    plugin: SchedulerPlugin,
    revision: u64,
}

impl Told {
    fn new() -> Self {
        let mut told = Told {
            plugin: scheduler("tell").scheduler().unwrap(),
            revision: 0,
        };
        let changes = Changes {
            classes: vec![class(1, 0), class(2, 100), class(3, 250)],
            nodes: vec![node(1), node(2)],
            ..Changes::default()
        };
        told.sync(changes);
        told
    }

    fn sync(&mut self, changes: Changes) {
        self.plugin.sync(self.revision, self.revision + 1, &changes).unwrap();
        self.revision += 1;
    }

    /// What it believes is asked of node 1: cpu and pods.
    fn used(&mut self) -> (u32, u32) {
        let nodes = self.ask(0);
        (nodes[0] - 1, nodes[1] - 1)
    }

    fn ask(&mut self, pinned: u32) -> Vec<u32> {
        let mut asked = pods(101..106);
        asked.iter_mut().for_each(|pod| pod.pinned = pinned);
        let nodes = self.plugin.place(&asked, &[]).unwrap().nodes;
        let changes = Changes {
            released: (101..106).collect(),
            ..Changes::default()
        };
        self.sync(changes);
        nodes
    }
}

#[test]
fn it_is_told_what_is_asked_of_nodes_in_sums() {
    let mut told = Told::new();
    let changes = Changes {
        bound: vec![bound(1, 1, 2), bound(2, 1, 3), bound(3, 2, 3)],
        ..Changes::default()
    };
    told.sync(changes.clone());
    assert_eq!(told.used(), (350, 2));
    // The same again is nothing new; elsewhere is.
    told.sync(changes);
    assert_eq!(told.used(), (350, 2));
    let changes = Changes {
        released: vec![1, 9],
        bound: vec![bound(2, 2, 3), bound(3, 1, 2)],
        ..Changes::default()
    };
    told.sync(changes);
    assert_eq!(told.used(), (100, 1));
    // A class that is another: its pods ask for another amount.
    let changes = Changes {
        classes: vec![class(2, 70)],
        ..Changes::default()
    };
    told.sync(changes);
    assert_eq!(told.used(), (70, 1));
    // A node that is said anew keeps its pods; one that is gone takes them with it.
    let changes = Changes {
        nodes: vec![node(1)],
        ..Changes::default()
    };
    told.sync(changes);
    assert_eq!(told.used(), (70, 1));
    let changes = Changes {
        nodes_gone: vec![1],
        nodes: vec![node(1)],
        ..Changes::default()
    };
    told.sync(changes);
    assert_eq!(told.used(), (0, 0));
}

#[test]
fn what_it_placed_counts_until_it_is_taken_back() {
    let mut plugin = scheduler("bind").scheduler().unwrap();
    let changes = Changes {
        classes: vec![class(1, 100)],
        nodes: vec![node(1), node(2), node(3)],
        ..Changes::default()
    };
    plugin.sync(0, 1, &changes).unwrap();
    assert_eq!(plugin.place(&pods(1..4), &[]).unwrap().nodes, [1, 2, 3]);
    // Of a group that did not get enough places none is kept.
    let group = PodGroup {
        first: 0,
        count: 2,
        least: 3,
    };
    let placed = plugin.place(&pods(5..8), &[group]).unwrap();
    assert_eq!(placed.nodes, [0, 0, 3]);
    let refusal = &placed.refusals[placed.unplaced[0].refusal as usize];
    assert!(refusal.for_its_group && refusal.nodes == 3);
}

#[test]
fn a_pod_that_is_pinned_selects_its_node_by_name() {
    let mut told = Told::new();
    let said = told.ask(0);
    assert_eq!(
        (said[2] - 1, said[3] - 1, said[4] - 1),
        (1, 0, 1),
        "a label with the name, not asked for"
    );
    assert_eq!(told.ask(2)[3] - 1, 42);
}

#[test]
fn it_does_not_explain() {
    let error = scheduler("")
        .scheduler()
        .unwrap()
        .explain(&pods(1..2)[0], 1)
        .unwrap_err();
    assert!(
        matches!(&error, CallError::Refused(words) if words.contains("does not explain")),
        "{error}"
    );
}
