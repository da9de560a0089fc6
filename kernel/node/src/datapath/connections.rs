//! The kernel's memory of connections, where it leads to backends that are gone.
//!
//! Which backend a connection has is decided at its first packet and remembered with the connection's ports. What was
//! never answered would go on to a backend that left for as long as the kernel waits for an answer, two minutes for TCP, and
//! so would a new connection that gets the same port; and of UDP the kernel knows no end as long as somebody sends. So these
//! are forgotten when a backend leaves, and decided anew at their next packet. Connections that stand are not touched.
//!
//! What the numbers mean is in Linux's `include/uapi/linux/netfilter/nfnetlink_conntrack.h` and
//! `nf_conntrack_common.h`.
use super::{
    frontends::{Frontends, protocol},
    nft::{Bytes, F_DUMP, Socket, attribute},
    places::Target,
};
use crate::net::netlink::Netlink;
use rtnetlink::{
    packet_core::NLM_F_DUMP,
    packet_route::{
        RouteNetlinkMessage,
        address::{AddressAttribute, AddressMessage},
    },
};
use sampan_sandbox::network::{Address, Destination, Family, FrontendKey, Protocol, Range};
use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::{Duration, Instant},
};

/// The subsystem of connections in a message's type, and what is asked of it.
const CONNECTIONS: u16 = 1 << 8;
const GET: u16 = 1;
const DELETE: u16 = 2;

/// Attributes of a connection.
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const STATUS: u16 = 3;
const ID: u16 = 12;
const ZONE: u16 = 18;
const FILTER: u16 = 25;
const STATUS_MASK: u16 = 26;

/// Attributes of one of its directions.
const ADDRESSES: u16 = 1;
const TRANSPORT: u16 = 2;
const NUMBER: u16 = 1;

/// What of a direction the filter compares: the protocol's number.
const BY_PROTOCOL: u32 = 1 << 3;

/// Bits of the status.
const ANSWERED: u32 = 1 << 1;
const TRANSLATED: u32 = 1 << 5;

/// Connections that are forgotten at once; those beyond go when the kernel's time for them is over.
const MOST: usize = 100_000;

/// So long there is between two looks at all that the kernel knows: one takes it about ten milliseconds for each family and
/// protocol, in which one of its CPUs takes no packets.
const PAUSE: Duration = Duration::from_millis(250);

/// What frontends have lost.
#[derive(Default)]
pub(super) struct Left {
    /// Those of which a backend left, that are gone themselves, or that are where packets went by until now.
    pub(super) frontends: BTreeSet<FrontendKey>,
    /// What was before is not known.
    pub(super) any: bool,
}

impl Left {
    fn is_empty(&self) -> bool {
        self.frontends.is_empty() && !self.any
    }

    fn concerns(&self, key: &FrontendKey) -> bool {
        self.any || self.frontends.contains(key)
    }
}

/// What is asked for at once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Question {
    Unanswered,
    Udp,
}

/// Forgets connections.
#[derive(Default)]
pub(super) struct Connections {
    /// What is still to be looked at.
    left: Left,
    last: Option<Instant>,
    /// That they cannot be forgotten was said.
    has_said: bool,
}

impl Connections {
    /// Notes that backends left.
    pub(super) fn note(&mut self, left: Left) {
        self.left.frontends.extend(left.frontends);
        self.left.any |= left.any;
    }

    /// When there is something to do; nothing where there is not.
    pub(super) fn due(&self) -> Option<Instant> {
        let pause = || self.last.map_or_else(Instant::now, |last| last + PAUSE);
        (!self.left.is_empty()).then(pause)
    }

