//! What is left of the front of a server that has no part in its cluster any more: it tells everybody so. Connections are
//! short, so that clients that know other servers go there.
use super::{Front, objects::Objects};
use futures::FutureExt as _;
use sampan_api::{ApiError, rpc::objects_server::ObjectsServer};
use sampan_tls::{Clients, Handshakes};
use std::{
    convert::Infallible,
    future::{Ready, ready},
    io,
    net::TcpListener,
    task::{Context, Poll},
    time::Duration,
};
use tonic::{
    Status,
    body::Body,
    server::NamedService,
    transport::{Server, server::TcpIncoming},
};
use tonic_health::ServingStatus;
use tower::Service;

/// A connection lasts so long.
const AGE: Duration = Duration::from_secs(1);

/// Tells everybody why, until the server closes.
///
/// # Errors
/// If the listener or the certificates cannot be used.
pub async fn say_no_more(
    front: &Front,
    listener: TcpListener,
    why: String,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let (health, service) = tonic_health::server::health_reporter();
    for name in ["", <ObjectsServer<Objects> as NamedService>::NAME] {
        health.set_service_status(name, ServingStatus::NotServing).await;
    }
    listener.set_nonblocking(true)?;
    let incoming = TcpIncoming::from(tokio::net::TcpListener::from_std(listener)?);
    let incoming = Handshakes::new(incoming, &front.credentials, Clients::Anybody)?;
    let refuse = tower::layer::layer_fn(|inner| Refuse {
        inner,
        why: why.clone(),
    });
    Server::builder()
        .max_connection_age(AGE)
        .layer(refuse)
        .add_service(service)
        .serve_with_incoming_shutdown(incoming, front.closing.clone().cancelled_owned())
        .await
        .map_err(|error| io::Error::other(error).into())
}

/// Answers all but the health service with a refusal.
#[derive(Clone)]
struct Refuse<S> {
    inner: S,
    why: String,
}

impl<S> Service<http::Request<Body>> for Refuse<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = futures::future::Either<S::Future, Ready<Result<http::Response<Body>, Infallible>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if request.uri().path().starts_with("/grpc.health.v1.Health/") {
            return self.inner.call(request).left_future();
        }
        let refusal = Status::from(ApiError::unavailable(&*self.why)).into_http();
        ready(Ok(refusal)).right_future()
    }
}
