//! Asking the kernel about interfaces, addresses and routes, one question at a time. Blocks, for microseconds.
use rtnetlink::{
    packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload},
    packet_route::{
        AddressFamily, RouteNetlinkMessage,
        address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope},
        link::{LinkAttribute, LinkFlags, LinkMessage},
        neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState},
        route::{RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType},
    },
    sys::{Socket, protocols::NETLINK_ROUTE},
};
use std::{io, net::IpAddr};

/// Make it, and fail if it is there.
pub(crate) const CREATE: u16 = rtnetlink::packet_core::NLM_F_CREATE | rtnetlink::packet_core::NLM_F_EXCL;
/// Make it, or make it so.
pub(crate) const REPLACE: u16 = rtnetlink::packet_core::NLM_F_CREATE | rtnetlink::packet_core::NLM_F_REPLACE;

/// A socket to the network namespace that the thread was in when it was opened.
pub(crate) struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl Netlink {
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        Ok(Netlink { socket, sequence: 0 })
    }

    /// Sends a request and waits until it is done.
    pub(crate) fn request(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.exchange(message, NLM_F_ACK | flags).map(drop)
    }

    /// Sends a request; the answers, when it is done.
    pub(crate) fn exchange(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.sequence += 1;
        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST | flags;
        request.header.sequence_number = self.sequence;
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        let mut answers = Vec::new();
        while !self.receive(&mut answers)? {}
        Ok(answers)
    }

    /// Reads one datagram; whether it was the last of the answer.
    fn receive(&mut self, answers: &mut Vec<RouteNetlinkMessage>) -> io::Result<bool> {
        let (datagram, _) = self.socket.recv_from_full()?;
        let mut rest = datagram.as_slice();
        while !rest.is_empty() {
            let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
            let length = usize::try_from(answer.header.length)
                .unwrap_or(usize::MAX)
                .next_multiple_of(4);
            rest = rest.get(length.max(16)..).unwrap_or_default();
            if answer.header.sequence_number != self.sequence {
                continue;
            }
            match answer.payload {
                NetlinkPayload::Done(_) => return Ok(true),
                NetlinkPayload::Error(error) => {
                    return if error.code.is_none() {
                        Ok(true)
                    } else {
                        Err(error.to_io())
                    };
                }
                NetlinkPayload::InnerMessage(message) => answers.push(message),
                _ => {}
            }
        }
        Ok(false)
    }

    /// An interface, by its name.
    fn link(&mut self, name: &str) -> io::Result<LinkMessage> {
        let mut link = LinkMessage::default();
        link.attributes.push(LinkAttribute::IfName(name.to_owned()));
        let answers = self.exchange(RouteNetlinkMessage::GetLink(link), NLM_F_ACK)?;
        let link = answers.into_iter().find_map(|answer| match answer {
            RouteNetlinkMessage::NewLink(link) => Some(link),
            _ => None,
        });
        link.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no interface {name}")))
    }

    /// The number of an interface.
    pub(crate) fn index_of(&mut self, name: &str) -> io::Result<u32> {
        Ok(self.link(name)?.header.index)
    }

    /// The longest packet that an interface carries, if it says so.
    pub(crate) fn mtu_of(&mut self, name: &str) -> io::Result<Option<u32>> {
        let attributes = self.link(name)?.attributes;
        Ok(attributes.into_iter().find_map(|attribute| match attribute {
            LinkAttribute::Mtu(mtu) => Some(mtu),
            _ => None,
        }))
    }

    /// All interfaces, as number and alias.
    pub(crate) fn aliases(&mut self) -> io::Result<Vec<(u32, String)>> {
        let answers = self.exchange(RouteNetlinkMessage::GetLink(LinkMessage::default()), NLM_F_DUMP)?;
        let alias = |link: LinkMessage| {
            let alias = link.attributes.iter().find_map(|attribute| match attribute {
                LinkAttribute::IfAlias(alias) => Some(alias.clone()),
                _ => None,
            });
            alias.map(|alias| (link.header.index, alias))
        };
        Ok(answers
            .into_iter()
            .filter_map(|answer| match answer {
                RouteNetlinkMessage::NewLink(link) => alias(link),
                _ => None,
            })
            .collect())
    }

    pub(crate) fn set_up(&mut self, index: u32) -> io::Result<()> {
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.header.flags = LinkFlags::Up;
        link.header.change_mask = LinkFlags::Up;
        self.request(RouteNetlinkMessage::SetLink(link), 0)
    }

    pub(crate) fn set_mtu(&mut self, index: u32, mtu: u32) -> io::Result<()> {
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.attributes.push(LinkAttribute::Mtu(mtu));
        self.request(RouteNetlinkMessage::SetLink(link), 0)
    }

    pub(crate) fn set_alias(&mut self, index: u32, alias: &str) -> io::Result<()> {
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.attributes.push(LinkAttribute::IfAlias(alias.to_owned()));
        self.request(RouteNetlinkMessage::SetLink(link), 0)
    }

    pub(crate) fn delete_link(&mut self, index: u32) -> io::Result<()> {
        let mut link = LinkMessage::default();
        link.header.index = index;
        self.request(RouteNetlinkMessage::DelLink(link), 0)
    }

    /// Gives an interface this one address. Whose it is is known, so nobody is asked whether it is another's.
    pub(crate) fn add_address(&mut self, index: u32, address: IpAddr) -> io::Result<()> {
        let mut message = AddressMessage::default();
        message.header.family = family(address);
        message.header.prefix_len = whole(address);
        message.header.index = index;
        message.header.scope = AddressScope::Universe;
        message.attributes.push(AddressAttribute::Address(address));
        message.attributes.push(AddressAttribute::Local(address));
        if address.is_ipv6() {
            message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
        self.request(RouteNetlinkMessage::NewAddress(message), REPLACE)
    }

    /// Says once and for all where a neighbour is.
    pub(crate) fn add_neighbour(&mut self, index: u32, address: IpAddr, hardware: [u8; 6]) -> io::Result<()> {
        let mut message = NeighbourMessage::default();
        message.header.family = family(address);
        message.header.ifindex = index;
        message.header.state = NeighbourState::Permanent;
        message.header.kind = RouteType::Unicast;
        message.attributes.push(NeighbourAttribute::Destination(match address {
            IpAddr::V4(address) => NeighbourAddress::Inet(address),
            IpAddr::V6(address) => NeighbourAddress::Inet6(address),
        }));
        message
            .attributes
            .push(NeighbourAttribute::LinkLayerAddress(hardware.to_vec()));
        self.request(RouteNetlinkMessage::NewNeighbour(message), REPLACE)
    }

    /// A route to a range straight through an interface; packets of the node's own come from `source`.
    pub(crate) fn add_route(&mut self, index: u32, to: (IpAddr, u8), source: IpAddr) -> io::Result<()> {
        let mut message = route(to.0, RouteScope::Link, RouteType::Unicast);
        message.attributes.push(RouteAttribute::Oif(index));
        message.attributes.push(RouteAttribute::PrefSource(source.into()));
        self.request(RouteNetlinkMessage::NewRoute(toward(message, to)), REPLACE)
    }

    /// Who sends to a range, but for what there are better routes to, is told that nobody is there.
    pub(crate) fn refuse_range(&mut self, range: (IpAddr, u8)) -> io::Result<()> {
        let message = route(range.0, RouteScope::Universe, RouteType::Unreachable);
        self.request(RouteNetlinkMessage::NewRoute(toward(message, range)), REPLACE)
    }

    /// Takes that back.
    pub(crate) fn forget_range(&mut self, range: (IpAddr, u8)) -> io::Result<()> {
        let message = route(range.0, RouteScope::Universe, RouteType::Unreachable);
        self.request(RouteNetlinkMessage::DelRoute(toward(message, range)), 0)
    }

    /// All that has no better route goes to `gateway`, which need not be in any network of the interface.
    pub(crate) fn add_default_route(&mut self, index: u32, gateway: IpAddr) -> io::Result<()> {
        let mut message = route(gateway, RouteScope::Universe, RouteType::Unicast);
        message.attributes.push(RouteAttribute::Oif(index));
        message.header.flags = RouteFlags::Onlink;
        message.attributes.push(RouteAttribute::Gateway(gateway.into()));
        self.request(RouteNetlinkMessage::NewRoute(message), REPLACE)
    }
}

fn family(of: IpAddr) -> AddressFamily {
    match of {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

/// The prefix of a single address.
fn whole(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// A route of an address's family. IPv6 knows no scopes of routes.
fn route(of: IpAddr, scope: RouteScope, kind: RouteType) -> RouteMessage {
    let scope = if of.is_ipv4() { scope } else { RouteScope::Universe };
    let mut message = RouteMessage::default();
    message.header.address_family = family(of);
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Static;
    message.header.scope = scope;
    message.header.kind = kind;
    message
}

fn toward(mut message: RouteMessage, (base, prefix): (IpAddr, u8)) -> RouteMessage {
    message.header.destination_prefix_length = prefix;
    message.attributes.push(RouteAttribute::Destination(base.into()));
    message
}
