//! What is in the table whatever is wanted: its sets, its chains, and how packets go through them.
use super::{
    changes::Changes,
    intervals,
    nft::{Expression, Hook, HookPoint, Register, SetKind, Verdict, expression::*, set::*},
    settings::{Settings, interface},
};
use sampan_sandbox::network::Family;

pub(super) const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// Connections of one client that are remembered, for all Services with affinity; others draw a new place.
const MOST_NOTED: u32 = 262_144;

/// What maps of frontends have where there is no backend, instead of a shape's number.
pub(super) const REJECT: u32 = 1;
pub(super) const DROP: u32 = 2;

/// A register for what is needed at once.
pub(super) const SCRATCH: Register = Register(15);

/// The bytes of the protocols that have ports.
const ICMP_V6: u8 = 58;

/// `inside4`.
pub(super) fn named(name: &str, family: Family) -> String {
    match family {
        Family::V4 => format!("{name}4"),
        Family::V6 => format!("{name}6"),
    }
}

/// Where the parts of a packet's addresses are loaded to: source, destination, protocol, port, backend and its port, in a
/// row, so that parts of the row are keys of maps.
#[derive(Clone, Copy)]
pub(super) struct Row(pub(super) Family);

impl Row {
    fn width(self) -> u8 {
        match self.0 {
            Family::V4 => 1,
            Family::V6 => 4,
        }
    }

    pub(super) fn source(self) -> Register {
        Register(0)
    }

    pub(super) fn destination(self) -> Register {
        Register(self.width())
    }

    pub(super) fn protocol(self) -> Register {
        Register(2 * self.width())
    }

    pub(super) fn port(self) -> Register {
        Register(2 * self.width() + 1)
    }

    /// The number of a place, too.
    pub(super) fn backend(self) -> Register {
        Register(2 * self.width() + 2)
    }

    pub(super) fn backend_port(self) -> Register {
        Register(3 * self.width() + 2)
    }

    pub(super) fn load_source(self) -> Expression {
        self.load_source_to(self.source())
    }

    pub(super) fn load_source_to(self, to: Register) -> Expression {
        match self.0 {
            Family::V4 => Expression::Payload(Layer::Network, 12, 4, to),
            Family::V6 => Expression::Payload(Layer::Network, 8, 16, to),
        }
    }

    pub(super) fn load_destination(self) -> Expression {
        match self.0 {
            Family::V4 => Expression::Payload(Layer::Network, 16, 4, self.destination()),
            Family::V6 => Expression::Payload(Layer::Network, 24, 16, self.destination()),
        }
    }

    /// The key of a frontend: what the packet is for, or the same at any address of the node.
    pub(super) fn load_frontend(self, at_node: bool) -> Vec<Expression> {
        let destination = if at_node {
            Expression::Value(self.destination(), vec![0; usize::from(self.width()) * 4])
        } else {
            self.load_destination()
        };
        vec![
            destination,
            Expression::Meta(Meta::Protocol, self.protocol()),
            Expression::Payload(Layer::Transport, 2, 2, self.port()),
        ]
    }

    pub(super) fn is_family(self) -> Vec<Expression> {
        let number = match self.0 {
            Family::V4 => 2,
            Family::V6 => 10,
        };
        vec![
            Expression::Meta(Meta::Family, SCRATCH),
            Expression::Equal(SCRATCH, vec![number]),
        ]
    }

    fn is_loopback(self) -> Vec<Expression> {
        match self.0 {
            Family::V4 => vec![
                Expression::Payload(Layer::Network, 16, 1, SCRATCH),
                Expression::Equal(SCRATCH, vec![127]),
            ],
            Family::V6 => {
                let mut one = vec![0; 16];
                one[15] = 1;
                vec![self.load_destination(), Expression::Equal(self.destination(), one)]
            }
        }
    }
}

/// A rule of parts.
pub(super) fn rule(parts: impl IntoIterator<Item = Vec<Expression>>) -> Vec<Expression> {
    parts.into_iter().flatten().collect()
}

pub(super) fn verdict(verdict: Verdict) -> Vec<Expression> {
    vec![Expression::Verdict(verdict)]
}

fn goto(chain: String) -> Vec<Expression> {
    verdict(Verdict::Goto(chain))
}

pub(super) fn number(value: u32) -> Vec<u8> {
    value.to_ne_bytes().to_vec()
}

