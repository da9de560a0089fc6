//! The thread that carries packets between the device, the mesh and the network, and sleeps in between.
use crate::{
    mesh::{Mesh, Peer},
    packet::{OFFLOAD, Offload},
    socket::{Port, Received},
    status::{Drops, PeerStatus, Reason},
    tun::{self, Tun},
};
use bytes::Bytes;
use parking_lot::Mutex;
use quinn_proto::Transmit;
use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, eventfd, poll},
    fd::OwnedFd,
    time::Timespec,
};
use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{Arc, mpsc::Sender},
    time::{Duration, Instant},
};

/// Of each side so much is taken before it is the other's turn: calls, and bytes.
const RECEIVES: usize = 8;
const READ: usize = 256 << 10;

/// How often an address that was just given up is bound again, and how long it is waited in between.
const REBINDS: u32 = 50;
const REBIND_PAUSE: Duration = Duration::from_millis(5);

/// What the thread is asked for.
pub(crate) enum Order {
    SetPeers(Vec<Peer>),
    Peers(Sender<Vec<PeerStatus>>),
    Drops(Sender<Drops>),
    Rebind(SocketAddr, Sender<io::Result<SocketAddr>>),
    Leave,
}

/// Where orders are left.
pub(crate) struct Orders {
    left: Mutex<VecDeque<Order>>,
    bell: OwnedFd,
}

impl Orders {
    pub fn new() -> io::Result<Arc<Self>> {
        Ok(Arc::new(Orders {
            left: Mutex::new(VecDeque::new()),
            bell: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        }))
    }

    pub fn leave(&self, order: Order) {
        self.left.lock().push_back(order);
        // It fails only when it has rung 2^64 times unheard.
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }

    fn take(&self) -> VecDeque<Order> {
        let _ = rustix::io::read(&self.bell, &mut [0; 8]);
        std::mem::take(&mut *self.left.lock())
    }
}

pub(crate) struct Driver {
    pub mesh: Mesh,
    pub port: Port,
    pub tun: Tun,
    pub orders: Arc<Orders>,
    buffer: Vec<u8>,
    packets: Vec<u8>,
    /// What the kernel did not take yet; it is in `packets`.
    held: Option<Transmit>,
}

/// What there is to do.
struct Ready {
    orders: bool,
    network: bool,
    device: bool,
    /// There is no device any more.
    gone: bool,
}

impl Driver {
    pub fn new(mesh: Mesh, port: Port, tun: Tun, orders: Arc<Orders>) -> Self {
        Driver {
            mesh,
            port,
            tun,
            orders,
            buffer: vec![0; tun::LONGEST],
            packets: Vec::new(),
            held: None,
        }
    }

    /// Carries packets until it is told to leave.
    pub fn run(mut self) {
        loop {
            let ready = match self.sleep() {
                Ok(ready) => ready,
                Err(error) => return tracing::error!(%error, "the overlay ends: it cannot wait for packets"),
            };
            if ready.gone {
                return tracing::error!("the overlay ends: somebody removed its interface");
            }
            let now = Instant::now();
            if ready.orders && !self.obey(now) {
                self.mesh.leave(now);
                self.transmit(now);
                return;
            }
            self.mesh.expire(now);
            let mut refused = 0;
            if ready.network {
                refused += self.receive(now);
            }
            if ready.device {
                refused += self.read(now);
            }
            self.mesh.dropped(None, Reason::Refused, refused);
            self.transmit(now);
        }
    }

    /// Sleeps until there is something to do. While the network takes nothing, nothing is taken from the device.
    fn sleep(&self) -> io::Result<Ready> {
        let until = self.mesh.due().map(|due| due.saturating_duration_since(Instant::now()));
        let until = until.and_then(|until| Timespec::try_from(until).ok());
        let (network, device) = match self.held {
            Some(_) => (PollFlags::IN | PollFlags::OUT, PollFlags::empty()),
            None => (PollFlags::IN, PollFlags::IN),
        };
        let mut polled = [
            PollFd::new(&self.orders.bell, PollFlags::IN),
            PollFd::new(&self.port, network),
            PollFd::new(&self.tun, device),
        ];
        match poll(&mut polled, until.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Ready {
            orders: !polled[0].revents().is_empty(),
            network: polled[1].revents().intersects(PollFlags::IN | PollFlags::ERR),
            device: polled[2].revents().contains(PollFlags::IN),
            gone: polled[2].revents().contains(PollFlags::ERR),
        })
    }

