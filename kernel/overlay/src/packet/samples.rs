//! Packets for tests.
use super::{Ip, Offload, TCP, UDP, UNFINISHED, Uncut, cut, finish, set_length};
use bytes::BytesMut;

/// A packet from 10.42.1.5 to 10.42.2.9.
pub(crate) struct Sample {
    protocol: u8,
    payload: usize,
    flags: u8,
    options: usize,
    fragile: bool,
    pub sequence: u32,
    pub port: u16,
}

impl Sample {
    pub fn tcp(payload: usize) -> Self {
        Sample {
            protocol: TCP,
            payload,
            flags: 0x10,
            options: 0,
            fragile: false,
            sequence: 0xffff_f000,
            port: 4000,
        }
    }

    pub fn udp(payload: usize) -> Self {
        Sample {
            protocol: UDP,
            ..Self::tcp(payload)
        }
    }

    pub fn flags(self, flags: u8) -> Self {
        Sample { flags, ..self }
    }

    /// So many bytes of TCP's options.
    pub fn options(self, options: usize) -> Self {
        Sample { options, ..self }
    }

    /// It may be broken into fragments.
    pub fn fragile(self) -> Self {
        Sample { fragile: true, ..self }
    }

    pub fn made(&self) -> Vec<u8> {
        let transport = if self.protocol == TCP { 20 + self.options } else { 8 };
        let mut packet = vec![0; 20];
        packet[0] = 0x45;
        packet[6] = if self.fragile { 0 } else { 0x40 };
        packet[8] = 64;
        packet[9] = self.protocol;
        packet[12..20].copy_from_slice(&[10, 42, 1, 5, 10, 42, 2, 9]);
        packet.resize(20 + transport, 1);
        packet[20..22].copy_from_slice(&self.port.to_be_bytes());
        if self.protocol == TCP {
            packet[24..28].copy_from_slice(&self.sequence.to_be_bytes());
            packet[32] = u8::try_from(transport / 4).unwrap() << 4;
            packet[33] = self.flags;
        } else {
            packet[24..26].copy_from_slice(&u16::try_from(8 + self.payload).unwrap().to_be_bytes());
        }
        packet.extend((0..self.payload).map(|at| (at * 7 % 251) as u8));
        let length = packet.len();
        set_length(&mut packet, 20, length);
        let ip = Ip::of(&packet).unwrap();
        finish(&mut packet, &ip);
        packet
    }
}

/// A packet, cut.
pub(crate) fn pieces(packet: &mut [u8], offload: Offload, room: usize) -> Result<Vec<Vec<u8>>, Uncut> {
    let mut pieces = Vec::new();
    let mut arena = BytesMut::new();
    let ip = Ip::of(packet).ok_or(Uncut::Malformed)?;
    cut(packet, &ip, &offload, room, &mut arena, |piece| {
        pieces.push(piece.to_vec())
    })?;
    Ok(pieces)
}

/// The packet of a datagram, as the kernel would finish it.
pub(crate) fn finished(datagram: &[u8]) -> Vec<u8> {
    let mut packet = datagram[1..].to_vec();
    let ip = Ip::of(&packet).unwrap();
    if datagram[0] == UNFINISHED {
        let at = ip.header + ip.checksum_at();
        let said = u16::from_be_bytes([packet[at], packet[at + 1]]);
        let sum = super::checksum::folded(ip.pseudo_header(packet.len() - ip.header));
        assert_eq!(said, sum, "the checksum is that of the pseudo header");
        finish(&mut packet, &ip);
    }
    packet
}
