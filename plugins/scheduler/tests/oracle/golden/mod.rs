//! One case for each rule, with the answer written down by hand; the table in `docs/scheduling.md` names them.
mod nodes;
mod pods;
mod preemption;
mod protocol;
mod scores;
mod spread;

use crate::{
    checks,
    filters::Settings,
    model::{Placed, World, class, node, pod, said_of},
};
use scheduler::{
    Engine,
    types::{
        Inclusion, Node, Operator, Placement, PodClass, PodTerm, Requirement, Rule, SpreadConstraint, Unsatisfiable,
    },
};

/// A cluster under a test.
pub struct Case {
    pub world: World,
    next_pod: u32,
}

impl Case {
    /// A cluster of so many nodes of 4 CPUs and 32 GiB, each with its host name for a label.
    pub fn new(nodes: u32) -> Self {
        let mut world = World::default();
        crate::random::symbols(&mut world);
        let mut case = Case { world, next_pod: 0 };
        for id in 1..=nodes {
            let mut node = node(id);
            let name = format!("node-{id}");
            node.name = case.symbol(&name);
            case.world.nodes.insert(id, node);
            case.label(id, "kubernetes.io/hostname", &name);
        }
        case
    }

    pub fn symbol(&mut self, text: &str) -> u32 {
        self.world.symbol(text)
    }

    pub fn node(&mut self, id: u32) -> &mut Node {
        self.world.nodes.get_mut(&id).expect("a node of the case")
    }

    pub fn label(&mut self, id: u32, key: &str, value: &str) {
        let label = self.world.label(key, value);
        self.node(id).labels.push(label);
    }

    /// Labels of the nodes, from the first on.
    pub fn zones(&mut self, zones: &[&str]) {
        for (id, zone) in (1..).zip(zones) {
            self.label(id, crate::random::ZONE, zone);
        }
    }

    /// A class with the label `app`, in the namespace `red`.
    pub fn class(&mut self, app: &str) -> PodClass {
        let mut class = class(self.world.classes.len() as u32 + 1);
        class.namespace = self.symbol("red");
        class.labels = vec![self.world.label("app", app)];
        class
    }

    /// The class is known from now on.
    pub fn add(&mut self, class: &PodClass) -> u32 {
        self.world.classes.insert(class.id, class.clone());
        class.id
    }

    /// Pods of a class that are there already.
    pub fn there(&mut self, class: u32, nodes: &[u32]) -> Vec<u32> {
        let mut pods = Vec::new();
        for node in nodes {
            self.next_pod += 1;
            let (node, start, ending) = (*node, 0, false);
            self.world.pods.insert(
                self.next_pod,
                Placed {
                    node,
                    class,
                    start,
                    ending,
                },
            );
            pods.push(self.next_pod);
        }
        pods
    }

    /// The app's pods are wanted near, or not, over a topology key.
    pub fn term(&mut self, key: &str, app: &str) -> PodTerm {
        PodTerm {
            topology_key: self.symbol(key),
            namespaces: Vec::new(),
            namespace_selector: None,
            selector: Some(vec![self.requirement("app", Operator::IsIn, &[app])]),
            match_label_keys: Vec::new(),
            mismatch_label_keys: Vec::new(),
        }
    }

    pub fn requirement(&mut self, key: &str, operator: Operator, values: &[&str]) -> Requirement {
        Requirement {
            key: self.symbol(key),
            operator,
            values: values.iter().map(|value| self.symbol(value)).collect(),
        }
    }

    /// The app's pods are to be spread over a key with a skew of 1.
    pub fn constraint(&mut self, key: &str, app: &str, when: Unsatisfiable) -> SpreadConstraint {
        SpreadConstraint {
            max_skew: 1,
            topology_key: self.symbol(key),
            when_unsatisfiable: when,
            selector: Some(vec![self.requirement("app", Operator::IsIn, &[app])]),
            match_label_keys: Vec::new(),
            min_domains: 1,
            node_affinity_policy: Inclusion::Honor,
            node_taints_policy: Inclusion::Ignore,
        }
    }

    pub fn engine(&self, config: &str) -> Engine {
        let mut engine = Engine::default();
        engine.configure(config).expect("the config is right");
        engine.sync(0, 1, self.world.everything()).expect("the first sync");
        engine
    }

