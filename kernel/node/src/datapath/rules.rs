//! The rules that packets go through whatever is wanted.
use super::{
    nft::{Expression, Register, Verdict, expression::*},
    row::{FAMILIES, Row, SCRATCH, act, bits, goto, named, number, rule, verdict},
    settings::{Settings, interface},
};
use sampan_sandbox::network::Family;

const ICMP_V6: u8 = 58;

const TCP: u8 = 6;

fn answers_pass() -> Vec<Expression> {
    let known = bits(Expression::State(SCRATCH), STATE_ESTABLISHED | STATE_RELATED, false);
    rule([known, verdict(Verdict::Accept)])
}
/// What comes from a pod comes from one of its addresses, and what comes from elsewhere from none of a pod here.
pub(super) fn spoofing(settings: &Settings) -> Result<Vec<Vec<Expression>>, String> {
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

pub(super) fn spoofing_pods() -> Vec<Vec<Expression>> {
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
pub(super) fn by_origin(what: &str, from_elsewhere: bool) -> Vec<Vec<Expression>> {
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
///
/// Of a table that is replaced this very moment the maps are empty at once, so that nothing is found is not enough to refuse
/// a connection: nobody's frontend, which is always there, must be found.
pub(super) fn refuse(side: &str, family: Family) -> Vec<Vec<Expression>> {
    let row = Row(family);
    let look = |map: &str, at_node| {
        let find = Expression::Map(named(map, family), row.destination(), SCRATCH);
        rule([row.load_frontend(at_node), vec![find]])
    };
    let mut rules = Vec::new();
    for at_node in [false, true] {
        let local = if at_node { is_local() } else { Vec::new() };
        if side == "outside" {
            rules.push(rule([local.clone(), look("sourced", at_node), act("source-lists")]));
        }
        rules.push(rule([local, look(side, at_node), act("refusals")]));
        if !at_node {
            rules.push(rule([look(side, false), verdict(Verdict::Accept)]));
            let of_services = Expression::VerdictMap(named("services", family), row.destination());
            let is_whole = Expression::Map(named(side, family), row.destination(), SCRATCH);
            let nobody = row.nobody();
            rules.push(rule([nobody, vec![is_whole, row.load_destination(), of_services]]));
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
pub(super) fn balance(side: &str, family: Family) -> Vec<Vec<Expression>> {
    let row = Row(family);
    let look = |at_node| {
        let find = Expression::Map(named(side, family), row.destination(), SCRATCH);
        rule([row.load_frontend(at_node), vec![find]])
    };
    // A frontend that was found, but whose shape was not, is being changed this very moment.
    let again = || vec![Expression::Counter, Expression::Verdict(Verdict::Drop)];
    vec![
        rule([look(false), act("shapes")]),
        rule([look(false), again()]),
        rule([row.is_loopback(), verdict(Verdict::Accept)]),
        rule([is_local(), look(true), act("shapes")]),
        rule([is_local(), look(true), again()]),
    ]
}

pub(super) fn reject() -> Vec<Vec<Expression>> {
    let tcp = vec![
        Expression::Meta(Meta::Protocol, SCRATCH),
        Expression::Equal(SCRATCH, vec![TCP]),
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

pub(super) fn forwarding() -> Vec<Vec<Expression>> {
    let mut rules = vec![answers_pass()];
    rules.extend(FAMILIES.map(|family| rule([is_hairpin(family), verdict(Verdict::Accept)])));
    rules.extend(FAMILIES.map(|family| rules_of("rules-out", family)));
    rules.extend(FAMILIES.map(|family| rules_of("rules-in", family)));
    rules
}

pub(super) fn entering() -> Vec<Vec<Expression>> {
    let mut rules = vec![answers_pass()];
    let of_v6 = Row(Family::V6).is_family();
    rules.push(rule([of_v6, neighbours(), verdict(Verdict::Accept)]));
    rules.extend(FAMILIES.map(|family| rules_of("rules-out", family)));
    rules
}

/// What leaves with an address of this node.
pub(super) fn leaving(settings: &Settings) -> Result<Vec<Vec<Expression>>, String> {
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
