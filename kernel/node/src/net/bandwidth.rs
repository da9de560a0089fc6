//! How fast a pod may send and be sent to, as Kubernetes' bandwidth plugin has it: a token bucket (tc-tbf) on either end of the
//! pod's wire. What comes to the pod waits on the node's end; what leaves it on its own, which a pod without CAP_NET_ADMIN cannot
//! change.
use super::{
    netlink::{Netlink, REPLACE},
    step::{Step, WireError},
};
use rtnetlink::{
    packet_core::DefaultNla,
    packet_route::{
        RouteNetlinkMessage,
        tc::{TcAttribute, TcHandle, TcMessage, TcOption},
    },
};
use sampan_api::quantity;
use std::collections::BTreeMap;

/// Annotations of pods, in bits a second.
pub const TO_POD: &str = "kubernetes.io/ingress-bandwidth";
pub const FROM_POD: &str = "kubernetes.io/egress-bandwidth";

/// The least and the most that Kubernetes takes for reasonable: 1k and 1P.
const LEAST: i64 = 1_000;
const MOST: i64 = 1_000_000_000_000_000;

/// So much goes at once at the least: what the kernel hands over in one piece, and it must fit. Bytes.
const LEAST_BURST: u64 = 128 << 10;

/// Beyond that, the part of a second that may go at once, and that may wait.
const BURST: u64 = 50;
const QUEUE: u64 = 20;

/// Attributes of the kernel's `tbf` (linux/pkt_sched.h).
const PARAMETERS: u16 = 1;
const RATE: u16 = 4;
const AT_ONCE: u16 = 6;

/// `TC_LINKLAYER_ETHERNET`: nothing is rounded up to cells.
const ETHERNET: u8 = 1;

/// Bytes a second; none where there is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bandwidth {
    pub to_pod: Option<u64>,
    pub from_pod: Option<u64>,
}

impl Bandwidth {
    /// As a pod's annotations say it.
    ///
    /// # Errors
    /// Which one is wrong, and what is expected.
    pub fn of(annotations: &BTreeMap<String, String>) -> Result<Self, String> {
        let read = |name: &str| {
            let Some(text) = annotations.get(name) else {
                return Ok(None);
            };
            let bits = quantity::units(text).ok().filter(|bits| (LEAST..=MOST).contains(bits));
            let bits = bits.and_then(|bits| u64::try_from(bits).ok());
            match bits {
                Some(bits) => Ok(Some(bits.div_ceil(8))),
                None => Err(format!(
                    "the annotation {name} is \"{text}\": expected bits a second, 1k to 1P, as in 10M"
                )),
            }
        };
        Ok(Bandwidth {
            to_pod: read(TO_POD)?,
            from_pod: read(FROM_POD)?,
        })
    }
}

/// Lets an interface send so many bytes a second and no more.
///
/// # Errors
/// If the kernel refuses; it must have `sch_tbf`.
pub(super) fn limit(netlink: &mut Netlink, index: u32, rate: u64) -> Result<(), WireError> {
    let burst = LEAST_BURST.max(rate / BURST).min(u64::from(u32::MAX / 2));
    let waiting = burst
        .saturating_add((rate / QUEUE).max(LEAST_BURST))
        .min(u64::from(u32::MAX));
    let word = |value: u64| u32::try_from(value).unwrap_or(u32::MAX).to_ne_bytes();
    // `struct tc_tbf_qopt`: two rates, of which the second is not used, the queue's bytes, and two times that `AT_ONCE` replaces.
    let mut parameters = vec![0; 36];
    parameters[1] = ETHERNET;
    parameters[8..12].copy_from_slice(&word(rate));
    parameters[13] = ETHERNET;
    parameters[24..28].copy_from_slice(&word(waiting));
    let option = |kind, bytes| TcOption::Other(DefaultNla::new(kind, bytes));
    let mut message = TcMessage::with_index(i32::try_from(index).unwrap_or_default());
    message.header.parent = TcHandle::ROOT;
    message.header.handle = TcHandle::from(1 << 16);
    message.attributes.push(TcAttribute::Kind("tbf".to_owned()));
    message.attributes.push(TcAttribute::Options(vec![
        option(PARAMETERS, parameters),
        option(RATE, rate.to_ne_bytes().to_vec()),
        option(AT_ONCE, word(burst).to_vec()),
    ]));
    let add = RouteNetlinkMessage::NewQueueDiscipline(message);
    netlink
        .request(add, REPLACE)
        .step("limit its bandwidth, for which the kernel must have sch_tbf")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_are_bits_a_second() {
        let of = |to: &str, from: &str| {
            let pairs = [(TO_POD, to), (FROM_POD, from)];
            let pairs = pairs.into_iter().filter(|(_, text)| !text.is_empty());
            Bandwidth::of(&pairs.map(|(name, text)| (name.to_owned(), text.to_owned())).collect())
        };
        let is = |to_pod, from_pod| Ok(Bandwidth { to_pod, from_pod });
        assert_eq!(of("", ""), is(None, None));
        assert_eq!(of("10M", "1k"), is(Some(1_250_000), Some(125)));
        assert_eq!(of("", "1P"), is(None, Some(125_000_000_000_000)));
        assert_eq!(of("1Mi", ""), is(Some(131_072), None));
        for wrong in ["999", "2P", "fast", "-10M", "0"] {
            let error = of(wrong, "").unwrap_err();
            assert!(error.contains(TO_POD) && error.contains("1k to 1P"), "{error}");
            assert!(of("", wrong).unwrap_err().contains(FROM_POD));
        }
    }
}
