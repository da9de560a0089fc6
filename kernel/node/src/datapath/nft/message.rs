//! Bytes of netlink messages: headers, attributes, and attributes in attributes.

/// Bytes of a netlink header.
pub(super) const HEADER: usize = 16;

/// The subsystem of nf_tables in a message's type.
pub(super) const NFTABLES: u16 = 10 << 8;

pub(super) const NESTED: u16 = 0x8000;

pub(super) const F_REQUEST: u16 = 1;
pub(super) const F_ACK: u16 = 4;
pub(super) const F_CREATE: u16 = 0x400;
pub(super) const F_APPEND: u16 = 0x800;
pub(in crate::datapath) const F_DUMP: u16 = 0x300;

/// Both families of addresses in one table.
pub(super) const INET: u8 = 1;

/// Messages one after the other.
#[derive(Default)]
pub(in crate::datapath) struct Bytes(pub(in crate::datapath) Vec<u8>);

impl Bytes {
    /// Opens a message; where it begins, for [`Bytes::close_message`].
    pub(super) fn message(&mut self, kind: u16, flags: u16, sequence: u32, family: u8, resource: u16) -> usize {
        let begin = self.0.len();
        self.0.extend_from_slice(&[0; 4]);
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(&flags.to_ne_bytes());
        self.0.extend_from_slice(&sequence.to_ne_bytes());
        self.0.extend_from_slice(&[0; 4]);
        // What all of netfilter's messages begin with: family, version, resource.
        self.0.extend_from_slice(&[family, 0]);
        self.0.extend_from_slice(&resource.to_be_bytes());
        begin
    }

    pub(super) fn close_message(&mut self, begin: usize) {
        let length = u32::try_from(self.0.len() - begin).unwrap_or(u32::MAX);
        self.0[begin..begin + 4].copy_from_slice(&length.to_ne_bytes());
    }

    pub(in crate::datapath) fn bytes(&mut self, kind: u16, value: &[u8]) {
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    pub(super) fn text(&mut self, kind: u16, value: &str) {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.bytes(kind, &bytes);
    }

    pub(in crate::datapath) fn u8(&mut self, kind: u16, value: u8) {
        self.bytes(kind, &[value]);
    }

    /// In network order, as nf_tables has nearly all its numbers.
    pub(in crate::datapath) fn u32(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    pub(super) fn u64(&mut self, kind: u16, value: u64) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// An attribute that holds attributes.
    pub(in crate::datapath) fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let begin = self.open(kind);
        fill(self);
        self.close(begin);
    }

    pub(super) fn open(&mut self, kind: u16) -> usize {
        let begin = self.0.len();
        self.0.extend_from_slice(&[0; 2]);
        self.0.extend_from_slice(&(kind | NESTED).to_ne_bytes());
        begin
    }

    pub(super) fn close(&mut self, begin: usize) {
        let length = u16::try_from(self.0.len() - begin).unwrap_or(u16::MAX);
        self.0[begin..begin + 2].copy_from_slice(&length.to_ne_bytes());
    }
}

/// The attributes in some bytes from the kernel, as kind and value; ends where they make no sense.
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?) & 0x3fff;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The value of the first attribute of a kind.
pub(in crate::datapath) fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(own, _)| *own == kind).map(|(_, value)| value)
}

/// A netlink message from the kernel.
#[derive(Clone, Copy)]
pub(super) struct Received<'a> {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    pub(super) body: &'a [u8],
}

/// The messages in a datagram from the kernel; ends where they make no sense.
pub(super) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Received<'_>> {
    std::iter::from_fn(move || {
        let length = usize::try_from(u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?)).ok()?;
        let received = Received {
            kind: u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?),
            flags: u16::from_ne_bytes(bytes.get(6..8)?.try_into().ok()?),
            sequence: u32::from_ne_bytes(bytes.get(8..12)?.try_into().ok()?),
            body: bytes.get(HEADER..length)?,
        };
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(received)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut bytes = Bytes::default();
        let begin = bytes.message(NFTABLES | 9, F_REQUEST, 7, INET, 0);
        bytes.text(1, "abc");
        bytes.nested(2, |bytes| {
            bytes.u8(1, 5);
            bytes.u32(2, 0x0102_0304);
        });
        bytes.close_message(begin);
        let read: Vec<_> = messages(&bytes.0).collect();
        assert_eq!(read.len(), 1);
        assert_eq!((read[0].kind, read[0].flags, read[0].sequence), (0x0a09, 1, 7));
        let body = &read[0].body[4..];
        assert_eq!(attribute(body, 1), Some(b"abc\0".as_slice()));
        let inner = attribute(body, 2).unwrap();
        assert_eq!(attribute(inner, 1), Some([5].as_slice()));
        assert_eq!(attribute(inner, 2), Some([1, 2, 3, 4].as_slice()));
        assert_eq!(bytes.0.len() % 4, 0);
    }

    #[test]
    fn nonsense_from_outside_ends_the_reading() {
        for length in [0_u16, 3, 5, 400] {
            let mut bytes = length.to_ne_bytes().to_vec();
            bytes.extend_from_slice(&[1, 0]);
            assert_eq!(attributes(&bytes).count(), 0, "{length}");
        }
        for length in [0_u32, 15, 17, u32::MAX] {
            let mut bytes = length.to_ne_bytes().to_vec();
            bytes.extend_from_slice(&[0; 12]);
            assert_eq!(messages(&bytes).count(), 0, "{length}");
        }
    }
}