    /// Forgets those to backends that left, if it is due. That it cannot be done is said once, and no reason not to go on.
    pub(super) fn forget(&mut self, socket: &mut Socket, now: &Frontends, services: &[Range]) {
        if self.due().is_none_or(|due| due > Instant::now()) {
            return;
        }
        let left = std::mem::take(&mut self.left);
        match forget(socket, &left, now, services) {
            Ok(()) => self.has_said = false,
            Err(_) if self.has_said => {}
            Err(error) => {
                self.has_said = true;
                let hint = match error.raw_os_error() {
                    Some(libc::EINVAL | libc::EOPNOTSUPP) => {
                        ": load its module (`modprobe nf_conntrack_netlink`), or boot a kernel that was built with \
                         CONFIG_NF_CT_NETLINK"
                    }
                    _ => "",
                };
                tracing::warn!(
                    %error,
                    "the kernel does not let its memory of connections be changed, so some go on to backends that are gone{hint}"
                );
            }
        }
        self.last = Some(Instant::now());
    }
}

fn forget(socket: &mut Socket, left: &Left, now: &Frontends, services: &[Range]) -> io::Result<()> {
    let at_node = |key: &FrontendKey| matches!(key.destination, Destination::Node(_));
    let own = match left.any || left.frontends.iter().any(at_node) {
        true => own_addresses()?,
        false => BTreeSet::new(),
    };
    let concerned = Concerned {
        left,
        now,
        services,
        own,
    };
    for (family, question) in concerned.questions() {
        let mut stale = Vec::new();
        ask(socket, family, question, |connection| {
            if stale.len() < MOST && concerned.is_stale(&connection) {
                stale.push(connection.named());
            }
        })?;
        for named in stale {
            let fill = |bytes: &mut Bytes| bytes.0.extend_from_slice(&named);
            match socket.ask_of(CONNECTIONS | DELETE, 0, number(family), fill, |_| {}) {
                // It has ended meanwhile.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
                deleted => deleted?,
            }
        }
    }
    Ok(())
}

/// As netfilter has it.
fn number(family: Family) -> u8 {
    match family {
        Family::V4 => 2,
        Family::V6 => 10,
    }
}

/// A kernel that knows less of filters tells more, so the answers are looked at again.
fn ask(
    socket: &mut Socket,
    family: Family,
    question: Question,
    mut tell: impl FnMut(Connection<'_>),
) -> io::Result<()> {
    let fill = |bytes: &mut Bytes| match question {
        Question::Unanswered => {
            bytes.u32(STATUS, 0);
            bytes.u32(STATUS_MASK, ANSWERED);
        }
        Question::Udp => {
            bytes.nested(ORIGINAL, |bytes| {
                bytes.nested(TRANSPORT, |bytes| bytes.u8(NUMBER, protocol(Protocol::Udp)));
            });
            bytes.nested(FILTER, |bytes| bytes.bytes(1, &BY_PROTOCOL.to_ne_bytes()));
        }
    };
    socket.ask_of(CONNECTIONS | GET, F_DUMP, number(family), fill, |body| {
        Connection::read(body).into_iter().for_each(&mut tell);
    })
}

/// A connection that the kernel knows.
struct Connection<'a> {
    body: &'a [u8],
    protocol: u8,
    /// Where its client sends to.
    to: Target,
    /// Who it is that gets it, and so answers.
    by: Target,
    status: u32,
}

impl<'a> Connection<'a> {
    fn read(body: &'a [u8]) -> Option<Self> {
        let (original, reply) = (attribute(body, ORIGINAL)?, attribute(body, REPLY)?);
        let transport = attribute(original, TRANSPORT)?;
        Some(Connection {
            body,
            protocol: *attribute(transport, NUMBER)?.first()?,
            to: end(original, End::Destination)?,
            by: end(reply, End::Source)?,
            status: u32::from_be_bytes(attribute(body, STATUS)?.try_into().ok()?),
        })
    }

