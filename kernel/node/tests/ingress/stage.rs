//! An ingress, backends that tell what they were asked, and clients.
use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use sampan_node::ingress::{Ingress, IngressConfig, Table, Times};
use sampan_sandbox::ingress::{
    Backend as Entry, Certificate, Entry as TableEntry, HostName, Path, Pool, Protocol, Route, Routing, Secret,
    VirtualHost,
};
use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};

pub type Answer = Response<BoxBody<Bytes, hyper::Error>>;

/// Nothing in these tests takes longer, on however busy a machine.
pub const LONG: Duration = Duration::from_secs(30);

pub fn local() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// Short times, so that what takes too long is found out soon.
pub fn config() -> IngressConfig {
    let mut config = IngressConfig::new(vec![local()], vec![local()]);
    config.times = Times {
        drain: Duration::from_secs(10),
        ..Times::default()
    };
    config
}

pub fn start(config: IngressConfig, table: Table) -> Ingress {
    let ingress = Ingress::start(config).unwrap();
    ingress.set_table(Arc::new(table));
    ingress
}

pub fn figure(ingress: &Ingress, name: &str) -> u64 {
    let figures = ingress.figures();
    let found = figures.iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("{name} of {figures:?}")).1
}

pub fn full(text: impl Into<Bytes>) -> BoxBody<Bytes, hyper::Error> {
    Full::new(text.into()).map_err(|never| match never {}).boxed()
}

/// A backend on a port of its own. It goes, connections and all, when it is dropped.
pub struct Backend {
    pub address: SocketAddr,
    /// Connections that it took, and requests.
    pub connections: Arc<AtomicUsize>,
    pub requests: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Backend {
    /// Tells its name and what it was asked, and sends back what it was sent.
    pub async fn named(name: &'static str) -> Self {
        Self::named_at(local(), name).await
    }

    pub async fn named_at(at: SocketAddr, name: &'static str) -> Self {
        Self::answering_at(at, false, move |request| async move {
            let mut lines = vec![format!("{name} {} {}", request.method(), request.uri())];
            let headers = request.headers().iter();
            lines.extend(headers.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())));
            let sent = request.into_body().collect().await.unwrap();
            lines.push(format!("body: {}", String::from_utf8_lossy(&sent.to_bytes())));
            Response::new(full(lines.join("\n")))
        })
        .await
    }

    /// Answers as it is told, in HTTP/1.1 or HTTP/2 alone.
    pub async fn answering<F, R>(is_h2: bool, answer: F) -> Self
    where
        F: Fn(Request<Incoming>) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Answer> + Send + 'static,
    {
        Self::answering_at(local(), is_h2, answer).await
    }

    async fn answering_at<F, R>(at: SocketAddr, is_h2: bool, answer: F) -> Self
    where
        F: Fn(Request<Incoming>) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Answer> + Send + 'static,
    {
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = requests.clone();
        let mut backend = Self::raw_at(at, move |stream| {
            let (answer, counted) = (answer.clone(), counted.clone());
            async move {
                let service = service_fn(move |request| {
                    counted.fetch_add(1, Ordering::Relaxed);
                    let answered = answer(request);
                    async move { Ok::<_, Infallible>(answered.await) }
                });
                let stream = TokioIo::new(stream);
                // Who breaks off is seen at the other side.
                let _ = match is_h2 {
                    true => {
                        let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                        builder.serve_connection(stream, service).await
                    }
                    false => {
                        let connection = hyper::server::conn::http1::Builder::new().serve_connection(stream, service);
                        connection.with_upgrades().await
                    }
                };
            }
        })
        .await;
        backend.requests = requests;
        backend
    }

    /// Does with its connections what it is told.
    pub async fn raw<F, R>(serve: F) -> Self
    where
        F: Fn(TcpStream) -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        Self::raw_at(local(), serve).await
    }

    async fn raw_at<F, R>(at: SocketAddr, serve: F) -> Self
    where
        F: Fn(TcpStream) -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(at).await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = connections.clone();
        let task = tokio::spawn(async move {
            let mut all = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                all.spawn(serve(stream));
            }
        });
        Backend {
            address,
            connections,
            requests: Arc::default(),
            task,
        }
    }

    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

pub fn host(text: &str) -> HostName {
    match text.strip_prefix("*.") {
        _ if text.is_empty() => HostName::Any,
        Some(parent) => HostName::Wildcard(parent.to_owned()),
        None => HostName::Exact(text.to_owned()),
    }
}

pub fn secret(name: &str) -> Secret {
    Secret {
        namespace: "default".to_owned(),
        name: name.to_owned(),
    }
}

