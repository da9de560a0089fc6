//! Backends that are many, slow, or gone.
use crate::stage::{Backend, Client, Making, all_to, config, figure, full, get, start};
use http::{Request, Response};
use http_body_util::BodyExt;
use std::{sync::atomic::Ordering, time::Duration};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn weights_are_kept_on_a_hot_route() {
    let (heavy, light) = (Backend::named("heavy").await, Backend::named("light").await);
    let table = Making::default()
        .pool("both", &[(heavy.address, 3), (light.address, 1)])
        .host("", &[("/", "both")])
        .done();
    let ingress = start(config(), table);
    let address = ingress.http_addresses()[0];
    let asking = (0..32).map(|_| {
        tokio::spawn(async move {
            let mut client = Client::connect(address).await;
            for _ in 0..50 {
                assert_eq!(client.get("a", "/").await.unwrap().0, 200);
            }
        })
    });
    for task in asking.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let (heavy_ones, light_ones) = (heavy.requests(), light.requests());
    assert_eq!(heavy_ones + light_ones, 1600);
    assert!((1150..=1250).contains(&heavy_ones), "{heavy_ones} and {light_ones}");
    // Connections are kept: there were never more than clients.
    assert!(heavy.connections() <= 40, "{}", heavy.connections());
    ingress.shutdown().await;
}

#[tokio::test]
async fn a_backend_that_dies_is_passed_over() {
    let (stays, dies) = (Backend::named("stays").await, Backend::named("dies").await);
    let ingress = start(config(), all_to(&[&stays, &dies]));
    let mut client = Client::connect(ingress.http_addresses()[0]).await;
    for _ in 0..10 {
        assert_eq!(client.get("a", "/").await.unwrap().0, 200);
    }
    assert!(dies.requests() > 0 && stays.requests() > 0);
    drop(dies);
    for _ in 0..100 {
        let (status, told) = client.get("a", "/").await.unwrap();
        assert_eq!(status, 200, "{told}");
    }
    let retried = figure(&ingress, "sampan_ingress_retries_total");
    // Once it was not reached it is not tried with each request.
    assert!((1..20).contains(&retried), "{retried}");
    ingress.shutdown().await;
}

#[tokio::test]
async fn where_none_is_reached_the_answer_says_so() {
    let gone = Backend::named("gone").await;
    let table = all_to(&[&gone]);
    drop(gone);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let ingress = start(config(), table);
    let (status, words) = get(&ingress, "a", "/").await;
    assert_eq!(status, 502);
    assert!(
        words.contains("no endpoint of this path's Service takes connections"),
        "{words}"
    );
    assert_eq!(
        figure(&ingress, "sampan_ingress_upstream_errors_total{kind=\"connect\"}"),
        1
    );
    ingress.shutdown().await;
}

/// What may have been done is not done again, however much another backend would like to.
#[tokio::test]
async fn what_was_sent_is_not_sent_again() {
    let breaks = Backend::raw(|mut stream| async move {
        let mut some = [0; 16];
        let _ = stream.read(&mut some).await;
    })
    .await;
    let other = Backend::named("other").await;
    let ingress = start(config(), all_to(&[&breaks, &other]));
    let mut broken = 0;
    for _ in 0..20 {
        let mut client = Client::connect(ingress.http_addresses()[0]).await;
        let request = Request::post("/pay").header("host", "a").body(full("once")).unwrap();
        let response = client.send(request).await.unwrap();
        match response.status().as_u16() {
            200 => {}
            502 => {
                broken += 1;
                let words = response.into_body().collect().await.unwrap().to_bytes();
                assert!(String::from_utf8_lossy(&words).contains("broke off"), "{words:?}");
            }
            other => panic!("{other}"),
        }
    }
    assert!(broken >= 5, "{broken}");
    assert_eq!(other.requests() + broken, 20, "each was asked of one");
    assert_eq!(figure(&ingress, "sampan_ingress_retries_total"), 0);
    ingress.shutdown().await;
}

#[tokio::test]
async fn a_backend_has_its_time_and_no_more() {
    let slow = Backend::answering(false, |request| async move {
        // Answers once it was sent everything, or never.
        let path = request.uri().path().to_owned();
        let sent = request.into_body().collect().await.unwrap().to_bytes().len();
        if path == "/never" {
            std::future::pending::<()>().await;
        }
        Response::new(full(sent.to_string()))
    })
    .await;
    let mut own = config();
    own.times.answer = Duration::from_millis(500);
    let ingress = start(own, all_to(&[&slow]));
    let (status, words) = get(&ingress, "a", "/never").await;
    assert_eq!(status, 504);
    assert!(words.contains("did not answer in time"), "{words}");
    assert_eq!(
        figure(&ingress, "sampan_ingress_upstream_errors_total{kind=\"timeout\"}"),
        1
    );
    // A request that takes longer to be sent is no backend's fault.
    let mut stream = tokio::net::TcpStream::connect(ingress.http_addresses()[0])
        .await
        .unwrap();
    let head = "POST /slowly HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nConnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        stream.write_all(b"x").await.unwrap();
    }
    let answer = crate::stage::read_all(stream).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.ends_with("\r\n6"), "{answer}");
    ingress.shutdown().await;
}

#[tokio::test]
async fn a_connection_that_a_backend_closed_is_not_used_again() {
    // One answer for each connection, without saying so before.
    let closes = Backend::raw(|mut stream| async move {
        let mut some = vec![0; 4096];
        if stream.read(&mut some).await.unwrap_or(0) > 0 {
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                .await;
        }
    })
    .await;
    let ingress = start(config(), all_to(&[&closes]));
    let mut client = Client::connect(ingress.http_addresses()[0]).await;
    for _ in 0..20 {
        assert_eq!(client.get("a", "/").await.unwrap(), (200, "ok".to_owned()));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(closes.connections.load(Ordering::Relaxed), 20);
    ingress.shutdown().await;
}
