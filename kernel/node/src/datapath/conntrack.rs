//! The kernel's table of connections, over netlink.
//!
//! What the numbers mean is in Linux's `include/uapi/linux/netfilter/nfnetlink_conntrack.h` and
//! `nf_conntrack_common.h`.
use super::{
    frontends::protocol,
    nft::{Bytes, F_DUMP, Socket, attribute},
    places::Target,
};
use sampan_sandbox::network::{Family, Protocol};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
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
pub(super) const ANSWERED: u32 = 1 << 1;
pub(super) const TRANSLATED: u32 = 1 << 5;

/// Protocols, as IP numbers them.
pub(super) const TCP: u8 = protocol(Protocol::Tcp);
pub(super) const UDP: u8 = protocol(Protocol::Udp);
pub(super) const SCTP: u8 = protocol(Protocol::Sctp);

/// What is asked for at once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Question {
    Unanswered,
    Udp,
}

/// Forgets one; it may have ended meanwhile.
pub(super) fn delete(socket: &mut Socket, family: Family, named: &[u8]) -> io::Result<()> {
    let fill = |bytes: &mut Bytes| bytes.0.extend_from_slice(named);
    match socket.ask_of(CONNECTIONS | DELETE, 0, number(family), fill, |_| {}) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        deleted => deleted,
    }
}

/// As netfilter has it.
fn number(family: Family) -> u8 {
    match family {
        Family::V4 => 2,
        Family::V6 => 10,
    }
}

/// A kernel that knows less of filters tells more, so the answers are looked at again.
pub(super) fn ask(
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
                bytes.nested(TRANSPORT, |bytes| bytes.u8(NUMBER, UDP));
            });
            bytes.nested(FILTER, |bytes| bytes.bytes(1, &BY_PROTOCOL.to_ne_bytes()));
        }
    };
    socket.ask_of(CONNECTIONS | GET, F_DUMP, number(family), fill, |body| {
        Connection::read(body).into_iter().for_each(&mut tell);
    })
}

/// A connection that the kernel knows.
pub(super) struct Connection<'a> {
    body: &'a [u8],
    pub(super) protocol: u8,
    /// Where its client sends to.
    pub(super) to: Target,
    /// Who it is that gets it, and so answers.
    pub(super) by: Target,
    pub(super) status: u32,
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
    pub(super) fn named(&self) -> Vec<u8> {
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
