//! The only way that a filter's requests go, and bodies on their way in and out of it.
use super::{BoxError, FilterBody, Onward};
use crate::workload::egress::{Drive, Sent};
use bytes::Bytes;
use http::uri::Authority;
use http_body_util::BodyExt;
use hyper::{Request, body::Body};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use wasmtime_wasi_http::{Error, WasiBody};

/// When something of a request or its answer last moved.
pub struct Pace {
    start: Instant,
    /// Milliseconds after the start.
    last: AtomicU64,
}

impl Pace {
    pub fn begin() -> Arc<Self> {
        Arc::new(Pace {
            start: Instant::now(),
            last: AtomicU64::new(0),
        })
    }

    fn moved(&self) {
        let since = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(since, Ordering::Relaxed);
    }

    /// Since something moved.
    pub fn still(&self) -> Duration {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        self.start.elapsed().saturating_sub(last)
    }

    /// Until nothing has moved for so long.
    pub async fn still_for(&self, limit: Duration) {
        while let Some(left) = limit.checked_sub(self.still()).filter(|left| !left.is_zero()) {
            tokio::time::sleep(left).await;
        }
    }
}

/// The way on to what a filter stands before.
pub(crate) struct Pass {
    pub authority: Authority,
    pub https: bool,
    pub onward: Arc<dyn Onward>,
    /// Requests that may still be sent.
    pub left: u32,
    pub pace: Arc<Pace>,
}

impl Pass {
    pub fn send(&mut self, request: Request<WasiBody>) -> Sent {
        if !self.is_ours(&request) {
            return Box::new(async { Err(Error::HttpRequestDenied) });
        }
        let Some(left) = self.left.checked_sub(1) else {
            return Box::new(async { Err(Error::ConnectionLimitReached) });
        };
        self.left = left;
        let (onward, pace) = (self.onward.clone(), self.pace.clone());
        Box::new(async move {
            let response = onward.send(request.map(|body| outward(body, &pace))).await;
            pace.moved();
            let done: Drive = Box::new(async { Ok(()) });
            Ok((response.map(|body| inward(body, &pace)), done))
        })
    }

    /// Whether a request is for the authority that the filter was asked for.
    fn is_ours(&self, request: &Request<WasiBody>) -> bool {
        let port = |authority: &Authority| authority.port_u16().unwrap_or(if self.https { 443 } else { 80 });
        request.uri().authority().is_some_and(|to| {
            to.host().eq_ignore_ascii_case(self.authority.host()) && port(to) == port(&self.authority)
        })
    }
}

/// A body that a filter reads.
pub fn inward<B>(body: B, pace: &Arc<Pace>) -> WasiBody
where
    B: Body<Data = Bytes, Error = BoxError> + Send + 'static,
{
    let pace = pace.clone();
    let watched = body.map_frame(move |frame| {
        pace.moved();
        frame
    });
    watched
        .map_err(|error| Error::InternalError(Some(error.to_string())))
        .boxed_unsync()
}

/// A body that a filter writes.
pub fn outward(body: WasiBody, pace: &Arc<Pace>) -> FilterBody {
    let pace = pace.clone();
    let watched = body.map_frame(move |frame| {
        pace.moved();
        frame
    });
    watched
        .map_err(|error| BoxError::from(io::Error::other(format!("the filter broke off: {error:?}"))))
        .boxed_unsync()
}