    /// What tells it from all others, also from one that comes in its place.
    fn named(&self) -> Vec<u8> {
        let mut bytes = Bytes::default();
        if let Some(original) = attribute(self.body, ORIGINAL) {
            bytes.nested(ORIGINAL, |bytes| bytes.0.extend_from_slice(original));
        }
        for kind in [ZONE, ID] {
            if let Some(value) = attribute(self.body, kind) {
                bytes.bytes(kind, value);
            }
        }
        bytes.0
    }
}

#[derive(Clone, Copy)]
enum End {
    Source,
    Destination,
}

fn end(direction: &[u8], end: End) -> Option<Target> {
    let (v4, v6, port) = match end {
        End::Source => (1, 3, 2),
        End::Destination => (2, 4, 3),
    };
    let addresses = attribute(direction, ADDRESSES)?;
    let address = match (attribute(addresses, v4), attribute(addresses, v6)) {
        (Some(bytes), _) => IpAddr::from(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        (_, Some(bytes)) => IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        _ => return None,
    };
    let port = attribute(attribute(direction, TRANSPORT)?, port)?;
    Some((address.into(), u16::from_be_bytes(port.try_into().ok()?)))
}

/// Which connections it is about.
struct Concerned<'a> {
    left: &'a Left,
    now: &'a Frontends,
    services: &'a [Range],
    own: BTreeSet<Address>,
}

impl Concerned<'_> {
    fn questions(&self) -> BTreeSet<(Family, Question)> {
        let of_key = |key: &FrontendKey| {
            let family = match key.destination {
                Destination::Address(address) => address.family(),
                Destination::Node(family) => family,
            };
            let question = match key.protocol {
                Protocol::Udp => Question::Udp,
                Protocol::Tcp | Protocol::Sctp => Question::Unanswered,
            };
            (family, question)
        };
        if !self.left.any {
            return self.left.frontends.iter().map(of_key).collect();
        }
        let of_service = |range: &Range| [Question::Unanswered, Question::Udp].map(|one| (range.address.family(), one));
        let of_services = self.services.iter().flat_map(of_service);
        self.now.keys().map(of_key).chain(of_services).collect()
    }

    /// Whether it was decided on what is no more.
    fn is_stale(&self, connection: &Connection<'_>) -> bool {
        let (protocol, decided) = match connection.protocol {
            6 => (Protocol::Tcp, ANSWERED),
            // Of what was not translated, what is answered is somebody's who is there.
            17 => (
                Protocol::Udp,
                if connection.status & TRANSLATED == 0 {
                    ANSWERED
                } else {
                    0
                },
            ),
            132 => (Protocol::Sctp, ANSWERED),
            _ => return false,
        };
        connection.status & decided == 0 && self.has_lost(protocol, connection)
    }

    /// Whether it is through a frontend that would not send it where it goes.
    fn has_lost(&self, protocol: Protocol, connection: &Connection<'_>) -> bool {
        let (address, port) = connection.to;
        let frontend = |destination| FrontendKey {
            destination,
            port,
            protocol,
        };
        let at_node = self.own.contains(&address).then(|| Destination::Node(address.family()));
        for destination in [Some(Destination::Address(address)), at_node].into_iter().flatten() {
            let key = frontend(destination);
            match self.now.serves(&key, connection.by) {
                Some(serves) => return !serves && self.left.concerns(&key),
                None if self.left.frontends.contains(&key) => return true,
                None => {}
            }
        }
        self.left.any && self.services.iter().any(|range| range.contains(address))
    }
}

/// The addresses of this machine.
fn own_addresses() -> io::Result<BTreeSet<Address>> {
    let all = RouteNetlinkMessage::GetAddress(AddressMessage::default());
    let answers = Netlink::open()?.exchange(all, NLM_F_DUMP)?;
    let mut found = BTreeSet::new();
    for answer in answers {
        if let RouteNetlinkMessage::NewAddress(message) = answer {
            for attribute in message.attributes {
                if let AddressAttribute::Local(address) | AddressAttribute::Address(address) = attribute {
                    found.insert(address.into());
                }
            }
        }
    }
    Ok(found)
}
