//! A batch: messages that the kernel carries out all together, or not at all.
use super::{
    expression::Expression,
    message::{Bytes, F_ACK, F_APPEND, F_CREATE, F_REQUEST, HEADER, INET, NFTABLES, Received, attribute, messages},
    set::{Element, SetKind},
};

const BEGIN: u16 = 16;
const END: u16 = 17;

const NEW_TABLE: u16 = 0;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const DELETE_CHAIN: u16 = 5;
const NEW_RULE: u16 = 6;
const DELETE_RULE: u16 = 8;
const NEW_SET: u16 = 9;
const DELETE_SET: u16 = 11;
const NEW_ELEMENTS: u16 = 12;
const DELETE_ELEMENTS: u16 = 14;

/// A list of elements is one attribute, and the length of an attribute has 16 bits.
const LONGEST_LIST: usize = 60_000;

/// Where packets come by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::datapath) enum Hook {
    Prerouting = 0,
    Input = 1,
    Forward = 2,
    Output = 3,
    Postrouting = 4,
}

/// Where, and when among others there, a chain is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::datapath) struct HookPoint {
    pub(in crate::datapath) hook: Hook,
    pub(in crate::datapath) priority: i32,
    /// It changes addresses, and sees only the first packet of a connection.
    pub(in crate::datapath) is_nat: bool,
}

/// Messages about one table.
pub(in crate::datapath) struct Batch {
    table: String,
    bytes: Bytes,
    /// Where each message begins, by its number.
    begins: Vec<usize>,
    /// From which byte on what is said comes from which origin.
    origins: Vec<(usize, u32)>,
    origin: u32,
    sets: u32,
    /// Is added to all priorities.
    later: i32,
}

impl Batch {
    /// Refused as a whole if somebody changed anything since `generation`.
    pub(in crate::datapath) fn new(table: &str, generation: Option<u32>) -> Self {
        let mut batch = Batch {
            table: table.to_owned(),
            bytes: Bytes::default(),
            begins: Vec::new(),
            origins: Vec::new(),
            origin: u32::MAX,
            sets: 0,
            later: 0,
        };
        let begin = batch.bytes.message(BEGIN, F_REQUEST, 0, 0, NFTABLES >> 8);
        if let Some(generation) = generation {
            batch.bytes.u32(1, generation);
        }
        batch.bytes.close_message(begin);
        batch.begins.push(begin);
        batch
    }

    /// What follows comes from it; `u32::MAX` for nothing in particular.
    pub(in crate::datapath) fn comes_from(&mut self, origin: u32) {
        self.origin = origin;
    }

    /// Chains are entered so much later among others of their hooks.
    pub(in crate::datapath) fn later(&mut self, by: i32) {
        self.later = by;
    }

    pub(in crate::datapath) fn is_empty(&self) -> bool {
        self.begins.len() == 1
    }

    /// Bytes so far.
    pub(in crate::datapath) fn len(&self) -> usize {
        self.bytes.0.len()
    }

    fn open(&mut self, kind: u16, flags: u16) -> usize {
        let sequence = u32::try_from(self.begins.len()).unwrap_or(u32::MAX);
        let begin = self
            .bytes
            .message(NFTABLES | kind, F_REQUEST | flags, sequence, INET, 0);
        self.begins.push(begin);
        self.origins.push((begin, self.origin));
        self.bytes.text(1, &self.table);
        begin
    }

    fn say(&mut self, kind: u16, flags: u16, fill: impl FnOnce(&mut Bytes)) {
        let begin = self.open(kind, flags);
        fill(&mut self.bytes);
        self.bytes.close_message(begin);
    }

    /// Makes the table, if it is not there.
    pub(in crate::datapath) fn table(&mut self) {
        self.say(NEW_TABLE, F_CREATE, |bytes| bytes.u32(2, 0));
    }

    pub(in crate::datapath) fn delete_table(&mut self) {
        self.say(DELETE_TABLE, 0, |_| {});
    }

    /// Makes a chain; one with a hook lets pass what comes to its end.
    pub(in crate::datapath) fn chain(&mut self, name: &str, point: Option<HookPoint>) {
        let later = self.later;
        self.say(NEW_CHAIN, F_CREATE, |bytes| {
            bytes.text(3, name);
            let Some(point) = point else { return };
            bytes.nested(4, |bytes| {
                bytes.u32(1, point.hook as u32);
                bytes.u32(2, point.priority.saturating_add(later).cast_unsigned());
            });
            bytes.u32(5, 1);
            bytes.text(7, if point.is_nat { "nat" } else { "filter" });
        });
    }

    pub(in crate::datapath) fn delete_chain(&mut self, name: &str) {
        self.say(DELETE_CHAIN, 0, |bytes| bytes.text(3, name));
    }

    /// All rules of a chain go.
    pub(in crate::datapath) fn flush_chain(&mut self, name: &str) {
        self.say(DELETE_RULE, 0, |bytes| bytes.text(2, name));
    }

    /// Adds a rule to the end of a chain.
    pub(in crate::datapath) fn rule(&mut self, chain: &str, expressions: &[Expression]) {
        self.say(NEW_RULE, F_CREATE | F_APPEND, |bytes| {
            bytes.text(2, chain);
            bytes.nested(4, |bytes| {
                expressions.iter().for_each(|expression| expression.write(bytes));
            });
        });
    }

    pub(in crate::datapath) fn set(&mut self, kind: &SetKind) {
        self.sets += 1;
        let number = self.sets;
        self.say(NEW_SET, SetKind::FLAGS, |bytes| kind.write(bytes, number));
    }

    pub(in crate::datapath) fn delete_set(&mut self, name: &str) {
        self.say(DELETE_SET, 0, |bytes| bytes.text(2, name));
    }

