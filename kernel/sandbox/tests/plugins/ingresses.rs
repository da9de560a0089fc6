//! What ingress plugins are told, what becomes of what they answer, and that a hostile one leaves the routing table as it was.
use crate::{ENGINE, support};
use sampan_api::plugin::World;
use sampan_sandbox::{
    CallError, Limits, Loaded,
    ingress::{Bounds, EntryKey, HostName, IngressPlugin, Op, Routing, Table},
    network::{Delta, Identity, Key, NodeBounds, Object, Range},
};
use serde_json::Value;
use std::{collections::BTreeMap, sync::LazyLock, time::Duration};

static INGRESS: LazyLock<Vec<u8>> = LazyLock::new(|| support::plugin("ingress"));

fn loaded(behaviour: &str) -> Loaded {
    let config = Value::String(behaviour.to_owned());
    // Small limits, so that hostile ones are found out soon; a deadline that a busy machine does not reach by itself.
    let limits = Limits {
        memory: 256 << 20,
        deadline: match behaviour {
            "loop" => Duration::from_millis(200),
            _ => Duration::from_secs(20),
        },
        answer: 64 << 20,
        ..Limits::for_world(World::Ingress)
    };
    ENGINE.load(World::Ingress, &INGRESS, &config, limits).unwrap()
}

fn identity(node: &str) -> Identity {
    Identity {
        node: node.to_owned(),
        pod_ranges: Vec::new(),
        service_ranges: Vec::new(),
    }
}

fn plugin(behaviour: &str) -> IngressPlugin {
    let mut plugin = loaded(behaviour).ingress().unwrap();
    plugin.start(&identity("here")).unwrap();
    plugin
}

fn bounds() -> Bounds {
    let there = NodeBounds {
        pod_ranges: vec![Range::parse("10.244.2.0/24").unwrap()],
        addresses: Vec::new(),
    };
    Bounds {
        nodes: BTreeMap::from([("there".to_owned(), there)]),
        ..Bounds::default()
    }
}

fn key(name: &str) -> Key {
    Key {
        resource: "ingresses.networking.k8s.io".to_owned(),
        namespace: "default".to_owned(),
        name: name.to_owned(),
    }
}

fn changed(name: &str) -> Delta {
    Delta::Changed(Object {
        key: key(name),
        json: "{}".to_owned(),
    })
}

#[test]
fn it_says_what_it_wants_and_its_answers_add_up() {
    let mut plugin = loaded("").ingress().unwrap();
    assert_eq!(plugin.watches().unwrap(), ["ingresses.networking.k8s.io"]);
    let filled = plugin.start(&identity("here")).unwrap();
    assert_eq!(filled, [Table::Pools, Table::Hosts, Table::Certificates]);
    let mut routing = Routing::default();
    plugin
        .plan(&[changed("a.x"), changed("b.x")], &bounds(), &mut routing)
        .unwrap();
    assert_eq!(routing.entries().count(), 3);
    let ops = plugin
        .plan(&[Delta::Gone(key("a.x"))], &bounds(), &mut routing)
        .unwrap();
    assert!(matches!(ops[..], [Op::Set(_), Op::Remove(_)]));
    assert_eq!(routing.count(Table::Hosts), 1);
    assert!(
        routing
            .get(&EntryKey::Host(HostName::Exact("b.x".to_owned())))
            .is_some()
    );
    assert_eq!(plugin.figures().traps, 0);
}

#[test]
fn it_is_of_its_own_world() {
    let inspection = ENGINE.inspect(&INGRESS);
    assert_eq!(
        (inspection.world, &inspection.problems[..]),
        (Some(World::Ingress), &[][..])
    );
    assert!(loaded("").network().is_err());
    let wrong = ENGINE.load(World::Network, &INGRESS, &Value::Null, Limits::default());
    let wrong = wrong.map(drop).unwrap_err().to_string();
    assert!(wrong.contains("for the world ingress, not network"), "{wrong}");
    let error = loaded("curious").ingress().unwrap().watches().unwrap_err().to_string();
    assert!(
        error.contains("it watches 100 resources, and 32 are the limit"),
        "{error}"
    );
    let error = loaded("").ingress().unwrap().start(&identity("unwelcome")).unwrap_err();
    assert!(
        matches!(&error, CallError::Refused(words) if words == "not on this node"),
        "{error}"
    );
}

/// What a behaviour ends in. The last good table is as it was, the instance of no more use, and a fresh one works.
fn failure(behaviour: &str) -> CallError {
    let mut routing = Routing::default();
    plugin("").plan(&[changed("a.x")], &bounds(), &mut routing).unwrap();
    let good = routing.clone();
    let mut hostile = plugin(behaviour);
    let error = hostile.plan(&[changed("a.x")], &bounds(), &mut routing).unwrap_err();
    assert_eq!(routing, good, "{behaviour}");
    let again = hostile.plan(&[], &bounds(), &mut routing);
    assert!(matches!(again, Err(CallError::Poisoned)), "{behaviour}");
    error
}

#[test]
fn a_hostile_one_leaves_the_table_as_it_was() {
    assert!(matches!(failure("trap"), CallError::Trap(words) if words.contains("unreachable")));
    assert!(matches!(failure("loop"), CallError::Deadline(_)));
    assert!(matches!(failure("refuse"), CallError::Refused(words) if words == "the view is broken"));
    for (behaviour, words) in [
        ("many", "a plan of 200001 operations: 200000 are the limit"),
        (
            "outside",
            "operation 1 of its plan (set pool other): the backend 169.254.169.254 is no address of a pod or a Service",
        ),
        (
            "beyond",
            "operation 1 of its plan (set routes of host a.example): it does not fill the table hosts",
        ),
        (
            "dangling",
            "operation 1 of its plan (set routes of host a.example): there is no pool nobody",
        ),
        (
            "leak",
            "operation 1 of its plan (set certificate of host *): no Ingress names the Secret default/password",
        ),
        (
            "unknown",
            "operation 1 of its plan (remove routes of host *): there is no such entry",
        ),
    ] {
        let error = failure(behaviour);
        assert!(
            matches!(&error, CallError::Rubbish(said) if said == words),
            "{behaviour}: {error}"
        );
    }
}
