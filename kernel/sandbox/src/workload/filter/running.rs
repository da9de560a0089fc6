//! One request, one instance of a filter.
use super::{
    Asked, Failed, Filter, FilterBody, Onward,
    pass::{Pace, Pass, inward, outward},
};
use crate::workload::{command::Ended, egress::Way, host::Host};
use hyper::{Request, Response};
use std::sync::Arc;
use tokio::{
    sync::oneshot,
    task::{AbortHandle, JoinHandle},
    time::timeout,
};
use wasmtime::{Store, component::Resource};
use wasmtime_wasi_http::{
    WasiBody, WasiHttpView,
    p2::{
        bindings::http::types::{ErrorCode, Scheme},
        types::{HostIncomingRequest, HostResponseOutparam},
    },
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

/// The resources that a handler is called with.
type Handles = (Resource<HostIncomingRequest>, Resource<HostResponseOutparam>);

type Answered = oneshot::Receiver<Result<Response<WasiBody>, ErrorCode>>;

impl Filter {
    /// Asks it. What it sends to the authority that was asked for goes onward.
    ///
    /// # Errors
    /// Why it gave no answer.
    pub async fn answer(
        self: Arc<Self>,
        asked: Asked,
        request: Request<FilterBody>,
        onward: Arc<dyn Onward>,
    ) -> Result<Response<FilterBody>, Failed> {
        let turn = timeout(self.limits.computing, self.turns.clone().acquire_owned()).await;
        let Ok(Ok(turn)) = turn else {
            return Err(Failed::Busy(self.limits.turns));
        };
        let pace = Pace::begin();
        let (store, handles, answered) = self.prepare(&asked, request, onward, &pace)?;
        let (filter, watched) = (self.clone(), pace.clone());
        let task = self.runtime.spawn(async move {
            let _turn = turn;
            let still = filter.limits.still;
            tokio::select! {
                ended = filter.handle(store, handles) => ended,
                () = watched.still_for(still) => Some(Ended::Late(still)),
            }
        });
        let mut abandoned = Abandoned(Some(task.abort_handle()));
        let answer = match answered.await {
            Ok(Ok(response)) => Ok(response.map(|body| outward(body, &pace))),
            Ok(Err(code)) => Err(Failed::Said(code.to_string())),
            // The instance is gone without an answer.
            Err(_) => Err(why(task).await),
        };
        // It goes on to write the body.
        abandoned.0 = None;
        answer
    }

    fn prepare(
        &self,
        asked: &Asked,
        mut request: Request<FilterBody>,
        onward: Arc<dyn Onward>,
        pace: &Arc<Pace>,
    ) -> Result<(Store<Host>, Handles, Answered), Failed> {
        let failed = |error: &dyn std::fmt::Display| Failed::Start(error.to_string());
        let authority: http::uri::Authority = asked.authority.parse().map_err(|error| failed(&error))?;
        let (scheme, name) = match asked.https {
            true => (Scheme::Https, http::uri::Scheme::HTTPS),
            false => (Scheme::Http, http::uri::Scheme::HTTP),
        };
        let mut parts = request.uri().clone().into_parts();
        (parts.scheme, parts.authority) = (Some(name), Some(authority.clone()));
        *request.uri_mut() = http::Uri::from_parts(parts).map_err(|error| failed(&error))?;
        let pass = Pass {
            authority,
            https: asked.https,
            onward,
            left: self.limits.onward,
            pace: pace.clone(),
        };
        let (limit, watched) = (self.limits.computing, pace.clone());
        let store = self
            .settings
            .store_with(&self.engine, Way::Onward(pass), move || watched.still() >= limit);
        let mut store = store.map_err(|error| failed(&error))?;
        let (sender, answered) = oneshot::channel();
        let incoming = request.map(|body| inward(body, pace));
        let request = store.data_mut().http().new_incoming_request(scheme, incoming);
        let request = request.map_err(|error| failed(&error))?;
        let out = store.data_mut().http().new_response_outparam(sender);
        let out = out.map_err(|error| failed(&error))?;
        Ok((store, (request, out), answered))
    }

    /// What it failed with, if it did.
    async fn handle(&self, mut store: Store<Host>, (request, out): Handles) -> Option<Ended> {
        let _timed = self.engine.ticker().time();
        let called = async {
            let instance = self.pre.instantiate_async(&mut store).await?;
            let handler = instance.wasi_http_incoming_handler();
            handler.call_handle(&mut store, request, out).await
        };
        let ended = match called.await {
            Ok(()) => return None,
            Err(error) => Ended::of(&error, store.data(), &self.settings),
        };
        tracing::debug!(%ended, "an instance of a filter ended");
        // A handler that exits with 0 is done.
        Some(ended).filter(|ended| *ended != Ended::Exited(0))
    }
}

async fn why(task: JoinHandle<Option<Ended>>) -> Failed {
    match task.await {
        Ok(Some(Ended::Late(limit))) => Failed::Late(limit),
        Ok(Some(Ended::OutOfMemory(limit))) => Failed::OutOfMemory(limit),
        Ok(Some(Ended::Crowded(all))) => Failed::Crowded(all),
        Ok(Some(ended)) => Failed::Trapped(match ended {
            Ended::Trapped(words) => words,
            ended => ended.to_string(),
        }),
        Ok(None) => Failed::Silent,
        Err(error) => Failed::Trapped(error.to_string()),
    }
}
