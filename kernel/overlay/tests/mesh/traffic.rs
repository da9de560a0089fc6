//! What hosts say to each other, and who listens on the way.
use crate::stage::{Host, Namespace, PATIENCE};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, eth, ipproto, recv, sendto, socket, sockopt};
use std::{
    io::{Read, Write},
    net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

const SHORT: Duration = Duration::from_millis(300);

/// Bytes that say where they belong.
pub fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at / 3 + at * 7) as u8).collect()
}

/// Whether an ICMP echo comes back.
pub fn ping(from: &Host, to: IpAddr) -> bool {
    from.namespace.within(|| {
        let socket = socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::ICMP)).unwrap();
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(SHORT)).unwrap();
        // An echo request of number 0x1234, with the sum of that.
        let request = [8, 0, 0xe5, 0xca, 0x12, 0x34, 0, 1];
        sendto(&socket, &request, SendFlags::empty(), &SocketAddr::new(to, 0)).unwrap();
        let mut answer = [0; 1500];
        while let Ok((length, _)) = recv(&socket, &mut answer[..], RecvFlags::empty()) {
            if length >= 28 && answer[20] == 0 && answer[24..28] == request[4..] {
                return true;
            }
        }
        false
    })
}

/// Sends bytes by TCP to a host, which sends them back.
pub fn tcp_echo(from: &Host, to: &Host, bytes: &[u8]) -> Vec<u8> {
    tcp_echo_at(from, to, to.address(), bytes)
}

/// As [`tcp_echo`], to an address of the host.
pub fn tcp_echo_at(from: &Host, to: &Host, at: IpAddr, bytes: &[u8]) -> Vec<u8> {
    let listener = to.namespace.within(|| TcpListener::bind((at, 0)).unwrap());
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut said = Vec::new();
        stream.read_to_end(&mut said).unwrap();
        stream.write_all(&said).unwrap();
    });
    let mut stream = from
        .namespace
        .within(|| TcpStream::connect_timeout(&address, PATIENCE).unwrap());
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut back = Vec::new();
    stream.read_to_end(&mut back).unwrap();
    server.join().unwrap();
    back
}

/// A UDP socket of a host.
pub fn udp(host: &Host) -> UdpSocket {
    udp_at(host, host.address())
}

/// As [`udp`], with an address of the host.
pub fn udp_at(host: &Host, at: IpAddr) -> UdpSocket {
    let socket = host.namespace.within(|| UdpSocket::bind((at, 0)).unwrap());
    socket.set_read_timeout(Some(SHORT)).unwrap();
    socket
}

/// Sends a UDP packet until it has arrived, as nothing promises that; how often.
pub fn udp_arrives(from: &UdpSocket, to: &UdpSocket, bytes: &[u8]) -> usize {
    let address = to.local_addr().unwrap();
    let mut buffer = vec![0; 65_536];
    for attempt in 1..=30 {
        // The network's word about the one before may be what it fails with.
        let _ = from.send_to(bytes, address);
        if let Ok((length, sender)) = to.recv_from(&mut buffer)
            && buffer[..length] == *bytes
            && sender == from.local_addr().unwrap()
        {
            return attempt;
        }
    }
    panic!("{} bytes never arrived", bytes.len());
}

/// A stream that goes on until it is ended.
pub struct Transfer {
    arrived: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Transfer {
    pub fn begin(from: &Host, to: &Host) -> Self {
        let listener = to.namespace.within(|| TcpListener::bind((to.address(), 0)).unwrap());
        let address = listener.local_addr().unwrap();
        let mut stream = from
            .namespace
            .within(|| TcpStream::connect_timeout(&address, PATIENCE).unwrap());
        let (arrived, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let block = pattern(1 << 16);
        let (blocks, stopped) = (block.clone(), stop.clone());
        let writer = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                stream.write_all(&blocks).unwrap();
            }
        });
        let counted = arrived.clone();
        let reader = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut buffer = vec![0; block.len()];
            let mut total = 0usize;
            loop {
                let length = stream.read(&mut buffer).unwrap();
                if length == 0 {
                    break;
                }
                let at = total % block.len();
                let first = length.min(block.len() - at);
                assert!(buffer[..first] == block[at..at + first] && buffer[first..length] == block[..length - first]);
                total += length;
                counted.store(total as u64, Ordering::Relaxed);
            }
            assert_eq!(total % block.len(), 0, "all that was sent arrived");
        });
        Transfer {
            arrived,
            stop,
            threads: vec![writer, reader],
        }
    }

    pub fn arrived(&self) -> u64 {
        self.arrived.load(Ordering::Relaxed)
    }

    /// Waits until much more has arrived.
    pub fn goes_on(&self, what: &str) {
        let before = self.arrived();
        crate::stage::until(what, || self.arrived() > before + (4 << 20));
    }

    pub fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
    }
}

/// Hears every packet on the interfaces of a namespace.
pub struct Listener(OwnedFd);

impl Listener {
    pub fn at(namespace: &Namespace) -> Self {
        let open = || socket(AddressFamily::PACKET, SocketType::RAW, Some(eth::ALL)).unwrap();
        let socket = namespace.within(open);
        sockopt::set_socket_recv_buffer_size_force(&socket, 64 << 20).unwrap();
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(SHORT)).unwrap();
        Listener(socket)
    }

    /// How many packets were heard, and in how many of them there was this.
    pub fn heard(&self, marker: &[u8]) -> (usize, usize) {
        let (mut all, mut with) = (0, 0);
        let mut buffer = vec![0; 1 << 17];
        while let Ok((length, _)) = recv(&self.0, &mut buffer[..], RecvFlags::empty()) {
            all += 1;
            with += usize::from(buffer[..length].windows(marker.len()).any(|window| window == marker));
        }
        (all, with)
    }
}