/// A table in the making.
#[derive(Default)]
pub struct Making(Vec<TableEntry>);

impl Making {
    pub fn pool(mut self, name: &str, backends: &[(SocketAddr, u16)]) -> Self {
        self.0.push(pool(name, Protocol::Http1, backends));
        self
    }

    pub fn h2c(mut self, name: &str, backends: &[(SocketAddr, u16)]) -> Self {
        self.0.push(pool(name, Protocol::H2c, backends));
        self
    }

    /// A host with prefixes, each with its pool.
    pub fn host(self, name: &str, routes: &[(&str, &str)]) -> Self {
        let route = |(path, pool): &(&str, &str)| Route {
            path: Path::Prefix((*path).to_owned()),
            pool: (*pool).to_owned(),
            rewrite: None,
            filter: None,
        };
        self.routes(name, routes.iter().map(route).collect())
    }

    pub fn routes(mut self, name: &str, routes: Vec<Route>) -> Self {
        self.0.push(TableEntry::Host(VirtualHost {
            host: host(name),
            routes,
            otherwise: None,
        }));
        self
    }

    pub fn certificate(mut self, name: &str, of: &str) -> Self {
        self.0.push(TableEntry::Certificate(Certificate {
            host: host(name),
            secret: secret(of),
        }));
        self
    }

    pub fn done(self) -> Table {
        Table::of(&Routing::with(self.0))
    }
}

fn pool(name: &str, protocol: Protocol, backends: &[(SocketAddr, u16)]) -> TableEntry {
    let backend = |(address, weight): &(SocketAddr, u16)| Entry {
        address: address.ip().into(),
        port: address.port(),
        weight: *weight,
    };
    TableEntry::Pool(Pool {
        name: name.to_owned(),
        protocol,
        backends: backends.iter().map(backend).collect(),
    })
}

/// All hosts go to these.
pub fn all_to(backends: &[&Backend]) -> Table {
    let weighted: Vec<_> = backends.iter().map(|backend| (backend.address, 1)).collect();
    Making::default()
        .pool("all", &weighted)
        .host("", &[("/", "all")])
        .done()
}

/// A connection of a client.
pub enum Client {
    Http1(http1::SendRequest<BoxBody<Bytes, hyper::Error>>),
    Http2(http2::SendRequest<BoxBody<Bytes, hyper::Error>>),
}

impl Client {
    pub async fn connect(to: SocketAddr) -> Self {
        Self::over(TcpStream::connect(to).await.unwrap(), false).await
    }

    pub async fn over<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S, is_h2: bool) -> Self {
        let stream = TokioIo::new(stream);
        match is_h2 {
            true => {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
                tokio::spawn(connection);
                Client::Http2(sender)
            }
            false => {
                let (sender, connection) = http1::handshake(stream).await.unwrap();
                tokio::spawn(connection.with_upgrades());
                Client::Http1(sender)
            }
        }
    }

    pub async fn send(
        &mut self,
        mut request: Request<BoxBody<Bytes, hyper::Error>>,
    ) -> hyper::Result<Response<Incoming>> {
        match self {
            Client::Http1(sender) => {
                sender.ready().await?;
                timeout(LONG, sender.send_request(request)).await.unwrap()
            }
            Client::Http2(sender) => {
                *request.version_mut() = Version::HTTP_2;
                sender.ready().await?;
                timeout(LONG, sender.send_request(request)).await.unwrap()
            }
        }
    }

    /// The status and the body of an answer.
    pub async fn get(&mut self, host: &str, path: &str) -> hyper::Result<(u16, String)> {
        let request = match self {
            Client::Http1(_) => Request::get(path).header("host", host),
            Client::Http2(_) => Request::get(format!("https://{host}{path}")),
        };
        let response = self.send(request.body(full("")).unwrap()).await?;
        let status = response.status().as_u16();
        let body = timeout(LONG, response.into_body().collect()).await.unwrap()?;
        Ok((status, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
    }
}

/// One request over a connection of its own.
pub async fn get(ingress: &Ingress, host: &str, path: &str) -> (u16, String) {
    let mut client = Client::connect(ingress.http_addresses()[0]).await;
    client.get(host, path).await.unwrap()
}

/// Sends bytes as they are; what comes back until the other side closes.
pub async fn raw(to: SocketAddr, bytes: &str) -> String {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    read_all(stream).await
}

pub async fn read_all<S: AsyncRead + Unpin>(mut stream: S) -> String {
    let mut answer = Vec::new();
    let read = timeout(LONG, stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "the other side closes");
    // Whoever closes with bytes unread resets the connection; what came before that counts.
    String::from_utf8_lossy(&answer).into_owned()
}
