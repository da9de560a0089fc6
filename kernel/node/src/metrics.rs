//! The node's figures for Prometheus: plain HTTP, for the machine itself alone.
use crate::agent::Node;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::Semaphore, time::sleep};

/// Connections at a time; whoever comes then waits.
const TOGETHER: usize = 8;

/// How long a request's head may take, and a connection be open.
const HEAD: Duration = Duration::from_secs(5);
const OPEN: Duration = Duration::from_secs(60);

const PAUSE: Duration = Duration::from_millis(100);

/// The format's name, with its version.
const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Serves them, for as long as the future is polled.
pub async fn serve(node: Arc<Node>, listener: TcpListener) {
    let places = Arc::new(Semaphore::new(TOGETHER));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            // Such as no more files: that passes.
            Err(error) => {
                tracing::warn!(%error, "the node's figures are not served now");
                sleep(PAUSE).await;
                continue;
            }
        };
        let node = node.clone();
        tokio::spawn(async move {
            let answers = service_fn(move |request| answer(node.clone(), request));
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEAD);
            let connection = http.serve_connection(TokioIo::new(stream), answers);
            // Who breaks off is told nothing.
            let _ = tokio::time::timeout(OPEN, connection).await;
            drop(place);
        });
    }
}

async fn answer(node: Arc<Node>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, text) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => (StatusCode::OK, text(&node).await),
        (_, "/metrics") => (StatusCode::METHOD_NOT_ALLOWED, "only GET is answered\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, "figures are at /metrics\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, http::HeaderValue::from_static(FORMAT));
    Ok(response)
}

async fn text(node: &Node) -> String {
    match &node.network {
        Some(network) => network.figures().await,
        None => String::new(),
    }
}
