//! Services with many pods, which come, change and go at random: the slices always hold what they should, in few writes.
use endpoints::Endpoints;
use sampan_sdk::{
    Value,
    controller::{Controller, Key, Memory, Operation, Plan, Query, Snapshot},
    serde_json::json,
    testing::Draw,
};
use std::collections::BTreeMap;

const SLICES: &str = "endpointslices.discovery.k8s.io";

fn service() -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default", "uid": "service-web"},
        "spec": {"selector": {"app": "web"}, "clusterIP": "10.96.0.1", "ports": [{"port": 80, "targetPort": "web"}]}})
}

/// A pod whose port is in one of two places.
fn pod(number: usize, ready: bool, port: u16) -> Value {
    let name = format!("p{number:04}");
    let ip = format!("10.{}.{}.1", number / 200, number % 200);
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "uid": format!("pod-{name}"), "labels": {"app": "web"}},
        "spec": {"nodeName": "n", "containers": [{"ports": [{"name": "web", "containerPort": port}]}]},
        "status": {"phase": "Running", "podIP": ip,
            "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]}})
}

/// The slices, and the pods there are; the rest of the state is made anew from them each time.
struct Cluster {
    pods: BTreeMap<usize, (bool, u16)>,
    slices: Vec<Value>,
}

impl Cluster {
    fn memory(&self) -> Memory {
        let pods = self
            .pods
            .iter()
            .map(|(number, (ready, port))| pod(*number, *ready, *port));
        Memory::from_json(&pods.chain(self.slices.iter().cloned()).chain([service()]).collect())
    }

    fn slices(memory: &Memory) -> Vec<Value> {
        memory
            .list(&Query::all(SLICES))
            .into_iter()
            .map(|slice| slice.json)
            .collect()
    }

    /// Reconciles until nothing is left to do, which is after one plan; gives that plan.
    fn reconcile(&mut self) -> Plan {
        let mut memory = self.memory();
        let key = Key::new("services", "default", "web");
        let plan = Endpoints.reconcile(&key, &memory, 0).unwrap();
        // Names that an earlier plan's slices have are not given again.
        memory.carry_out(&plan);
        assert_eq!(Endpoints.reconcile(&key, &memory, 0).unwrap(), Plan::default());
        self.slices = Cluster::slices(&memory);
        for (number, slice) in self.slices.iter_mut().enumerate() {
            slice["metadata"]["name"] = json!(format!("web-{number:05}"));
        }
        plan
    }

    /// That each pod is in one slice, as it is, and no slice holds too many.
    fn check(&self) {
        let mut found = BTreeMap::new();
        for slice in &self.slices {
            let endpoints = slice["endpoints"].as_array().unwrap();
            assert!((1..=100).contains(&endpoints.len()), "{} endpoints", endpoints.len());
            for endpoint in endpoints {
                let name = endpoint["targetRef"]["name"].as_str().unwrap()[1..]
                    .parse::<usize>()
                    .unwrap();
                let ready = endpoint["conditions"]["ready"] == true;
                let port = u16::try_from(slice["ports"][0]["port"].as_u64().unwrap()).unwrap();
                assert_eq!(found.insert(name, (ready, port)), None, "pod {name} is in two slices");
            }
        }
        assert_eq!(found, self.pods);
        let needed = self.pods.len().div_ceil(100);
        assert!(
            self.slices.len() <= 2 * needed + 4,
            "{} slices for {} pods",
            self.slices.len(),
            self.pods.len()
        );
    }
}

#[test]
fn slices_hold_what_there_is_in_few_writes() {
    let draw = &mut Draw::new(3);
    let mut cluster = Cluster {
        pods: (0..250).map(|number| (number, (true, 8080))).collect(),
        slices: Vec::new(),
    };
    assert_eq!(cluster.reconcile().writes.len(), 3);
    cluster.check();
    for _ in 0..120 {
        let number = draw.below(300);
        let change = draw.below(10);
        match change {
            0 => cluster.pods.retain(|other, _| other % 7 != number % 7),
            1 => cluster
                .pods
                .extend((0..draw.below(150)).map(|more| (300 + more, (true, 8080)))),
            2 => drop(cluster.pods.insert(number, (true, 9090))),
            3 => drop(cluster.pods.remove(&number)),
            _ => drop(cluster.pods.insert(number, (draw.chance(50), 8080))),
        }
        let slices = cluster.slices.len();
        let plan = cluster.reconcile();
        cluster.check();
        let creates = plan
            .writes
            .iter()
            .filter(|write| matches!(write.operation, Operation::Create(_)))
            .count();
        // One pod is in one slice, and may leave another; where slices are put together all may be written.
        let few = match change {
            0 | 1 => slices + 3,
            _ if cluster.slices.len() < slices => slices,
            _ => 2,
        };
        assert!(
            plan.writes.len() <= few && creates <= 3,
            "change {change} took {} writes",
            plan.writes.len()
        );
    }
}

#[test]
fn one_pod_of_a_thousand_is_one_write() {
    let mut cluster = Cluster {
        pods: (0..1000).map(|number| (number, (true, 8080))).collect(),
        slices: Vec::new(),
    };
    assert_eq!(cluster.reconcile().writes.len(), 10);
    cluster.pods.insert(567, (false, 8080));
    assert_eq!(cluster.reconcile().writes.len(), 1);
    cluster.pods.remove(&567);
    assert_eq!(cluster.reconcile().writes.len(), 1);
    cluster.pods.insert(1001, (true, 8080));
    assert_eq!(cluster.reconcile().writes.len(), 1, "a new one takes the place");
    assert_eq!(cluster.reconcile().writes.len(), 0);
    cluster.check();
}
