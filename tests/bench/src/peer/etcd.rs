//! Debian's etcd as processes, and a client that knows as much of its API as is measured. Source of the messages: etcd's
//! `api/etcdserverpb/rpc.proto` (version 3).
use super::{Client, Process, Store, ports, until};
use anyhow::{Context, Result, bail};
use http::uri::PathAndQuery;
use prost::Message;
use std::process::Command;
use tokio::sync::mpsc;
use tonic::{
    client::Grpc,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

#[derive(Clone, PartialEq, Message)]
struct Put {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Range {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    range_end: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Found {
    #[prost(message, repeated, tag = "2")]
    kvs: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct Operation {
    #[prost(message, optional, tag = "2")]
    put: Option<Put>,
}

#[derive(Clone, PartialEq, Message)]
struct Transaction {
    #[prost(message, repeated, tag = "2")]
    success: Vec<Operation>,
}

/// Of an answer nothing matters but that it came.
#[derive(Clone, PartialEq, Message)]
struct Nothing {}

#[derive(Clone, PartialEq, Message)]
struct WatchRequest {
    #[prost(message, optional, tag = "1")]
    create: Option<Range>,
}

#[derive(Clone, PartialEq, Message)]
struct WatchEvent {
    #[prost(message, optional, tag = "2")]
    kv: Option<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct WatchResponse {
    #[prost(bool, tag = "3")]
    created: bool,
    #[prost(message, repeated, tag = "11")]
    events: Vec<WatchEvent>,
}

#[derive(Clone, PartialEq, Message)]
struct Header {
    #[prost(uint64, tag = "2")]
    member: u64,
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
    #[prost(uint64, tag = "4")]
    leader: u64,
}

const PREFIX: &str = "/registry/configmaps/default/";
/// The key after all of that prefix.
const AFTER: &str = "/registry/configmaps/default0";

/// The servers.
pub struct Etcd {
    pub home: tempfile::TempDir,
    clients: Vec<u16>,
    peers: Vec<u16>,
    processes: Vec<Process>,
}

/// A connection to one of them.
#[derive(Clone)]
pub struct Connection(Channel);

impl Etcd {
    fn server(&self, member: usize) -> Result<Process> {
        let home = self.home.path().join(format!("e{member}"));
        std::fs::create_dir_all(&home)?;
        let (client, peer) = (
            format!("http://127.0.0.1:{}", self.clients[member]),
            format!("http://127.0.0.1:{}", self.peers[member]),
        );
        let all: Vec<String> = self
            .peers
            .iter()
            .enumerate()
            .map(|(number, port)| format!("e{number}=http://127.0.0.1:{port}"))
            .collect();
        let mut command = Command::new("etcd");
        command
            .args(["--name", &format!("e{member}"), "--data-dir"])
            .arg(home.join("data"))
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &all.join(","), "--initial-cluster-state", "new"])
            .args(["--quota-backend-bytes", "8589934592", "--max-request-bytes", "8388608"])
            .args(["--log-level", "error"]);
        Process::start(&mut command, &home.join("said"))
    }

    async fn status(&self, member: usize) -> Result<Status> {
        self.client(member)?
            .call("/etcdserverpb.Maintenance/Status", Nothing {})
            .await
    }

    /// Where a member's clients come in.
    pub fn endpoint(&self, member: usize) -> String {
        format!("127.0.0.1:{}", self.clients[member])
    }
}

impl Store for Etcd {
    type Client = Connection;
    const NAME: &'static str = "etcd";
    const TOGETHER: usize = 128;

    async fn start(members: usize) -> Result<Self> {
        let mut store = Etcd {
            home: tempfile::tempdir()?,
            clients: ports(members)?,
            peers: ports(members)?,
            processes: Vec::new(),
        };
        for member in 0..members {
            let process = store.server(member)?;
            store.processes.push(process);
        }
        let answers = || async { store.status(0).await.is_ok_and(|status| status.leader != 0) };
        until("etcd", answers).await?;
        Ok(store)
    }

    fn client(&self, member: usize) -> Result<Connection> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.endpoint(member)))?;
        Ok(Connection(endpoint.tcp_nodelay(true).connect_lazy()))
    }

    async fn leader(&self) -> Result<usize> {
        for member in 0..self.clients.len() {
            let Ok(status) = self.status(member).await else {
                continue;
            };
            if status.header.is_some_and(|header| header.member == status.leader) {
                return Ok(member);
            }
        }
        bail!("nobody leads")
    }

    fn process(&mut self, member: usize) -> &mut Process {
        &mut self.processes[member]
    }

    fn again(&mut self, member: usize) -> Result<()> {
        self.processes[member] = self.server(member)?;
        Ok(())
    }
}

