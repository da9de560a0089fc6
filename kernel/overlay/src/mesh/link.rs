//! One connection, in the hands of the mesh.
use super::transport::WAITING;
use quinn_proto::{Connection, ConnectionHandle, VarInt};
use std::time::Instant;

/// Why a connection is closed, as the other end is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Farewell {
    /// This node goes.
    Leaving,
    /// There is a better one between the two.
    Superseded,
    /// Who is at the other end is not to be heard.
    Stranger,
}

impl Farewell {
    fn code(self) -> VarInt {
        VarInt::from_u32(match self {
            Farewell::Leaving => 0,
            Farewell::Superseded => 1,
            Farewell::Stranger => 2,
        })
    }

    fn words(self) -> &'static [u8] {
        match self {
            Farewell::Leaving => b"the node leaves",
            Farewell::Superseded => b"there is another connection",
            Farewell::Stranger => b"not a peer of this node",
        }
    }
}

pub(super) struct Link {
    pub handle: ConnectionHandle,
    pub connection: Connection,
    /// The neighbour that it was dialled for.
    pub dialled: Option<usize>,
    /// The neighbour at the other end, known by its certificate.
    pub peer: Option<usize>,
    /// Since when that is known.
    pub since: Option<Instant>,
    /// When it wants to be looked at, as it stands among the timers.
    pub timer: Option<Instant>,
    /// It waits to be served.
    pub waiting: bool,
}

impl Link {
    pub fn close(&mut self, now: Instant, farewell: Farewell) {
        if !self.connection.is_closed() {
            let words = bytes::Bytes::from_static(farewell.words());
            self.connection.close(now, farewell.code(), words);
        }
    }

    /// How many packets, were they all as long as they can be, wait to be sent.
    pub fn waits_to_be_sent(&mut self) -> usize {
        let datagrams = self.connection.datagrams();
        let longest = datagrams.max_size().unwrap_or_default();
        (WAITING - datagrams.send_buffer_space()) / longest.max(1)
    }

    /// Packets heard.
    pub fn heard(&self) -> u64 {
        self.connection.stats().udp_rx.datagrams
    }
}
