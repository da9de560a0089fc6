//! The gate: before anything of a call is read, who makes it must be known. Only the health service is open to all.
use crate::{metrics, pki::Identity};
use sampan_api::{ApiError, Reason};
use std::{
    cell::RefCell,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};
use tokio_util::task::TaskTracker;
use tonic::{
    Status,
    body::Body,
    transport::server::{TcpConnectInfo, TlsConnectInfo},
};
use tower::{Layer, Service};

/// What may be called without a certificate. Who joins shows a token instead.
const OPEN: [&str; 3] = [
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
    "/sampan.v1.Membership/Join",
];

/// Streams that last: servers' words to each other.
const LASTING: &str = "/sampan.v1.Peers/";

/// A call that has not begun to answer by then is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// As [`PATIENCE`], for calls whose client streams its part first.
const UPLOAD_PATIENCE: Duration = Duration::from_secs(30 * 60);

thread_local! {
    /// The certificate that this thread has read last, and whom it names: who calls mostly calls again, and reading one takes
    /// longer than many a call.
    static LAST: RefCell<Option<(Vec<u8>, Identity)>> = const { RefCell::new(None) };
}

/// Wraps the services.
#[derive(Clone)]
pub struct GateLayer {
    /// Calls that are not answered yet, but for streams that last.
    pub calls: TaskTracker,
}

impl<S> Layer<S> for GateLayer {
    type Service = Gate<S>;
    fn layer(&self, inner: S) -> Gate<S> {
        Gate {
            inner,
            calls: self.calls.clone(),
        }
    }
}

/// The services behind the gate.
#[derive(Clone)]
pub struct Gate<S> {
    inner: S,
    calls: TaskTracker,
}

type Answer<E> = Pin<Box<dyn Future<Output = Result<http::Response<Body>, E>> + Send>>;

impl<S> Service<http::Request<Body>> for Gate<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = Answer<S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let path = request.uri().path().to_owned();
        if !OPEN.contains(&path.as_str()) {
            match identify(&request) {
                Ok(identity) => drop(request.extensions_mut().insert(identity)),
                Err(error) => {
                    metrics::count("sampan_unauthenticated_calls_total", &[], 1.0);
                    return Box::pin(std::future::ready(Ok(Status::from(error).into_http())));
                }
            }
        }
        // The service that was polled is the one that is ready.
        let next = self.inner.clone();
        let mut ready = std::mem::replace(&mut self.inner, next);
        let lasts = path.starts_with(LASTING);
        let answer = async move {
            let started = Instant::now();
            let answer = tokio::time::timeout(patience(&path), ready.call(request)).await;
            record(&path, started);
            match answer {
                Ok(answer) => answer,
                Err(_) => {
                    let error = ApiError::new(
                        Reason::Timeout,
                        "the call took too long: look whether it was done, and try again",
                    );
                    Ok(Status::from(error).into_http())
                }
            }
        };
        match lasts {
            true => Box::pin(answer),
            false => Box::pin(self.calls.track_future(answer)),
        }
    }
}

fn patience(path: &str) -> Duration {
    if path.starts_with(LASTING) {
        return Duration::MAX;
    }
    if path.starts_with("/sampan.v1.Plugins/") || path.starts_with("/sampan.v1.Runtime/") {
        return UPLOAD_PATIENCE;
    }
    PATIENCE
}

fn record(path: &str, started: Instant) {
    // Only paths of ours: others are whatever a client makes up.
    let method = path.strip_prefix("/sampan.v1.").unwrap_or("other");
    metrics::observe(
        "sampan_call_seconds",
        &[("method", method)],
        started.elapsed().as_secs_f64(),
    );
}

fn identify(request: &http::Request<Body>) -> Result<Identity, ApiError> {
    let unknown = |why: &str| {
        let how = "use the certificate and key of a context that `sampan up` wrote";
        ApiError::new(Reason::Unauthorized, format!("{why}: {how}"))
    };
    let shown = request
        .extensions()
        .get::<TlsConnectInfo<TcpConnectInfo>>()
        .and_then(TlsConnectInfo::peer_certs);
    let certificate = shown.as_ref().and_then(|certificates| certificates.first());
    let certificate = certificate.ok_or_else(|| unknown("no client certificate was shown"))?;
    let known = LAST.with_borrow(|last| {
        let (read, identity) = last.as_ref()?;
        (read[..] == **certificate).then(|| identity.clone())
    });
    if let Some(identity) = known {
        return Ok(identity);
    }
    let identity = Identity::of_certificate(certificate).map_err(|error| unknown(&error.to_string()))?;
    LAST.set(Some((certificate.to_vec(), identity.clone())));
    Ok(identity)
}

/// Who makes a call that came through the gate.
///
/// # Errors
/// `Unauthorized`, if it did not.
pub fn caller<T>(request: &tonic::Request<T>) -> Result<Identity, ApiError> {
    let nobody = || ApiError::new(Reason::Unauthorized, "nobody is known to make this call");
    request.extensions().get::<Identity>().cloned().ok_or_else(nobody)
}
