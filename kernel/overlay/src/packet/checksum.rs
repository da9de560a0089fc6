//! The Internet checksum (RFC 1071): sums of 16-bit words, of which the carries are added again.

/// The sum of the words of these bytes; an odd one at the end counts as followed by nothing. It can be added to others.
pub(super) fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<4>();
    let sum: u64 = words.iter().map(|word| u64::from(u32::from_be_bytes(*word))).sum();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    sum + u64::from(u32::from_be_bytes(last))
}

/// The sum with its carries.
pub(super) fn folded(mut sum: u64) -> u16 {
    while let carries @ 1.. = sum >> 16 {
        sum = (sum & 0xffff) + carries;
    }
    // It is below 2^16 now.
    u16::try_from(sum).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_that_of_the_rfc() {
        // The example of RFC 1071, section 3.
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(folded(sum(&bytes)), 0xddf2);
        assert_eq!(folded(sum(&bytes[..7])), folded(sum(&[&bytes[..7], &[0][..]].concat())));
        assert_eq!(folded(sum(&[0xff; 60_000])), 0xffff);
        assert_eq!(folded(0), 0);
    }
}
