//! A DNS to ask, and name servers for it to ask.
use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name, RData, Record, RecordType, rdata},
};
use sampan_api::Object;
use sampan_node::dns::{Dns, DnsConfig, Upstream};
use serde_json::{Value, json};
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinHandle,
    time::timeout,
};

/// Longer than anything takes, and shorter than a test may hang.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub fn anywhere() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

pub fn config(upstreams: &[SocketAddr]) -> DnsConfig {
    DnsConfig {
        upstream: Upstream::These(upstreams.to_vec()),
        ranges: vec!["10.42.0.0/16".parse().unwrap(), "10.96.0.0/12".parse().unwrap()],
        ..DnsConfig::new(vec![anywhere()])
    }
}

/// With the Services `web` (an address) and `db` (headless, two hundred endpoints), and `away` (another name).
pub fn dns(upstreams: &[SocketAddr]) -> Dns {
    let dns = Dns::start(config(upstreams)).unwrap();
    feed(&dns);
    dns
}

pub fn feed(dns: &Dns) {
    let ports = json!([{"name": "http", "port": 80}]);
    dns.changed(&service("web", json!({"clusterIP": "10.96.0.10", "ports": ports})));
    dns.changed(&service("db", json!({"clusterIP": "None", "ports": ports})));
    dns.changed(&service(
        "away",
        json!({"type": "ExternalName", "externalName": "far.example.org"}),
    ));
    let endpoint = |number: u8| json!({"addresses": [format!("10.42.0.{number}")], "hostname": format!("db-{number}")});
    let endpoints: Vec<Value> = (0..200).map(endpoint).collect();
    dns.changed(&object(
        json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "db-x1", "namespace": "prod", "uid": "s", "labels": {"kubernetes.io/service-name": "db"}},
        "endpoints": endpoints, "ports": [{"name": "http", "port": 8080}]}),
    ));
}

pub fn service(name: &str, spec: Value) -> Object {
    let metadata = json!({"name": name, "namespace": "prod", "uid": name});
    object(json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}))
}

fn object(json: Value) -> Object {
    Object::from_value(&json).unwrap()
}

pub fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

pub fn query(of: &str, kind: RecordType) -> Message {
    let mut message = Message::new(rand::random(), MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.queries.push(Query::query(name(of), kind));
    message
}

pub async fn by_udp(server: SocketAddr, of: &str, kind: RecordType) -> Message {
    let socket = UdpSocket::bind(anywhere()).await.unwrap();
    let query = query(of, kind);
    socket.send_to(&query.to_vec().unwrap(), server).await.unwrap();
    let mut buffer = [0; 4096];
    let (length, from) = timeout(PATIENCE, socket.recv_from(&mut buffer)).await.unwrap().unwrap();
    let answer = Message::from_vec(&buffer[..length]).unwrap();
    assert_eq!((answer.metadata.id, from), (query.metadata.id, server));
    answer
}

pub async fn by_tcp(stream: &mut TcpStream, of: &str, kind: RecordType) -> Message {
    write(stream, &query(of, kind)).await;
    timeout(PATIENCE, read(stream)).await.unwrap().unwrap()
}

pub async fn write(stream: &mut TcpStream, message: &Message) {
    let packet = message.to_vec().unwrap();
    stream.write_u16(u16::try_from(packet.len()).unwrap()).await.unwrap();
    stream.write_all(&packet).await.unwrap();
}

pub async fn read(stream: &mut TcpStream) -> Option<Message> {
    let length = stream.read_u16().await.ok()?;
    let mut packet = vec![0; length.into()];
    stream.read_exact(&mut packet).await.ok()?;
    Message::from_vec(&packet).ok()
}

/// The answers' data.
pub fn data(message: &Message) -> Vec<String> {
    message.answers.iter().map(|record| record.data.to_string()).collect()
}

pub fn figure(dns: &Dns, name: &str) -> u64 {
    let figures = dns.figures();
    figures.iter().find(|(own, _)| *own == name).unwrap().1
}

/// What a server answers to a request: any number of packets.
pub type Behaviour = dyn Fn(&Message, bool) -> Vec<Message> + Send + Sync;

/// A name server that does as it is told. It ends with the test.
pub struct Server {
    pub address: SocketAddr,
    asked: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Server {
    /// `behaviour` is told of a request, and whether it came by TCP.
    pub async fn new(behaviour: impl Fn(&Message, bool) -> Vec<Message> + Send + Sync + 'static) -> Self {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind(anywhere()).await.unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let asked = Arc::new(AtomicUsize::new(0));
        let address = udp.local_addr().unwrap();
        let behaviour: Arc<Behaviour> = Arc::new(behaviour);
        let (by_udp, by_tcp) = (asked.clone(), asked.clone());
        let of_tcp = behaviour.clone();
        let serve_udp = async move {
            let mut buffer = [0; 4096];
            loop {
                let (length, from) = udp.recv_from(&mut buffer).await.unwrap();
                by_udp.fetch_add(1, Ordering::SeqCst);
                for answer in behaviour(&Message::from_vec(&buffer[..length]).unwrap(), false) {
                    udp.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
                }
            }
        };
        let serve_tcp = async move {
            loop {
                let (mut stream, _) = tcp.accept().await.unwrap();
                by_tcp.fetch_add(1, Ordering::SeqCst);
                if let Some(request) = read(&mut stream).await {
                    for answer in of_tcp(&request, true) {
                        write(&mut stream, &answer).await;
                    }
                }
            }
        };
        let task = tokio::spawn(async move {
            tokio::join!(serve_udp, serve_tcp);
        });
        Server { address, asked, task }
    }

    /// How many requests came.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An answer to a request, without records.
pub fn plain(request: &Message, code: ResponseCode) -> Message {
    let mut answer = Message::response(request.metadata.id, OpCode::Query);
    answer.metadata.response_code = code;
    answer.queries.clone_from(&request.queries);
    answer
}

/// An answer with an address.
pub fn address(request: &Message, last: u8) -> Message {
    let mut answer = plain(request, ResponseCode::NoError);
    answer.answers.push(a(&request.queries[0].name, last));
    answer
}

pub fn a(of: &Name, last: u8) -> Record {
    let data = RData::A(rdata::A(Ipv4Addr::new(192, 0, 2, last)));
    Record::from_rdata(of.clone(), 300, data)
}