    /// Takes from the network what has come, and gives it to the kernel; how much of it that did not want.
    fn receive(&mut self, now: Instant) -> u64 {
        let mut refused = 0;
        let mut sink = giving(&self.tun, &mut refused);
        for _ in 0..RECEIVES {
            let mesh = &mut self.mesh;
            let received = self.port.receive(|received| {
                let Received {
                    from,
                    to,
                    ecn,
                    mut bytes,
                    stride,
                } = received;
                while !bytes.is_empty() {
                    let packet = bytes.split_to(stride.min(bytes.len()));
                    mesh.heard(now, from, to, ecn, packet);
                }
            });
            match received {
                Ok(true) => mesh.deliver(now, &mut sink),
                Ok(false) => break,
                Err(error) => {
                    tracing::warn!(%error, "nothing can be received");
                    break;
                }
            }
        }
        self.mesh.flush(&mut sink);
        drop(sink);
        refused
    }

    /// Takes packets from the device; how many of our own the kernel did not want.
    fn read(&mut self, now: Instant) -> u64 {
        let mut refused = 0;
        let mut taken = 0;
        while taken < READ && self.held.is_none() {
            let length = match self.tun.read(&mut self.buffer) {
                Ok(Some(length)) => length,
                Ok(None) => break,
                Err(error) => {
                    // While the interface is down.
                    tracing::debug!(%error, "the device gives nothing");
                    break;
                }
            };
            taken += length;
            let Some((said, packet)) = self.buffer[..length].split_first_chunk_mut::<OFFLOAD>() else {
                continue;
            };
            let Some(offload) = Offload::read(said) else { continue };
            self.mesh
                .submit(now, &offload, packet, &mut giving(&self.tun, &mut refused));
            // While it is still in the processor's cache. What would make a call of its own waits for what is read next.
            self.send(|mesh, most, packets| mesh.transmit_full(now, most, packets));
        }
        refused
    }

    /// Sends all there is to send, or until the kernel takes no more.
    fn transmit(&mut self, now: Instant) {
        if let Some(held) = self.held.take()
            && !self.port.send(&held, &self.packets)
        {
            self.held = Some(held);
            return;
        }
        self.send(|mesh, most, packets| mesh.transmit(now, most, packets));
    }

    /// Sends what is next until there is nothing, or the kernel takes no more.
    fn send(&mut self, mut next: impl FnMut(&mut Mesh, &dyn Fn(usize) -> usize, &mut Vec<u8>) -> Option<Transmit>) {
        while self.held.is_none() {
            let port = &self.port;
            let Some(transmit) = next(&mut self.mesh, &|length| port.segments(length), &mut self.packets) else {
                return;
            };
            if !self.port.send(&transmit, &self.packets) {
                self.held = Some(transmit);
            }
        }
    }

    /// Does what was ordered. False: it is time to go.
    fn obey(&mut self, now: Instant) -> bool {
        for order in self.orders.take() {
            match order {
                Order::SetPeers(peers) => self.mesh.set_peers(peers, now),
                // Who asked may have stopped waiting.
                Order::Peers(answer) => drop(answer.send(self.mesh.status(now))),
                Order::Drops(answer) => drop(answer.send(self.mesh.drops())),
                Order::Rebind(address, answer) => drop(answer.send(self.rebind(address, now))),
                Order::Leave => return false,
            }
        }
        true
    }

    fn rebind(&mut self, address: SocketAddr, now: Instant) -> io::Result<SocketAddr> {
        // The same address is bound again only once it is free.
        let before = self.port.local_addr()?;
        if before.port() == address.port() && address.port() != 0 {
            let elsewhere = SocketAddr::new(address.ip(), 0);
            self.port = Port::bind(elsewhere).or_else(|_| Port::bind(SocketAddr::new(before.ip(), 0)))?;
        }
        // A program that is being started holds the old socket, too, until it runs.
        let mut attempts = 0;
        self.port = loop {
            match Port::bind(address) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && attempts < REBINDS => {
                    attempts += 1;
                    std::thread::sleep(REBIND_PAUSE);
                }
                bound => break bound?,
            }
        };
        self.mesh.moved_here(now);
        self.port.local_addr()
    }
}

/// Gives packets to the kernel, and counts those that it does not want.
fn giving<'a>(tun: &'a Tun, refused: &'a mut u64) -> impl FnMut(&[u8], &[Bytes]) + 'a {
    |head, parts| *refused += u64::from(tun.write(head, parts).is_err())
}
