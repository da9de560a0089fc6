//! How many places each backend has among those that are drawn from, and where.
//!
//! A place is drawn with the same chance as any other, so weights become counts of places. Backends keep their places when
//! others come and go, so a change is small.
use sampan_sandbox::network::{Address, Backend};
use std::collections::{BTreeMap, BTreeSet};

/// Places of one frontend, unless it has more backends.
const MOST: u64 = 1024;

/// Where connections go.
pub(super) type Target = (Address, u16);

fn divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { divisor(b, a % b) }
}

/// How many places each target has: as few as give everybody his share, or, if that were too many, about.
fn counts(backends: &[Backend]) -> BTreeMap<Target, u64> {
    let mut weights: BTreeMap<Target, u64> = BTreeMap::new();
    for backend in backends.iter().filter(|backend| backend.weight > 0) {
        *weights.entry((backend.address, backend.port)).or_default() += u64::from(backend.weight);
    }
    let shared = weights.values().copied().fold(0, divisor).max(1);
    weights.values_mut().for_each(|weight| *weight /= shared);
    let sum: u64 = weights.values().sum();
    let most = MOST.max(weights.len() as u64);
    if sum > most {
        weights
            .values_mut()
            .for_each(|weight| *weight = ((*weight * most + sum / 2) / sum).max(1));
    }
    weights
}

/// Those that get no new connections.
pub(super) fn without_weight(backends: &[Backend]) -> BTreeSet<Target> {
    let without = backends.iter().filter(|backend| backend.weight == 0);
    without.map(|backend| (backend.address, backend.port)).collect()
}

/// The places for some backends, given those from before.
pub(super) fn places(before: &[Target], backends: &[Backend]) -> Vec<Target> {
    let mut lacking = counts(backends);
    let total: u64 = lacking.values().sum();
    let total = usize::try_from(total).unwrap_or(usize::MAX);
    let mut keep = |target: &Target| match lacking.get_mut(target) {
        Some(count) if *count > 0 => {
            *count -= 1;
            true
        }
        _ => false,
    };
    let mut kept: Vec<Option<Target>> = before
        .iter()
        .take(total)
        .map(|target| keep(target).then_some(*target))
        .collect();
    kept.resize(total, None);
    let mut rest = lacking
        .into_iter()
        .flat_map(|(target, count)| std::iter::repeat_n(target, usize::try_from(count).unwrap_or(0)));
    kept.into_iter()
        .filter_map(|place| place.or_else(|| rest.next()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn backend(last: u8, weight: u16) -> Backend {
        Backend {
            address: std::net::IpAddr::from(Ipv4Addr::new(10, 0, 0, last)).into(),
            port: 80,
            weight,
            local: false,
            terminating: false,
        }
    }

    fn lasts(places: &[Target]) -> Vec<u8> {
        let last = |(address, _): &Target| match address {
            Address::V4(bits) => bits.to_be_bytes()[3],
            Address::V6(_) => 0,
        };
        places.iter().map(last).collect()
    }

    #[test]
    fn who_stays_keeps_his_place() {
        let first = places(&[], &[backend(1, 1), backend(2, 1), backend(3, 1)]);
        assert_eq!(lasts(&first), [1, 2, 3]);
        let second = places(&first, &[backend(1, 1), backend(3, 1), backend(4, 1)]);
        assert_eq!(lasts(&second), [1, 4, 3]);
        // The last takes the place of the first.
        assert_eq!(lasts(&places(&second, &[backend(4, 1), backend(3, 1)])), [3, 4]);
        assert_eq!(lasts(&places(&second, &[])), Vec::<u8>::new());
    }

    #[test]
    fn weights_are_shares() {
        let of = |weights: &[u16]| {
            let backends: Vec<Backend> = (1..)
                .zip(weights)
                .map(|(last, weight)| backend(last, *weight))
                .collect();
            lasts(&places(&[], &backends))
        };
        assert_eq!(of(&[30, 10]), [1, 1, 1, 2]);
        assert_eq!(of(&[5, 0]), [1]);
        assert_eq!(of(&[0]), Vec::<u8>::new());
        let many = of(&[65_535, 65_534, 1]);
        assert!((1023..=1026).contains(&many.len()), "{}", many.len());
        assert_eq!(many.iter().filter(|last| **last == 3).count(), 1);
        let doubled = places(&[], &[backend(1, 1), backend(1, 2), backend(2, 3)]);
        assert_eq!(lasts(&doubled), [1, 2]);
    }
}
