//! Routes to other nodes' pods: straight into the overlay's interface, which knows who has what.
use super::{DatapathError, settings::Settings};
use crate::net::netlink::{Netlink, REPLACE};
use imbl::OrdSet;
use rtnetlink::{
    packet_core::NLM_F_DUMP,
    packet_route::{
        AddressFamily, RouteNetlinkMessage,
        route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType},
    },
};
use sampan_sandbox::network::{Address, Range};
use std::{collections::BTreeMap, io, net::IpAddr};

/// What is kept of a route of ours in the kernel: its interface and the source it gives.
type There = (u32, Option<IpAddr>);

pub(super) struct Routes {
    netlink: Netlink,
    overlay: Option<String>,
    protocol: RouteProtocol,
    sources: Vec<IpAddr>,
}

/// What was done, to be undone.
#[derive(Default)]
pub(super) struct Undo {
    set: Vec<Range>,
    removed: Vec<(Range, There)>,
}

impl Routes {
    pub(super) fn open(settings: &Settings) -> Result<Self, DatapathError> {
        Ok(Routes {
            netlink: Netlink::open().map_err(DatapathError::step("open a netlink socket for routes"))?,
            overlay: settings.overlay_interface.clone(),
            protocol: RouteProtocol::Other(settings.route_protocol),
            sources: settings.node_addresses.clone(),
        })
    }

    /// Brings the kernel's routes from some to others. Where a route cannot be set, all are as they were.
    pub(super) fn change(&mut self, old: &OrdSet<Range>, new: &OrdSet<Range>) -> Result<Undo, DatapathError> {
        let mut undo = Undo::default();
        if old.ptr_eq(new) || self.overlay.is_none() {
            return Ok(undo);
        }
        let fresh: Vec<Range> = new.iter().filter(|range| !old.contains(*range)).copied().collect();
        let gone: Vec<Range> = old.iter().filter(|range| !new.contains(*range)).copied().collect();
        let done = self.carry_out(&fresh, &gone, &BTreeMap::new(), &mut undo);
        self.or_undo(done, undo)
    }

    /// Makes the kernel's routes of ours these, whatever they are.
    pub(super) fn bring(&mut self, wanted: &OrdSet<Range>) -> Result<Undo, DatapathError> {
        let there = self.list()?;
        let mut undo = Undo::default();
        let should = self.should_be(wanted)?;
        let fresh: Vec<Range> = should
            .iter()
            .filter(|(range, how)| there.get(range) != Some(*how))
            .map(|(range, _)| *range)
            .collect();
        let gone: Vec<Range> = there
            .keys()
            .filter(|range| !should.contains_key(range))
            .copied()
            .collect();
        let done = self.carry_out(&fresh, &gone, &there, &mut undo);
        self.or_undo(done, undo)
    }

    /// Whether the kernel's routes of ours are these.
    pub(super) fn are(&mut self, wanted: &OrdSet<Range>) -> Result<bool, DatapathError> {
        Ok(self.list()? == self.should_be(wanted)?)
    }

    fn or_undo(&mut self, done: Result<(), DatapathError>, undo: Undo) -> Result<Undo, DatapathError> {
        match done {
            Ok(()) => Ok(undo),
            Err(error) => {
                self.undo(undo);
                Err(error)
            }
        }
    }

    fn carry_out(
        &mut self,
        fresh: &[Range],
        gone: &[Range],
        there: &BTreeMap<Range, There>,
        undo: &mut Undo,
    ) -> Result<(), DatapathError> {
        if !fresh.is_empty() {
            let index = self.index()?;
            for range in fresh {
                let refused = format!("set the route to {range} into the overlay");
                let source = self.source(*range);
                self.set(*range, (index, source))
                    .map_err(DatapathError::step(refused))?;
                match there.get(range) {
                    Some(how) => undo.removed.push((*range, *how)),
                    None => undo.set.push(*range),
                }
            }
        }
        for range in gone {
            let how = there.get(range).copied();
            match self.remove(*range) {
                // It went with its interface.
                Err(error) if matches!(error.raw_os_error(), Some(libc::ESRCH | libc::ENODEV)) => {}
                Err(error) => return Err(DatapathError::step(format!("remove the route to {range}"))(error)),
                Ok(()) => {
                    let how = match how {
                        Some(how) => how,
                        None => (self.index()?, self.source(*range)),
                    };
                    undo.removed.push((*range, how));
                }
            }
        }
        Ok(())
    }

