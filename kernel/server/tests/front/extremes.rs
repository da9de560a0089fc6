//! Bytes that are no requests, and requests that are too large: refused, and nothing is changed.
use crate::bench::{Bench, config_map};
use sampan_api::{
    ApiError, Reason,
    rpc::{self, objects_client::ObjectsClient},
};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn what_is_too_large_or_no_json_is_refused() {
    let bench = Bench::start().await;
    let mut client = bench.objects();
    let before = bench.server().replica().snapshot().revision();
    let error = client
        .create(config_map("big", &"x".repeat(2 << 20)))
        .await
        .unwrap_err();
    assert_eq!(error.reason, Reason::TooLarge, "{error}");
    let error = client
        .create(config_map("huge", &"x".repeat(8 << 20)))
        .await
        .unwrap_err();
    assert!(
        error.message.contains("limit") || error.message.contains("larg"),
        "{error}"
    );
    for json in [
        &b""[..],
        b"{",
        b"[]",
        b"\xff\xfe",
        b"null",
        br#"{"apiVersion":"v1","kind":"Pod","metadata":7}"#,
    ] {
        let request = rpc::CreateRequest {
            json: json.to_vec().into(),
            ..Default::default()
        };
        let error = ApiError::from(client.0.create(request.clone()).await.unwrap_err());
        assert!(matches!(error.reason, Reason::BadRequest | Reason::Invalid), "{error}");
        let request = rpc::ApplyRequest {
            json: json.to_vec().into(),
            ..Default::default()
        };
        assert!(client.0.apply(request).await.is_err());
    }
    let deep = format!(
        r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"d"}},"x":{}{}}}"#,
        "[".repeat(200_000),
        "]".repeat(200_000)
    );
    let request = rpc::CreateRequest {
        json: deep.into(),
        ..Default::default()
    };
    assert!(client.0.create(request).await.unwrap_err().message().contains("nested"));
    for request in [
        rpc::GetRequest::default(),
        rpc::GetRequest {
            key: Some(rpc::Key::default()),
            stale: true,
        },
    ] {
        assert!(client.0.get(request).await.is_err());
    }
    assert_eq!(bench.server().replica().snapshot().revision(), before);
    bench.stop().await;
}

#[tokio::test]
async fn bodies_that_are_no_messages_are_refused() {
    let bench = Bench::start().await;
    let before = bench.server().replica().snapshot().revision();
    let admin = bench.admin();
    for path in [
        "/sampan.v1.Objects/Create",
        "/sampan.v1.Objects/Commit",
        "/sampan.v1.Plugins/Load",
        "/sampan.v1.Runtime/LoadImage",
    ] {
        let mut grpc = tonic::client::Grpc::new(admin.clone());
        grpc.ready().await.unwrap();
        // A message of other fields: a number where bytes are expected.
        let codec = tonic_prost::ProstCodec::<rpc::Cause, rpc::MetricsResponse>::default();
        let rubbish = rpc::Cause {
            field: "\u{7}\u{1}".to_owned(),
            message: "x".to_owned(),
        };
        let answer = grpc
            .server_streaming(tonic::Request::new(rubbish), path.parse().unwrap(), codec)
            .await;
        assert!(answer.is_err(), "{path}");
    }
    assert_eq!(bench.server().replica().snapshot().revision(), before);
    bench.stop().await;
}

#[tokio::test]
async fn noise_on_the_port_hurts_nobody() {
    let bench = Bench::start().await;
    let address = bench.server().local_addr();
    for noise in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &[0xff; 4096],
        b"\x16\x03\x01\xff\xff",
    ] {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let _ = stream.write_all(noise).await;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(Duration::from_millis(200), stream.read_to_end(&mut answer)).await;
        assert!(answer.len() < 4096);
    }
    let request = rpc::ListRequest {
        selection: crate::bench::selection("ns"),
        ..Default::default()
    };
    assert!(ObjectsClient::new(bench.admin()).list(request).await.is_ok());
    bench.stop().await;
}
