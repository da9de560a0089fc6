//! What becomes of a request: it is read, matched, made ready, and sent to a backend; the answer goes back as it comes.
use super::{
    Times, answer,
    asked::{self, Asked},
    body::Body,
    certificates::Keys,
    figures::{Figure, Figures},
    filter::{self, Backends, Filters},
    headers,
    live::Live,
    progress::Progress,
    table::Found,
    tunnel,
    upstream::Failed,
};
use http::{HeaderValue, Request, Response, StatusCode, Uri, Version, header, uri::PathAndQuery};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use parking_lot::RwLock;
use rustls::sign::CertifiedKey;
use sampan_sandbox::ingress::Protocol;
use std::{net::IpAddr, sync::Arc};
use tokio::runtime::Handle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// All that connections share.
pub struct Proxy {
    pub live: RwLock<Arc<Live>>,
    pub keys: RwLock<Arc<Keys>>,
    pub figures: Figures,
    pub times: Times,
    pub filters: Arc<dyn Filters>,
    /// Connections and what comes of them.
    pub tasks: TaskTracker,
    /// Nothing new is taken.
    pub closing: CancellationToken,
    /// What is left is let go.
    pub stopping: CancellationToken,
}

/// Who asks.
#[derive(Clone)]
pub struct Client {
    pub address: IpAddr,
    pub https: bool,
    /// Of its connection.
    pub progress: Arc<Progress>,
}

/// A request on its way.
pub struct Sending {
    pub asked: Asked,
    pub client: Client,
    upgrade: Option<HeaderValue>,
    /// Of its body.
    progress: Arc<Progress>,
}

impl Proxy {
    /// The certificate that is shown now to who asks for a host.
    pub fn certificate(&self, host: &str) -> Option<Arc<CertifiedKey>> {
        let live = self.live.read().clone();
        let secret = live.table.certificate(host)?;
        self.keys.read().get(secret).cloned()
    }

    /// Answers a request.
    pub async fn answer(self: &Arc<Self>, request: Request<Incoming>, client: Client) -> Response<Body> {
        let _begun = self.figures.begun();
        let response = self.answered(request, client).await;
        self.figures.answered(response.status());
        response
    }

    async fn answered(self: &Arc<Self>, mut request: Request<Incoming>, client: Client) -> Response<Body> {
        let asked = match asked::read(&request, client.https) {
            Ok(asked) => asked,
            Err(why) => {
                self.figures.count(Figure::Refused);
                return answer::say(StatusCode::BAD_REQUEST, why);
            }
        };
        let live = self.live.read().clone();
        let Some(found) = live.table.find(&asked.host, request.uri().path()) else {
            self.figures.count(Figure::NoRoute);
            return answer::no_route();
        };
        let sending = Sending {
            asked,
            client,
            upgrade: headers::upgrade(request.headers(), request.version()),
            progress: Progress::now(),
        };
        let ours = sending.upgrade.is_some().then(|| hyper::upgrade::on(&mut request));
        let request = match sending.prepared(request, found) {
            Ok(request) => request,
            Err(why) => return answer::say(StatusCode::BAD_REQUEST, why),
        };
        if let Some(name) = found.filter {
            let backends = Backends {
                proxy: self.clone(),
                live: live.clone(),
                pool: found.pool,
                sending: Arc::new(sending),
                runtime: Handle::current(),
            };
            return self.filtered(name, request, backends).await;
        }
        match self.sent(&live, found.pool, request, &sending).await {
            Ok(response) => self.returned(response, &sending, ours),
            Err(response) => response,
        }
    }

    /// Lets a filter answer.
    async fn filtered(&self, name: &str, request: Request<Body>, backends: Backends) -> Response<Body> {
        let asked = filter::asked(&backends.sending);
        let Some(answered) = self.filters.answer(name, asked, request, Arc::new(backends)) else {
            self.figures.count(Figure::NoFilter);
            return answer::no_filter();
        };
        let mut response = answered.await;
        headers::response(response.headers_mut(), None);
        response
    }

