//! Cutting what the kernel gives in one piece to what the way to a peer carries.
//!
//! TCP that does not fit is cut between its bytes, wherever the kernel would have cut it: what arrives is the same stream.
//! UDP is cut where its sender said and nowhere else. What may be broken into fragments is; the rest does not fit.
use super::{Ip, Offload, Segments, TCP, UDP, UNFINISHED, WHOLE, checksum, finish, is_sound, set_length};
use bytes::{BufMut, Bytes, BytesMut};

const FIN_PSH: u8 = 0x09;
const CWR: u8 = 0x80;

/// Why a packet was not cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Uncut {
    /// It must be whole, and is larger than what is carried.
    TooLarge,
    /// It is not what it says.
    Malformed,
}

/// Cuts a packet to datagrams of at most `room` bytes, and gives each to `emit`. Their bytes are laid out in `arena`.
pub(crate) fn cut(
    packet: &mut [u8],
    ip: &Ip,
    offload: &Offload,
    room: usize,
    arena: &mut BytesMut,
    mut emit: impl FnMut(Bytes),
) -> Result<(), Uncut> {
    let room = room.saturating_sub(1);
    let mut lay = |kind: u8, parts: [&[u8]; 2]| {
        arena.reserve(1 + parts[0].len() + parts[1].len());
        arena.put_u8(kind);
        arena.put_slice(parts[0]);
        arena.put_slice(parts[1]);
        emit(arena.split().freeze());
    };
    if offload.segments == Segments::One && packet.len() <= room {
        if offload.unfinished && ip.headers(packet).is_none() {
            return Err(Uncut::Malformed);
        }
        let kind = if offload.unfinished { UNFINISHED } else { WHOLE };
        lay(kind, [packet, &[]]);
        return Ok(());
    }
    let headers = ip.headers(packet);
    match (offload.segments, ip.protocol, headers) {
        (Segments::One | Segments::Tcp, TCP, Some(headers)) if headers < room => {
            let room = room - headers;
            let size = match offload.segments {
                Segments::Tcp => room.min(usize::from(offload.size)),
                _ => room,
            };
            // What came with a wrong checksum is not to leave with a right one.
            if size == 0 || (!offload.unfinished && !is_sound(packet, ip)) {
                return Err(Uncut::Malformed);
            }
            segments(packet, ip, headers, size, lay);
            Ok(())
        }
        (Segments::Udp, UDP, Some(headers)) if offload.size > 0 => {
            let size = usize::from(offload.size);
            if headers + size.min(packet.len() - headers) > room {
                return Err(Uncut::TooLarge);
            }
            segments(packet, ip, headers, size, lay);
            Ok(())
        }
        (Segments::One, ..) if !ip.whole => {
            if offload.unfinished {
                finish(packet, ip);
            }
            fragments(packet, ip, room, lay)
        }
        (Segments::One, ..) => Err(Uncut::TooLarge),
        _ => Err(Uncut::Malformed),
    }
}