/// Goes on if any of the bits is set, or, with `none`, if none is.
fn bits(load: Expression, mask: u32, none: bool) -> Vec<Expression> {
    let keep = Expression::Bits(SCRATCH, number(mask), number(0));
    let nothing = number(0);
    let compare = if none {
        Expression::Equal(SCRATCH, nothing)
    } else {
        Expression::Unequal(SCRATCH, nothing)
    };
    vec![load, keep, compare]
}

fn answers_pass() -> Vec<Expression> {
    let known = bits(Expression::State(SCRATCH), STATE_ESTABLISHED | STATE_RELATED, false);
    rule([known, verdict(Verdict::Accept)])
}

/// Sets the datapath's bit of the mark.
pub(super) fn mark(bit: u32) -> Vec<Expression> {
    vec![
        Expression::Meta(Meta::Mark, SCRATCH),
        Expression::Bits(SCRATCH, number(!bit), number(bit)),
        Expression::SetMark(SCRATCH),
    ]
}

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
    let mut sets: Vec<SetKind> = ["own", "cluster", "services"]
        .map(|name| ranges(named(name, family), family))
        .into();
    sets.extend([
        of("senders", keys.sender, Holds::Keys),
        of("hairpins", keys.pair, Holds::Keys),
        of("rules-in", keys.address, Holds::Verdicts),
        of("rules-out", keys.address, Holds::Verdicts),
        of("inside", keys.frontend, Holds::Values(&[Field::Number])),
        of("outside", keys.frontend, Holds::Values(&[Field::Number])),
        of("sourced", keys.frontend, Holds::Values(&[Field::Number])),
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
    changes.chain("spoofing", point(Hook::Prerouting, -300, false), spoofing(settings)?);
    changes.chain("spoofing-pods", None, spoofing_pods());
    changes.chain(
        "refusing",
        point(Hook::Prerouting, -110, false),
        by_origin("refuse", true),
    );
    changes.chain(
        "refusing-own",
        point(Hook::Output, -110, false),
        by_origin("refuse", false),
    );
    changes.chain(
        "balancing",
        point(Hook::Prerouting, -100, true),
        by_origin("balance", true),
    );
    changes.chain(
        "balancing-own",
        point(Hook::Output, -100, true),
        by_origin("balance", false),
    );
    changes.chain("forwarding", point(Hook::Forward, 0, false), forwarding());
    changes.chain("entering", point(Hook::Input, 0, false), entering());
    changes.chain("leaving", point(Hook::Postrouting, 100, true), leaving(settings)?);
    changes.chain("reject", None, reject());
    for family in FAMILIES {
        for side in ["inside", "outside"] {
            changes.chain(&named(&format!("refuse-{side}"), family), None, refuse(side, family));
            changes.chain(&named(&format!("balance-{side}"), family), None, balance(side, family));
        }
        for (name, set) in [("own", &settings.pod_ranges), ("services", &settings.service_ranges)] {
            let (_, elements) = intervals::changes(&Vec::new(), &intervals::joined(set, family), family);
            changes.add_all(&named(name, family), elements);
        }
    }
    for (refusal, verdict) in [(REJECT, Verdict::Goto("reject".to_owned())), (DROP, Verdict::Drop)] {
        changes.add("refusals", Element::verdict(number(refusal), verdict));
        changes.add("shapes", Element::verdict(number(refusal), Verdict::Accept));
    }
    Ok(())
}

/// What comes from a pod comes from one of its addresses, and what comes from elsewhere from none of a pod here.
fn spoofing(settings: &Settings) -> Result<Vec<Vec<Expression>>, String> {
    let from = |name: Vec<u8>| {
        vec![
            Expression::Meta(Meta::InputName, Register(0)),
            Expression::Equal(Register(0), name),
        ]
    };
    let prefix = settings.pod_interface_prefix.as_bytes().to_vec();
    let mut rules = vec![
        rule([from(prefix), goto("spoofing-pods".to_owned())]),
        rule([from(interface("lo")?), verdict(Verdict::Accept)]),
    ];
    for family in FAMILIES {
        let row = Row(family);
        let own = vec![row.load_source(), Expression::In(named("own", family), row.source())];
        rules.push(rule([
            row.is_family(),
            own,
            vec![Expression::Counter],
            verdict(Verdict::Drop),
        ]));
    }
    Ok(rules)
}

fn spoofing_pods() -> Vec<Vec<Expression>> {
    let name = || Expression::Meta(Meta::InputName, Register(0));
    let mut rules = Vec::new();
    for family in FAMILIES {
        let row = Row(family);
        let sender = vec![
            name(),
            row.load_source_to(Register(4)),
            Expression::In(named("senders", family), Register(0)),
        ];
        rules.push(rule([row.is_family(), sender, verdict(Verdict::Accept)]));
    }
    // Neighbours find each other by addresses of the link, or before they have one.
    let row = Row(Family::V6);
    let mut link = vec![0; 16];
    (link[0], link[1]) = (0xfe, 0x80);
    let mut prefix = vec![0; 16];
    (prefix[0], prefix[1]) = (0xff, 0xc0);
    let is_link = vec![
        row.load_source_to(Register(4)),
        Expression::Bits(Register(4), prefix, vec![0; 16]),
        Expression::Equal(Register(4), link),
    ];
    let is_none = vec![
        row.load_source_to(Register(4)),
        Expression::Equal(Register(4), vec![0; 16]),
    ];
    for source in [is_link, is_none] {
        let speaks = vec![name(), Expression::In("speakers".to_owned(), Register(0))];
        rules.push(rule([
            row.is_family(),
            neighbours(),
            source,
            speaks,
            verdict(Verdict::Accept),
        ]));
    }
    rules.push(rule([vec![Expression::Counter], verdict(Verdict::Drop)]));
    rules
}

/// Goes on if it is IPv6's neighbour discovery.
fn neighbours() -> Vec<Expression> {
    vec![
        Expression::Meta(Meta::Protocol, SCRATCH),
        Expression::Equal(SCRATCH, vec![ICMP_V6]),
        Expression::Payload(Layer::Transport, 0, 1, SCRATCH),
        Expression::Within(SCRATCH, vec![133], vec![136]),
    ]
}

/// New connections by where they come from: inside is what pods say, and what this node itself does.
fn by_origin(what: &str, from_elsewhere: bool) -> Vec<Vec<Expression>> {
    let known = bits(Expression::State(SCRATCH), STATE_NEW, true);
    let mut rules = vec![rule([known, verdict(Verdict::Accept)])];
    for family in FAMILIES {
        let row = Row(family);
        let inside = goto(named(&format!("{what}-inside"), family));
        if from_elsewhere {
            let of_pod = vec![
                row.load_source(),
                Expression::In(named("cluster", family), row.source()),
            ];
            rules.push(rule([row.is_family(), of_pod, inside]));
            let outside = goto(named(&format!("{what}-outside"), family));
            rules.push(rule([row.is_family(), outside]));
        } else {
            rules.push(rule([row.is_family(), inside]));
        }
    }
    rules
}

/// Refuses what is for a frontend without backends, or from somebody who may not.
fn refuse(side: &str, family: Family) -> Vec<Vec<Expression>> {
    let row = Row(family);
    let look = |map: &str, at_node| {
        let find = Expression::Map(named(map, family), row.destination(), SCRATCH);
        rule([row.load_frontend(at_node), vec![find]])
    };
    let act = |map: &str| vec![Expression::VerdictMap(map.to_owned(), SCRATCH)];
    let mut rules = Vec::new();
    for at_node in [false, true] {
        let local = if at_node { is_local() } else { Vec::new() };
        if side == "outside" {
            rules.push(rule([local.clone(), look("sourced", at_node), act("source-lists")]));
        }
        rules.push(rule([local, look(side, at_node), act("refusals")]));
        if !at_node {
            rules.push(rule([look(side, false), verdict(Verdict::Accept)]));
            let of_services = Expression::In(named("services", family), row.destination());
            rules.push(rule([
                vec![row.load_destination(), of_services],
                goto("reject".to_owned()),
            ]));
            rules.push(rule([row.is_loopback(), verdict(Verdict::Accept)]));
        }
    }
    rules
}

fn is_local() -> Vec<Expression> {
    vec![
        Expression::DestinationKind(SCRATCH),
        Expression::Equal(SCRATCH, number(LOCAL)),
    ]
}

/// Sends connections to the chain of their frontend's shape, which does not come back.
fn balance(side: &str, family: Family) -> Vec<Vec<Expression>> {
    let row = Row(family);
    let look = |at_node| {
        let find = Expression::Map(named(side, family), row.destination(), SCRATCH);
        rule([row.load_frontend(at_node), vec![find]])
    };
    let act = || vec![Expression::VerdictMap("shapes".to_owned(), SCRATCH)];
    // A frontend that was found, but whose shape was not, is being changed this very moment.
    let again = || vec![Expression::Counter, Expression::Verdict(Verdict::Drop)];
    vec![
        rule([look(false), act()]),
        rule([look(false), again()]),
        rule([row.is_loopback(), verdict(Verdict::Accept)]),
        rule([is_local(), look(true), act()]),
        rule([is_local(), look(true), again()]),
    ]
}

fn reject() -> Vec<Vec<Expression>> {
    let tcp = vec![
        Expression::Meta(Meta::Protocol, SCRATCH),
        Expression::Equal(SCRATCH, vec![6]),
    ];
    vec![
        rule([tcp, vec![Expression::RejectReset]]),
        vec![Expression::RejectUnreachable],
    ]
}

fn rules_of(map: &str, family: Family) -> Vec<Expression> {
    let row = Row(family);
    let (load, at) = match map {
        "rules-in" => (row.load_destination(), row.destination()),
        _ => (row.load_source(), row.source()),
    };
    rule([
        row.is_family(),
        vec![load, Expression::VerdictMap(named(map, family), at)],
    ])
}

/// Goes on if a pod speaks to itself, by way of a Service.
fn is_hairpin(family: Family) -> Vec<Expression> {
    let row = Row(family);
    let pair = Expression::In(named("hairpins", family), row.source());
    rule([row.is_family(), vec![row.load_source(), row.load_destination(), pair]])
}

fn forwarding() -> Vec<Vec<Expression>> {
    let mut rules = vec![answers_pass()];
    rules.extend(FAMILIES.map(|family| rule([is_hairpin(family), verdict(Verdict::Accept)])));
    rules.extend(FAMILIES.map(|family| rules_of("rules-out", family)));
    rules.extend(FAMILIES.map(|family| rules_of("rules-in", family)));
    rules
}

fn entering() -> Vec<Vec<Expression>> {
    let mut rules = vec![answers_pass()];
    let of_v6 = Row(Family::V6).is_family();
    rules.push(rule([of_v6, neighbours(), verdict(Verdict::Accept)]));
    rules.extend(FAMILIES.map(|family| rules_of("rules-out", family)));
    rules
}

/// What leaves with an address of this node.
fn leaving(settings: &Settings) -> Result<Vec<Vec<Expression>>, String> {
    let bit = settings.masquerade_mark;
    let marked = bits(Expression::Meta(Meta::Mark, SCRATCH), bit, false);
    let unmark = vec![
        Expression::Meta(Meta::Mark, SCRATCH),
        Expression::Bits(SCRATCH, number(!bit), number(0)),
        Expression::SetMark(SCRATCH),
    ];
    let masquerade = || vec![Expression::Masquerade];
    let mut rules = vec![rule([marked, unmark, masquerade()])];
    let through = |compare: fn(Register, Vec<u8>) -> Expression, name: Vec<u8>| {
        vec![
            Expression::Meta(Meta::OutputName, Register(8)),
            compare(Register(8), name),
        ]
    };
    for family in FAMILIES {
        let row = Row(family);
        let translated = bits(Expression::Status(SCRATCH), STATUS_DNAT, false);
        rules.push(rule([translated, is_hairpin(family), masquerade()]));
        if let Some(overlay) = &settings.overlay_interface {
            // Peers take nothing that is not from a pod's address, or the node's own among them.
            let others = vec![row.load_source(), Expression::NotIn(named("own", family), row.source())];
            let out = through(Expression::Equal, interface(overlay)?);
            rules.push(rule([row.is_family(), out, others, masquerade()]));
        }
        if settings.masquerade {
            let outward = vec![
                row.load_source(),
                Expression::In(named("own", family), row.source()),
                row.load_destination(),
                Expression::NotIn(named("cluster", family), row.destination()),
            ];
            let prefix = settings.pod_interface_prefix.as_bytes().to_vec();
            let no_pod = through(Expression::Unequal, prefix);
            let no_loopback = through(Expression::Unequal, interface("lo")?);
            rules.push(rule([row.is_family(), outward, no_pod, no_loopback, masquerade()]));
        }
    }
    Ok(rules)
}