    /// As it was before, as far as the kernel lets it.
    pub(super) fn undo(&mut self, undo: Undo) {
        for (range, how) in undo.removed {
            if let Err(error) = self.set(range, how) {
                tracing::warn!("a route to {range} is not back again: {error}");
            }
        }
        for range in undo.set {
            if let Err(error) = self.remove(range) {
                tracing::warn!("a new route to {range} is still there: {error}");
            }
        }
    }

    fn index(&mut self) -> Result<u32, DatapathError> {
        let name = self.overlay.clone().unwrap_or_default();
        let found = self.netlink.index_of(&name);
        found.map_err(DatapathError::step(format!("find the overlay's interface {name}")))
    }

    fn should_be(&mut self, wanted: &OrdSet<Range>) -> Result<BTreeMap<Range, There>, DatapathError> {
        if self.overlay.is_none() || wanted.is_empty() {
            return Ok(BTreeMap::new());
        }
        let index = self.index()?;
        Ok(wanted
            .iter()
            .map(|range| (*range, (index, self.source(*range))))
            .collect())
    }

    /// The node's own address of the range's family.
    fn source(&self, range: Range) -> Option<IpAddr> {
        let family = range.address.family();
        let mut sources = self.sources.iter();
        sources
            .find(|source| Address::from(**source).family() == family)
            .copied()
    }

    fn message(&self, range: Range) -> RouteMessage {
        let mut message = RouteMessage::default();
        let address = IpAddr::from(range.address);
        message.header.address_family = match address {
            IpAddr::V4(_) => AddressFamily::Inet,
            IpAddr::V6(_) => AddressFamily::Inet6,
        };
        message.header.destination_prefix_length = range.prefix;
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        message.header.protocol = self.protocol;
        message.header.scope = match address {
            IpAddr::V4(_) => RouteScope::Link,
            IpAddr::V6(_) => RouteScope::Universe,
        };
        message.header.kind = RouteType::Unicast;
        message.attributes.push(RouteAttribute::Destination(address.into()));
        message
    }

    fn set(&mut self, range: Range, (index, source): There) -> io::Result<()> {
        let mut message = self.message(range);
        message.attributes.push(RouteAttribute::Oif(index));
        if let Some(source) = source {
            message.attributes.push(RouteAttribute::PrefSource(source.into()));
        }
        self.netlink.request(RouteNetlinkMessage::NewRoute(message), REPLACE)
    }

    fn remove(&mut self, range: Range) -> io::Result<()> {
        let message = self.message(range);
        self.netlink.request(RouteNetlinkMessage::DelRoute(message), 0)
    }

    /// All routes of ours in the kernel.
    fn list(&mut self) -> Result<BTreeMap<Range, There>, DatapathError> {
        let mut found = BTreeMap::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = RouteMessage::default();
            message.header.address_family = family;
            let asked = self
                .netlink
                .exchange(RouteNetlinkMessage::GetRoute(message), NLM_F_DUMP)
                .map_err(DatapathError::step("list the routes"))?;
            for answer in asked {
                if let RouteNetlinkMessage::NewRoute(route) = answer {
                    found.extend(self.read(&route));
                }
            }
        }
        Ok(found)
    }

    fn read(&self, route: &RouteMessage) -> Option<(Range, There)> {
        let header = &route.header;
        if header.protocol != self.protocol || header.table != RouteHeader::RT_TABLE_MAIN {
            return None;
        }
        let (mut destination, mut index, mut source) = (None, None, None);
        let address = |address: &RouteAddress| match address {
            RouteAddress::Inet(address) => Some(IpAddr::V4(*address)),
            RouteAddress::Inet6(address) => Some(IpAddr::V6(*address)),
            _ => None,
        };
        for attribute in &route.attributes {
            match attribute {
                RouteAttribute::Destination(to) => destination = address(to),
                RouteAttribute::Oif(number) => index = Some(*number),
                RouteAttribute::PrefSource(from) => source = address(from),
                _ => {}
            }
        }
        let range = Range {
            address: destination?.into(),
            prefix: header.destination_prefix_length,
        };
        Some((range, (index.unwrap_or(0), source)))
    }

    /// Removes all of ours.
    pub(super) fn clear(&mut self) -> Result<(), DatapathError> {
        for range in self.list()?.into_keys() {
            match self.remove(range) {
                Err(error) if matches!(error.raw_os_error(), Some(libc::ESRCH | libc::ENODEV)) => {}
                result => result.map_err(DatapathError::step(format!("remove the route to {range}")))?,
            }
        }
        Ok(())
    }
}
