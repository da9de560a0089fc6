//! The sockets: UDP, and TCP for what does not fit; bounded in connections, time and size.
use super::{
    figures::Figure,
    message::{MAX_REQUEST, Way},
    respond::{Responder, Step},
};
use parking_lot::Mutex;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with, sockopt};
use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinSet,
    time::{sleep, timeout},
};

/// Requests by UDP that wait for others at the most: of all, and of one address.
const MOST_WAITING: Most = Most { all: 1024, one: 128 };

/// Connections at the most.
const MOST_CONNECTIONS: Most = Most { all: 128, one: 16 };

/// How long a connection may say nothing, or take nothing.
const IDLE: Duration = Duration::from_secs(10);

/// How often a port of the system's choice is looked for that is free for both.
const TRIES: usize = 16;

/// The sockets of one address.
pub struct Sockets {
    pub address: SocketAddr,
    udp: UdpSocket,
    tcp: TcpListener,
}

impl Sockets {
    /// Binds both. The address need not be there yet: that of the node towards its pods is there only while a pod is.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let mut tries = 0..TRIES;
        loop {
            let udp = bound(address, SocketType::DGRAM)?;
            let own = sockaddr(&udp)?;
            let tcp = match bound(own, SocketType::STREAM) {
                Err(error)
                    if address.port() == 0 && error.kind() == io::ErrorKind::AddrInUse && tries.next().is_some() =>
                {
                    continue;
                }
                result => result?,
            };
            rustix::net::listen(&tcp, 128)?;
            return Ok(Sockets {
                address: own,
                udp: UdpSocket::from_std(udp.into())?,
                tcp: TcpListener::from_std(tcp.into())?,
            });
        }
    }

    /// Serves for as long as the future is polled.
    pub async fn serve(self, responder: Arc<Responder>) {
        tokio::join!(serve_udp(self.udp, responder.clone()), serve_tcp(self.tcp, responder));
    }
}

fn bound(address: SocketAddr, kind: SocketType) -> io::Result<rustix::fd::OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let socket = socket_with(family, kind, flags, None)?;
    match address {
        SocketAddr::V4(_) => sockopt::set_ip_freebind(&socket, true)?,
        SocketAddr::V6(_) => sockopt::set_ipv6_freebind(&socket, true)?,
    }
    if kind == SocketType::STREAM {
        // Connections of the agent before may still be closing.
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    rustix::net::bind(&socket, &address)?;
    Ok(socket)
}

fn sockaddr(socket: &rustix::fd::OwnedFd) -> io::Result<SocketAddr> {
    let address = rustix::net::getsockname(socket)?;
    SocketAddr::try_from(address).map_err(io::Error::from)
}

async fn serve_udp(socket: UdpSocket, responder: Arc<Responder>) {
    let socket = Arc::new(socket);
    let counts = Counts::default();
    let mut waiting = JoinSet::new();
    // One more, so that a packet which is too large is seen to be.
    let mut buffer = vec![0; MAX_REQUEST + 1];
    loop {
        let (length, from) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            // What became of an answer to somebody who has gone.
            Err(error) => {
                tracing::debug!(%error, "DNS by UDP");
                sleep(Duration::from_millis(1)).await;
                continue;
            }
        };
        while waiting.try_join_next().is_some() {}
        match responder.at_once(&buffer[..length], Way::Udp) {
            Step::Nothing => {}
            Step::Send(answer) => send(&socket, &answer, from).await,
            Step::Ask(request, onward) => {
                let Some(counted) = Counted::new(&counts, from.ip(), MOST_WAITING) else {
                    responder.figures.count(Figure::Overload);
                    continue;
                };
                let (socket, responder) = (socket.clone(), responder.clone());
                waiting.spawn(async move {
                    let answer = responder.asked(request, onward).await;
                    send(&socket, &answer, from).await;
                    drop(counted);
                });
            }
        }
    }
}

/// Who does not get it asks again.
async fn send(socket: &UdpSocket, answer: &[u8], to: SocketAddr) {
    if let Err(error) = socket.send_to(answer, to).await {
        tracing::debug!(%error, %to, "cannot send an answer of DNS");
    }
}

/// How many there may be at a time, so that one pod does not take the places of all.
#[derive(Clone, Copy)]
struct Most {
    all: usize,
    one: usize,
}

/// Counts what there is of each address.
type Counts = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// What counts, until it is dropped.
struct Counted {
    counts: Counts,
    of: IpAddr,
}

impl Counted {
    /// None if there are too many.
    fn new(counts: &Counts, of: IpAddr, most: Most) -> Option<Self> {
        let mut all = counts.lock();
        let count = all.get(&of).copied().unwrap_or_default();
        if count >= most.one || all.values().sum::<usize>() >= most.all {
            return None;
        }
        all.insert(of, count + 1);
        let counts = counts.clone();
        Some(Counted { counts, of })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut all = self.counts.lock();
        match all.get_mut(&self.of) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(all.remove(&self.of)),
        }
    }
}

async fn serve_tcp(listener: TcpListener, responder: Arc<Responder>) {
    let counts = Counts::default();
    let mut connections = JoinSet::new();
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Such as no more files: that passes.
                tracing::warn!(%error, "DNS takes no connection");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        let Some(counted) = Counted::new(&counts, from.ip(), MOST_CONNECTIONS) else {
            responder.figures.count(Figure::Overload);
            continue;
        };
        let responder = responder.clone();
        connections.spawn(async move {
            // An end of the connection, however it came.
            let _ = converse(stream, &responder).await;
            drop(counted);
        });
    }
}

/// One request after the other, until one side has enough.
async fn converse(mut stream: TcpStream, responder: &Responder) -> io::Result<()> {
    loop {
        let packet = timeout(IDLE, read(&mut stream)).await??;
        let answer = match responder.at_once(&packet, Way::Tcp) {
            Step::Nothing => return Ok(()),
            Step::Send(answer) => answer,
            Step::Ask(request, onward) => responder.asked(request, onward).await,
        };
        let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
        let framed = [&length.to_be_bytes()[..], &answer].concat();
        timeout(IDLE, stream.write_all(&framed)).await??;
    }
}

async fn read(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = usize::from(stream.read_u16().await?);
    if length > MAX_REQUEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut packet = vec![0; length];
    stream.read_exact(&mut packet).await?;
    Ok(packet)
}
