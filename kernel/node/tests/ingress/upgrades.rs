//! Websockets, and whatever else a connection may become.
use crate::stage::{Backend, Client, LONG, all_to, config, figure, full, raw, read_all, start};
use http::{Request, Response, StatusCode, Version};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Becomes what it is asked to, and sends back each byte; what it does not know it answers as any request.
async fn echo() -> Backend {
    Backend::answering(false, |mut request| async move {
        let upgrade = request.headers().get("upgrade").cloned();
        let Some(upgrade) = upgrade.filter(|protocol| protocol == "websocket" || protocol == "other") else {
            return Response::new(full("no websocket"));
        };
        let upgraded = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let Ok(upgraded) = upgraded.await else { return };
            let (mut reading, mut writing) = tokio::io::split(TokioIo::new(upgraded));
            let _ = tokio::io::copy(&mut reading, &mut writing).await;
            let _ = writing.shutdown().await;
        });
        let mut response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
        response = response.header("connection", "upgrade").header("upgrade", upgrade);
        response
            .header("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
            .body(full(""))
            .unwrap()
    })
    .await
}

/// A connection that was upgraded, and the head that said so.
async fn upgraded(to: SocketAddr, protocol: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let head = format!(
        "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: {protocol}\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(timeout(LONG, stream.read_u8()).await.unwrap().unwrap());
    }
    (stream, String::from_utf8(answer).unwrap().to_ascii_lowercase())
}

/// The frame of a websocket's client, `Hello`, masked (RFC 6455, 5.7).
const HELLO: [u8; 11] = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];

async fn echoes(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).await.unwrap();
    let mut back = vec![0; bytes.len()];
    timeout(LONG, stream.read_exact(&mut back)).await.unwrap().unwrap();
    assert_eq!(back, bytes);
}

#[tokio::test]
async fn websockets_go_through() {
    let backend = echo().await;
    let ingress = start(config(), all_to(&[&backend]));
    for protocol in ["websocket", "other"] {
        let (mut stream, head) = upgraded(ingress.http_addresses()[0], protocol).await;
        assert!(head.starts_with("http/1.1 101"), "{head}");
        for line in [
            "connection: upgrade",
            &format!("upgrade: {protocol}"),
            "sec-websocket-accept:",
        ] {
            assert!(head.contains(line), "{line} of {head}");
        }
        echoes(&mut stream, &HELLO).await;
        // A table that knows nothing of it changes nothing.
        ingress.set_table(std::sync::Arc::default());
        echoes(&mut stream, &vec![7; 1 << 20]).await;
        // One side is done, and hears what the other still says.
        stream.write_all(b"last words").await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(read_all(stream).await, "last words");
        ingress.set_table(std::sync::Arc::new(all_to(&[&backend])));
    }
    assert_eq!(figure(&ingress, "sampan_ingress_upgrades_total"), 2);
    assert_eq!(figure(&ingress, "sampan_ingress_requests_total{class=\"1xx\"}"), 2);
    ingress.shutdown().await;
}

#[tokio::test]
async fn a_backend_may_refuse_to_be_upgraded() {
    let backend = echo().await;
    let ingress = start(config(), all_to(&[&backend]));
    let (mut stream, head) = upgraded(ingress.http_addresses()[0], "unknown").await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    let mut body = [0; 12];
    timeout(LONG, stream.read_exact(&mut body)).await.unwrap().unwrap();
    assert_eq!(&body, b"no websocket");
    ingress.shutdown().await;
}

#[tokio::test]
async fn nobody_is_upgraded_who_did_not_ask() {
    let odd = Backend::raw(|mut stream| async move {
        let mut some = [0; 1024];
        let _ = stream.read(&mut some).await;
        let _ = stream
            .write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
            .await;
        let _ = stream.read(&mut some).await;
    })
    .await;
    let ingress = start(config(), all_to(&[&odd]));
    let (status, _) = crate::stage::get(&ingress, "a", "/").await;
    assert_eq!(status, 502);
    ingress.shutdown().await;
}

#[tokio::test]
async fn upgraded_connections_end_when_still_and_when_the_node_stops() {
    let backend = echo().await;
    let mut own = config();
    own.times.idle = Duration::from_millis(500);
    let ingress = start(own, all_to(&[&backend]));
    let (mut stream, _) = upgraded(ingress.http_addresses()[0], "websocket").await;
    // As long as something moves it goes on, for longer than nothing may.
    for _ in 0..10 {
        echoes(&mut stream, &HELLO).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(read_all(stream).await, "");
    ingress.shutdown().await;

    let mut own = config();
    own.times.drain = Duration::from_millis(300);
    let ingress = start(own, all_to(&[&backend]));
    let (mut stream, _) = upgraded(ingress.http_addresses()[0], "websocket").await;
    let ending = tokio::spawn(ingress.shutdown());
    echoes(&mut stream, &HELLO).await;
    assert_eq!(read_all(stream).await, "");
    timeout(LONG, ending).await.unwrap().unwrap();
}

/// HTTP/2 without TLS, by who knows beforehand that it is spoken.
#[tokio::test]
async fn who_begins_with_http2_is_answered_in_it() {
    let backend = Backend::named("web").await;
    let ingress = start(config(), all_to(&[&backend]));
    let to = ingress.http_addresses()[0];
    let mut client = Client::over(TcpStream::connect(to).await.unwrap(), true).await;
    for path in ["/a", "/b"] {
        let request = Request::get(format!("http://shop.example{path}"));
        let response = client.send(request.body(full("")).unwrap()).await.unwrap();
        assert_eq!((response.status().as_u16(), response.version()), (200, Version::HTTP_2));
        let told = response.into_body().collect().await.unwrap().to_bytes();
        let told = String::from_utf8_lossy(&told).into_owned();
        assert!(told.starts_with(&format!("web GET {path}\n")), "{told}");
        assert!(
            told.contains("host: shop.example") && told.contains("x-forwarded-proto: http\n"),
            "{told}"
        );
    }
    // In pieces, too.
    let mut slow = TcpStream::connect(to).await.unwrap();
    for piece in [
        &b"PRI"[..],
        b" * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &[0, 0, 0, 4, 0, 0, 0, 0, 0],
    ] {
        slow.write_all(piece).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut frame = [0; 9];
    slow.read_exact(&mut frame).await.unwrap();
    assert_eq!(frame[3], 4, "its settings come first: {frame:?}");
    // What begins alike and is not is a request of HTTP/1.1, if any.
    let answer = raw(to, "PRINT / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    ingress.shutdown().await;
}