    /// Elements, each with where it comes from.
    pub(in crate::datapath) fn add<'a>(&mut self, set: &str, elements: impl IntoIterator<Item = (u32, &'a Element)>) {
        self.elements(NEW_ELEMENTS, F_CREATE, set, elements, true);
    }

    pub(in crate::datapath) fn remove<'a>(
        &mut self,
        set: &str,
        elements: impl IntoIterator<Item = (u32, &'a Element)>,
    ) {
        self.elements(DELETE_ELEMENTS, 0, set, elements, false);
    }

    fn elements<'a>(
        &mut self,
        kind: u16,
        flags: u16,
        set: &str,
        elements: impl IntoIterator<Item = (u32, &'a Element)>,
        with_data: bool,
    ) {
        let mut elements = elements.into_iter().peekable();
        while elements.peek().is_some() {
            let begin = self.open(kind, flags);
            self.bytes.text(2, set);
            let list = self.bytes.open(3);
            while self.bytes.0.len() - list < LONGEST_LIST {
                let Some((origin, element)) = elements.next() else {
                    break;
                };
                self.origins.push((self.bytes.0.len(), origin));
                element.write(&mut self.bytes, with_data);
            }
            self.bytes.close(list);
            self.bytes.close_message(begin);
        }
    }

    /// What is sent. The last message of it is confirmed, so that silence is told from success.
    pub(super) fn finish(&mut self) -> &[u8] {
        if let Some(flags) = self
            .begins
            .last()
            .and_then(|last| self.bytes.0.get_mut(last + 6..last + 8))
        {
            flags.copy_from_slice(&(u16::from_ne_bytes([flags[0], flags[1]]) | F_ACK).to_ne_bytes());
        }
        let sequence = u32::try_from(self.begins.len()).unwrap_or(u32::MAX);
        let begin = self.bytes.message(END, F_REQUEST, sequence, 0, NFTABLES >> 8);
        self.bytes.close_message(begin);
        &self.bytes.0
    }

    /// What was finished.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes.0
    }

    /// The number of the last message that says something.
    pub(super) fn last(&self) -> u32 {
        u32::try_from(self.begins.len() - 1).unwrap_or(u32::MAX)
    }

    /// Which origin the byte at an offset in a message comes from.
    pub(super) fn origin_at(&self, sequence: u32, offset: usize) -> Option<u32> {
        let begin = self.begins.get(usize::try_from(sequence).ok()?)?;
        let at = self.origins.partition_point(|(from, _)| *from <= begin + offset);
        let (_, origin) = self.origins.get(at.checked_sub(1)?)?;
        (*origin != u32::MAX).then_some(*origin)
    }

    /// What a message says, for people.
    pub(super) fn describe(&self, sequence: u32) -> String {
        let begin = usize::try_from(sequence)
            .ok()
            .and_then(|number| self.begins.get(number));
        let message = begin.and_then(|begin| messages(self.bytes.0.get(*begin..)?).next());
        let Some(Received { kind, body, .. }) = message else {
            return "the whole".to_owned();
        };
        let name = |of: u16| {
            let text = attribute(body.get(4..).unwrap_or_default(), of).unwrap_or_default();
            String::from_utf8_lossy(text).trim_end_matches('\0').to_owned()
        };
        match kind & 0xff {
            NEW_TABLE if kind >= NFTABLES => "the table".to_owned(),
            DELETE_TABLE => "the table's removal".to_owned(),
            NEW_CHAIN => format!("the chain {}", name(3)),
            DELETE_CHAIN => format!("the removal of the chain {}", name(3)),
            NEW_RULE => format!("a rule of the chain {}", name(2)),
            DELETE_RULE => format!("the removal of the rules of the chain {}", name(2)),
            NEW_SET => format!("the set {}", name(2)),
            DELETE_SET => format!("the removal of the set {}", name(2)),
            NEW_ELEMENTS => format!("an element of the set {}", name(2)),
            DELETE_ELEMENTS => format!("the removal of an element of the set {}", name(2)),
            _ => "the whole".to_owned(),
        }
    }
}

const _: () = assert!(HEADER == 16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_several_messages_and_every_byte_has_its_origin() {
        let mut batch = Batch::new("t", None);
        let elements: Vec<Element> = (0..5000_u32)
            .map(|n| Element::value(n.to_be_bytes().to_vec(), vec![0; 8]))
            .collect();
        batch.add("numbers", (0..).zip(&elements));
        let last = batch.last();
        assert!(last > 1, "{last}");
        let text = batch.finish().to_vec();
        let all: Vec<_> = messages(&text).collect();
        assert_eq!(all.len(), usize::try_from(last).unwrap() + 2);
        assert_eq!(all[1].flags & F_ACK, 0);
        assert_eq!(all[all.len() - 2].flags & F_ACK, F_ACK);
        assert_eq!((all[0].kind, all[all.len() - 1].kind), (BEGIN, END));
        let mut seen = 0;
        for (sequence, message) in all.iter().enumerate().skip(1).take(all.len() - 2) {
            let list = attribute(&message.body[4..], 3).unwrap();
            let offset = list.as_ptr().addr() - message.body.as_ptr().addr() + HEADER;
            let sequence = u32::try_from(sequence).unwrap();
            assert_eq!(batch.origin_at(sequence, offset), Some(seen));
            seen += u32::try_from(super::super::message::attributes(list).count()).unwrap();
            assert_eq!(batch.origin_at(sequence, offset + list.len() - 1), Some(seen - 1));
            assert_eq!(batch.describe(sequence), "an element of the set numbers");
        }
        assert_eq!(seen, 5000);
        assert_eq!(batch.describe(9999), "the whole");
    }
}