    /// Sends a request to one backend of a pool after the other, for as long as nothing was sent.
    pub async fn sent(
        &self,
        live: &Live,
        pool: usize,
        mut request: Request<Body>,
        sending: &Sending,
    ) -> Result<Response<Incoming>, Response<Body>> {
        let backends = live.backends(pool);
        if backends.is_empty() {
            self.figures.count(Figure::NoBackend);
            return Err(answer::no_backend());
        }
        let name = || {
            live.table
                .pools()
                .get(pool)
                .map(|pool| pool.name.as_str())
                .unwrap_or_default()
        };
        for (tried, backend) in backends.iter().enumerate() {
            if tried > 0 {
                self.figures.count(Figure::Retried);
            }
            sending.address(&mut request, backend.protocol, backend.address);
            let answered = backend.send(request, &self.times);
            let Some(result) = sending.progress.within(self.times.answer, answered).await else {
                self.figures.count(Figure::Late);
                tracing::debug!(pool = name(), backend = %backend.address, "a backend did not answer in time");
                return Err(answer::late());
            };
            match result {
                Ok(response) => return Ok(response),
                Err(Failed::Unsent(unsent, why)) => {
                    self.figures.count(Figure::Unreached);
                    tracing::debug!(pool = name(), backend = %backend.address, why, "a backend was not reached");
                    request = *unsent;
                }
                Err(Failed::Sent(error)) => {
                    self.figures.count(Figure::Broken);
                    tracing::debug!(pool = name(), backend = %backend.address, %error, "a backend broke off");
                    return Err(answer::broken());
                }
            }
        }
        Err(answer::unreached())
    }

    /// Makes a backend's answer ours.
    pub fn returned(
        self: &Arc<Self>,
        mut response: Response<Incoming>,
        sending: &Sending,
        ours: Option<OnUpgrade>,
    ) -> Response<Body> {
        let upgraded = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let to = upgraded
            .then(|| response.headers().get(header::UPGRADE).cloned())
            .flatten();
        if upgraded {
            let (Some(ours), Some(_)) = (ours, &to) else {
                // Nobody asked for it, or it does not say for what.
                self.figures.count(Figure::Broken);
                return answer::broken();
            };
            let theirs = hyper::upgrade::on(&mut response);
            tunnel::join(self, ours, theirs, sending.client.progress.clone());
        }
        let (mut parts, incoming) = response.into_parts();
        parts.extensions.clear();
        headers::response(&mut parts.headers, to.as_ref());
        let body = match upgraded {
            true => Body::empty(),
            false => Body::passed(incoming, None),
        };
        Response::from_parts(parts, body)
    }
}

impl Sending {
    /// Makes a request one for a backend, whichever it will be.
    fn prepared(&self, request: Request<Incoming>, found: Found<'_>) -> Result<Request<Body>, &'static str> {
        let (mut parts, incoming) = request.into_parts();
        parts.extensions.clear();
        headers::request(
            &mut parts.headers,
            &self.asked,
            self.client.address,
            self.client.https,
            self.upgrade.as_ref(),
        );
        let path = match found.rewritten(parts.uri.path()) {
            Some(path) => {
                let query = parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
                PathAndQuery::try_from(path + &query).map_err(|_| "the path cannot be rewritten")?
            }
            None => parts
                .uri
                .path_and_query()
                .cloned()
                .unwrap_or(PathAndQuery::from_static("/")),
        };
        parts.uri = Uri::from(path);
        Ok(Request::from_parts(
            parts,
            Body::passed(incoming, Some(self.progress.clone())),
        ))
    }

    /// Makes a request one for this backend.
    fn address(&self, request: &mut Request<Body>, protocol: Protocol, backend: std::net::SocketAddr) {
        let host = headers::host_value(&self.asked);
        let host = host.or_else(|| HeaderValue::try_from(backend.to_string()).ok());
        let path = request.uri().path_and_query().cloned();
        let path = path.unwrap_or(PathAndQuery::from_static("/"));
        let headers = request.headers_mut();
        match protocol {
            Protocol::Http1 => {
                headers::join_cookies(headers);
                if let Some(host) = host {
                    headers.insert(header::HOST, host);
                }
                *request.version_mut() = Version::HTTP_11;
                *request.uri_mut() = Uri::from(path);
            }
            Protocol::H2c => {
                headers.remove(header::HOST);
                headers.remove(header::CONNECTION);
                headers.remove(header::UPGRADE);
                let authority = self.asked.authority.as_ref().map(ToString::to_string);
                let uri = Uri::builder()
                    .scheme("http")
                    .authority(authority.unwrap_or_else(|| backend.to_string()))
                    .path_and_query(path)
                    .build();
                *request.version_mut() = Version::HTTP_2;
                if let Ok(uri) = uri {
                    *request.uri_mut() = uri;
                }
            }
        }
    }
}
