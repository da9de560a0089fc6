//! What is in the table whatever is wanted: its sets, and its chains with their hooks.
use super::{
    changes::Changes,
    frontends::COUNTED,
    intervals,
    nft::{Element, Hook, HookPoint, SetKind, Verdict, set::*},
    row::{FAMILIES, Row, named, number},
    rules,
    settings::Settings,
};
use sampan_sandbox::network::Family;

/// The priority of the chain that comes first, in a table's first turn.
pub(super) const FIRST: i32 = -300;

/// How many priorities each chain has, to take turns. A packet that is between two chains of one hook while one table takes
/// the place of the other must not have missed both, so the new one's chains are entered after those of the old one.
pub(super) const TURNS: i32 = 40;

/// Connections of one client that are remembered, for all Services with affinity; others draw a new place.
const MOST_NOTED: u32 = 262_144;

/// What maps of frontends have where there is no backend, instead of a shape's number.
pub(super) const REJECT: u32 = 1;
pub(super) const DROP: u32 = 2;

fn sets() -> Vec<SetKind> {
    let mut sets = vec![
        kind("shapes".to_owned(), &[Field::Number], Holds::Verdicts),
        kind("source-lists".to_owned(), &[Field::Number], Holds::Verdicts),
        kind("refusals".to_owned(), &[Field::Number], Holds::Verdicts),
        kind("speakers".to_owned(), &[Field::Interface], Holds::Keys),
    ];
    for family in FAMILIES {
        sets.extend(match family {
            Family::V4 => sets_of(family, &KEYS_V4),
            Family::V6 => sets_of(family, &KEYS_V6),
        });
    }
    sets
}

/// What the keys of the sets of a family are.
struct Keys {
    address: &'static [Field],
    pair: &'static [Field],
    sender: &'static [Field],
    frontend: &'static [Field],
    place: &'static [Field],
    member: &'static [Field],
    client: &'static [Field],
    target: &'static [Field],
}

macro_rules! keys {
    ($address:expr) => {
        Keys {
            address: &[$address],
            pair: &[$address, $address],
            sender: &[Field::Interface, $address],
            frontend: &[$address, Field::Protocol, Field::Port],
            place: &[$address, Field::Protocol, Field::Port, Field::Number],
            member: &[$address, Field::Protocol, Field::Port, $address, Field::Port],
            client: &[$address, $address, Field::Protocol, Field::Port],
            target: &[$address, Field::Port],
        }
    };
}

static KEYS_V4: Keys = keys!(Field::V4);
static KEYS_V6: Keys = keys!(Field::V6);

fn kind(name: String, key: &'static [Field], holds: Holds) -> SetKind {
    SetKind {
        name,
        key,
        holds,
        interval: false,
        dynamic: None,
        counts: false,
    }
}

/// A set of ranges.
pub(super) fn ranges(name: String, family: Family) -> SetKind {
    let keys = match family {
        Family::V4 => &KEYS_V4,
        Family::V6 => &KEYS_V6,
    };
    SetKind {
        interval: true,
        ..kind(name, keys.address, Holds::Keys)
    }
}

fn sets_of(family: Family, keys: &'static Keys) -> Vec<SetKind> {
    let of = |name, key, holds| kind(named(name, family), key, holds);
    let mut sets: Vec<SetKind> = ["own", "cluster"]
        .map(|name| ranges(named(name, family), family))
        .into();
    sets.extend([
        SetKind {
            interval: true,
            ..of("services", keys.address, Holds::Verdicts)
        },
        of("senders", keys.sender, Holds::Keys),
        of("hairpins", keys.pair, Holds::Keys),
        of("rules-in", keys.address, Holds::Verdicts),
        of("rules-out", keys.address, Holds::Verdicts),
        of("inside", keys.frontend, Holds::Values(&[Field::Number])),
        of("outside", keys.frontend, Holds::Values(&[Field::Number])),
        of("sourced", keys.frontend, Holds::Values(&[Field::Number])),
        SetKind {
            counts: true,
            ..of(COUNTED, keys.frontend, Holds::Keys)
        },
        of("inside-places", keys.place, Holds::Values(keys.target)),
        of("outside-places", keys.place, Holds::Values(keys.target)),
        of("inside-members", keys.member, Holds::Keys),
        of("outside-members", keys.member, Holds::Keys),
        SetKind {
            dynamic: Some(MOST_NOTED),
            ..of("affinity", keys.client, Holds::Values(keys.target))
        },
    ]);
    sets
}

/// Everything that is there before anything is wanted.
pub(super) fn begin(settings: &Settings, changes: &mut Changes) -> Result<(), String> {
    sets().into_iter().for_each(|set| changes.set(set));
    let point = |hook, priority, is_nat| Some(HookPoint { hook, priority, is_nat });
    changes.chain(
        "spoofing",
        point(Hook::Prerouting, FIRST, false),
        rules::spoofing(settings)?,
    );
    changes.chain("spoofing-pods", None, rules::spoofing_pods());
    changes.chain(
        "refusing",
        point(Hook::Prerouting, -145, false),
        rules::by_origin("refuse", true),
    );
    changes.chain(
        "refusing-own",
        point(Hook::Output, -145, false),
        rules::by_origin("refuse", false),
    );
    changes.chain(
        "balancing",
        point(Hook::Prerouting, -100, true),
        rules::by_origin("balance", true),
    );
    changes.chain(
        "balancing-own",
        point(Hook::Output, -100, true),
        rules::by_origin("balance", false),
    );
    changes.chain("forwarding", point(Hook::Forward, 0, false), rules::forwarding());
    changes.chain("entering", point(Hook::Input, 0, false), rules::entering());
    changes.chain(
        "leaving",
        point(Hook::Postrouting, 100, true),
        rules::leaving(settings)?,
    );
    changes.chain("rejecting", None, rules::reject());
    for family in FAMILIES {
        for side in ["inside", "outside"] {
            changes.chain(
                &named(&format!("refuse-{side}"), family),
                None,
                rules::refuse(side, family),
            );
            changes.chain(
                &named(&format!("balance-{side}"), family),
                None,
                rules::balance(side, family),
            );
            let nobody = Element::value(Row(family).nobody_key(), number(REJECT));
            changes.add(&named(side, family), nobody);
        }
        let all = |set| intervals::changes(&Vec::new(), &intervals::joined(set, family), family).1;
        changes.add_all(&named("own", family), all(&settings.pod_ranges));
        let rejected = all(&settings.service_ranges).into_iter().map(|element| Element {
            data: (!element.is_end).then(|| Data::Verdict(Verdict::Goto("rejecting".to_owned()))),
            ..element
        });
        changes.add_all(&named("services", family), rejected);
    }
    for (refusal, verdict) in [(REJECT, Verdict::Goto("rejecting".to_owned())), (DROP, Verdict::Drop)] {
        changes.add("refusals", Element::verdict(number(refusal), verdict));
        changes.add("shapes", Element::verdict(number(refusal), Verdict::Accept));
    }
    Ok(())
}