fn path(name: &str) -> Vec<u8> {
    format!("{PREFIX}{name}").into_bytes()
}

fn everything() -> Range {
    Range {
        key: PREFIX.into(),
        range_end: AFTER.into(),
    }
}

impl Connection {
    async fn call<Q: Message + 'static, A: Message + Default + 'static>(
        &self,
        path: &'static str,
        ask: Q,
    ) -> Result<A> {
        let mut grpc = Grpc::new(self.0.clone()).max_decoding_message_size(1 << 30);
        grpc.ready().await?;
        let codec = ProstCodec::<Q, A>::default();
        let answer = grpc.unary(tonic::Request::new(ask), PathAndQuery::from_static(path), codec);
        Ok(answer.await?.into_inner())
    }
}

impl Client for Connection {
    async fn put(&self, name: &str, value: &str) -> Result<()> {
        let put = Put {
            key: path(name),
            value: value.into(),
        };
        self.call("/etcdserverpb.KV/Put", put).await.map(|Nothing {}| ())
    }

    async fn fill(&self, names: Vec<String>, value: &str) -> Result<()> {
        let operation = |name: &String| Operation {
            put: Some(Put {
                key: path(name),
                value: value.into(),
            }),
        };
        let transaction = Transaction {
            success: names.iter().map(operation).collect(),
        };
        self.call("/etcdserverpb.KV/Txn", transaction)
            .await
            .map(|Nothing {}| ())
    }

    async fn get(&self, name: &str) -> Result<()> {
        let range = Range {
            key: path(name),
            range_end: Vec::new(),
        };
        let found: Found = self.call("/etcdserverpb.KV/Range", range).await?;
        found.kvs.first().map(drop).context("it is not there")
    }

    async fn list(&self) -> Result<usize> {
        let found: Found = self.call("/etcdserverpb.KV/Range", everything()).await?;
        Ok(found.kvs.len())
    }

    async fn watch(&self, seen: mpsc::UnboundedSender<String>) -> Result<()> {
        let mut grpc = Grpc::new(self.0.clone());
        grpc.ready().await?;
        let (asks, receiver) = mpsc::channel(1);
        let create = Some(everything());
        asks.send(WatchRequest { create }).await?;
        let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
        let path = PathAndQuery::from_static("/etcdserverpb.Watch/Watch");
        let codec = ProstCodec::<WatchRequest, WatchResponse>::default();
        let answer = grpc.streaming(tonic::Request::new(stream), path, codec).await?;
        let mut events = answer.into_inner();
        let first = events.message().await?.context("the watch ended")?;
        anyhow::ensure!(first.created, "the watch was not made");
        tokio::spawn(async move {
            // The stream ends with what is asked on it.
            let _asks = asks;
            while let Ok(Some(response)) = events.message().await {
                for event in response.events {
                    let key = event.kv.map(|kv| kv.key).unwrap_or_default();
                    let name = String::from_utf8_lossy(&key)
                        .rsplit('/')
                        .next()
                        .unwrap_or_default()
                        .to_owned();
                    if seen.send(name).is_err() {
                        return;
                    }
                }
            }
        });
        Ok(())
    }
}
