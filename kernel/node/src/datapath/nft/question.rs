//! Asking nf_tables what is there, and netfilter's other subsystems.
use super::{
    message::{Bytes, F_ACK, F_DUMP, F_REQUEST, INET, NFTABLES, Received, attribute, attributes, messages},
    set::{Data, Element},
    socket::{Socket, code},
};
use std::{collections::HashMap, io};

const GET_TABLE: u16 = 1;
const GET_CHAIN: u16 = 4;
const GET_RULE: u16 = 7;
const GET_ELEMENTS: u16 = 13;
const GET_GENERATION: u16 = 16;

const ERROR: u16 = 2;
const DONE: u16 = 3;
/// What is listed changed meanwhile.
const INTERRUPTED: u16 = 0x10;

/// How often something that changes while it is listed is listed again.
const MOST_TRIES: usize = 8;

impl Socket {
    /// A number that every change by anybody makes another.
    pub(in crate::datapath) fn generation(&mut self) -> io::Result<u32> {
        let mut found = None;
        self.ask(GET_GENERATION, 0, |_| {}, |body| found = number(body, 1))?;
        found.ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// The number of the table; another if it was made anew.
    pub(in crate::datapath) fn table_handle(&mut self, table: &str) -> io::Result<Option<u64>> {
        let mut found = None;
        let asked = self.ask(
            GET_TABLE,
            0,
            |bytes| bytes.text(1, table),
            |body| {
                let handle = attribute(body, 4).and_then(|bytes| bytes.try_into().ok());
                found = handle.map(u64::from_be_bytes);
            },
        );
        match asked {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            asked => asked.map(|()| found),
        }
    }

    /// When a chain is entered among others of its hook; nothing where there is no such chain.
    pub(in crate::datapath) fn priority(&mut self, table: &str, chain: &str) -> io::Result<Option<i32>> {
        let mut found = None;
        let fill = |bytes: &mut Bytes| {
            bytes.text(1, table);
            bytes.text(3, chain);
        };
        let asked = self.ask(GET_CHAIN, 0, fill, |body| {
            let hook = attribute(body, 4).unwrap_or_default();
            found = number(hook, 2).map(u32::cast_signed);
        });
        match asked {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            asked => asked.map(|()| found),
        }
    }

    /// How many rules a table has.
    pub(in crate::datapath) fn count_rules(&mut self, table: &str) -> io::Result<usize> {
        self.again(|socket| {
            let mut count = 0;
            socket.ask(GET_RULE, F_DUMP, |bytes| bytes.text(1, table), |_| count += 1)?;
            Ok(count)
        })
    }

    /// What is in a set, told one by one.
    fn each_element(&mut self, table: &str, set: &str, mut tell: impl FnMut(&[u8])) -> io::Result<()> {
        let fill = |bytes: &mut Bytes| {
            bytes.text(1, table);
            bytes.text(2, set);
        };
        self.ask(GET_ELEMENTS, F_DUMP, fill, |body| {
            let list = attribute(body, 3).unwrap_or_default();
            attributes(list).for_each(|(_, element)| tell(element));
        })
    }

    pub(in crate::datapath) fn count_elements(&mut self, table: &str, set: &str) -> io::Result<usize> {
        self.again(|socket| {
            let mut count = 0;
            socket.each_element(table, set, |_| count += 1)?;
            Ok(count)
        })
    }

    /// What rules put into a map, with the time it has left; at most so many.
    pub(in crate::datapath) fn noted(&mut self, table: &str, map: &str, most: usize) -> io::Result<Vec<Element>> {
        self.again(|socket| {
            let mut found = Vec::new();
            socket.each_element(table, map, |element| {
                if found.len() < most {
                    found.extend(read_noted(element));
                }
            })?;
            Ok(found)
        })
    }

    /// How many packets each element of a set that counts was found for.
    pub(in crate::datapath) fn counted(&mut self, table: &str, set: &str) -> io::Result<HashMap<Vec<u8>, u64>> {
        self.again(|socket| {
            let mut found = HashMap::new();
            socket.each_element(table, set, |element| found.extend(read_counted(element)))?;
            Ok(found)
        })
    }

    fn again<T>(&mut self, mut ask: impl FnMut(&mut Self) -> io::Result<T>) -> io::Result<T> {
        let mut tries = 0;
        loop {
            tries += 1;
            match ask(self) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted && tries < MOST_TRIES => {}
                result => return result,
            }
        }
    }

    fn ask(&mut self, kind: u16, flags: u16, fill: impl FnOnce(&mut Bytes), tell: impl FnMut(&[u8])) -> io::Result<()> {
        self.ask_of(NFTABLES | kind, flags, INET, fill, tell)
    }

    /// Asks any subsystem of netfilter; the body of each answer, without the family it begins with.
    pub(in crate::datapath) fn ask_of(
        &mut self,
        kind: u16,
        flags: u16,
        family: u8,
        fill: impl FnOnce(&mut Bytes),
        mut tell: impl FnMut(&[u8]),
    ) -> io::Result<()> {
        self.drain();
        self.sequence = self.sequence.wrapping_add(1);
        let sequence = self.sequence;
        let mut bytes = Bytes::default();
        let confirm = if flags == 0 { F_ACK } else { 0 };
        let begin = bytes.message(kind, F_REQUEST | flags | confirm, sequence, family, 0);
        fill(&mut bytes);
        bytes.close_message(begin);
        self.send(&bytes.0)?;
        loop {
            let datagram = self.read()?.ok_or(io::ErrorKind::UnexpectedEof)?;
            for received in messages(datagram).filter(|received| received.sequence == sequence) {
                if received.flags & INTERRUPTED != 0 {
                    return Err(io::ErrorKind::Interrupted.into());
                }
                match finish(&received) {
                    Some(result) => return result,
                    None => tell(received.body.get(4..).unwrap_or_default()),
                }
            }
        }
    }
}

/// What a message that ends an answer says.
fn finish(received: &Received<'_>) -> Option<io::Result<()>> {
    match received.kind {
        ERROR => Some(match code(received) {
            0 => Ok(()),
            code => Err(io::Error::from_raw_os_error(code)),
        }),
        DONE => Some(Ok(())),
        _ => None,
    }
}

fn number(bytes: &[u8], kind: u16) -> Option<u32> {
    Some(u32::from_be_bytes(attribute(bytes, kind)?.try_into().ok()?))
}

fn read_counted(element: &[u8]) -> Option<(Vec<u8>, u64)> {
    let key = attribute(attribute(element, 1)?, 1)?.to_vec();
    let packets = attribute(attribute(attribute(element, 7)?, 2)?, 2)?;
    Some((key, u64::from_be_bytes(packets.try_into().ok()?)))
}

fn read_noted(element: &[u8]) -> Option<Element> {
    let millis = |kind| Some(u64::from_be_bytes(attribute(element, kind)?.try_into().ok()?));
    let key = attribute(attribute(element, 1)?, 1)?.to_vec();
    let data = attribute(attribute(element, 2)?, 1)?.to_vec();
    let (whole, rest) = (millis(4)?, millis(5)?);
    (rest > 0).then_some(Element {
        data: Some(Data::Value(data)),
        stays: Some((whole, rest.min(whole))),
        ..Element::key(key)
    })
}
