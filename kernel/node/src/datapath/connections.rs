//! The kernel's memory of connections, where it leads to backends that are gone.
//!
//! Which backend a connection has is decided at its first packet and remembered with the connection's ports. What was
//! never answered would go on to a backend that left for as long as the kernel waits for an answer, two minutes for TCP, and
//! so would a new connection that gets the same port; and of UDP the kernel knows no end as long as somebody sends. So these
//! are forgotten when a backend leaves, and decided anew at their next packet. Connections that stand are not touched.
//!
//! An answer may be on its way while it is looked: a connection that was forgotten then would lose its translation in the
//! middle, and its client would be sent a reset. So what is not answered is forgotten only if the next look finds it so again.
use super::{
    conntrack::{ANSWERED, Connection, Question, SCTP, TCP, TRANSLATED, UDP, ask, delete},
    frontends::Frontends,
    nft::Socket,
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
    collections::{BTreeSet, HashSet},
    io,
    time::{Duration, Instant},
};

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

    /// Whether it is about the node's own addresses.
    fn is_at_node(&self) -> bool {
        let at_node = |key: &FrontendKey| matches!(key.destination, Destination::Node(_));
        self.any || self.frontends.iter().any(at_node)
    }
}

/// Forgets connections.
#[derive(Default)]
pub(super) struct Connections {
    /// What is still to be looked at.
    left: Left,
    /// What was looked at once, and is to be once more for the sake of the suspects.
    again: Left,
    /// What the last look found without an answer.
    suspects: HashSet<Vec<u8>>,
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
        (!self.left.is_empty() || !self.again.is_empty()).then(pause)
    }

    /// Forgets those to backends that left, if it is due. That it cannot be done is said once, and no reason not to go on.
    pub(super) fn forget(&mut self, socket: &mut Socket, now: &Frontends, services: &[Range]) {
        if self.due().is_none_or(|due| due > Instant::now()) {
            return;
        }
        match self.look(socket, now, services) {
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

    fn look(&mut self, socket: &mut Socket, now: &Frontends, services: &[Range]) -> io::Result<()> {
        let (fresh, again) = (std::mem::take(&mut self.left), std::mem::take(&mut self.again));
        let suspects = std::mem::take(&mut self.suspects);
        let own = match fresh.is_at_node() || again.is_at_node() {
            true => own_addresses()?,
            false => BTreeSet::new(),
        };
        let [fresh, again] = [fresh, again].map(|left| Concerned {
            left,
            now,
            services,
            own: &own,
        });
        let questions = &fresh.questions() | &again.questions();
        for (family, question) in questions {
            let mut stale = Vec::new();
            ask(socket, family, question, |connection| {
                let is_fresh = fresh.is_stale(&connection);
                if !is_fresh && !again.is_stale(&connection) {
                    return;
                }
                let named = connection.named();
                if (is_fresh && connection.protocol == UDP) || suspects.contains(&named) {
                    stale.extend((stale.len() < MOST).then_some(named));
                } else if is_fresh && self.suspects.len() < MOST {
                    self.suspects.insert(named);
                }
            })?;
            for named in stale {
                delete(socket, family, &named)?;
            }
        }
        if !self.suspects.is_empty() {
            self.again = fresh.left;
        }
        Ok(())
    }
}

/// Which connections it is about.
struct Concerned<'a> {
    left: Left,
    now: &'a Frontends,
    services: &'a [Range],
    own: &'a BTreeSet<Address>,
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
            TCP => (Protocol::Tcp, ANSWERED),
            // Of what was not translated, what is answered is somebody's who is there.
            UDP => (
                Protocol::Udp,
                if connection.status & TRANSLATED == 0 {
                    ANSWERED
                } else {
                    0
                },
            ),
            SCTP => (Protocol::Sctp, ANSWERED),
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
