//! Ranges of addresses as sets of nf_tables have them: apart from each other, each as where it begins and where it ends.
use super::nft::Element;
use sampan_sandbox::network::{Family, Range};
use std::net::IpAddr;

/// First and last, sorted, with a gap between any two.
pub(super) type Intervals = Vec<(u128, u128)>;

fn bits(family: Family) -> u32 {
    match family {
        Family::V4 => 32,
        Family::V6 => 128,
    }
}

/// The ranges of one family, joined where they touch.
pub(super) fn joined<'a>(ranges: impl IntoIterator<Item = &'a Range>, family: Family) -> Intervals {
    let width = bits(family);
    let of_range = |range: &Range| {
        let first = match IpAddr::from(range.address) {
            IpAddr::V4(address) => u128::from(address.to_bits()),
            IpAddr::V6(address) => address.to_bits(),
        };
        let others = width.saturating_sub(u32::from(range.prefix));
        let size = 1_u128.checked_shl(others).unwrap_or(0);
        (first, first | size.wrapping_sub(1))
    };
    let of_family = ranges.into_iter().filter(|range| range.address.family() == family);
    let mut all: Intervals = of_family.map(of_range).collect();
    all.sort_unstable();
    let mut joined: Intervals = Vec::with_capacity(all.len());
    for (first, last) in all {
        match joined.last_mut() {
            Some((_, end)) if end.checked_add(1).is_none_or(|next| first <= next) => *end = last.max(*end),
            _ => joined.push((first, last)),
        }
    }
    joined
}

fn key(value: u128, family: Family) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    match family {
        Family::V4 => bytes[12..].to_vec(),
        Family::V6 => bytes.to_vec(),
    }
}

/// The elements of an interval; one that reaches to the last address there is has no end.
fn elements((first, last): (u128, u128), family: Family) -> impl Iterator<Item = Element> {
    let most = u128::MAX >> (128 - bits(family));
    let end = (last < most).then(|| Element {
        is_end: true,
        ..Element::key(key(last + 1, family))
    });
    std::iter::once(Element::key(key(first, family))).chain(end)
}

/// What to remove from and what to add to a set, so that it becomes another.
pub(super) fn changes(old: &Intervals, new: &Intervals, family: Family) -> (Vec<Element>, Vec<Element>) {
    let without = |these: &Intervals, those: &Intervals| {
        let only = these.iter().filter(|one| those.binary_search(one).is_err());
        only.flat_map(|one| elements(*one, family)).collect()
    };
    (without(old, new), without(new, old))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(texts: &[&str], family: Family) -> Intervals {
        let ranges: Vec<Range> = texts.iter().map(|text| Range::parse(text).unwrap()).collect();
        joined(&ranges, family)
    }

    #[test]
    fn ranges_that_touch_or_nest_are_one() {
        let joined = of(
            &["10.0.1.0/24", "10.0.0.0/24", "10.0.0.7/32", "10.0.3.0/24", "fd00::/8"],
            Family::V4,
        );
        assert_eq!(joined, [(0x0a00_0000, 0x0a00_01ff), (0x0a00_0300, 0x0a00_03ff)]);
        assert_eq!(of(&["0.0.0.0/0", "255.0.0.0/8"], Family::V4), [(0, 0xffff_ffff)]);
        assert_eq!(of(&["::/0", "fd00::/8"], Family::V6), [(0, u128::MAX)]);
        assert_eq!(of(&["fd00::/8"], Family::V4), []);
    }

    #[test]
    fn only_what_differs_changes_and_the_last_address_has_no_end() {
        let old = of(&["10.0.0.0/24", "192.0.2.1/32"], Family::V4);
        let new = of(&["10.0.0.0/24", "255.255.255.255/32"], Family::V4);
        let (gone, fresh) = changes(&old, &new, Family::V4);
        let ends: Vec<_> = gone.iter().map(|one| (one.key.clone(), one.is_end)).collect();
        assert_eq!(ends, [(vec![192, 0, 2, 1], false), (vec![192, 0, 2, 2], true)]);
        assert_eq!(fresh, [Element::key(vec![255; 4])]);
        let (gone, fresh) = changes(&of(&["::/0"], Family::V6), &Vec::new(), Family::V6);
        assert_eq!((gone.len(), fresh.len()), (1, 0));
    }
}
