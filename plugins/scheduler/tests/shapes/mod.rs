//! Clusters and classes in the shapes of the benchmarks.
use sampan_sdk::scheduler::no_changes;
use scheduler::{
    Engine,
    types::{
        Changes, Inclusion, Label, Named, Node, NodeTerm, Operator, Pod, PodClass, PodTerm, PreferredNode,
        PreferredPod, Requirement, Resources, SpreadConstraint, Unsatisfiable,
    },
};

pub const HOST: &str = "kubernetes.io/hostname";
pub const ZONE: &str = "topology.kubernetes.io/zone";

/// A cluster that grows with what is asked of it.
pub struct Cluster {
    engine: Engine,
    revision: u64,
    symbols: Vec<String>,
    classes: u32,
    pods: u32,
    pub placed: usize,
}

fn resources(milli_cpu: u64, memory: u64) -> Resources {
    Resources {
        milli_cpu,
        memory,
        ephemeral_storage: 0,
    }
}

/// A pod of the benchmarks: 100m, 500Mi, and nothing else.
pub fn bare() -> PodClass {
    PodClass {
        id: 0,
        namespace: 0,
        labels: Vec::new(),
        owner: 0,
        siblings: None,
        priority: 0,
        may_preempt: true,
        requests: resources(100, 500 << 20),
        scored_cpu: 100,
        scored_memory: 500 << 20,
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

impl Cluster {
    /// Nodes in so many zones, and racks; each with its host name.
    pub fn new(nodes: u32, zones: u32) -> Self {
        let mut cluster = Cluster {
            engine: Engine::default(),
            revision: 0,
            symbols: vec![String::new()],
            classes: 0,
            pods: 0,
            placed: 0,
        };
        let keys = [HOST, ZONE, "rack", "metadata.name"].map(|text| cluster.symbol(text));
        let zones: Vec<u32> = (0..zones)
            .map(|zone| cluster.new_symbol(format!("zone-{zone}")))
            .collect();
        let mut changes = no_changes();
        for id in 1..=nodes {
            let name = cluster.new_symbol(format!("node-{id}"));
            let zone = zones[id as usize % zones.len()];
            let labels = [(keys[0], name), (keys[1], zone), (keys[2], zone)];
            changes.nodes.push(Node {
                id,
                name,
                allocatable: resources(4000, 32 << 30),
                pods: 110,
                extended: Vec::new(),
                labels: labels.map(|(key, value)| Label { key, value }).to_vec(),
                taints: Vec::new(),
                images: Vec::new(),
                unschedulable: false,
                ready: true,
            });
        }
        cluster.sync(changes);
        cluster
    }

    fn new_symbol(&mut self, text: String) -> u32 {
        self.symbols.push(text);
        self.symbols.len() as u32 - 1
    }

    fn symbol(&mut self, text: &str) -> u32 {
        let known = self.symbols.iter().position(|known| known == text);
        known.map_or_else(|| self.new_symbol(text.to_owned()), |place| place as u32)
    }

    fn sync(&mut self, mut changes: Changes) {
        let named = |(symbol, text): (usize, &String)| Named {
            symbol: symbol as u32,
            text: text.clone(),
        };
        changes.symbols = self.symbols.iter().enumerate().map(named).collect();
        let (base, next) = (self.revision, self.revision + 1);
        self.engine.sync(base, next, changes).expect("the mirror follows");
        self.revision = next;
    }

    pub fn add(&mut self, mut class: PodClass) -> u32 {
        self.classes += 1;
        class.id = self.classes;
        let classes = vec![class];
        self.sync(Changes {
            classes,
            ..no_changes()
        });
        self.classes
    }

    /// Places so many pods, of these classes in turn.
    pub fn place(&mut self, classes: &[u32], pods: usize) {
        let pods: Vec<Pod> = (0..pods)
            .map(|place| Pod {
                id: self.pods + place as u32 + 1,
                class: classes[(self.pods as usize + place) % classes.len()],
                pinned: 0,
            })
            .collect();
        self.pods += pods.len() as u32;
        let mut left = &pods[..];
        while !left.is_empty() {
            let placement = self.engine.place(left, &[]);
            self.placed += placement.nodes.iter().filter(|node| **node != 0).count();
            left = &left[placement.nodes.len()..];
        }
    }

    fn app(&mut self, app: &str) -> PodClass {
        let (key, value) = (self.symbol("app"), self.symbol(app));
        PodClass {
            labels: vec![Label { key, value }],
            ..bare()
        }
    }

    fn wants(&mut self, key: &str, value: &str) -> Requirement {
        Requirement {
            key: self.symbol(key),
            operator: Operator::IsIn,
            values: vec![self.symbol(value)],
        }
    }

    fn term(&mut self, key: &str, app: &str) -> PodTerm {
        PodTerm {
            topology_key: self.symbol(key),
            namespaces: Vec::new(),
            namespace_selector: None,
            selector: Some(vec![self.wants("app", app)]),
            match_label_keys: Vec::new(),
            mismatch_label_keys: Vec::new(),
        }
    }

    pub fn owned(&mut self, index: u32) -> u32 {
        let mut class = self.app(&format!("app-{index}"));
        class.owner = self.symbol(&format!("uid-{index}"));
        self.add(class)
    }

    pub fn sized(&mut self, milli_cpu: u64, priority: i32) -> u32 {
        self.add(PodClass {
            requests: resources(milli_cpu, 500 << 20),
            scored_cpu: milli_cpu,
            priority,
            ..bare()
        })
    }

    pub fn in_zones(&mut self, zones: &[&str]) -> u32 {
        let mut wanted = self.wants(ZONE, zones[0]);
        wanted.values = zones.iter().map(|zone| self.symbol(zone)).collect();
        let term = NodeTerm {
            expressions: vec![wanted],
            fields: Vec::new(),
        };
        self.add(PodClass {
            required_nodes: Some(vec![term]),
            ..bare()
        })
    }

    pub fn preferring(&mut self, zone: &str) -> u32 {
        let term = NodeTerm {
            expressions: vec![self.wants(ZONE, zone)],
            fields: Vec::new(),
        };
        self.add(PodClass {
            preferred_nodes: vec![PreferredNode { weight: 10, term }],
            ..bare()
        })
    }

    pub fn on_node(&mut self, node: u32) -> u32 {
        let term = NodeTerm {
            expressions: Vec::new(),
            fields: vec![self.wants("metadata.name", &format!("node-{node}"))],
        };
        self.add(PodClass {
            required_nodes: Some(vec![term]),
            ..bare()
        })
    }

    pub fn spread(&mut self, key: &str, must: bool) -> u32 {
        let app = format!("spread-{key}-{must}");
        let mut class = self.app(&app);
        class.spread = vec![SpreadConstraint {
            max_skew: 5,
            topology_key: self.symbol(key),
            when_unsatisfiable: if must {
                Unsatisfiable::DoNotSchedule
            } else {
                Unsatisfiable::ScheduleAnyway
            },
            selector: Some(vec![self.wants("app", &app)]),
            match_label_keys: Vec::new(),
            min_domains: 1,
            node_affinity_policy: Inclusion::Honor,
            node_taints_policy: Inclusion::Ignore,
        }];
        self.add(class)
    }

    pub fn anti_affinity(&mut self, key: &str) -> u32 {
        let mut class = self.app("apart");
        class.anti_affinity = vec![self.term(key, "apart")];
        self.add(class)
    }

    pub fn affinity(&mut self, key: &str) -> u32 {
        let app = format!("near-{key}");
        let mut class = self.app(&app);
        class.affinity = vec![self.term(key, &app)];
        self.add(class)
    }

    pub fn preferring_pods(&mut self, key: &str) -> u32 {
        let mut class = self.app("fond");
        let term = self.term(key, "fond");
        class.preferred_affinity = vec![PreferredPod { weight: 1, term }];
        self.add(class)
    }
}

/// What this process holds, in MiB; 0 where that cannot be read.
pub fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse::<u64>().ok());
    kib.unwrap_or(0) >> 10
}
