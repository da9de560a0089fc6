//! What network plugins are told, what becomes of what they answer, and that a hostile one leaves the datapath as it was.
use crate::{ENGINE, support};
use sampan_api::plugin::World;
use sampan_sandbox::{
    CallError, Limits, Loaded,
    network::{Bounds, Datapath, Delta, Identity, Key, NetworkPlugin, NodeBounds, Object, Op, Range, Table},
};
use serde_json::Value;
use std::{collections::BTreeMap, net::IpAddr, sync::LazyLock, time::Duration};

static NETWORK: LazyLock<Vec<u8>> = LazyLock::new(|| support::plugin("network"));

fn loaded(behaviour: &str, limits: Limits) -> Loaded {
    let config = Value::String(behaviour.to_owned());
    ENGINE.load(World::Network, &NETWORK, &config, limits).unwrap()
}

/// Small limits, so that hostile ones are found out soon.
fn network(behaviour: &str) -> NetworkPlugin {
    let limits = Limits {
        memory: 64 << 20,
        deadline: Duration::from_millis(200),
        ..Limits::for_world(World::Network)
    };
    let mut plugin = loaded(behaviour, limits).network().unwrap();
    plugin.start(&identity("here")).unwrap();
    plugin
}

fn identity(node: &str) -> Identity {
    Identity {
        node: node.to_owned(),
        pod_ranges: vec![Range::parse("10.244.1.0/24").unwrap()],
        service_ranges: vec![Range::parse("10.96.0.0/12").unwrap()],
    }
}

fn bounds() -> Bounds {
    let node = |pods: &str, own: &str| NodeBounds {
        pod_ranges: vec![Range::parse(pods).unwrap()],
        addresses: vec![own.parse::<IpAddr>().unwrap().into()],
    };
    let nodes = [
        ("here", node("10.244.1.0/24", "192.0.2.1")),
        ("there", node("10.244.2.0/24", "192.0.2.2")),
    ];
    Bounds {
        node: "here".to_owned(),
        nodes: BTreeMap::from(nodes.map(|(name, node)| (name.to_owned(), node))),
        service_ranges: identity("here").service_ranges,
        ..Bounds::default()
    }
}

fn changed(name: &str) -> Delta {
    let key = Key {
        resource: "nodes".to_owned(),
        namespace: String::new(),
        name: name.to_owned(),
    };
    Delta::Changed(Object {
        key,
        json: "{}".to_owned(),
    })
}

/// What a behaviour ends in. The last good datapath is as it was, the instance of no more use, and a fresh one works.
fn plan(behaviour: &str) -> CallError {
    let (mut datapath, bounds) = (Datapath::default(), bounds());
    network("").plan(&[changed("a")], &bounds, &mut datapath).unwrap();
    let good = datapath.clone();
    let mut plugin = network(behaviour);
    let error = plugin.plan(&[changed("a")], &bounds, &mut datapath).unwrap_err();
    assert_eq!(datapath, good, "{behaviour}");
    let again = plugin.plan(&[], &bounds, &mut datapath);
    assert!(matches!(again, Err(CallError::Poisoned)), "{behaviour}");
    let mut fresh = Datapath::default();
    network("").plan(&[changed("a")], &bounds, &mut fresh).unwrap();
    assert!(good.changes_to(&fresh).is_empty(), "{behaviour}");
    error
}

#[test]
fn it_says_what_it_wants_and_fills() {
    let mut plugin = loaded("", Limits::for_world(World::Network)).network().unwrap();
    assert_eq!(plugin.watches().unwrap(), ["nodes"]);
    assert_eq!(
        plugin.start(&identity("here")).unwrap(),
        [Table::Routes, Table::Frontends, Table::Policies]
    );
    assert_eq!(ENGINE.inspect(&NETWORK).world, Some(World::Network));
    assert!(loaded("", Limits::default()).scheduler().is_err());
    let wrong = ENGINE.load(World::Controller, &NETWORK, &Value::Null, Limits::default());
    let wrong = wrong.map(drop).unwrap_err().to_string();
    assert!(wrong.contains("for the world network, not controller"), "{wrong}");
}

