//! The seam for components that see requests before backends do.
use super::body::Body;
use futures::future::BoxFuture;
use http::{Request, Response};

/// What a filter makes of a request: the one that goes on to a backend, or an answer.
pub type Filtered = Result<Request<Body>, Response<Body>>;

/// The filters of this node. A route that names one that is not there is answered with 503: nobody is served without it.
pub trait Filters: Send + Sync + 'static {
    /// What a filter makes of a request; none if there is no filter of that name.
    fn filter(&self, name: &str, request: Request<Body>) -> Option<BoxFuture<'static, Filtered>>;
}

/// A node without filters.
#[derive(Debug)]
pub struct NoFilters;

impl Filters for NoFilters {
    fn filter(&self, _: &str, _: Request<Body>) -> Option<BoxFuture<'static, Filtered>> {
        None
    }
}
