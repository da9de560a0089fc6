//! What rules are made of. Each expression reads and writes registers, or ends the rule.
use super::message::Bytes;

/// One of sixteen registers of four bytes; wider values take several in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::datapath) struct Register(pub(in crate::datapath) u8);

impl Register {
    fn number(self) -> u32 {
        8 + u32::from(self.0)
    }
}

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::datapath) enum Verdict {
    Accept,
    Drop,
    Return,
    Jump(String),
    Goto(String),
}

impl Verdict {
    pub(super) fn write(&self, bytes: &mut Bytes) {
        let (code, chain) = match self {
            Verdict::Drop => (0, None),
            Verdict::Accept => (1, None),
            Verdict::Jump(chain) => (-3_i32, Some(chain)),
            Verdict::Goto(chain) => (-4, Some(chain)),
            Verdict::Return => (-5, None),
        };
        bytes.nested(2, |bytes| {
            bytes.u32(1, code.cast_unsigned());
            if let Some(chain) = chain {
                bytes.text(2, chain);
            }
        });
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::datapath) enum Meta {
    /// Which queue a packet is sent by.
    Priority,
    Mark,
    InputName,
    OutputName,
    Family,
    Protocol,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::datapath) enum Layer {
    Network,
    Transport,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::datapath) enum Expression {
    Meta(Meta, Register),
    /// What is in a register becomes the packet's mark.
    SetMark(Register),
    SetPriority(Register),
    /// Bytes of a header, by their offset and count.
    Payload(Layer, u32, u32, Register),
    /// One bit for each state of connections.
    State(Register),
    /// One bit for each thing that was done to the connection.
    Status(Register),
    /// The kind of the destination: [`LOCAL`].
    DestinationKind(Register),
    Value(Register, Vec<u8>),
    Verdict(Verdict),
    Equal(Register, Vec<u8>),
    Unequal(Register, Vec<u8>),
    /// First and last, both within.
    Within(Register, Vec<u8>, Vec<u8>),
    /// Keeps the bits of the mask, and flips those of the second.
    Bits(Register, Vec<u8>, Vec<u8>),
    /// Goes on if the set has it.
    In(String, Register),
    NotIn(String, Register),
    /// Goes on with what the map has for it, if it has.
    Map(String, Register, Register),
    /// Does what the map has for it, if it has.
    VerdictMap(String, Register),
    /// A number below that many.
    Random(Register, u32),
    /// The destination becomes an address (4 or 16 bytes) and a port.
    Destination {
        v6: bool,
        address: Register,
        port: Register,
    },
    Masquerade,
    RejectReset,
    RejectUnreachable,
    /// A map of this name notes, or forgets, `data` for `key`.
    Note {
        map: String,
        key: Register,
        data: Register,
        seconds: u32,
    },
    Forget {
        map: String,
        key: Register,
        data: Register,
    },
    Counter,
}

/// An address of this machine, as the kernel calls it (`RTN_LOCAL`).
pub(in crate::datapath) const LOCAL: u32 = 2;
pub(in crate::datapath) const STATE_ESTABLISHED: u32 = 2;
pub(in crate::datapath) const STATE_RELATED: u32 = 4;
pub(in crate::datapath) const STATE_NEW: u32 = 8;
/// The destination was changed (`IPS_DST_NAT`).
pub(in crate::datapath) const STATUS_DNAT: u32 = 1 << 5;

/// `NF_NAT_RANGE_PROTO_RANDOM_FULLY`: ports that two connections at once would fight for are not.
const RANDOM_FULLY: u32 = 1 << 4;

fn value(bytes: &mut Bytes, kind: u16, data: &[u8]) {
    bytes.nested(kind, |bytes| bytes.bytes(1, data));
}

fn length(data: &[u8]) -> u32 {
    u32::try_from(data.len()).unwrap_or(u32::MAX)
}

impl Expression {
    fn name(&self) -> &'static str {
        use Expression::*;
        match self {
            Meta(..) | SetMark(_) | SetPriority(_) => "meta",
            Payload(..) => "payload",
            State(_) | Status(_) => "ct",
            DestinationKind(_) => "fib",
            Value(..) | Verdict(_) => "immediate",
            Equal(..) | Unequal(..) => "cmp",
            Within(..) => "range",
            Bits(..) => "bitwise",
            In(..) | NotIn(..) | Map(..) | VerdictMap(..) => "lookup",
            Random(..) => "numgen",
            Destination { .. } => "nat",
            Masquerade => "masq",
            RejectReset | RejectUnreachable => "reject",
            Note { .. } | Forget { .. } => "dynset",
            Counter => "counter",
        }
    }

