//! Names that the kernel gives: uids and the ends of generated names. They follow from the cluster, the revision and a
//! count, so that every replica gives the same.

/// Letters that spell no words; Kubernetes' alphabet for generated names.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// FNV-1a, 64 bits. Source: <http://www.isthe.com/chongo/tech/comp/fnv/>
pub fn seed(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// splitmix64's finaliser. Source: Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014.
pub fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// A uid as a UUID of version 8 (RFC 9562): unique for each revision and count of a cluster.
pub fn uid(cluster: u64, revision: u64, count: u64) -> String {
    let high = mix(cluster ^ mix(revision));
    let low = mix(high ^ mix(count.wrapping_add(1)));
    // The revision stays readable in the low half, so that no two of one cluster can ever be equal.
    let (high, low) = (
        high ^ low.rotate_left(32),
        (revision << 16 ^ count) & 0x3fff_ffff_ffff_ffff,
    );
    format!(
        "{:08x}-{:04x}-8{:03x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xfff,
        0x8000 | low >> 48,
        low & 0xffff_ffff_ffff
    )
}

/// Five letters for the end of a generated name; another `attempt` gives others.
pub fn suffix(cluster: u64, revision: u64, count: u64, attempt: u64) -> String {
    let mut random = mix(cluster ^ mix(revision ^ mix(count ^ mix(attempt))));
    let mut letter = || {
        let letter = ALPHABET[(random % 27) as usize];
        random /= 27;
        char::from(letter)
    };
    (0..5).map(|_| letter()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn uids_are_uuids_and_differ() {
        let uids: BTreeSet<_> = (0..1000)
            .flat_map(|revision| (0..3).map(move |count| uid(seed("c"), revision, count)))
            .collect();
        assert_eq!(uids.len(), 3000);
        let one = uids.first().unwrap();
        assert_eq!((one.len(), &one[14..15], &one[19..20]), (36, "8", "8"));
        assert_ne!(uid(1, 1, 1), uid(2, 1, 1));
    }

    #[test]
    fn suffixes_repeat_for_the_same_input_only() {
        assert_eq!(suffix(1, 2, 3, 0), suffix(1, 2, 3, 0));
        assert_ne!(suffix(1, 2, 3, 0), suffix(1, 2, 3, 1));
    }
}
