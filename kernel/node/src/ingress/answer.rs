//! What the proxy answers itself, where no backend does: a status and a sentence for whoever looks for the reason.
use super::body::Body;
use http::{HeaderValue, Response, StatusCode, header};
use sampan_sandbox::workload::Failed;

/// An answer of our own. The words are ours, too: nothing of the request is in them.
pub fn say(status: StatusCode, words: &str) -> Response<Body> {
    let mut response = Response::new(Body::of(format!("{words}\n")));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, plain);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

pub fn no_route() -> Response<Body> {
    say(StatusCode::NOT_FOUND, "no rule of an Ingress is for this host and path")
}

pub fn no_backend() -> Response<Body> {
    say(
        StatusCode::SERVICE_UNAVAILABLE,
        "the Service of this path has no endpoint that is ready",
    )
}

pub fn no_filter() -> Response<Body> {
    say(
        StatusCode::SERVICE_UNAVAILABLE,
        "the filter of this path is not on this node",
    )
}

/// What is answered where a filter gave no answer.
pub fn failed_filter(failed: &Failed) -> Response<Body> {
    match failed {
        Failed::Busy(_) | Failed::Crowded(_) => say(
            StatusCode::SERVICE_UNAVAILABLE,
            "the filter of this path works on too many requests",
        ),
        Failed::Late(_) => say(
            StatusCode::GATEWAY_TIMEOUT,
            "the filter of this path did not answer in time",
        ),
        _ => say(
            StatusCode::BAD_GATEWAY,
            "the filter of this path failed; an event of its plugin says why",
        ),
    }
}

pub fn unreached() -> Response<Body> {
    say(
        StatusCode::BAD_GATEWAY,
        "no endpoint of this path's Service takes connections",
    )
}

pub fn broken() -> Response<Body> {
    say(StatusCode::BAD_GATEWAY, "the backend broke off before it answered")
}

pub fn late() -> Response<Body> {
    say(StatusCode::GATEWAY_TIMEOUT, "the backend did not answer in time")
}
