//! IP packets: what their headers say, how large ones are cut and small ones joined, and what is said of those that do not
//! fit. Nothing here knows of devices, sockets or time.
mod checksum;
mod cut;
mod icmp;
mod join;
mod mss;
mod offload;
#[cfg(test)]
pub(crate) mod samples;

pub(crate) use cut::{Uncut, cut};
pub(crate) use icmp::too_large;
pub(crate) use join::{Joiner, Sink};
pub(crate) use mss::lower_mss;
pub(crate) use offload::{OFFLOAD, Offload, Segments};
use std::net::IpAddr;

pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;

/// The first byte of each datagram between nodes says what of the packet that follows is finished.
pub(crate) const WHOLE: u8 = 0;
/// The checksum of TCP or UDP covers only the pseudo header: the way between nodes is guarded by more than a checksum, so
/// the rest is left to the kernel, which knows whether anybody will look.
pub(crate) const UNFINISHED: u8 = 1;

/// What the header of an IP packet says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ip {
    pub source: IpAddr,
    pub destination: IpAddr,
    /// That of what follows; in IPv6 an extension header is what follows.
    pub protocol: u8,
    /// The header's length.
    pub header: usize,
    /// It is a part of a packet.
    pub fragment: bool,
    /// It must arrive in one piece or not at all.
    pub whole: bool,
}

impl Ip {
    /// Reads the header of a packet. None if it is not IP, or not as long as it says.
    pub fn of(packet: &[u8]) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => Self::v4(packet),
            6 => Self::v6(packet),
            _ => None,
        }
    }

    fn v4(packet: &[u8]) -> Option<Self> {
        let fixed: &[u8; 20] = packet.first_chunk()?;
        let header = usize::from(fixed[0] & 0xf) * 4;
        let length = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
        if header < 20 || length < header || length != packet.len() {
            return None;
        }
        let flags = u16::from_be_bytes([fixed[6], fixed[7]]);
        Some(Ip {
            source: <[u8; 4]>::try_from(&fixed[12..16]).ok()?.into(),
            destination: <[u8; 4]>::try_from(&fixed[16..20]).ok()?.into(),
            protocol: fixed[9],
            header,
            fragment: flags & 0x3fff != 0,
            whole: flags & 0x4000 != 0,
        })
    }

    fn v6(packet: &[u8]) -> Option<Self> {
        let fixed: &[u8; 40] = packet.first_chunk()?;
        let length = 40 + usize::from(u16::from_be_bytes([fixed[4], fixed[5]]));
        if length != packet.len() {
            return None;
        }
        Some(Ip {
            source: <[u8; 16]>::try_from(&fixed[8..24]).ok()?.into(),
            destination: <[u8; 16]>::try_from(&fixed[24..40]).ok()?.into(),
            protocol: fixed[6],
            header: 40,
            fragment: fixed[6] == 44,
            whole: true,
        })
    }

    /// The length of this header with that of TCP or UDP after it. None if it is neither, or cut short.
    pub fn headers(&self, packet: &[u8]) -> Option<usize> {
        if self.fragment {
            return None;
        }
        let rest = packet.get(self.header..)?;
        let length = match self.protocol {
            TCP => usize::from(*rest.get(12)? >> 4) * 4,
            UDP => 8,
            _ => return None,
        };
        let least = if self.protocol == TCP { 20 } else { 8 };
        (length >= least && length <= rest.len()).then_some(self.header + length)
    }

    /// Where the checksum of TCP or UDP is, after this header.
    pub fn checksum_at(&self) -> usize {
        if self.protocol == TCP { 16 } else { 6 }
    }

    /// The sum of the pseudo header of TCP or UDP, for so many bytes of them.
    pub fn pseudo_header(&self, length: usize) -> u64 {
        let address = |address: IpAddr| match address {
            IpAddr::V4(address) => checksum::sum(&address.octets()),
            IpAddr::V6(address) => checksum::sum(&address.octets()),
        };
        address(self.source) + address(self.destination) + u64::from(self.protocol) + length as u64
    }
}

/// Says in the header of a packet how long it is now, and sums it up anew.
pub(crate) fn set_length(packet: &mut [u8], header: usize, length: usize) {
    let of = |length: usize| u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
    if packet[0] >> 4 == 4 {
        packet[2..4].copy_from_slice(&of(length));
        packet[10..12].fill(0);
        let sum = !checksum::folded(checksum::sum(&packet[..header]));
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
    } else {
        packet[4..6].copy_from_slice(&of(length - header));
    }
}

/// One hop less. False if that was the last: the packet goes no further.
pub(crate) fn expire_hop(packet: &mut [u8], ip: &Ip) -> bool {
    let at = if packet[0] >> 4 == 4 { 8 } else { 7 };
    packet[at] = packet[at].saturating_sub(1);
    let length = packet.len();
    set_length(packet, ip.header, length);
    packet[at] > 0
}

/// Finishes the checksum of TCP or UDP.
pub(crate) fn finish(packet: &mut [u8], ip: &Ip) {
    let at = ip.header + ip.checksum_at();
    if ip.headers(packet).is_none() {
        return;
    }
    packet[at..at + 2].fill(0);
    let length = packet.len() - ip.header;
    let sum = !checksum::folded(ip.pseudo_header(length) + checksum::sum(&packet[ip.header..]));
    // In UDP, nothing means that there is no checksum.
    let sum = if sum == 0 && ip.protocol == UDP { u16::MAX } else { sum };
    packet[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

/// Whether the checksum of TCP or UDP is right.
pub(crate) fn is_sound(packet: &[u8], ip: &Ip) -> bool {
    let length = packet.len() - ip.header;
    checksum::folded(ip.pseudo_header(length) + checksum::sum(&packet[ip.header..])) == u16::MAX
}
