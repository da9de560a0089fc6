//! The same commands give the same state, whatever way they came.
use crate::fixture::{World, asking, config, create, key, node};
use sampan_api::{Operation, Plan, Write, plan::Binding, plan::Deletion};
use sampan_state::{Command, Store};
use serde_json::json;

/// Numbers that look random and repeat for a seed (xorshift64).
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// Plans of every operation on few names, so that they meet; many are refused.
pub fn plan(dice: &mut Dice) -> Plan {
    let mut writes = Vec::new();
    for _ in 0..=dice.roll(3) {
        let pod = key("pods", &format!("p{}", dice.roll(8)));
        let on = format!("n{}", dice.roll(3));
        writes.push(match dice.roll(9) {
            0 | 1 => create(asking(&pod.name, ["100m", "1", "1500m"][dice.roll(3) as usize])),
            2 | 3 => Write::new(
                pod,
                Operation::Bind(Binding {
                    node: on,
                    policy: "x".into(),
                }),
            ),
            4 => {
                let phase = ["Running", "Failed"][dice.roll(2) as usize];
                Write::new(pod, Operation::MergeStatus(json!({"status": {"phase": phase}})))
            }
            5 => {
                let grace = [None, Some(0), Some(5)][dice.roll(3) as usize];
                let deletion = Deletion {
                    grace_period_seconds: grace,
                    final_: dice.roll(3) == 0,
                    ..Deletion::default()
                };
                Write::new(pod, Operation::Delete(deletion))
            }
            6 => create(node(&on, json!({}), "2", "4")),
            7 => Write::new(
                key("nodes", &on),
                Operation::Merge(json!({"spec": {"unschedulable": dice.roll(2) == 0}})),
            ),
            _ => {
                let mut generated = config("", json!({}));
                generated["metadata"]["generateName"] = "g-".into();
                create(generated)
            }
        });
    }
    writes.into()
}

pub fn play(seed: u64, length: u64) -> World {
    let mut dice = Dice(seed);
    let mut world = World::new();
    for step in 0..length {
        world.now_ms += dice.roll(2000);
        let plans = (0..dice.roll(4)).map(|_| plan(&mut dice)).collect();
        let idempotency_key = if dice.roll(5) == 0 {
            format!("k{}", dice.roll(6))
        } else {
            String::new()
        };
        let compact_to = if step % 50 == 49 { world.revision() / 2 } else { 0 };
        world.apply(Command {
            now_ms: world.now_ms,
            plans,
            idempotency_key,
            compact_to,
            ..Command::default()
        });
    }
    world
}

#[test]
fn the_same_commands_give_the_same_digest() {
    for seed in 1..=20 {
        let world = play(seed, 120);
        assert!(world.revision() > 15, "the play does something: {}", world.revision());
        let mut again = Store::new("test");
        for (at, command) in world.commands.iter().enumerate() {
            again.apply(at as u64 + 1, command.clone());
        }
        assert_eq!(again.digest(), world.store.digest(), "seed {seed}");
        let mut decoded = Store::new("test");
        for (at, command) in world.commands.iter().enumerate() {
            decoded.apply(at as u64 + 1, Command::decode(command.encode()).unwrap());
        }
        assert_eq!(decoded.digest(), world.store.digest(), "through the log, seed {seed}");
    }
}

#[test]
fn another_cluster_gives_other_uids() {
    let uid = |cluster| {
        let mut store = Store::new(cluster);
        let namespace = create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}}));
        let applied = store.apply(
            1,
            Command {
                plans: vec![namespace.into()],
                ..Command::default()
            },
        );
        applied.results[0].as_ref().unwrap().objects[0]
            .as_ref()
            .unwrap()
            .metadata
            .uid
            .clone()
    };
    assert_ne!(uid("one"), uid("two"));
    assert_eq!(uid("one"), uid("one"));
}

#[test]
fn usage_is_the_sum_of_the_pods_that_count() {
    use sampan_api::quantity::{Resources, pod_requests};
    for seed in 1..=20 {
        let snapshot = play(seed, 150).store.snapshot();
        for at in ["n0", "n1", "n2"] {
            let mut sum = Resources::default();
            for (_, pod) in snapshot.list(&sampan_api::Selection::of("pods")) {
                let spec: k8s_openapi::api::core::v1::PodSpec = pod.field("spec").unwrap();
                let finished = matches!(
                    pod.field_value("status")["phase"].as_str(),
                    Some("Failed" | "Succeeded")
                );
                if spec.node_name.as_deref() == Some(at) && !finished {
                    sum = sum.plus(pod_requests(&spec).unwrap());
                }
            }
            assert_eq!(snapshot.usage(at), sum, "seed {seed}, node {at}");
            assert!(sum.milli_cpu <= 2000 && sum.pods <= 4, "never more than there is");
        }
    }
}

#[test]
fn commands_of_another_version_or_damaged_are_refused() {
    let command = Command {
        now_ms: 1,
        ..Command::default()
    }
    .encode();
    assert!(Command::decode(command.clone()).is_ok());
    assert!(Command::decode(command.slice(..command.len() - 1)).is_err());
    // Field 1, the version, is 9.
    let error = Command::decode(vec![0x08, 9].into()).unwrap_err();
    assert!(error.message.contains("version 9"), "{error}");
}
