//! Port forwarding: one connection to a port of a pod, made from inside of it, so that it also reaches what listens on the
//! pod's own loopback alone.
use super::Answers;
use crate::{agent::Node, runtime};
use bytes::Bytes;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use sampan_api::{ApiError, Key, Reason, rpc};
use std::{
    fs::File,
    io,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::fd::AsFd,
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::tcp::OwnedReadHalf,
    sync::oneshot,
};
use tonic::{Status, Streaming};

/// How long a pod may take to accept a connection.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of one message.
const PIECE: usize = 32 << 10;

/// Connects, and brings the bytes both ways until both have ended.
///
/// # Errors
/// Where there is no such pod, or nobody listens.
pub async fn forward(
    node: &Arc<Node>,
    mut requests: Streaming<rpc::PortForwardRequest>,
) -> Result<Answers<rpc::PortForwardResponse>, Status> {
    let Some(first) = requests.message().await? else {
        return Err(ApiError::bad_request("nothing was said of where to connect to").into());
    };
    let stream = connect(node, &first).await?;
    let (reads, mut writes) = stream.into_split();
    tokio::spawn(async move {
        let mut data = first.data;
        loop {
            if !data.is_empty() && writes.write_all(&data).await.is_err() {
                return;
            }
            match requests.message().await {
                Ok(Some(next)) => data = next.data,
                // The client has said all it has to say: half of the connection ends.
                Ok(None) => break,
                Err(_) => return,
            }
        }
        let _ = writes.shutdown().await;
    });
    Ok(Box::pin(futures::stream::unfold(Some(reads), answer)))
}

async fn answer(
    reads: Option<OwnedReadHalf>,
) -> Option<(Result<rpc::PortForwardResponse, Status>, Option<OwnedReadHalf>)> {
    let mut reads = reads?;
    let mut piece = vec![0; PIECE];
    match reads.read(&mut piece).await {
        Ok(0) => None,
        Ok(length) => {
            piece.truncate(length);
            let data = Bytes::from(piece);
            Some((Ok(rpc::PortForwardResponse { data }), Some(reads)))
        }
        Err(error) => Some((Err(Status::aborted(format!("the pod's end: {error}"))), None)),
    }
}

async fn connect(node: &Arc<Node>, to: &rpc::PortForwardRequest) -> Result<tokio::net::TcpStream, ApiError> {
    let port = u16::try_from(to.port).ok().filter(|port| *port > 0);
    let port = port.ok_or_else(|| ApiError::bad_request(format!("{} is no port: 1 to 65535", to.port)))?;
    let view = node
        .views
        .get(&to.namespace, &to.pod)
        .ok_or_else(|| ApiError::not_found(&Key::new("pods", &to.namespace, &to.pod)))?;
    let pod = format!("pod {}/{}", to.namespace, to.pod);
    let not_there = |why: String| ApiError::new(Reason::Unavailable, format!("{pod}: {why}"));
    // Without namespaces of its own a pod is on an address of the loopback.
    let (address, namespace) = match &node.network {
        None => {
            let address = node.addresses.lock().of(&view.uid);
            (
                address.ok_or_else(|| not_there("it has no address yet".to_owned()))?.v4,
                None,
            )
        }
        Some(_) => {
            let shim = runtime::alive(&node.shim_dir(&view.uid));
            let shim = shim.ok_or_else(|| not_there("it does not run".to_owned()))?;
            let namespace = File::open(format!("/proc/{}/ns/net", shim.pid));
            let namespace = namespace.map_err(|error| not_there(format!("it does not run: {error}")))?;
            (Ipv4Addr::LOCALHOST, Some(namespace))
        }
    };
    let address = SocketAddr::from((address, port));
    let stream = connected(address, namespace).await;
    stream.map_err(|error| not_there(format!("nobody takes a connection to port {port}: {error}")))
}

/// A thread that changes its namespace is of no use for anything else, so it is one of its own.
async fn connected(to: SocketAddr, namespace: Option<File>) -> io::Result<tokio::net::TcpStream> {
    let (done, wait) = oneshot::channel();
    let connect = move || {
        if let Some(namespace) = namespace {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        }
        TcpStream::connect_timeout(&to, PATIENCE)
    };
    let thread = std::thread::Builder::new().name("forward".to_owned());
    thread.spawn(move || drop(done.send(connect())))?;
    let stream = wait.await.map_err(io::Error::other)??;
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    tokio::net::TcpStream::from_std(stream)
}