/// Segments of `size` bytes of payload. The header is changed from one to the next, in place.
fn segments(packet: &mut [u8], ip: &Ip, headers: usize, size: usize, mut lay: impl FnMut(u8, [&[u8]; 2])) {
    let (header, payload) = packet.split_at_mut(headers);
    let tcp = ip.protocol == TCP;
    let (sequence, flags) = match tcp {
        true => (word(header, ip.header + 4), header[ip.header + 13]),
        false => (0, 0),
    };
    // Packets that are never broken need no numbers (RFC 6864, section 4.1).
    let numbered = header[0] >> 4 == 4 && !ip.whole;
    let id = u16::from_be_bytes([header[4], header[5]]);
    let last = payload.len().saturating_sub(1) / size;
    let checksum = ip.header + ip.checksum_at();
    let mut at = 0u32;
    let mut said = usize::MAX;
    for (number, part) in payload.chunks(size).enumerate() {
        let transport = headers - ip.header + part.len();
        if numbered {
            let id = id.wrapping_add(u16::try_from(number).unwrap_or_default());
            header[4..6].copy_from_slice(&id.to_be_bytes());
        }
        if numbered || said != part.len() {
            set_length(header, ip.header, headers + part.len());
        }
        if said != part.len() {
            let sum = checksum::folded(ip.pseudo_header(transport));
            header[checksum..checksum + 2].copy_from_slice(&sum.to_be_bytes());
            if !tcp {
                let length = u16::try_from(transport).unwrap_or(u16::MAX);
                header[ip.header + 4..ip.header + 6].copy_from_slice(&length.to_be_bytes());
            }
            said = part.len();
        }
        if tcp {
            header[ip.header + 4..ip.header + 8].copy_from_slice(&sequence.wrapping_add(at).to_be_bytes());
            let ends = if number == last { FIN_PSH } else { 0 };
            let begins = if number == 0 { CWR } else { 0 };
            header[ip.header + 13] = flags & (!(FIN_PSH | CWR) | ends | begins);
        }
        lay(UNFINISHED, [header, part]);
        at = at.wrapping_add(u32::try_from(part.len()).unwrap_or_default());
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let word = bytes.get(at..at + 4).and_then(|word| word.try_into().ok());
    u32::from_be_bytes(word.unwrap_or_default())
}

/// Fragments of an IPv4 packet (RFC 791, section 3.2). Options are copied to the first alone, as none that is in use wants
/// to be in all.
fn fragments(packet: &mut [u8], ip: &Ip, room: usize, mut lay: impl FnMut(u8, [&[u8]; 2])) -> Result<(), Uncut> {
    let (header, payload) = packet.split_at_mut(ip.header);
    let size = room.saturating_sub(ip.header) & !7;
    if size == 0 {
        return Err(Uncut::TooLarge);
    }
    let flags = u16::from_be_bytes([header[6], header[7]]);
    let (more, offset) = (flags & 0x2000, flags & 0x1fff);
    let last = payload.len().saturating_sub(1) / size;
    for (number, part) in payload.chunks(size).enumerate() {
        let more = if number == last { more } else { 0x2000 };
        let at = u16::try_from(number * size / 8).unwrap_or_default();
        header[6..8].copy_from_slice(&(more | (offset + at)).to_be_bytes());
        set_length(header, ip.header, ip.header + part.len());
        lay(WHOLE, [header, part]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::samples::{Sample, finished, pieces};
    use rand::{Rng, SeedableRng, rngs::StdRng};

    #[test]
    fn what_fits_stays_as_it_is() {
        let mut packet = Sample::udp(100).made();
        let before = packet.clone();
        let cut = pieces(&mut packet, Offload::default(), 1200).unwrap();
        assert_eq!((cut.len(), cut[0][0], &cut[0][1..]), (1, WHOLE, &before[..]));
    }

    #[test]
    fn tcp_is_the_same_stream_wherever_it_is_cut() {
        let mut random = StdRng::seed_from_u64(1);
        for round in 0..300 {
            let length = random.random_range(1..60_000);
            let sample = Sample::tcp(length).flags(0x99).options(random.random_range(0..=10) * 4);
            let mut packet = sample.made();
            let whole = packet.clone();
            let room = random.random_range(300..1500);
            let one = round % 3 == 0;
            let offload = Offload {
                unfinished: !one,
                segments: if one { Segments::One } else { Segments::Tcp },
                size: random.random_range(500..1460),
                ..Offload::default()
            };
            let cut = pieces(&mut packet, offload, room).unwrap();
            let mut stream = Vec::new();
            for (number, piece) in cut.iter().enumerate() {
                assert!(piece.len() <= room);
                let piece = finished(piece);
                let ip = Ip::of(&piece).unwrap();
                assert!(is_sound(&piece, &ip), "of {length} in {room}");
                let headers = ip.headers(&piece).unwrap();
                let start = word(&whole, 24);
                if cut.len() > 1 {
                    assert_eq!(word(&piece, 24), start.wrapping_add(stream.len() as u32));
                    assert_eq!(piece[33] & FIN_PSH != 0, number == cut.len() - 1);
                    assert_eq!(piece[33] & CWR != 0, number == 0);
                }
                stream.extend_from_slice(&piece[headers..]);
            }
            assert_eq!(stream, whole[whole.len() - length..]);
        }
    }

    #[test]
    fn udp_is_cut_where_its_sender_said_and_nowhere_else() {
        let offload = Offload {
            unfinished: true,
            segments: Segments::Udp,
            size: 1000,
            ..Offload::default()
        };
        let cut = pieces(&mut Sample::udp(3500).made(), offload, 1200).unwrap();
        let lengths: Vec<usize> = cut.iter().map(|piece| piece.len() - 29).collect();
        assert_eq!(lengths, [1000, 1000, 1000, 500]);
        for piece in &cut {
            let piece = finished(piece);
            assert!(is_sound(&piece, &Ip::of(&piece).unwrap()));
            assert_eq!(
                usize::from(u16::from_be_bytes([piece[24], piece[25]])),
                piece.len() - 20
            );
        }
        assert_eq!(
            pieces(&mut Sample::udp(3500).made(), offload, 900),
            Err(Uncut::TooLarge)
        );
    }

    #[test]
    fn what_may_be_broken_is_and_is_whole_again_when_put_together() {
        let mut packet = Sample::udp(4000).fragile().made();
        let whole = packet.clone();
        let cut = pieces(&mut packet, Offload::default(), 1201).unwrap();
        let mut together = vec![0; 4008];
        for piece in &cut {
            let ip = Ip::of(&piece[1..]).unwrap();
            assert!(ip.fragment && piece.len() <= 1201);
            let at = usize::from(u16::from_be_bytes([piece[7], piece[8]]) & 0x1fff) * 8;
            together[at..at + piece.len() - 21].copy_from_slice(&piece[21..]);
        }
        assert_eq!(together, whole[20..]);
        assert_eq!(
            pieces(&mut Sample::udp(4000).made(), Offload::default(), 1201),
            Err(Uncut::TooLarge)
        );
    }

    #[test]
    fn a_wrong_checksum_is_not_made_right() {
        let mut packet = Sample::tcp(3000).made();
        packet[200] ^= 1;
        assert_eq!(pieces(&mut packet, Offload::default(), 1200), Err(Uncut::Malformed));
    }

    #[test]
    fn rubbish_is_refused_and_never_panics() {
        let mut random = StdRng::seed_from_u64(2);
        for _ in 0..20_000 {
            let mut packet = match random.random_range(0..3) {
                0 => Sample::tcp(random.random_range(0..2000)).made(),
                1 => Sample::udp(random.random_range(0..2000)).fragile().made(),
                _ => (0..random.random_range(0..200)).map(|_| random.random()).collect(),
            };
            for _ in 0..random.random_range(0..6) {
                let at = random.random_range(0..60usize);
                if let Some(byte) = packet.get_mut(at) {
                    *byte = random.random();
                }
            }
            let mut header = [0; super::super::OFFLOAD];
            random.fill(&mut header);
            header[1] %= 6;
            let Some(offload) = Offload::read(&header) else {
                continue;
            };
            let room = random.random_range(0..1500);
            for piece in pieces(&mut packet, offload, room).unwrap_or_default() {
                assert!(piece.len() <= room && Ip::of(&piece[1..]).is_some());
            }
        }
    }
}
