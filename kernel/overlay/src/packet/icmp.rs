//! What a sender is told of a packet that does not fit: ICMP "fragmentation needed" (RFC 1191), ICMPv6 "packet too big"
//! (RFC 4443).
use super::{Ip, checksum, set_length};
use std::net::IpAddr;

/// So much of the packet comes back: all that fits the smallest MTU there is.
const QUOTED_V4: usize = 576 - 28;
const QUOTED_V6: usize = 1280 - 48;

const ICMP: u8 = 1;
const ICMP_V6: u8 = 58;

/// The answer to a packet that is larger than `mtu`. It comes from where the packet was to go: from one of our own
/// addresses, the kernel would not believe it.
pub(crate) fn too_large(packet: &[u8], ip: &Ip, mtu: usize) -> Vec<u8> {
    let mtu = u32::try_from(mtu).unwrap_or(u32::MAX);
    match (ip.destination, ip.source) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let quoted = &packet[..packet.len().min(QUOTED_V4)];
            let mut answer = vec![0; 28];
            answer[0] = 0x45;
            answer[8] = 64;
            answer[9] = ICMP;
            answer[12..16].copy_from_slice(&from.octets());
            answer[16..20].copy_from_slice(&to.octets());
            answer[20..22].copy_from_slice(&[3, 4]);
            answer[24..28].copy_from_slice(&mtu.min(0xffff).to_be_bytes());
            answer.extend_from_slice(quoted);
            let length = answer.len();
            set_length(&mut answer, 20, length);
            let sum = !checksum::folded(checksum::sum(&answer[20..]));
            answer[22..24].copy_from_slice(&sum.to_be_bytes());
            answer
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let quoted = &packet[..packet.len().min(QUOTED_V6)];
            let mut answer = vec![0; 48];
            answer[0] = 0x60;
            answer[6] = ICMP_V6;
            answer[7] = 64;
            answer[8..24].copy_from_slice(&from.octets());
            answer[24..40].copy_from_slice(&to.octets());
            answer[40] = 2;
            answer[44..48].copy_from_slice(&mtu.to_be_bytes());
            answer.extend_from_slice(quoted);
            let length = answer.len();
            set_length(&mut answer, 40, length);
            let pseudo = Ip::of(&answer).map_or(0, |ip| ip.pseudo_header(length - 40));
            let sum = !checksum::folded(pseudo + checksum::sum(&answer[40..]));
            answer[42..44].copy_from_slice(&sum.to_be_bytes());
            answer
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::samples::Sample;

    #[test]
    fn it_says_to_the_sender_what_fits() {
        let packet = Sample::udp(1400).made();
        let answer = too_large(&packet, &Ip::of(&packet).unwrap(), 1222);
        let ip = Ip::of(&answer).unwrap();
        assert_eq!(
            (ip.source.to_string(), ip.destination.to_string()),
            ("10.42.2.9".into(), "10.42.1.5".into())
        );
        assert_eq!(&answer[20..22], [3, 4]);
        assert_eq!(&answer[24..28], [0, 0, 4, 198]);
        assert_eq!(
            (checksum::folded(checksum::sum(&answer[20..])), answer.len()),
            (0xffff, 576)
        );
        assert_eq!(&answer[28..], &packet[..548]);
    }

    #[test]
    fn so_it_does_in_ipv6() {
        let mut packet = vec![0; 1400];
        packet[0] = 0x60;
        packet[4..6].copy_from_slice(&1360u16.to_be_bytes());
        packet[6] = 17;
        packet[23] = 1;
        packet[39] = 2;
        let ip = Ip::of(&packet).unwrap();
        let answer = too_large(&packet, &ip, 1300);
        let said = Ip::of(&answer).unwrap();
        assert_eq!((said.source, said.destination), (ip.destination, ip.source));
        assert_eq!(
            checksum::folded(said.pseudo_header(answer.len() - 40) + checksum::sum(&answer[40..])),
            0xffff
        );
        assert_eq!(
            (answer.len(), answer[40], &answer[44..48]),
            (1280, 2, &1300u32.to_be_bytes()[..])
        );
    }
}