#[test]
fn its_answers_add_up() {
    let (mut plugin, mut datapath) = (network(""), Datapath::default());
    for told in 1..=3 {
        let ops = plugin.plan(&[changed("a")], &bounds(), &mut datapath).unwrap();
        assert_eq!(ops.len(), 2);
        assert_eq!(datapath.entries().count(), 1 + told);
    }
    let mut fresh = Datapath::default();
    network("").plan(&[changed("a")], &bounds(), &mut fresh).unwrap();
    assert!(matches!(
        datapath.changes_to(&fresh)[..],
        [Op::Remove(_), Op::Remove(_)]
    ));
    assert!(matches!(fresh.changes_to(&datapath)[..], [Op::Set(_), Op::Set(_)]));
}

#[test]
fn before_it_is_started_it_fills_nothing() {
    let mut plugin = loaded("", Limits::for_world(World::Network)).network().unwrap();
    let error = plugin
        .plan(&[changed("a")], &bounds(), &mut Datapath::default())
        .unwrap_err();
    assert!(
        error.to_string().contains("it does not fill the table routes"),
        "{error}"
    );
}

#[test]
fn a_trap_a_loop_and_a_hoard_end() {
    assert!(matches!(plan("trap"), CallError::Trap(words) if words.contains("unreachable")));
    assert!(matches!(plan("loop"), CallError::Deadline(deadline) if deadline == Duration::from_millis(200)));
    assert!(matches!(plan("memory"), CallError::Memory(limit) if limit == 64 << 20));
}

#[test]
fn a_refusal_is_in_its_own_words() {
    let error = plan("refuse");
    assert!(
        matches!(&error, CallError::Refused(words) if words == "the view is broken"),
        "{error}"
    );
    let mut plugin = loaded("", Limits::for_world(World::Network)).network().unwrap();
    let error = plugin.start(&identity("unwelcome")).unwrap_err();
    assert!(
        matches!(&error, CallError::Refused(words) if words == "not on this node"),
        "{error}"
    );
}

#[test]
fn too_much_is_not_taken() {
    let huge = Limits {
        memory: 1 << 30,
        deadline: Duration::from_secs(20),
        ..Limits::default()
    };
    let answer = |behaviour: &str, limits: Limits| {
        let mut plugin = loaded(behaviour, limits).network().unwrap();
        plugin.start(&identity("here")).unwrap();
        let mut datapath = Datapath::default();
        let error = plugin.plan(&[], &bounds(), &mut datapath).unwrap_err();
        assert_eq!(datapath, Datapath::default(), "{behaviour}");
        let CallError::Rubbish(words) = error else {
            panic!("{behaviour}: {error}")
        };
        words
    };
    let words = answer("flood", huge);
    assert!(words.contains("fuel"), "{words}");
    let wide = Limits {
        answer: 256 << 20,
        ..huge
    };
    assert_eq!(
        answer("many", wide),
        "a plan of 200001 operations: 200000 are the limit"
    );
    let words = answer("fat", huge);
    assert!(words.contains("20000 backends: 10000 are the limit"), "{words}");
    let error = loaded("curious", huge).network().unwrap().watches().unwrap_err();
    assert!(
        error
            .to_string()
            .contains("it watches 100 resources, and 32 are the limit"),
        "{error}"
    );
}

#[test]
fn operations_beyond_the_bounds_are_named() {
    for (behaviour, words) in [
        (
            "outside",
            "operation 1 of its plan (set route 10.244.1.0/24): the pods of node there are not there",
        ),
        (
            "detour",
            "operation 1 of its plan (set route 10.244.2.0/24): there is no node nowhere",
        ),
        (
            "hijack",
            "operation 1 of its plan (set frontend 8.8.8.8:80/tcp): the address is in no range of Services",
        ),
        (
            "beyond",
            "operation 1 of its plan (set frontend 8.8.8.8:80/tcp): it does not fill the table frontends",
        ),
        (
            "stranger",
            "operation 1 of its plan (set rules of pod default/elsewhere): no such pod is on this node",
        ),
        (
            "unknown",
            "operation 1 of its plan (remove peer set nobody): there is no such entry",
        ),
    ] {
        let error = plan(behaviour);
        assert!(
            matches!(&error, CallError::Rubbish(said) if said == words),
            "{behaviour}: {error}"
        );
    }
}