    /// Writes it as an element of a list of expressions.
    pub(super) fn write(&self, bytes: &mut Bytes) {
        bytes.nested(1, |bytes| self.write_alone(bytes));
    }

    /// Writes it as the one that there is.
    pub(super) fn write_alone(&self, bytes: &mut Bytes) {
        bytes.text(1, self.name());
        bytes.nested(2, |bytes| self.write_loading(bytes));
    }

    fn write_loading(&self, bytes: &mut Bytes) {
        match self {
            Expression::Meta(key, to) => {
                bytes.u32(1, to.number());
                let key = match key {
                    Meta::Priority => 2,
                    Meta::Mark => 3,
                    Meta::InputName => 6,
                    Meta::OutputName => 7,
                    Meta::Family => 15,
                    Meta::Protocol => 16,
                };
                bytes.u32(2, key);
            }
            Expression::SetMark(from) | Expression::SetPriority(from) => {
                bytes.u32(2, if matches!(self, Expression::SetMark(_)) { 3 } else { 2 });
                bytes.u32(3, from.number());
            }
            Expression::Payload(layer, offset, count, to) => {
                bytes.u32(1, to.number());
                bytes.u32(2, if *layer == Layer::Network { 1 } else { 2 });
                bytes.u32(3, *offset);
                bytes.u32(4, *count);
            }
            Expression::State(to) | Expression::Status(to) => {
                bytes.u32(1, to.number());
                bytes.u32(2, if matches!(self, Expression::State(_)) { 0 } else { 2 });
            }
            Expression::DestinationKind(to) => {
                bytes.u32(1, to.number());
                // By the destination, its kind.
                bytes.u32(2, 3);
                bytes.u32(3, 2);
            }
            Expression::Value(to, data) => {
                bytes.u32(1, to.number());
                value(bytes, 2, data);
            }
            Expression::Verdict(verdict) => {
                bytes.u32(1, 0);
                bytes.nested(2, |bytes| verdict.write(bytes));
            }
            Expression::Random(to, below) => {
                bytes.u32(1, to.number());
                bytes.u32(2, *below);
                bytes.u32(3, 1);
            }
            _ => self.write_matching(bytes),
        }
    }

    fn write_matching(&self, bytes: &mut Bytes) {
        match self {
            Expression::Equal(of, data) | Expression::Unequal(of, data) => {
                bytes.u32(1, of.number());
                bytes.u32(2, u32::from(matches!(self, Expression::Unequal(..))));
                value(bytes, 3, data);
            }
            Expression::Within(of, first, last) => {
                bytes.u32(1, of.number());
                bytes.u32(2, 0);
                value(bytes, 3, first);
                value(bytes, 4, last);
            }
            Expression::Bits(of, mask, flip) => {
                bytes.u32(1, of.number());
                bytes.u32(2, of.number());
                bytes.u32(3, length(mask));
                value(bytes, 4, mask);
                value(bytes, 5, flip);
            }
            Expression::In(set, key) | Expression::NotIn(set, key) => {
                bytes.text(1, set);
                bytes.u32(2, key.number());
                if matches!(self, Expression::NotIn(..)) {
                    bytes.u32(5, 1);
                }
            }
            Expression::Map(map, key, to) => {
                bytes.text(1, map);
                bytes.u32(2, key.number());
                bytes.u32(3, to.number());
            }
            Expression::VerdictMap(map, key) => {
                bytes.text(1, map);
                bytes.u32(2, key.number());
                bytes.u32(3, 0);
            }
            _ => self.write_acting(bytes),
        }
    }

    fn write_acting(&self, bytes: &mut Bytes) {
        match self {
            Expression::Destination { v6, address, port } => {
                bytes.u32(1, 1);
                bytes.u32(2, if *v6 { 10 } else { 2 });
                bytes.u32(3, address.number());
                bytes.u32(5, port.number());
            }
            Expression::Masquerade => bytes.u32(1, RANDOM_FULLY),
            Expression::RejectReset => bytes.u32(1, 1),
            Expression::RejectUnreachable => {
                // ICMP of whichever family, with the code for a port.
                bytes.u32(1, 2);
                bytes.u8(2, 1);
            }
            Expression::Note {
                map,
                key,
                data,
                seconds,
            } => {
                bytes.text(1, map);
                bytes.u32(3, 1);
                bytes.u32(4, key.number());
                bytes.u32(5, data.number());
                bytes.u64(6, u64::from(*seconds) * 1000);
            }
            Expression::Forget { map, key, data } => {
                bytes.text(1, map);
                bytes.u32(3, 2);
                bytes.u32(4, key.number());
                bytes.u32(5, data.number());
            }
            // A counter begins at nothing; all others are written above.
            _ => {}
        }
    }
}
