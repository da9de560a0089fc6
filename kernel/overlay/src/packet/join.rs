//! Joining what arrives in segments to the one packet they may have been cut from, so that the kernel handles it as one.
//!
//! Only what another kernel would cut again to the same segments is joined: those that follow each other in one flow and
//! differ in nothing but their place.
use super::{Ip, OFFLOAD, Offload, Segments, TCP, UDP, UNFINISHED, WHOLE, checksum, set_length};
use crate::status::Reason;
use bytes::{Buf, Bytes};

/// Takes packets for the kernel: what stands at the beginning (what the kernel is told of the packet, then headers), and
/// the pieces that follow it.
pub(crate) type Sink<'a> = dyn FnMut(&[u8], &[Bytes]) + 'a;

const ACK: u8 = 0x10;
const PSH: u8 = 0x08;

/// More of UDP's are not cut again by all kernels.
const MOST: usize = 64;
const LONGEST: usize = 65_535;

/// Gathers segments as long as they follow each other.
pub(crate) struct Joiner {
    /// Whether the kernel takes UDP that is to be cut.
    udp: bool,
    /// What is gathered: the headers of the first segment, after room for what the kernel is told.
    head: Vec<u8>,
    parts: Vec<Bytes>,
    ip: Option<Ip>,
    /// Bytes of payload in each segment but the last, and in all.
    size: usize,
    payload: usize,
    /// Nothing may follow.
    sealed: bool,
}

impl Joiner {
    pub fn new(udp: bool) -> Self {
        Joiner {
            udp,
            head: Vec::new(),
            parts: Vec::new(),
            ip: None,
            size: 0,
            payload: 0,
            sealed: false,
        }
    }

    /// Takes the packet of a datagram, whose first byte was `kind`. Whether it may come in is asked of `permits`, unless it
    /// goes where those before it went, which may: between two who send, [`Joiner::flush`] is called.
    ///
    /// # Errors
    /// Why it was not taken, and the packet.
    pub fn push(
        &mut self,
        kind: u8,
        mut packet: Bytes,
        permits: impl FnOnce(&Ip) -> Result<(), Reason>,
        sink: &mut Sink<'_>,
    ) -> Result<(), (Reason, Bytes)> {
        let Some(ip) = Ip::of(&packet) else {
            return Err((Reason::Malformed, packet));
        };
        if kind == WHOLE {
            if let Err(reason) = permits(&ip) {
                return Err((reason, packet));
            }
            self.flush(sink);
            sink(&Offload::default().write(), &[packet]);
            return Ok(());
        }
        let headers = ip.headers(&packet).filter(|_| kind == UNFINISHED);
        let Some(headers) = headers else {
            return Err((Reason::Malformed, packet));
        };
        if !self.follows(&packet, &ip, headers) {
            if let Err(reason) = permits(&ip) {
                return Err((reason, packet));
            }
            self.flush(sink);
            self.begin(packet, ip, headers);
            return Ok(());
        }
        let length = packet.len() - headers;
        self.sealed = length < self.size;
        if ip.protocol == TCP {
            let flags = packet[ip.header + 13];
            self.head[OFFLOAD + ip.header + 13] |= flags;
            self.sealed |= flags & PSH != 0;
        }
        self.payload += length;
        packet.advance(headers);
        self.parts.push(packet);
        Ok(())
    }

    fn begin(&mut self, mut packet: Bytes, ip: Ip, headers: usize) {
        self.head.resize(OFFLOAD, 0);
        self.head.extend_from_slice(&packet[..headers]);
        self.size = packet.len() - headers;
        self.payload = self.size;
        self.sealed = match ip.protocol {
            TCP => packet[ip.header + 13] != ACK,
            _ => !self.udp,
        } || self.size == 0;
        packet.advance(headers);
        self.parts.push(packet);
        self.ip = Some(ip);
    }

    /// Whether a segment is the next of what is gathered.
    fn follows(&self, packet: &[u8], ip: &Ip, headers: usize) -> bool {
        let length = packet.len() - headers;
        let Some(first) = &self.ip else { return false };
        if self.sealed
            || length == 0
            || length > self.size
            || self.head.len() - OFFLOAD != headers
            || self.parts.len() >= MOST
            || headers + self.payload + length > LONGEST
            || (first.protocol, first.header, first.source, first.destination)
                != (ip.protocol, ip.header, ip.source, ip.destination)
        {
            return false;
        }
        let head = &self.head[OFFLOAD..];
        let alike = |from: usize, to: usize| head[from..to] == packet[from..to];
        let at = ip.header;
        let network = match packet[0] >> 4 {
            // All but the length, the number and the sum.
            4 => alike(0, 2) && alike(6, 10) && alike(12, at),
            _ => alike(0, 4) && alike(6, at),
        };
        let transport = match ip.protocol {
            TCP => {
                let sequence = |packet: &[u8]| packet[at + 4..at + 8].try_into().map(u32::from_be_bytes).ok();
                let so_far = u32::try_from(self.payload).unwrap_or_default();
                let next = sequence(head).map(|sequence| sequence.wrapping_add(so_far));
                // All but the place, the flags and the sum.
                next == sequence(packet)
                    && packet[at + 13] & !PSH == ACK
                    && alike(at, at + 4)
                    && alike(at + 8, at + 13)
                    && alike(at + 14, at + 16)
                    && alike(at + 18, headers)
            }
            _ => alike(at, at + 4),
        };
        network && transport
    }

