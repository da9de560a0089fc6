//! Requests that a workload sends: plain HTTP/1.1, from within the pod's network; those of a filter, to what it stands before.
use super::filter::Pass;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{
    Request, Response, Uri,
    body::{Body, Frame, Incoming, SizeHint},
    client::conn::http1,
};
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    net::TcpStream,
    time::{Instant, Sleep, timeout},
};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks, io::TokioIo};

/// Where the workload does not say how long it wants to wait.
const PATIENCE: Duration = Duration::from_secs(60);

/// What drives a connection while its response is read.
pub(crate) type Drive = Box<dyn Future<Output = Result<(), Error>> + Send>;

/// What becomes of a request that is sent.
pub(crate) type Sent = Box<dyn Future<Output = Result<(Response<WasiBody>, Drive), Error>> + Send>;

/// The way out.
pub(crate) enum Way {
    Network,
    Onward(Pass),
}

impl WasiHttpHooks for Way {
    fn default_scheme(&mut self) -> Option<http::uri::Scheme> {
        Some(http::uri::Scheme::HTTP)
    }

    fn send_request(&mut self, request: Request<WasiBody>, options: Option<RequestOptions>, _sent: Drive) -> Sent {
        match self {
            Way::Network => Box::new(send(request, options.unwrap_or_default())),
            Way::Onward(pass) => pass.send(request),
        }
    }
}

async fn send(mut request: Request<WasiBody>, options: RequestOptions) -> Result<(Response<WasiBody>, Drive), Error> {
    if request.uri().scheme() == Some(&http::uri::Scheme::HTTPS) {
        let words = "https is not spoken yet: send plain http, for example to a proxy in the pod".to_owned();
        return Err(Error::InternalError(Some(words)));
    }
    let authority = request.uri().authority().ok_or(Error::HttpRequestUriInvalid)?;
    let host = authority
        .host()
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned();
    let port = authority.port_u16().unwrap_or(80);
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse::<Uri>().map_err(|_| Error::HttpRequestUriInvalid)?;

    let connect = timeout(
        options.connect_timeout.unwrap_or(PATIENCE),
        TcpStream::connect((host, port)),
    );
    let stream = connect
        .await
        .map_err(|_| Error::ConnectionTimeout)?
        .map_err(Error::Connect)?;
    // Requests are small; what is written is meant to be sent.
    let _ = stream.set_nodelay(true);
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the response's body, or when the workload drops it.
    let driver = wasmtime_wasi::runtime::spawn(connection);
    let response = timeout(
        options.first_byte_timeout.unwrap_or(PATIENCE),
        sender.send_request(request),
    );
    let response = response.await.map_err(|_| Error::ConnectionReadTimeout)??;
    let between = options.between_bytes_timeout.unwrap_or(PATIENCE);
    let response = response.map(|body| Patient::new(body, between).boxed_unsync());
    Ok((response, Box::new(async move { driver.await.map_err(Error::from) })))
}

/// A body that fails if nothing comes for too long.
struct Patient {
    body: Incoming,
    between: Duration,
    until: Pin<Box<Sleep>>,
}

impl Patient {
    fn new(body: Incoming, between: Duration) -> Self {
        Patient {
            body,
            between,
            until: Box::pin(tokio::time::sleep(between)),
        }
    }
}

impl Body for Patient {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            let until = Instant::now() + self.between;
            self.until.as_mut().reset(until);
            return Poll::Ready(frame.map(|frame| frame.map_err(Error::from)));
        }
        ready!(self.until.as_mut().poll(cx));
        Poll::Ready(Some(Err(Error::ConnectionReadTimeout)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
