//! Servers that say who they are and whom they see, and clients that ask them.
use crate::stage::Namespace;
use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};
use tokio::net::TcpSocket;

/// As long as an answer may take that comes.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// As long as is waited for one that does not.
pub const SILENCE: Duration = Duration::from_millis(700);

const STEP: Duration = Duration::from_millis(20);

/// They end with this.
#[derive(Default)]
pub struct Servers {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Servers {
    /// Serves at a port of all addresses in a namespace, by TCP and UDP.
    pub fn start(&mut self, namespace: &Namespace, name: &str, port: u16) {
        let (tcp, udp) = namespace.within(|| {
            let at = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
            (TcpListener::bind(at).unwrap(), UdpSocket::bind(at).unwrap())
        });
        tcp.set_nonblocking(true).unwrap();
        udp.set_read_timeout(Some(STEP)).unwrap();
        let (name_tcp, name_udp) = (name.to_owned(), name.to_owned());
        let (stop_tcp, stop_udp) = (self.stop.clone(), self.stop.clone());
        self.threads
            .push(thread::spawn(move || serve_tcp(&tcp, &name_tcp, &stop_tcp)));
        self.threads
            .push(thread::spawn(move || serve_udp(&udp, &name_udp, &stop_udp)));
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

fn canonical(address: SocketAddr) -> IpAddr {
    address.ip().to_canonical()
}

fn serve_tcp(listener: &TcpListener, name: &str, stop: &Arc<AtomicBool>) {
    let mut sessions = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        match listener.accept() {
            Ok((stream, from)) => {
                let (name, stop) = (name.to_owned(), stop.clone());
                sessions.push(thread::spawn(move || drop(session(stream, &name, from, &stop))));
            }
            Err(_) => thread::sleep(Duration::from_millis(2)),
        }
    }
    sessions.into_iter().for_each(|session| drop(session.join()));
}

/// Says who it is, then says again what it is told.
fn session(mut stream: TcpStream, name: &str, from: SocketAddr, stop: &AtomicBool) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(STEP))?;
    stream.write_all(format!("{name} {}\n", canonical(from)).as_bytes())?;
    let mut buffer = [0; 256];
    while !stop.load(Ordering::SeqCst) {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => stream.write_all(&buffer[..length])?,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn serve_udp(socket: &UdpSocket, name: &str, stop: &AtomicBool) {
    let mut buffer = [0; 256];
    while !stop.load(Ordering::SeqCst) {
        if let Ok((_, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(format!("{name} {}\n", canonical(from)).as_bytes(), from);
        }
    }
}

/// Who answered, and from where he saw it come.
pub type Seen = (String, IpAddr);

fn read_seen(text: &[u8]) -> io::Result<Seen> {
    let text = String::from_utf8_lossy(text);
    let read = || {
        let (name, from) = text.trim_end().split_once(' ')?;
        Some((name.to_owned(), from.parse().ok()?))
    };
    read().ok_or_else(|| io::Error::other(format!("said {text:?}")))
}

/// A connection that was greeted.
pub struct Connection {
    stream: TcpStream,
    pub seen: Seen,
}

impl Connection {
    pub fn open(from: &Namespace, to: SocketAddr, patience: Duration) -> io::Result<Self> {
        Self::greeted(from.within(|| TcpStream::connect_timeout(&to, patience))?, patience)
    }

    /// From a port that is chosen, by IPv4.
    pub fn open_from(from: &Namespace, port: u16, to: SocketAddr, patience: Duration) -> io::Result<Self> {
        let connect = async {
            let socket = TcpSocket::new_v4()?;
            socket.bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))?;
            tokio::time::timeout(patience, socket.connect(to)).await?
        };
        let stream = from.within(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(connect)?.into_std()
        })?;
        stream.set_nonblocking(false)?;
        Self::greeted(stream, patience)
    }

    pub fn greeted(mut stream: TcpStream, patience: Duration) -> io::Result<Self> {
        stream.set_read_timeout(Some(patience))?;
        let mut line = Vec::new();
        let mut byte = [0];
        while line.last() != Some(&b'\n') {
            stream.read_exact(&mut byte)?;
            line.push(byte[0]);
        }
        let seen = read_seen(&line)?;
        Ok(Connection { stream, seen })
    }

    /// Whether what is said comes back.
    pub fn is_alive(&mut self) -> bool {
        let mut heard = [0; 4];
        self.stream.write_all(b"ping").is_ok() && self.stream.read_exact(&mut heard).is_ok() && &heard == b"ping"
    }
}

fn to(address: impl ToString, port: u16) -> SocketAddr {
    SocketAddr::new(address.to_string().parse().unwrap(), port)
}

/// Who answers by TCP.
pub fn ask(from: &Namespace, address: impl ToString, port: u16) -> Seen {
    let to = to(address, port);
    let connection = Connection::open(from, to, PATIENCE);
    connection
        .unwrap_or_else(|error| panic!("{} to {to}: {error}", from.0))
        .seen
}

/// What becomes of a connection that comes to nothing.
pub fn refusal(from: &Namespace, address: impl ToString, port: u16) -> io::ErrorKind {
    match Connection::open(from, to(address, port), SILENCE) {
        Ok(connection) => panic!("{:?} answered", connection.seen),
        Err(error) => error.kind(),
    }
}

fn is_silence(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
}

/// Nothing comes back by TCP.
pub fn assert_silent(from: &Namespace, address: impl ToString, port: u16) {
    let kind = refusal(from, address, port);
    assert!(is_silence(kind), "{kind:?}");
}

pub fn assert_refused(from: &Namespace, address: impl ToString, port: u16) {
    let kind = refusal(from, address, port);
    assert_eq!(kind, io::ErrorKind::ConnectionRefused);
}

/// A socket that stays, and so has the same port all the time.
pub struct Asking(UdpSocket);

impl Asking {
    pub fn of(from: &Namespace, address: impl ToString, port: u16) -> io::Result<Self> {
        let to = to(address, port);
        let any: SocketAddr = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }.parse().unwrap();
        from.within(|| {
            let socket = UdpSocket::bind(any)?;
            socket.connect(to)?;
            Ok(Asking(socket))
        })
    }

    pub fn ask(&self, patience: Duration) -> io::Result<Seen> {
        self.0.set_read_timeout(Some(patience))?;
        self.0.send(b"?")?;
        let mut buffer = [0; 256];
        loop {
            match self.0.recv(&mut buffer) {
                // A machine that was stopped for a moment goes on so.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                length => return read_seen(&buffer[..length?]),
            }
        }
    }
}

/// Asks by UDP, from a port of its own.
pub fn try_udp(from: &Namespace, address: impl ToString, port: u16, patience: Duration) -> io::Result<Seen> {
    Asking::of(from, address, port)?.ask(patience)
}

pub fn ask_udp(from: &Namespace, address: impl ToString, port: u16) -> Seen {
    try_udp(from, address, port, PATIENCE).unwrap()
}

pub fn assert_silent_udp(from: &Namespace, address: impl ToString, port: u16) {
    let kind = try_udp(from, address, port, SILENCE).map_err(|error| error.kind());
    assert!(kind.as_ref().is_err_and(|kind| is_silence(*kind)), "{kind:?}");
}
