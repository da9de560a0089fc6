//! The seam for components that see requests before backends do, and the way from there to the backends of a route.
use super::{
    body::Body,
    headers,
    live::Live,
    proxy::{Proxy, Sending},
};
use futures::future::BoxFuture;
use http::{Request, Response, Uri, uri::PathAndQuery};
use sampan_sandbox::workload::{self, Asked, FilterBody};
use std::{pin::Pin, sync::Arc};
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;

/// The backends of a route, as a filter that stands before them knows them.
pub type Onward = Arc<dyn workload::Onward>;

/// The filters of this node. A route that names one that is not there is answered with 503: nobody is served without it.
pub trait Filters: Send + Sync + 'static {
    /// What a filter answers, by itself or with what comes from onward; none if there is no filter of that name.
    fn answer(
        &self,
        name: &str,
        asked: Asked,
        request: Request<Body>,
        onward: Onward,
    ) -> Option<BoxFuture<'static, Response<Body>>>;
}

/// A node without filters.
#[derive(Debug)]
pub struct NoFilters;

impl Filters for NoFilters {
    fn answer(&self, _: &str, _: Asked, _: Request<Body>, _: Onward) -> Option<BoxFuture<'static, Response<Body>>> {
        None
    }
}

/// Who a request is for that names nobody.
const NOBODY: &str = "host.invalid";

/// As filters are told whom a request is for.
pub fn asked(sending: &Sending) -> Asked {
    let authority = sending.asked.authority.as_ref();
    Asked {
        authority: authority.map_or_else(|| NOBODY.to_owned(), ToString::to_string),
        https: sending.client.https,
    }
}

/// The backends of one route, for one request.
pub struct Backends {
    pub proxy: Arc<Proxy>,
    pub live: Arc<Live>,
    pub pool: usize,
    pub sending: Arc<Sending>,
    /// Where connections to backends are at home: a filter computes elsewhere.
    pub runtime: Handle,
}

impl workload::Onward for Backends {
    fn send(&self, request: Request<FilterBody>) -> Pin<Box<dyn Future<Output = Response<FilterBody>> + Send>> {
        let (proxy, live, sending, pool) = (self.proxy.clone(), self.live.clone(), self.sending.clone(), self.pool);
        let sent = async move {
            let request = prepared(request, &sending);
            let response = match proxy.sent(&live, pool, request, &sending).await {
                Ok(response) => proxy.returned(response, &sending, None),
                Err(response) => response,
            };
            response.map(Body::for_filter)
        };
        let task = AbortOnDropHandle::new(self.runtime.spawn(sent));
        Box::pin(async move {
            match task.await {
                Ok(response) => response,
                Err(_) => super::answer::broken().map(Body::for_filter),
            }
        })
    }
}

/// Makes what a filter sends a request for a backend: who asked is said by us, whatever the filter says.
fn prepared(request: Request<FilterBody>, sending: &Sending) -> Request<Body> {
    let (mut parts, body) = request.into_parts();
    parts.extensions.clear();
    let client = &sending.client;
    headers::request(&mut parts.headers, &sending.asked, client.address, client.https, None);
    let path = parts.uri.path_and_query().cloned();
    parts.uri = Uri::from(path.unwrap_or(PathAndQuery::from_static("/")));
    Request::from_parts(parts, Body::filtered(body))
}
