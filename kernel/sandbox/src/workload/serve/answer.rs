//! One request, one instance.
use super::{Ended, Server};
use crate::workload::{
    error::WorkloadError,
    host::{Host, patience},
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, StatusCode, body::Incoming};
use std::{convert::Infallible, sync::Arc, time::Instant};
use tokio::{sync::oneshot, task::AbortHandle, time::timeout};
use wasmtime::Store;
use wasmtime_wasi_http::{
    WasiBody, WasiHttpView,
    p2::bindings::http::types::{ErrorCode, Scheme},
};

/// Stops an instance if nobody waits for its answer any more.
struct Abandoned(Option<AbortHandle>);

impl Drop for Abandoned {
    fn drop(&mut self) {
        if let Some(task) = self.0.take() {
            task.abort();
        }
    }
}

type Answered = oneshot::Receiver<Result<Response<WasiBody>, ErrorCode>>;

/// What goes wrong is said on stderr in full, and to the client in a line.
pub(super) async fn answer(server: Arc<Server>, request: Request<Incoming>) -> Result<Response<WasiBody>, Infallible> {
    let Ok(Ok(turn)) = timeout(server.deadline, server.turns.clone().acquire_owned()).await else {
        return Ok(refusal(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many requests are being worked on",
        ));
    };
    let line = format!("{} {}", request.method(), request.uri().path());
    let until = Instant::now() + server.deadline;
    let (store, handles, answered) = match prepare(&server, request, until) {
        Ok(prepared) => prepared,
        Err(refused) => return Ok(*refused),
    };
    let (for_task, deadline) = (server.clone(), server.deadline);
    let task = tokio::spawn(async move {
        let _turn = turn;
        let ended = match timeout(patience(deadline), handle(&for_task, store, handles)).await {
            Ok(ended) => ended,
            Err(_) => Some(Ended::Late(deadline)),
        };
        if let Some(ended) = &ended {
            eprintln!("{line}: {ended}");
        }
        ended
    });
    let mut abandoned = Abandoned(Some(task.abort_handle()));
    let response = match answered.await {
        Ok(Ok(response)) => response,
        Ok(Err(code)) => refusal(
            StatusCode::INTERNAL_SERVER_ERROR,
            &format!("the component failed: {code}"),
        ),
        // The instance is gone without an answer.
        Err(_) => match task.await {
            Ok(Some(Ended::Late(_))) => refusal(StatusCode::GATEWAY_TIMEOUT, "the component did not answer in time"),
            Ok(Some(Ended::OutOfMemory(_) | Ended::Crowded(_))) => refusal(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the component ran out of memory; its log says more",
            ),
            Ok(Some(_)) | Err(_) => refusal(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the component trapped; its log says more",
            ),
            Ok(None) => refusal(StatusCode::INTERNAL_SERVER_ERROR, "the component gave no answer"),
        },
    };
    // It goes on to write the body.
    abandoned.0 = None;
    Ok(response)
}

/// The resources that a handler is called with.
type Handles = (
    wasmtime::component::Resource<wasmtime_wasi_http::p2::types::HostIncomingRequest>,
    wasmtime::component::Resource<wasmtime_wasi_http::p2::types::HostResponseOutparam>,
);

fn prepare(
    server: &Server,
    request: Request<Incoming>,
    until: Instant,
) -> Result<(Store<Host>, Handles, Answered), Box<Response<WasiBody>>> {
    let failed = |error: WorkloadError| {
        eprintln!("{error}");
        Box::new(refusal(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the component cannot be started; its log says more",
        ))
    };
    let mut store = server.settings.store(&server.engine, Some(until)).map_err(failed)?;
    let bad = |error: wasmtime::Error| Box::new(refusal(StatusCode::BAD_REQUEST, &error.to_string()));
    let (sender, answered) = oneshot::channel();
    let request = store
        .data_mut()
        .http()
        .new_incoming_request(Scheme::Http, request)
        .map_err(bad)?;
    let out = store.data_mut().http().new_response_outparam(sender).map_err(bad)?;
    Ok((store, (request, out), answered))
}

/// What it failed with, if it did.
async fn handle(server: &Server, mut store: Store<Host>, (request, out): Handles) -> Option<Ended> {
    let _timed = server.engine.ticker().time();
    let called = async {
        let instance = server.pre.instantiate_async(&mut store).await?;
        instance
            .wasi_http_incoming_handler()
            .call_handle(&mut store, request, out)
            .await
    };
    match called.await {
        Ok(()) => None,
        // A handler that exits with 0 is done.
        Err(error) => Some(Ended::of(&error, store.data(), &server.settings)).filter(|e| *e != Ended::Exited(0)),
    }
}

fn refusal(status: StatusCode, words: &str) -> Response<WasiBody> {
    let body = Full::new(Bytes::from(format!("{words}\n")))
        .map_err(|never: Infallible| match never {})
        .boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let plain = http::HeaderValue::from_static("text/plain");
    response.headers_mut().insert(http::header::CONTENT_TYPE, plain);
    response
}
