//! How long TCP's segments are: the ends say it to each other when they begin (RFC 9293, section 3.7.1), and it is lowered to
//! what the way between nodes carries. Longer ones arrive too, but are cut, and of each large piece a crumb is left over.
use super::{Ip, TCP, finish, is_sound};

const SYN: u8 = 0x02;

/// Options: the last, one byte of nothing, and the longest segment.
const END: u8 = 0;
const NOTHING: u8 = 1;
const LONGEST_SEGMENT: u8 = 2;

/// The header without options: these count as payload (RFC 6691).
const HEADER: usize = 20;

/// Lowers what a packet says of the longest segment, if it is one that says it, to packets of `room` bytes. `finished`:
/// whether its checksum is; one that is wrong stays wrong.
pub(crate) fn lower_mss(packet: &mut [u8], ip: &Ip, finished: bool, room: usize) {
    if ip.protocol != TCP || packet.get(ip.header + 13).is_none_or(|flags| flags & SYN == 0) {
        return;
    }
    let Some(at) = ip
        .headers(packet)
        .and_then(|end| place(packet, ip.header + HEADER, end))
    else {
        return;
    };
    let most = u16::try_from(room.saturating_sub(ip.header + HEADER)).unwrap_or(u16::MAX);
    let said = u16::from_be_bytes([packet[at], packet[at + 1]]);
    if said <= most || (finished && !is_sound(packet, ip)) {
        return;
    }
    packet[at..at + 2].copy_from_slice(&most.to_be_bytes());
    if finished {
        finish(packet, ip);
    }
}

/// Where among the options from `at` to `end` the longest segment is said.
fn place(packet: &[u8], mut at: usize, end: usize) -> Option<usize> {
    while at < end {
        at += match (packet[at], *packet[..end].get(at + 1).unwrap_or(&0)) {
            (END, _) => return None,
            (NOTHING, _) => 1,
            (LONGEST_SEGMENT, 4) if at + 4 <= end => return Some(at + 2),
            (_, length @ 2..) => usize::from(length),
            _ => return None,
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::samples::Sample;

    /// A packet with these options, with its checksum or without.
    fn with(options: &[u8], flags: u8) -> (Vec<u8>, Ip) {
        let mut packet = Sample::tcp(0).options(options.len()).flags(flags).made();
        packet[40..].copy_from_slice(options);
        let ip = Ip::of(&packet).unwrap();
        finish(&mut packet, &ip);
        (packet, ip)
    }

    #[test]
    fn it_is_lowered_wherever_it_stands_and_the_checksum_is_right() {
        let cases: [&[u8]; 3] = [
            &[2, 4, 5, 180, 1, 1, 4, 2],
            &[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 2, 4, 5, 180],
            &[1, 2, 4, 5, 180, 1, 1, 0],
        ];
        for options in cases {
            let (mut packet, ip) = with(options, SYN);
            let (before, at) = (packet.clone(), 42 + options.iter().position(|byte| *byte == 2).unwrap());
            lower_mss(&mut packet, &ip, true, 1437);
            assert_eq!(packet[at..at + 2], 1397u16.to_be_bytes(), "{options:?}");
            assert!(is_sound(&packet, &ip));
            packet[at..at + 2].copy_from_slice(&1460u16.to_be_bytes());
            finish(&mut packet, &ip);
            assert_eq!(packet, before, "nothing else is changed");
        }
    }

    #[test]
    fn the_rest_is_left_alone() {
        let same = |options: &[u8], flags: u8, room: usize| {
            let (mut packet, ip) = with(options, flags);
            let before = packet.clone();
            lower_mss(&mut packet, &ip, true, room);
            assert_eq!(packet, before, "{options:?}");
        };
        same(&[2, 4, 5, 180], 0x10, 1437); // It does not begin.
        same(&[2, 4, 5, 180], SYN, 1500); // It is low enough.
        for options in [[0, 2, 4, 5], [1, 1, 2, 4], [3, 0, 2, 4], [3, 9, 2, 4], [1, 1, 1, 2]] {
            same(&options, SYN, 1437);
        }
        let (mut packet, ip) = with(&[2, 4, 5, 180], SYN);
        packet[36] ^= 1;
        let before = packet.clone();
        lower_mss(&mut packet, &ip, true, 1437);
        assert_eq!(packet, before, "a wrong checksum is not made right");
        lower_mss(&mut packet, &ip, false, 1437);
        assert_eq!(
            (packet[42], packet[43], packet[36]),
            (5, 117, before[36]),
            "one that is not made yet"
        );
    }
}