    /// Where so many pods of a class go, one after the other; the oracle has to say the same.
    pub fn goes(&self, class: u32, pods: u32) -> Vec<u32> {
        self.answer(class, pods).nodes
    }

    pub fn answer(&self, class: u32, pods: u32) -> Placement {
        let pods: Vec<_> = (1..=pods).map(|id| pod(1000 + id, class)).collect();
        checks::place(
            &mut self.engine("{}"),
            &mut self.world.clone(),
            &Settings::default(),
            &pods,
        )
    }

    /// How many nodes each rule turns down, for a pod that has to wait.
    pub fn refused(&self, class: u32) -> Vec<(Rule, u32)> {
        let answer = self.answer(class, 1);
        assert_eq!(answer.nodes, [0], "no node will do");
        let refusal = checks::refusal_of(&answer, 0);
        refusal
            .turned_down
            .iter()
            .map(|counted| (counted.rule, counted.nodes))
            .collect()
    }

    /// Whom a pod drives out, from where.
    pub fn evicts(&self, class: u32) -> (u32, Vec<u32>) {
        let (_, node, victims) = said_of(&self.answer(class, 1), 0);
        (node, victims)
    }

    /// What a node's scores are for a pod of a class, in the order of the contract.
    pub fn scores(&self, class: u32, node: u32) -> Vec<i64> {
        let mut engine = self.engine("{}");
        let explanation = checks::explain(&mut engine, &self.world, &Settings::default(), &pod(1000, class));
        let verdict = explanation
            .verdicts
            .iter()
            .find(|verdict| verdict.node == node)
            .expect("the node");
        verdict.scores.iter().map(|score| score.normalized).collect()
    }
}

/// The page says of each rule which test holds it; those tests must be there.
#[test]
fn the_tests_that_the_page_names_are_there() {
    let files = [
        ("nodes", include_str!("nodes.rs")),
        ("pods", include_str!("pods.rs")),
        ("spread", include_str!("spread.rs")),
        ("scores", include_str!("scores.rs")),
        ("preemption", include_str!("preemption.rs")),
        ("protocol", include_str!("protocol.rs")),
        ("scan", include_str!("../scan.rs")),
        // What the kernel does is tested with the kernel.
        (
            "rules",
            include_str!("../../../../../tests/cluster/tests/policies/rules.rs"),
        ),
        (
            "isolation",
            include_str!("../../../../../tests/cluster/tests/policies/isolation.rs"),
        ),
        (
            "names",
            include_str!("../../../../../tests/cluster/tests/policies/names.rs"),
        ),
        (
            "queue",
            include_str!("../../../../../kernel/server/src/policies/scheduling/queue/tests.rs"),
        ),
        (
            "mirror",
            include_str!("../../../../../kernel/server/src/policies/scheduling/mirror/tests.rs"),
        ),
        (
            "refusal",
            include_str!("../../../../../kernel/server/src/policies/scheduling/refusal.rs"),
        ),
        (
            "admitting",
            include_str!("../../../../../kernel/state/tests/rules/admitting.rs"),
        ),
        (
            "binding",
            include_str!("../../../../../kernel/state/tests/rules/binding.rs"),
        ),
        (
            "disruption",
            include_str!("../../../../../tests/cluster/tests/policies/disruption.rs"),
        ),
        (
            "evicting",
            include_str!("../../../../../kernel/server/tests/front/evicting.rs"),
        ),
    ];
    let page = include_str!("../../../../../docs/scheduling.md");
    let named: Vec<(&str, &str)> = page.split('`').filter_map(|text| text.split_once("::")).collect();
    assert!(named.len() > 60, "the page names tests");
    for (file, name) in named {
        let text = files.iter().find(|(known, _)| *known == file).map(|(_, text)| text);
        let test = format!("fn {name}()");
        assert!(text.is_some_and(|text| text.contains(&test)), "{file}::{name}");
    }
    // And every case of these files is on the page, or its rule would have no line there.
    for (file, text) in &files[..5] {
        let tests = text.split("#[test]\nfn ").skip(1);
        let names = tests.filter_map(|test| test.split_once("()")).map(|(name, _)| name);
        let missing: Vec<&str> = names
            .filter(|name| !page.contains(&format!("{file}::{name}")))
            .collect();
        assert!(missing.is_empty(), "{file}: {missing:?}");
    }
}
