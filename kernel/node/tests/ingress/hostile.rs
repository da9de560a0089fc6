//! Clients that mean no good, or do not know better.
use crate::stage::{Backend, all_to, config, figure, raw, read_all, start};
use std::time::{Duration, Instant};
use tokio::{io::AsyncWriteExt, net::TcpStream};

/// The first line of what comes back.
async fn status(to: std::net::SocketAddr, request: &str) -> String {
    let answer = raw(to, request).await;
    answer.lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn heads_have_their_limits() {
    let backend = Backend::named("web").await;
    let ingress = start(config(), all_to(&[&backend]));
    let to = ingress.http_addresses()[0];
    let with = |headers: &str| format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{headers}\r\n");
    assert_eq!(
        status(to, &with(&format!("X: {}\r\n", "x".repeat(15 << 10)))).await,
        "HTTP/1.1 200 OK"
    );
    let long = status(to, &with(&format!("X: {}\r\n", "x".repeat(17 << 10)))).await;
    assert!(long.starts_with("HTTP/1.1 431"), "{long}");
    let many = status(to, &with(&"X: 1\r\n".repeat(101))).await;
    assert!(many.starts_with("HTTP/1.1 431"), "{many}");
    let path = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(70 << 10));
    let path = status(to, &path).await;
    assert!(
        path.starts_with("HTTP/1.1 414") || path.starts_with("HTTP/1.1 431"),
        "{path}"
    );
    assert_eq!(backend.requests(), 1);
    ingress.shutdown().await;
}

#[tokio::test]
async fn slow_heads_and_handshakes_are_not_waited_for() {
    let backend = Backend::named("web").await;
    let mut own = config();
    own.times.header = Duration::from_millis(400);
    let ingress = start(own, all_to(&[&backend]));
    let drip = |to: std::net::SocketAddr, bytes: &'static str| async move {
        let (mut reading, mut writing) = TcpStream::connect(to).await.unwrap().into_split();
        let began = Instant::now();
        let dripping = tokio::spawn(async move {
            for byte in bytes.bytes().cycle() {
                if writing.write_all(&[byte]).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        let answer = read_all(&mut reading).await;
        dripping.abort();
        (answer, began.elapsed())
    };
    let (answer, _) = drip(ingress.http_addresses()[0], "GET / HTTP/1.1\r\nHost: a\r\nX: ").await;
    assert!(!answer.contains("200"), "{answer}");
    // The beginning of HTTP/2, and never the rest of it.
    let (mut reading, mut writing) = TcpStream::connect(ingress.http_addresses()[0])
        .await
        .unwrap()
        .into_split();
    writing.write_all(b"PRI * HTTP/2.0\r\n\r\nSM").await.unwrap();
    assert_eq!(read_all(&mut reading).await, "");
    // A record of a handshake that never ends.
    let (answer, _) = drip(ingress.https_addresses()[0], "\x16\x03\x01\x02\x00").await;
    assert!(answer.is_empty() || !answer.contains("HTTP"), "{answer}");
    // Nor is one who says nothing at all.
    let silent = TcpStream::connect(ingress.http_addresses()[0]).await.unwrap();
    assert_eq!(read_all(silent).await, "");
    assert!(figure(&ingress, "sampan_ingress_malformed_total") >= 1);
    assert!(figure(&ingress, "sampan_ingress_handshake_failures_total") >= 1);
    assert_eq!(backend.connections(), 0);
    ingress.shutdown().await;
}

#[tokio::test]
async fn a_connection_on_which_nothing_moves_is_closed() {
    let never = Backend::raw(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let mut own = config();
    own.times.idle = Duration::from_millis(300);
    let ingress = start(own, all_to(&[&never]));
    let answer = raw(ingress.http_addresses()[0], "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(!answer.contains("200"), "{answer}");
    ingress.shutdown().await;
}

#[tokio::test]
async fn what_can_be_understood_in_two_ways_is_refused() {
    let backend = Backend::named("web").await;
    let ingress = start(config(), all_to(&[&backend]));
    let to = ingress.http_addresses()[0];
    for bad in [
        "GET http://a/ HTTP/1.1\r\nHost: b\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n",
        "GET / HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\nHost: a@b\r\n",
        "GET /x/../admin HTTP/1.1\r\nHost: a\r\n",
        "GET /x/%2e%2e/admin HTTP/1.1\r\nHost: a\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n",
        "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n",
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX : 1\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n folded\r\n",
    ] {
        let found = status(to, &format!("{bad}Connection: close\r\n\r\n")).await;
        assert!(
            found.starts_with("HTTP/1.1 400") || found.starts_with("HTTP/1.0 400"),
            "{bad:?}: {found}"
        );
    }
    assert_eq!(backend.requests(), 0);
    ingress.shutdown().await;
}

/// A second request in what one side takes for the body of the first: it is a body to the backend too.
#[tokio::test]
async fn no_request_is_smuggled() {
    let backend = Backend::named("web").await;
    let ingress = start(config(), all_to(&[&backend]));
    let to = ingress.http_addresses()[0];
    let inner = "GET /admin HTTP/1.1\r\nHost: a\r\n\r\n";
    let both = format!(
        "POST /one HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
         0\r\n\r\n{inner}",
        inner.len() + 5
    );
    let answer = raw(to, &both).await;
    assert!(!answer.contains("/admin"), "{answer}");
    let hidden = format!(
        "POST /two HTTP/1.1\r\nHost: a\r\nConnection: close, content-length\r\nContent-Length: {}\r\n\r\n{inner}",
        inner.len()
    );
    let answer = raw(to, &hidden).await;
    assert!(
        answer.contains("web POST /two") && answer.contains("body: GET /admin"),
        "{answer}"
    );
    assert!(backend.requests() <= 2);
    ingress.shutdown().await;
}

/// A connection of HTTP/2 to a backend would be one that nobody matches requests on.
#[tokio::test]
async fn nobody_upgrades_to_http2() {
    let backend = Backend::named("web").await;
    let ingress = start(config(), all_to(&[&backend]));
    let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\n\
                   HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n";
    let answer = raw(ingress.http_addresses()[0], request).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(
        !answer.contains("upgrade") && !answer.contains("http2-settings"),
        "{answer}"
    );
    ingress.shutdown().await;
}
