//! A pod's network, and the DNS on the node's address towards it.
use crate::support::*;
use hickory_proto::{op::Message, rr::RecordType::A};
use sampan_node::{
    dns::{Dns, DnsConfig},
    net::{Bandwidth, Wire},
};
use std::{
    fs::File,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
    os::fd::AsFd,
    process::{Child, Command},
    time::{Duration, Instant},
};
use tokio::task::spawn_blocking;

/// A process in a network namespace of its own, ended with the test. The wire goes with the namespace.
struct Pod(Child);

impl Pod {
    async fn new() -> Self {
        let child = Command::new("unshare").args(["--net", "sleep", "120"]).spawn().unwrap();
        let pod = Pod(child);
        let own = std::fs::read_link("/proc/self/ns/net").unwrap();
        let begun = Instant::now();
        while std::fs::read_link(pod.namespace()).is_ok_and(|namespace| namespace == own) {
            assert!(begun.elapsed() < PATIENCE, "no namespace");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        pod
    }

    fn namespace(&self) -> String {
        format!("/proc/{}/ns/net", self.0.id())
    }

    /// Runs something inside.
    async fn inside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let handle = File::open(self.namespace()).unwrap();
        let thread = std::thread::spawn(move || {
            let kind = Some(rustix::thread::LinkNameSpaceType::Network);
            rustix::thread::move_into_link_name_space(handle.as_fd(), kind).unwrap();
            work()
        });
        spawn_blocking(move || thread.join().unwrap()).await.unwrap()
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ask_by_udp(server: SocketAddr, of: &str) -> Message {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send_to(&query(of, A).to_vec().unwrap(), server).unwrap();
    let mut buffer = [0; 4096];
    let (length, from) = socket.recv_from(&mut buffer).unwrap();
    assert_eq!(from, server);
    Message::from_vec(&buffer[..length]).unwrap()
}

fn ask_by_tcp(server: SocketAddr, of: &str) -> Message {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let packet = query(of, A).to_vec().unwrap();
    stream
        .write_all(&u16::try_from(packet.len()).unwrap().to_be_bytes())
        .unwrap();
    stream.write_all(&packet).unwrap();
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut packet = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut packet).unwrap();
    Message::from_vec(&packet).unwrap()
}

#[tokio::test]
async fn a_pod_that_comes_later_is_answered() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: needs root");
        return;
    }
    let node = Ipv4Addr::new(10, 201, 9, 1);
    let server = SocketAddr::from((node, 53));
    let upstream = Server::new(|request, _| vec![address(request, 1)]).await;
    // The address comes with the pod.
    let dns = Dns::start(DnsConfig {
        listen: vec![server],
        ..config(&[upstream.address])
    })
    .unwrap();
    feed(&dns);
    for round in 0..2 {
        let pod = Pod::new().await;
        let wire = Wire {
            owner: format!("/test/dns/{}", std::process::id()),
            uid: format!("pod-{round}"),
            addresses: Ipv4Addr::new(10, 201, 9, 2).into(),
            node: node.into(),
            mtu: 1400,
            bandwidth: Bandwidth::default(),
        };
        wire.clone()
            .connect(File::open(pod.namespace()).unwrap())
            .await
            .unwrap();
        let web = pod
            .inside(move || ask_by_udp(server, "web.prod.svc.cluster.local."))
            .await;
        assert_eq!(data(&web), ["10.96.0.10"]);
        let db = pod
            .inside(move || ask_by_tcp(server, "db.prod.svc.cluster.local."))
            .await;
        assert_eq!(db.answers.len(), 200);
        let other = pod.inside(move || ask_by_udp(server, "example.org.")).await;
        assert_eq!(data(&other), ["192.0.2.1"]);
        wire.disconnect().unwrap();
    }
}
