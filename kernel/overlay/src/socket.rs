//! The UDP port: many packets for each call, both ways.
use bytes::BytesMut;
use quinn_proto::{EcnCodepoint, Transmit};
use quinn_udp::{RecvMeta, UdpSocketState};
use rustix::{
    fd::{AsFd, BorrowedFd},
    net::sockopt,
};
use std::{
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr, UdpSocket},
};

/// What the kernel holds for us while we are busy, each way.
const BUFFER: usize = 8 << 20;

/// Calls' worth of packets that are taken at once, and how much one of them may hold.
const TOGETHER: usize = 4;
const LONGEST: usize = 65_536;
const ROOM: usize = 2 * LONGEST;

/// What one call sends is at most a UDP packet's length.
const LONGEST_SENT: usize = 65_507;

/// Packets of one sender that came together.
pub(crate) struct Received {
    pub from: SocketAddr,
    pub to: Option<IpAddr>,
    pub ecn: Option<EcnCodepoint>,
    pub bytes: BytesMut,
    /// The length of each packet but the last.
    pub stride: usize,
}

pub(crate) struct Port {
    socket: UdpSocket,
    state: UdpSocketState,
    buffers: Vec<BytesMut>,
    metas: Vec<RecvMeta>,
    /// Whether answers leave from the address that was asked.
    pinned: bool,
}

impl Port {
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind(address)?;
        let state = UdpSocketState::new((&socket).into())?;
        // Beyond the system's limit only with a privilege; up to it otherwise.
        if sockopt::set_socket_recv_buffer_size_force(&socket, BUFFER).is_err() {
            state.set_recv_buffer_size((&socket).into(), BUFFER)?;
        }
        state.set_send_buffer_size((&socket).into(), BUFFER)?;
        Ok(Port {
            socket,
            state,
            buffers: (0..TOGETHER).map(|_| BytesMut::new()).collect(),
            metas: vec![RecvMeta::default(); TOGETHER],
            pinned: true,
        })
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    pub fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }

    /// How many packets of this length one call sends.
    pub fn segments(&self, length: usize) -> usize {
        self.state.max_gso_segments().min(LONGEST_SENT / length.max(1)).max(1)
    }

    /// Takes what has come. False: nothing had.
    pub fn receive(&mut self, mut each: impl FnMut(Received)) -> io::Result<bool> {
        for buffer in &mut self.buffers {
            // What was handed out is used again if everybody is done with it.
            if buffer.len() < LONGEST {
                buffer.clear();
                buffer.resize(ROOM, 0);
            }
        }
        let mut slices = self.buffers.iter_mut().map(|buffer| IoSliceMut::new(buffer));
        let mut slices: [IoSliceMut<'_>; TOGETHER] =
            std::array::from_fn(|_| slices.next().unwrap_or_else(|| IoSliceMut::new(&mut [])));
        let count = match self.state.recv((&self.socket).into(), &mut slices, &mut self.metas) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            // An answer of the network to something that was sent.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(true),
            Err(error) => return Err(error),
        };
        for (meta, buffer) in self.metas[..count].iter().zip(&mut self.buffers) {
            each(Received {
                from: meta.addr,
                to: meta.dst_ip,
                ecn: meta.ecn.and_then(|ecn| EcnCodepoint::from_bits(ecn as u8)),
                bytes: buffer.split_to(meta.len),
                stride: meta.stride.max(1),
            });
        }
        Ok(true)
    }

    /// Sends packets. False: not now, the kernel holds too many.
    pub fn send(&mut self, transmit: &Transmit, contents: &[u8]) -> bool {
        let send = |state: &UdpSocketState, from: Option<IpAddr>| {
            let transmit = quinn_udp::Transmit {
                destination: transmit.destination,
                ecn: transmit
                    .ecn
                    .and_then(|ecn| quinn_udp::EcnCodepoint::from_bits(ecn as u8)),
                contents: &contents[..transmit.size],
                segment_size: transmit.segment_size,
                src_ip: from,
            };
            state.try_send((&self.socket).into(), &transmit)
        };
        let from = transmit.src_ip.filter(|_| self.pinned);
        match send(&self.state, from) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            // The address that was asked is ours no more. The state has concluded worse from it, and is made anew.
            Err(error) if from.is_some() && error.raw_os_error() != Some(libc::EMSGSIZE) => {
                self.pinned = false;
                if let Ok(state) = UdpSocketState::new((&self.socket).into()) {
                    self.state = state;
                }
                let _ = send(&self.state, None);
                true
            }
            // Probes of the path are meant to fail; whatever else is lost is sent again by those whom it concerns.
            Err(error) => {
                tracing::trace!(%error, to = %transmit.destination, "not sent");
                true
            }
        }
    }
}

impl AsFd for Port {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
