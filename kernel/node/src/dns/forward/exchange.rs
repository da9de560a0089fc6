//! One question to one server: by UDP from a port of its own, and by TCP where the answer did not fit.
use super::super::{
    figures::{Figure, Figures},
    message::{Question, ask, heard},
};
use hickory_proto::op::Message;
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

/// How long a server may take for each of the two.
const PATIENCE: Duration = Duration::from_millis(1200);

/// The largest packet that is taken by UDP: larger than was asked for, to see those that do not keep to it.
const MAX_PACKET: usize = 4096;

/// Asks, and gives the answer with its size. What comes from elsewhere, or does not belong to the question, is passed
/// over: the true answer may still come.
///
/// # Errors
/// If there is no answer in time.
pub async fn exchange(server: SocketAddr, question: &Question, figures: &Figures) -> io::Result<(Message, usize)> {
    let by_udp = timeout(PATIENCE, udp(server, question, figures)).await??;
    if !by_udp.0.metadata.truncation {
        return Ok(by_udp);
    }
    timeout(PATIENCE, tcp(server, question)).await?
}

fn query(question: &Question) -> io::Result<(u16, Vec<u8>)> {
    let id = rand::random();
    let packet = ask(id, question).ok_or(io::ErrorKind::InvalidInput)?;
    Ok((id, packet))
}

async fn udp(server: SocketAddr, question: &Question, figures: &Figures) -> io::Result<(Message, usize)> {
    // The kernel draws the port, and lets nobody in but the server it is connected with.
    let any = match server {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    let (id, packet) = query(question)?;
    socket.send(&packet).await?;
    let mut buffer = vec![0; MAX_PACKET];
    loop {
        let length = socket.recv(&mut buffer).await?;
        match heard(&buffer[..length], id, question) {
            Some(message) => return Ok((message, length)),
            None => figures.count(Figure::Unbelieved),
        }
    }
}

async fn tcp(server: SocketAddr, question: &Question) -> io::Result<(Message, usize)> {
    let mut stream = TcpStream::connect(server).await?;
    let (id, packet) = query(question)?;
    let length = u16::try_from(packet.len()).map_err(io::Error::other)?;
    let framed = [&length.to_be_bytes()[..], &packet].concat();
    stream.write_all(&framed).await?;
    let length = usize::from(stream.read_u16().await?);
    let mut buffer = vec![0; length];
    stream.read_exact(&mut buffer).await?;
    let message = heard(&buffer, id, question).ok_or(io::ErrorKind::InvalidData)?;
    Ok((message, length))
}
