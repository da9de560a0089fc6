//! Addresses and node ports of Services: one has each.
use crate::fixture::{World, create, key, object, refused};
use sampan_api::{Operation, Reason, plan::Deletion};
use sampan_state::claims::Claim;
use serde_json::{Value, json};

fn service(name: &str, address: &str, node_port: u16, protocol: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
        "spec": {"clusterIP": address, "clusterIPs": [address],
            "ports": [{"port": 80, "protocol": protocol, "nodePort": node_port}]}})
}

#[test]
fn while_a_build_is_there_that_knows_nothing_of_it_all_do_as_it_does() {
    let mut world = World::at_level(2);
    world.create(service("a", "10.96.0.7", 30_001, "TCP"));
    world.create(service("b", "10.96.0.7", 30_001, "TCP"));
}

#[test]
fn what_one_has_nobody_else_gets() {
    let mut world = World::at_level(3);
    world.create(service("a", "10.96.0.7", 30_001, "TCP"));
    let address = world.try_create(service("b", "10.96.0.7", 30_002, "TCP"));
    refused(address, Reason::Invalid, "the address 10.96.0.7");
    refused(
        world.try_create(service("b", "10.96.0.8", 30_001, "TCP")),
        Reason::Invalid,
        "30001/TCP",
    );
    // Another protocol is another port, and no address at all is nobody's.
    world.create(service("b", "10.96.0.8", 30_001, "UDP"));
    world.create(service("c", "None", 0, "TCP"));
    world.create(service("d", "None", 0, "TCP"));
    let claim = Claim::Address("10.96.0.8".parse().unwrap());
    assert_eq!(world.store.snapshot().holder(&claim), Some(&key("services", "b")));
    // Its own it keeps, and may change.
    let moved = object(&service("a", "10.96.0.9", 30_001, "TCP"));
    world.write(&key("services", "a"), Operation::Replace(moved)).unwrap();
    world.create(service("e", "10.96.0.7", 30_003, "TCP"));
}

#[test]
fn what_is_given_up_is_free_again() {
    let mut world = World::at_level(3);
    world.create(service("a", "10.96.0.7", 30_001, "TCP"));
    world
        .write(&key("services", "a"), Operation::Delete(Deletion::default()))
        .unwrap();
    world.create(service("b", "10.96.0.7", 30_001, "TCP"));
}

#[test]
fn within_a_plan_each_write_sees_those_before() {
    let mut world = World::at_level(3);
    let twice = vec![
        create(service("a", "10.96.0.7", 0, "TCP")),
        create(service("b", "10.96.0.7", 0, "TCP")),
    ];
    refused(world.plan(twice), Reason::Invalid, "10.96.0.7");
    world.create(service("a", "10.96.0.7", 0, "TCP"));
    let handed_on = vec![
        sampan_api::Write::new(
            key("services", "a"),
            Operation::Replace(object(&service("a", "10.96.0.8", 0, "TCP"))),
        ),
        create(service("b", "10.96.0.7", 0, "TCP")),
    ];
    world.plan(handed_on).unwrap();
}
