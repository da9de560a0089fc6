//! What the kernel says beside a packet of a TUN device: what it left undone, and how it wants the packet cut. The format is
//! `struct virtio_net_hdr` of the VIRTIO specification (1.2, section 5.1.6), in the machine's byte order.

/// The length of [`Offload`] before each packet.
pub(crate) const OFFLOAD: usize = 10;

const NEEDS_CHECKSUM: u8 = 1;
const GSO_TCP4: u8 = 1;
const GSO_TCP6: u8 = 4;
const GSO_UDP: u8 = 5;
/// The first segment has TCP's CWR, and the others must not.
const GSO_ECN: u8 = 0x80;

/// What a packet is to be cut into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Segments {
    /// It is one.
    #[default]
    One,
    Tcp,
    Udp,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Offload {
    /// The checksum covers only the pseudo header.
    pub unfinished: bool,
    pub segments: Segments,
    /// Bytes of payload in each segment but the last.
    pub size: u16,
    /// Where what the checksum covers begins, and where in it the checksum is.
    pub checksum_start: u16,
    pub checksum_offset: u16,
    /// The length of all headers.
    pub headers: u16,
    pub v6: bool,
}

impl Offload {
    /// None: it asks for something that was not offered.
    pub fn read(bytes: &[u8; OFFLOAD]) -> Option<Self> {
        let word = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        let segments = match bytes[1] & !GSO_ECN {
            0 => Segments::One,
            GSO_TCP4 | GSO_TCP6 => Segments::Tcp,
            GSO_UDP => Segments::Udp,
            _ => return None,
        };
        Some(Offload {
            unfinished: bytes[0] & NEEDS_CHECKSUM != 0,
            segments,
            headers: word(2),
            size: word(4),
            checksum_start: word(6),
            checksum_offset: word(8),
            v6: bytes[1] & !GSO_ECN == GSO_TCP6,
        })
    }

    pub fn write(&self) -> [u8; OFFLOAD] {
        let mut bytes = [0; OFFLOAD];
        bytes[0] = if self.unfinished { NEEDS_CHECKSUM } else { 0 };
        bytes[1] = match (self.segments, self.v6) {
            (Segments::One, _) => 0,
            (Segments::Tcp, false) => GSO_TCP4,
            (Segments::Tcp, true) => GSO_TCP6,
            (Segments::Udp, _) => GSO_UDP,
        };
        let words = [self.headers, self.size, self.checksum_start, self.checksum_offset];
        for (at, word) in words.iter().enumerate() {
            bytes[2 + 2 * at..][..2].copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }
}