    /// Gives away what is gathered.
    pub fn flush(&mut self, sink: &mut Sink<'_>) {
        let Some(ip) = self.ip.take() else { return };
        let word = |number: usize| u16::try_from(number).unwrap_or(u16::MAX);
        let headers = self.head.len() - OFFLOAD;
        let segments = match (self.parts.len(), ip.protocol) {
            (1, _) => Segments::One,
            (_, UDP) => Segments::Udp,
            _ => Segments::Tcp,
        };
        let offload = Offload {
            unfinished: true,
            segments,
            size: if segments == Segments::One { 0 } else { word(self.size) },
            checksum_start: word(ip.header),
            checksum_offset: word(ip.checksum_at()),
            headers: word(headers),
            v6: ip.source.is_ipv6(),
        };
        self.head[..OFFLOAD].copy_from_slice(&offload.write());
        if segments != Segments::One {
            let head = &mut self.head[OFFLOAD..];
            set_length(head, ip.header, headers + self.payload);
            let transport = headers - ip.header + self.payload;
            let at = ip.header + ip.checksum_at();
            let sum = checksum::folded(ip.pseudo_header(transport));
            head[at..at + 2].copy_from_slice(&sum.to_be_bytes());
            if segments == Segments::Udp {
                head[ip.header + 4..ip.header + 6].copy_from_slice(&word(transport).to_be_bytes());
            }
        }
        sink(&self.head, &self.parts);
        self.head.clear();
        self.parts.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::samples::{Sample, finished, pieces};
    use rand::{Rng, SeedableRng, rngs::StdRng};

    /// What the kernel is given for these datagrams.
    fn joined(datagrams: &[Vec<u8>]) -> Vec<(Offload, Vec<u8>)> {
        let mut given = Vec::new();
        let mut sink = |head: &[u8], parts: &[Bytes]| {
            let offload = Offload::read(head.first_chunk().unwrap()).unwrap();
            given.push((offload, [&head[OFFLOAD..], &parts.concat()].concat()));
        };
        let mut joiner = Joiner::new(true);
        for datagram in datagrams {
            let packet = Bytes::copy_from_slice(&datagram[1..]);
            joiner.push(datagram[0], packet, |_| Ok(()), &mut sink).unwrap();
        }
        joiner.flush(&mut sink);
        given
    }

    fn super_packet(sample: &Sample, size: u16, room: usize) -> (Vec<u8>, Vec<Vec<u8>>) {
        let whole = sample.made();
        let segments = if whole[9] == TCP { Segments::Tcp } else { Segments::Udp };
        let offload = Offload {
            unfinished: true,
            segments,
            size,
            ..Offload::default()
        };
        let cut = pieces(&mut whole.clone(), offload, room).unwrap();
        (whole, cut)
    }

    #[test]
    fn what_was_cut_is_what_it_was() {
        let mut random = StdRng::seed_from_u64(3);
        for _ in 0..200 {
            let length = random.random_range(1..60_000);
            let sample = match random.random() {
                true => Sample::tcp(length).options(12).flags(0x18),
                false => Sample::udp(length),
            };
            let (whole, cut) = super_packet(&sample, 1300, 1400);
            let given = joined(&cut);
            assert_eq!(given.len(), 1);
            let (offload, packet) = &given[0];
            assert_eq!(finished(&[&[UNFINISHED][..], packet].concat()), whole);
            assert_eq!((offload.unfinished, offload.checksum_start), (true, 20));
            match cut.len() {
                1 => assert_eq!(offload.segments, Segments::One),
                _ => assert_eq!(
                    usize::from(offload.size),
                    cut[0].len() - 1 - usize::from(offload.headers)
                ),
            }
        }
    }

    #[test]
    fn two_flows_stay_two_and_in_order() {
        let (first, mut cut) = super_packet(&Sample::tcp(5000).flags(0x18), 1300, 1400);
        let mut other = Sample::tcp(5000).flags(0x18);
        other.port = 4001;
        let (second, more) = super_packet(&other, 1300, 1400);
        cut.extend(more);
        let given: Vec<Vec<u8>> = joined(&cut).into_iter().map(|(_, packet)| packet).collect();
        assert_eq!(given.len(), 2);
        assert_eq!((&given[0][40..], &given[1][40..]), (&first[40..], &second[40..]));
    }

    #[test]
    fn a_gap_a_push_and_what_ends_a_flow_part_it() {
        let counts = |datagrams: &[Vec<u8>]| joined(datagrams).len();
        let (_, cut) = super_packet(&Sample::tcp(6500), 1300, 1400);
        assert_eq!((cut.len(), counts(&cut)), (5, 1));
        assert_eq!(counts(&[cut[0].clone(), cut[2].clone(), cut[3].clone()]), 2);
        assert_eq!(counts(&[cut[1].clone(), cut[0].clone()]), 2);
        for flag in [0x01, 0x02, 0x04, 0x20, 0x08] {
            let mut cut = cut.clone();
            cut[1][34] |= flag;
            let expected = if flag == PSH { 2 } else { 3 };
            assert_eq!(counts(&cut), expected, "flag {flag:#x}");
        }
    }

    #[test]
    fn nothing_is_longer_than_a_packet_can_be() {
        let mut datagrams = Vec::new();
        for number in 0..100u32 {
            let mut sample = Sample::tcp(1300);
            sample.sequence = 1300 * number;
            datagrams.push(super_packet(&sample, 1300, 1400).1.remove(0));
        }
        let given = joined(&datagrams);
        assert!(given.len() > 1 && given.iter().all(|(_, packet)| Ip::of(packet).is_some()));
    }
}
