//! Whole rollouts: the controllers `deployment` and `replicaset` at work on one state, with pods that become ready when
//! the dice say so. What a user is promised holds at every step on the way, and the end is what was asked for.
use deployment::Deployment;
use replicaset::ReplicaSet;
use sampan_sdk::{
    controller::{Controller, Key, Memory, Object, Plan, Query, Snapshot},
    serde_json::{Value, json},
};

const START_MS: u64 = 1_772_366_400_000;

struct World {
    state: Memory,
    dice: u64,
    seconds: u64,
}

impl World {
    fn new(seed: u64, spec: Value) -> Self {
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "spec": spec,
            "metadata": {"name": "web", "namespace": "default", "uid": "d", "generation": 1},
        });
        World {
            state: Memory::new(vec![Object::new(key(), 1, deployment)]),
            dice: seed,
            seconds: 0,
        }
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.dice = self
            .dice
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.dice >> 33) % sides
    }

    fn deployment(&self) -> Object {
        self.state.get(&key()).expect("the deployment is there")
    }

    fn patch(&mut self, patch: Value) {
        let mut plan = Plan::default();
        plan.patch(&self.deployment(), patch);
        self.state.carry_out(&plan);
    }

    fn list(&self, resource: &str) -> Vec<Object> {
        self.state.list(&Query::all(resource))
    }

    /// Something happens: one of the controllers is asked, or a pod becomes ready. Whether anything changed.
    fn step(&mut self) -> bool {
        self.seconds += 1;
        let now_ms = START_MS + 1000 * self.seconds;
        let sets = self.list("replicasets.apps");
        let choice = usize::try_from(self.roll(2 + sets.len() as u64)).expect("small");
        let plan = match choice {
            0 => Deployment.reconcile(&key(), &self.state, now_ms),
            1 => Ok(self.become_ready()),
            n => ReplicaSet.reconcile(&sets[n - 2].key, &self.state, now_ms),
        };
        let plan = plan.expect("no controller fails");
        self.state.carry_out(&plan);
        !plan.writes.is_empty()
    }

    fn become_ready(&mut self) -> Plan {
        let waiting: Vec<Object> = self.list("pods").into_iter().filter(|pod| !is_ready(pod)).collect();
        let mut plan = Plan::default();
        if !waiting.is_empty() {
            let pod = usize::try_from(self.roll(waiting.len() as u64)).expect("small");
            let ready = json!({"type": "Ready", "status": "True", "lastTransitionTime": "2026-03-01T12:00:00Z"});
            plan.patch_status(&waiting[pod], json!({"phase": "Running", "conditions": [ready]}));
        }
        plan
    }

    /// Runs until nothing has happened for long, checking every step.
    fn settle(&mut self, check: impl Fn(&World)) {
        let mut quiet = 0;
        for _ in 0..20_000 {
            quiet = if self.step() { 0 } else { quiet + 1 };
            check(self);
            if quiet > 60 {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    fn images(&self) -> Vec<String> {
        let image = |pod: &Object| {
            pod.spec()["containers"][0]["image"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        self.list("pods").iter().map(image).collect()
    }

    fn ready(&self) -> usize {
        self.list("pods").iter().filter(|pod| is_ready(pod)).count()
    }

    fn assert_done(&self, image: &str, count: usize) {
        assert_eq!(self.images(), vec![image; count]);
        assert_eq!(self.ready(), count);
        let deployment = self.deployment();
        assert!(deployment.has_condition("Available", "True"));
        assert_eq!(
            deployment.condition("Progressing").expect("it is said")["reason"],
            "NewReplicaSetAvailable"
        );
        assert_eq!(
            deployment.status()["updatedReplicas"].as_u64().unwrap_or(0),
            count as u64
        );
        assert_eq!(deployment.status()["observedGeneration"], deployment.generation());
        assert!(deployment.status()["unavailableReplicas"].is_null());
    }
}

fn is_ready(pod: &Object) -> bool {
    pod.has_condition("Ready", "True")
}

fn key() -> Key {
    Key::new("deployments.apps", "default", "web")
}

fn spec(replicas: u64, strategy: &Value) -> Value {
    json!({"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "strategy": strategy,
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": "web:1"}]}}})
}

fn image(image: &str) -> Value {
    json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": image}]}}}})
}

#[test]
fn a_rolling_update_keeps_its_promises_at_every_step() {
    for seed in 0..5 {
        let strategies = [
            (json!("25%"), json!("25%"), 13, 8),
            (json!(0), json!(3), 10, 7),
            (json!(1), json!(0), 11, 10),
        ];
        for (surge, unavailable, most, least) in strategies {
            let strategy = json!({"rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}});
            let mut world = World::new(seed, spec(10, &strategy));
            world.settle(|_| {});
            world.assert_done("web:1", 10);
            let promised = |world: &World| {
                // As in Kubernetes, it is what is asked for that counts, not pods that are yet to be deleted.
                let asked: i64 = world
                    .list("replicasets.apps")
                    .iter()
                    .map(|set| set.spec_number("/replicas", 0))
                    .sum();
                assert!(asked <= most, "{asked} pods are asked for, seed {seed}");
                assert!(world.ready() >= least, "{} ready, seed {seed}", world.ready());
            };
            world.patch(image("web:2"));
            world.settle(promised);
            world.assert_done("web:2", 10);
            // A third template comes, is taken back half-way, and the first one is wanted again.
            world.patch(image("web:3"));
            (0..40).for_each(|_| {
                world.step();
                promised(&world);
            });
            world.patch(image("web:1"));
            world.settle(promised);
            world.assert_done("web:1", 10);
            let revisions: Vec<_> = world.list("replicasets.apps");
            assert_eq!(revisions.len(), 3, "the old ReplicaSet is taken up again");
            let revision = world
                .deployment()
                .annotation("deployment.kubernetes.io/revision")
                .map(str::to_owned);
            assert_eq!(revision.as_deref(), Some("4"));
        }
    }
}

#[test]
fn scaling_in_the_middle_of_a_rollout_ends_where_it_should() {
    for seed in 0..5 {
        for (steps, to) in [(15, 20_u64), (30, 3), (45, 0)] {
            let mut world = World::new(seed, spec(10, &json!({})));
            world.settle(|_| {});
            world.patch(image("web:2"));
            (0..steps).for_each(|_| _ = world.step());
            world.patch(json!({"spec": {"replicas": to}}));
            world.settle(|_| {});
            world.assert_done("web:2", usize::try_from(to).expect("small"));
        }
    }
}

#[test]
fn recreate_never_runs_two_versions() {
    for seed in 0..5 {
        let mut world = World::new(seed, spec(4, &json!({"type": "Recreate"})));
        world.settle(|_| {});
        world.patch(image("web:2"));
        world.settle(|world| {
            let mut images = world.images();
            images.dedup();
            assert!(images.len() <= 1, "{images:?}");
        });
        world.assert_done("web:2", 4);
    }
}

#[test]
fn a_paused_rollout_waits_until_it_is_resumed() {
    let mut world = World::new(1, spec(4, &json!({})));
    world.settle(|_| {});
    world.patch(json!({"spec": {"paused": true}}));
    world.patch(image("web:2"));
    world.settle(|_| {});
    assert_eq!(world.images(), ["web:1"; 4]);
    world.patch(json!({"spec": {"replicas": 6}}));
    world.settle(|_| {});
    assert_eq!(world.images(), ["web:1"; 6]);
    world.patch(json!({"spec": {"paused": null}}));
    world.settle(|_| {});
    world.assert_done("web:2", 6);
}
