//! The socket to nf_tables: batches in, refusals out.
//!
//! The kernel carries out a batch while it is sent, so all its answers are there when sending is done; nothing here waits.
use super::{
    batch::Batch,
    message::{Received, attribute, messages},
};
use rtnetlink::sys::{SocketAddr, protocols::NETLINK_NETFILTER};
use std::{io, os::fd::AsFd};

/// Of the largest batch that is sent: far more than what the network world's bounds let through.
const MOST_BYTES: usize = 512 << 20;

/// Room for the kernel's answers. It says at most one small thing for each message.
const ROOM: usize = 16 << 20;

/// Datagrams that are read of one answer: more than there can be, so that reading ends whatever happens.
const MOST_DATAGRAMS: usize = 2_000_000;

/// Refusals that are kept of one batch; the first is what counts.
const MOST_REFUSALS: usize = 16;

const ERROR: u16 = 2;
const CAPPED: u16 = 0x100;

/// What the kernel refused of a batch.
#[derive(Debug)]
pub(in crate::datapath) struct Refusal {
    /// From where it came, if from something in particular.
    pub(in crate::datapath) origin: Option<u32>,
    pub(in crate::datapath) what: String,
    pub(in crate::datapath) code: i32,
    /// The kernel's own words, where it has any.
    pub(in crate::datapath) words: String,
}

#[derive(Debug)]
pub(in crate::datapath) enum SendError {
    /// Nothing of it was carried out.
    Refused(Refusal),
    /// Somebody changed something since; nothing of it was carried out.
    Raced,
    TooLarge(usize),
    /// Whether it was carried out is not known.
    Unknown,
    Io(io::Error),
}

impl SendError {
    /// Whether what is there may not be what was thought.
    pub(in crate::datapath) fn is_disagreement(&self) -> bool {
        match self {
            SendError::Refused(refusal) => matches!(refusal.code, libc::ENOENT | libc::EEXIST | libc::EBUSY),
            SendError::Unknown => true,
            _ => false,
        }
    }
}

/// A socket to the network namespace that the thread was in when it was opened.
pub(in crate::datapath) struct Socket {
    pub(super) socket: rtnetlink::sys::Socket,
    send_room: usize,
    pub(super) sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    pub(in crate::datapath) fn open() -> io::Result<Self> {
        let mut socket = rtnetlink::sys::Socket::new(NETLINK_NETFILTER)?;
        socket.bind(&SocketAddr::new(0, 0))?;
        socket.set_cap_ack(true)?;
        socket.set_ext_ack(true)?;
        // Without the right to force it, the usual room has to do, and large batches are refused.
        let _ = rustix::net::sockopt::set_socket_recv_buffer_size_force(socket.as_fd(), ROOM);
        Ok(Socket {
            socket,
            send_room: 0,
            sequence: 0,
            buffer: Vec::with_capacity(1 << 17),
        })
    }

    /// Reads one datagram of the kernel's; none where there is none.
    pub(super) fn read(&mut self) -> io::Result<Option<&[u8]>> {
        loop {
            self.buffer.clear();
            match self
                .socket
                .recv_from(&mut self.buffer, libc::MSG_DONTWAIT | libc::MSG_TRUNC)
            {
                // Anybody may send to a socket of this kind; only the kernel has number 0.
                Ok((_, from)) if from.port_number() != 0 => {}
                Ok((length, _)) if length > self.buffer.len() => return Err(io::ErrorKind::InvalidData.into()),
                Ok(_) => return Ok(Some(&self.buffer)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// What was not read of earlier answers goes.
    pub(super) fn drain(&mut self) {
        for _ in 0..MOST_DATAGRAMS {
            if let Ok(None) = self.read() {
                return;
            }
        }
    }

    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        loop {
            match self.socket.send(bytes, 0) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Has a batch carried out.
    pub(in crate::datapath) fn submit(&mut self, batch: &mut Batch) -> Result<(), SendError> {
        let length = batch.finish().len();
        if length > MOST_BYTES {
            return Err(SendError::TooLarge(length));
        }
        if length + 4096 > self.send_room {
            let room = (length + 4096).next_multiple_of(1 << 20);
            rustix::net::sockopt::set_socket_send_buffer_size_force(self.socket.as_fd(), room)
                .map_err(|error| SendError::Io(error.into()))?;
            self.send_room = room;
        }
        self.drain();
        let bytes = batch.bytes();
        match self.send(bytes) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => return Err(SendError::TooLarge(length)),
            Err(error) => return Err(SendError::Io(error)),
        }
        self.outcome(batch)
    }

    fn outcome(&mut self, batch: &Batch) -> Result<(), SendError> {
        let mut refusals: Vec<Refusal> = Vec::new();
        let mut confirmed = false;
        for _ in 0..MOST_DATAGRAMS {
            match self.read() {
                Ok(Some(datagram)) => {
                    for received in messages(datagram).filter(|received| received.kind == ERROR) {
                        let code = code(&received);
                        if code == 0 {
                            confirmed |= received.sequence == batch.last();
                        } else if refusals.len() < MOST_REFUSALS {
                            refusals.push(refusal(batch, &received, code));
                        }
                    }
                }
                Ok(None) => break,
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    self.drain();
                    return Err(SendError::Unknown);
                }
                Err(error) => return Err(SendError::Io(error)),
            }
        }
        match refusals.into_iter().next() {
            Some(refusal) if refusal.code == libc::ERESTART => Err(SendError::Raced),
            Some(refusal) => Err(SendError::Refused(refusal)),
            None if confirmed => Ok(()),
            None => Err(SendError::Unknown),
        }
    }
}

/// Of a message about an error: 0 where there was none.
pub(super) fn code(received: &Received<'_>) -> i32 {
    let bytes = received.body.get(..4).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(libc::EPROTO, |bytes| -i32::from_ne_bytes(bytes))
}

fn refusal(batch: &Batch, received: &Received<'_>, code: i32) -> Refusal {
    // The code, the header of what it is about, and, if the rest of that was left out, more.
    let more = if received.flags & CAPPED != 0 {
        received.body.get(20..).unwrap_or_default()
    } else {
        &[]
    };
    let words = attribute(more, 1).unwrap_or_default();
    let offset = attribute(more, 2)
        .and_then(|bytes| Some(u32::from_ne_bytes(bytes.try_into().ok()?)))
        .unwrap_or(0);
    Refusal {
        origin: batch.origin_at(received.sequence, usize::try_from(offset).unwrap_or(0)),
        what: batch.describe(received.sequence),
        code,
        words: String::from_utf8_lossy(words).trim_end_matches('\0').to_owned(),
    }
}
