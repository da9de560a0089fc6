//! Sets and maps, and what is in them.
use super::{
    expression::{Expression, Verdict},
    message::{Bytes, F_CREATE},
};

const INTERVAL: u32 = 4;
const MAP: u32 = 8;
const TIMEOUT: u32 = 16;
const DYNAMIC: u32 = 32;

const VERDICT_DATA: u32 = 0xffff_ff00;

/// What a set's keys are. The numbers of types are those of the program `nft`, so that it lists them in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::datapath) enum Field {
    V4,
    V6,
    Protocol,
    Port,
    Number,
    Interface,
}

impl Field {
    fn number(self) -> u32 {
        match self {
            Field::V4 => 7,
            Field::V6 => 8,
            Field::Protocol => 12,
            Field::Port => 13,
            Field::Number => 19,
            Field::Interface => 41,
        }
    }

    /// With what it is filled up to whole registers.
    fn length(self) -> u32 {
        match self {
            Field::V6 | Field::Interface => 16,
            _ => 4,
        }
    }
}

/// What a map has for its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::datapath) enum Holds {
    Keys,
    Values(&'static [Field]),
    Verdicts,
}

/// How a set or a map is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::datapath) struct SetKind {
    pub(in crate::datapath) name: String,
    pub(in crate::datapath) key: &'static [Field],
    pub(in crate::datapath) holds: Holds,
    /// Its elements are where ranges begin and end.
    pub(in crate::datapath) interval: bool,
    /// Rules put things in, for a time, and no more than that many.
    pub(in crate::datapath) dynamic: Option<u32>,
    /// Each element counts the packets that it was found for.
    pub(in crate::datapath) counts: bool,
}

impl SetKind {
    pub(super) fn write(&self, bytes: &mut Bytes, number: u32) {
        let kind = |fields: &[Field]| fields.iter().fold(0, |kind, field| kind << 6 | field.number());
        let length = |fields: &[Field]| fields.iter().map(|field| field.length()).sum();
        let mut flags = 0;
        if self.interval {
            flags |= INTERVAL;
        }
        if self.holds != Holds::Keys {
            flags |= MAP;
        }
        if self.dynamic.is_some() {
            flags |= TIMEOUT | DYNAMIC;
        }
        bytes.text(2, &self.name);
        bytes.u32(3, flags);
        bytes.u32(4, kind(self.key));
        bytes.u32(5, length(self.key));
        match self.holds {
            Holds::Keys => {}
            Holds::Values(fields) => {
                bytes.u32(6, kind(fields));
                bytes.u32(7, length(fields));
            }
            Holds::Verdicts => {
                bytes.u32(6, VERDICT_DATA);
                bytes.u32(7, 0);
            }
        }
        if let Some(most) = self.dynamic {
            bytes.nested(9, |bytes| bytes.u32(1, most));
        }
        bytes.u32(10, number);
        if self.counts {
            bytes.nested(17, |bytes| Expression::Counter.write_alone(bytes));
        }
    }

    pub(super) const FLAGS: u16 = F_CREATE;
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::datapath) enum Data {
    Value(Vec<u8>),
    Verdict(Verdict),
}

/// One element.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::datapath) struct Element {
    pub(in crate::datapath) key: Vec<u8>,
    /// A range ends before it.
    pub(in crate::datapath) is_end: bool,
    pub(in crate::datapath) data: Option<Data>,
    /// How long it was to stay, and how long it still does, in milliseconds.
    pub(in crate::datapath) stays: Option<(u64, u64)>,
}

impl Element {
    pub(in crate::datapath) fn key(key: Vec<u8>) -> Self {
        Element {
            key,
            is_end: false,
            data: None,
            stays: None,
        }
    }

    pub(in crate::datapath) fn value(key: Vec<u8>, data: Vec<u8>) -> Self {
        Element {
            data: Some(Data::Value(data)),
            ..Element::key(key)
        }
    }

    pub(in crate::datapath) fn verdict(key: Vec<u8>, verdict: Verdict) -> Self {
        Element {
            data: Some(Data::Verdict(verdict)),
            ..Element::key(key)
        }
    }

    /// Writes it as one of a list; what is to be removed is found by its key.
    pub(super) fn write(&self, bytes: &mut Bytes, with_data: bool) {
        bytes.nested(1, |bytes| {
            bytes.nested(1, |bytes| bytes.bytes(1, &self.key));
            if self.is_end {
                bytes.u32(3, 1);
            }
            if !with_data {
                return;
            }
            match &self.data {
                Some(Data::Value(value)) => bytes.nested(2, |bytes| bytes.bytes(1, value)),
                Some(Data::Verdict(verdict)) => bytes.nested(2, |bytes| verdict.write(bytes)),
                None => {}
            }
            if let Some((whole, rest)) = self.stays {
                bytes.u64(4, whole);
                bytes.u64(5, rest);
            }
        });
    }
}
