//! What plugins that give addresses are told, what becomes of what they answer, and how each way to misbehave ends.
use crate::{ENGINE, support};
use sampan_api::plugin::World;
use sampan_sandbox::{
    CallError, Limits, Loaded,
    ipam::{Holder, Identity, IpamPlugin, Pod},
};
use serde_json::Value;
use std::{net::Ipv4Addr, sync::LazyLock, time::Duration};

static IPAM: LazyLock<Vec<u8>> = LazyLock::new(|| support::plugin("ipam"));

fn loaded(behaviour: &str) -> Loaded {
    let config = Value::String(behaviour.to_owned());
    // A deadline that a busy machine does not reach by itself.
    let limits = Limits {
        deadline: match behaviour {
            "loop" | "loop-keep" => Duration::from_millis(200),
            _ => Duration::from_secs(20),
        },
        ..Limits::for_world(World::Ipam)
    };
    ENGINE.load(World::Ipam, &IPAM, &config, limits).unwrap()
}

fn identity(node: &str) -> Identity {
    let base = u32::from(Ipv4Addr::new(10, 42, 0, 0));
    Identity {
        node: node.to_owned(),
        base,
        prefix: 24,
        reserved: vec![base, base + 1, base + 255],
    }
}

fn plugin(behaviour: &str) -> IpamPlugin {
    let mut plugin = loaded(behaviour).ipam().unwrap();
    plugin.start(&identity("here")).unwrap();
    plugin
}

fn pod(name: &str, labels: &[(&str, &str)]) -> Pod {
    Pod {
        namespace: "default".to_owned(),
        name: name.to_owned(),
        uid: format!("uid-{name}"),
        labels: labels
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect(),
        annotations: Vec::new(),
    }
}

fn any(_: Ipv4Addr) -> Result<(), String> {
    Ok(())
}

fn claim(plugin: &mut IpamPlugin, name: &str) -> String {
    plugin.claim(&pod(name, &[]), any).unwrap().to_string()
}

#[test]
fn it_gives_what_nobody_has_as_it_was_told() {
    let mut plugin = plugin("");
    let held = |name, last| Holder {
        pod: pod(name, &[]),
        address: u32::from(Ipv4Addr::new(10, 42, 0, last)),
    };
    plugin.keep(&[held("a", 2), held("b", 4)]).unwrap();
    assert_eq!(claim(&mut plugin, "c"), "10.42.0.3");
    assert_eq!(claim(&mut plugin, "d"), "10.42.0.5");
    plugin.release("uid-a").unwrap();
    assert_eq!(claim(&mut plugin, "e"), "10.42.0.2");
    let figures = plugin.figures();
    assert_eq!((figures.calls >= 6, figures.traps), (true, 0));
    let told = self::plugin("label").claim(&pod("x", &[("app", "web"), ("offset", "77")]), any);
    assert_eq!(told.unwrap(), Ipv4Addr::new(10, 42, 0, 77), "labels come over");
}

#[test]
fn it_is_of_its_own_world() {
    let inspection = ENGINE.inspect(&IPAM);
    assert_eq!(
        (inspection.world, &inspection.problems[..]),
        (Some(World::Ipam), &[][..])
    );
    let wrong = ENGINE.load(World::Network, &IPAM, &Value::Null, Limits::default());
    let wrong = wrong.map(drop).unwrap_err().to_string();
    assert!(wrong.contains("for the world ipam, not network"), "{wrong}");
    assert!(loaded("").network().is_err() && loaded("").ipam().is_ok());
    let error = loaded("").ipam().unwrap().start(&identity("unwelcome")).unwrap_err();
    assert!(
        matches!(&error, CallError::Refused(words) if words == "not on this node"),
        "{error}"
    );
}

/// The words of one that refuses are for people; it goes on with other pods.
#[test]
fn one_that_refuses_is_asked_again() {
    let mut plugin = plugin("refuse");
    for name in ["a", "b"] {
        let error = plugin.claim(&pod(name, &[]), any).unwrap_err();
        let words = format!("default/{name} is to wait");
        assert!(matches!(&error, CallError::Refused(said) if *said == words), "{error}");
    }
    assert_eq!(plugin.figures().traps, 0);
    let error = self::plugin("words").claim(&pod("a", &[]), any).unwrap_err();
    assert!(
        matches!(&error, CallError::Refused(said) if said.len() < 5000),
        "words are bounded"
    );
}

/// What a claim ends in; the instance is of no more use after it.
fn failure(behaviour: &str, check: impl FnOnce(Ipv4Addr) -> Result<(), String>) -> CallError {
    let mut hostile = plugin(behaviour);
    let error = hostile.claim(&pod("a", &[]), check).unwrap_err();
    let again = hostile.claim(&pod("b", &[]), any);
    assert!(matches!(again, Err(CallError::Poisoned)), "{behaviour}");
    assert!(matches!(hostile.release("uid-a"), Err(CallError::Poisoned)));
    assert_eq!(hostile.figures().traps, 1);
    error
}

#[test]
fn a_hostile_one_gives_nothing() {
    assert!(matches!(failure("trap", any), CallError::Trap(words) if words.contains("unreachable")));
    assert!(matches!(failure("loop", any), CallError::Deadline(_)));
    assert!(matches!(failure("memory", any), CallError::Memory(_)));
    let check = |address: Ipv4Addr| Err(format!("{address} will not do"));
    let error = failure("outside", check);
    assert!(
        matches!(&error, CallError::Rubbish(said) if said == "169.254.169.254 will not do"),
        "{error}"
    );
    assert!(matches!(plugin("trap-keep").keep(&[]), Err(CallError::Trap(_))));
    assert!(matches!(plugin("loop-keep").keep(&[]), Err(CallError::Deadline(_))));
}
